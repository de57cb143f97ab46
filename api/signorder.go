package api

// Format is the form of a signature.
type Format string

// The forms of a signature.
const (
	DER   Format = "der"   // ECDSA: ASN.1 (RFC 3279 section 2.2.3)
	P1363 Format = "p1363" // ECDSA: r and s, each as long as the order of the curve (IEEE P1363)
	Raw   Format = "raw"   // the bytes of RSA (RFC 8017) and Ed25519 (RFC 8032)
)

// Encoding is how a digest is written.
type Encoding string

// The ways to write a digest.
const (
	Hex    Encoding = "hex"
	Base64 Encoding = "base64" // with padding (RFC 4648 section 4)
)

// NewSignOrder asks for one signature: over a digest, with the hash that made it, or over data, which the
// server hashes. Ed25519 keys sign data only.
type NewSignOrder struct {
	KeyID    string   `json:"keyid"`
	Hash     string   `json:"hash,omitzero"`
	Scheme   string   `json:"scheme,omitzero"` // needed where the key allows several
	Digest   string   `json:"digest,omitzero"`
	Encoding Encoding `json:"encoding,omitzero"` // of Digest; hex unless said
	Data     []byte   `json:"data,omitzero"`     // at most 32 KiB
	Format   Format   `json:"format,omitzero"`   // der for ECDSA and raw for others unless said
}

// The states of a sign order.
const (
	OrderRunning  = "running"  // an attempt is being made
	OrderFailed   = "failed"   // the last attempt gave no signature; another may be made
	OrderSigned   = "signed"   // the signature is stored
	OrderWithheld = "withheld" // the operation was revoked while the keystore worked
)

// SignOrders is one page of the sign orders of an operation, oldest first.
type SignOrders struct {
	SignOrders []SignOrder `json:"signorders"`
	Next       string      `json:"next,omitzero"` // cursor of the next page, empty at the end
}

// SignOrder is the right to have one input signed, and its result.
type SignOrder struct {
	ID          string `json:"id"`
	Operation   string `json:"operation"`
	Requester   string `json:"requester"`
	KeyID       string `json:"keyid"`
	Fingerprint string `json:"fingerprint"`
	State       string `json:"state"`
	Use         int    `json:"use"`     // which use of the key it took, from 1
	Of          int    `json:"of"`      // uses of the key that the operation has
	Attempt     int    `json:"attempt"` // the latest one, from 1
	Hash        string `json:"hash"`
	Scheme      string `json:"scheme"`
	Digest      string `json:"digest"` // of what was signed, lower-case hex
	Accepted    int64  `json:"accepted"`
	Settled     int64  `json:"settled,omitzero"` // when the latest attempt ended; zero while it runs
	Failure     string `json:"failure,omitzero"` // why the latest attempt failed
	Signature   []byte `json:"signature,omitzero"`
	Format      Format `json:"format,omitzero"`    // of Signature
	Certifies   string `json:"certifies,omitzero"` // key whose certificate this order is for
	Checkpoint  string `json:"checkpoint"`         // the newest one, which covers the order's events; keep it
}
