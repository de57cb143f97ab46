package law

// Permit is the law's leave to make one attempt at one signature. Only this package can make one; a
// keystore signs what a permit says and nothing else, and refuses the zero Permit.
type Permit struct {
	granted     bool
	purpose     Purpose
	session     SessionID
	operation   OperationID
	order       OrderID
	attempt     int
	certificate CertificateID
	list        int64
	key         Key
	input       Input
}

// Purpose is what a signature is for.
type Purpose string

const (
	ForSignOrder          Purpose = "sign order"
	ForCertificate        Purpose = "certificate"
	ForRevocationList     Purpose = "revocation list"
	ForCertificateRequest Purpose = "certificate request"
	ForStatus             Purpose = "certificate status"
)

// Granted says whether the law made this permit. It is false for the zero Permit.
func (p Permit) Granted() bool { return p.granted }

// Purpose is what the signature is for.
func (p Permit) Purpose() Purpose { return p.purpose }

// Session is the administration session that the signature is made in; empty: in none.
func (p Permit) Session() SessionID { return p.session }

// Operation is the operation that the signature is made under; empty: under none.
func (p Permit) Operation() OperationID { return p.operation }

// Order is the sign order that the signature is for; empty: for none.
func (p Permit) Order() OrderID { return p.order }

// Attempt numbers the attempts at one order, from 1.
func (p Permit) Attempt() int { return p.attempt }

// Certificate is the certificate that the signature is for, or for the status of; empty: for none.
func (p Permit) Certificate() CertificateID { return p.certificate }

// RevocationList is the number of the revocation list that the signature is for; 0: for none.
func (p Permit) RevocationList() int64 { return p.list }

// Key is the key to sign with, as it was when the permit was made.
func (p Permit) Key() Key { return p.key }

// Input is what to sign.
func (p Permit) Input() Input { return p.input }
