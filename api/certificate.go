package api

// Paths of certificates and revocation lists.
const (
	PathCertificates          = "/api/certificates"
	PathCertificateByID       = "/api/certificates/{certificate}"
	PathRevokeCertificate     = "/api/certificates/{certificate}/revocation"
	PathSessionCertificates   = "/api/administrationsessions/{session}/certificates"
	PathCertificateRequests   = "/api/administrationsessions/{session}/certificaterequests"
	PathImportedCertificates  = "/api/administrationsessions/{session}/importedcertificates"
	PathRevocationLists       = "/api/administrationsessions/{session}/revocationlists"
	PathOperationCertificates = "/api/operations/{operation}/certificates"
	PathRevocationList        = "/crl/{list}" // the key's id and .crl
	PathStatuses              = "/ocsp"
	PathStatus                = "/ocsp/{request}" // in Base64
)

// NewCertificate asks for a certificate that a ROOT key issues in an administration session.
type NewCertificate struct {
	KeyID  string `json:"keyid"`  // that it is of
	Issuer string `json:"issuer"` // ROOT key; the same one for its own certificate
}

// NewCertificateOrder asks for a certificate that a CA key issues under an operation.
type NewCertificateOrder struct {
	KeyID string `json:"keyid"` // CA key
	For   string `json:"for"`   // FW key that it is of
}

// OfKey names the key that something is to be made of.
type OfKey struct {
	KeyID string `json:"keyid"`
}

// NewImport gives a certificate that was issued elsewhere.
type NewImport struct {
	KeyID string `json:"keyid"`
	Chain string `json:"chain"` // PEM: the certificate, then its issuer's, and so on up to the self-signed one
}

// NewCertificateRevocation revokes a certificate.
type NewCertificateRevocation struct {
	Code   string `json:"code"` // name in RFC 5280 section 5.3.1
	Reason string `json:"reason"`
}

// Certificates is one page of certificates, oldest first.
type Certificates struct {
	Certificates []Certificate `json:"certificates"`
	Next         string        `json:"next,omitzero"` // cursor of the next page, empty at the end
}

// Certificate is a certificate of a key.
type Certificate struct {
	ID          string `json:"id"` // of one that was made under an operation, that of its sign order
	KeyID       string `json:"keyid"`
	Fingerprint string `json:"fingerprint"`     // of the public key in it
	Issuer      string `json:"issuer,omitzero"` // key that signed it; empty: it was issued elsewhere
	Serial      string `json:"serial"`          // lower-case hex
	State       string `json:"state"`           // running, issued, failed, withheld or imported
	NotBefore   int64  `json:"notbefore"`
	NotAfter    int64  `json:"notafter"`
	Session     string `json:"session,omitzero"`
	Operation   string `json:"operation,omitzero"`
	Accepted    int64  `json:"accepted"`
	Settled     int64  `json:"settled,omitzero"` // when the latest attempt ended; zero while it runs
	Failure     string `json:"failure,omitzero"`
	Chain       string `json:"chain,omitzero"` // PEM: itself, then its issuer's, up to the top; empty until it is issued

	Revoked    *CertificateRevoked `json:"revoked,omitzero"`
	Checkpoint string              `json:"checkpoint,omitzero"` // the newest one, where the certificate was just issued; keep it
}

// CertificateRevoked says that, and why, a certificate is revoked.
type CertificateRevoked struct {
	At     int64  `json:"at"`
	By     string `json:"by"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// RevocationList is the newest revocation list of a key.
type RevocationList struct {
	KeyID      string `json:"keyid"`
	Number     int64  `json:"number"`
	Entries    int    `json:"entries"` // certificates on it
	ThisUpdate int64  `json:"thisupdate"`
	NextUpdate int64  `json:"nextupdate"`
}
