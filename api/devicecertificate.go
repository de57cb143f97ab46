package api

// Paths of device certificates.
const (
	PathDeviceCertificates       = "/api/devicecertificates"
	PathDeviceBatch              = "/api/devicecertificatebatches"
	PathDeviceCertificate        = "/api/devicecertificates/{certificate}"
	PathRevokeDeviceCertificate  = "/api/devicecertificates/{certificate}/revocation"
	PathRevokeDeviceCertificates = "/api/operations/{operation}/devicecertificates/revocation"
	PathLots                     = "/api/operations/{operation}/lots"
	PathLotReport                = "/api/operations/{operation}/lots/report"
	PathLotCertificates          = "/api/operations/{operation}/lots/certificates"
)

// MaxBatchBody is how many bytes the body of a [NewDeviceBatch] may have.
const MaxBatchBody = 8 << 20

// MaxDeviceBatch is how many certificates a [NewDeviceBatch] may ask for.
const MaxDeviceBatch = 1000

// NewDeviceCertificate asks for the certificate of a device.
type NewDeviceCertificate struct {
	Operation string `json:"operation"`
	KeyID     string `json:"keyid"` // CA key
	CSR       string `json:"csr"`   // certificate request (PKCS #10, RFC 2986): PEM, or DER in base64
}

// NewDeviceBatch asks for the certificates of several devices.
type NewDeviceBatch struct {
	Operation string             `json:"operation"`
	KeyID     string             `json:"keyid"` // CA key
	Requests  []NewDeviceRequest `json:"requests"`
}

// NewDeviceRequest is one of a [NewDeviceBatch].
type NewDeviceRequest struct {
	IdempotencyKey string `json:"idempotencykey"`
	CSR            string `json:"csr"`
}

// DeviceResults are what came of a [NewDeviceBatch], in its order.
type DeviceResults struct {
	Results    []DeviceResult `json:"results"`
	Checkpoint string         `json:"checkpoint"` // the newest one of the audit log; keep it
}

// DeviceResult is a certificate, or why there is none.
type DeviceResult struct {
	Certificate *DeviceCertificate `json:"certificate,omitzero"`
	Problem     *Problem           `json:"problem,omitzero"`
}

// DeviceCertificates is one page of device certificates, oldest first.
type DeviceCertificates struct {
	Certificates []DeviceCertificate `json:"certificates"`
	Next         string              `json:"next,omitzero"` // cursor of the next page, empty at the end
}

// DeviceCertificate is the certificate of a device.
type DeviceCertificate struct {
	ID          string `json:"id"` // that of its sign order
	Operation   string `json:"operation"`
	KeyID       string `json:"keyid"`  // CA key
	Device      string `json:"device"` // identity, by the profile of the key
	Serial      string `json:"serial"` // lower-case hex
	Fingerprint string `json:"fingerprint"`
	Request     string `json:"request"` // SHA-256 of the certificate request, DER
	State       string `json:"state"`   // running, issued, failed or withheld
	NotBefore   int64  `json:"notbefore"`
	NotAfter    int64  `json:"notafter"`
	Accepted    int64  `json:"accepted"`
	Settled     int64  `json:"settled,omitzero"`
	Failure     string `json:"failure,omitzero"`
	Chain       string `json:"chain,omitzero"` // PEM: itself, then its issuer's, up to the top; empty until it is issued

	Revoked    *CertificateRevoked `json:"revoked,omitzero"`
	Checkpoint string              `json:"checkpoint,omitzero"`
}

// Lots are what became of the device certificates of an operation, for each of its CA keys.
type Lots struct {
	Lots []Lot `json:"lots"`
}

// Lot is what became of the device certificates of an operation under one of its CA keys.
type Lot struct {
	KeyID         string             `json:"keyid"`
	State         string             `json:"state"` // of the operation
	MaxUsageCount int                `json:"maxusagecount"`
	Taken         int                `json:"taken"`
	Remaining     int                `json:"remaining"`
	Issued        int                `json:"issued"`
	Revoked       int                `json:"revoked"`
	Refused       int                `json:"refused"` // orders, for whatever reason
	PerHour       int                `json:"perhour"` // issued, on average
	First         *DeviceCertificate `json:"first,omitzero"`
	Last          *DeviceCertificate `json:"last,omitzero"`
}

// RevokedCount says how many certificates were revoked.
type RevokedCount struct {
	Revoked int `json:"revoked"`
}
