package law

// Permit is the law's leave to make one attempt at one signature. Only this package can make one; a
// keystore signs what a permit says and nothing else, and refuses the zero Permit.
type Permit struct {
	granted   bool
	operation OperationID
	order     OrderID
	attempt   int
	key       Key
	input     Input
}

// Granted says whether the law made this permit. It is false for the zero Permit.
func (p Permit) Granted() bool { return p.granted }

// Operation is the operation that the signature is made under.
func (p Permit) Operation() OperationID { return p.operation }

// Order is the sign order that the signature is for.
func (p Permit) Order() OrderID { return p.order }

// Attempt numbers the attempts at one order, from 1.
func (p Permit) Attempt() int { return p.attempt }

// Key is the key to sign with, as it was when the permit was made.
func (p Permit) Key() Key { return p.key }

// Input is what to sign.
func (p Permit) Input() Input { return p.input }
