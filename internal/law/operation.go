package law

// OperationID names an operation (UUIDv7, RFC 9562).
type OperationID string

// OrderID names a sign order (UUIDv7, RFC 9562).
type OrderID string

// Input is what one signature is made over. Two inputs are the same if hash, scheme and digest are.
type Input struct {
	Hash    Hash
	Scheme  Scheme
	Digest  []byte
	Message []byte // the data itself where the scheme signs data (EdDSA), else nil
}
