package law_test

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"example.org/keyserver/internal/law"
)

// book is what the audit log says of an operation: its state is the fold of its changes (I11).
type book struct {
	state  law.State
	yes    []byte // people and what their approvals cover, sorted by the order in which they were given
	uses   map[law.KeyID]law.Usage
	ending law.Ending
}

func bookOf(o law.Operation) book {
	b := book{state: o.Recorded, uses: map[law.KeyID]law.Usage{}, ending: o.Ending}
	for _, a := range o.Approvals {
		if a.Stands() {
			b.yes = appendYes(b.yes, a.By, a.Covers)
		}
	}
	for k, u := range o.Usage {
		b.uses[k] = u
	}
	return b
}

func appendYes(to []byte, who law.SubjectID, covers []law.KeyID) []byte {
	to = append(append(to, who...), ':')
	for _, k := range covers {
		to = append(append(to, k...), ',')
	}
	return append(to, ';')
}

// fold continues a book with what a verb says has happened; key is that of the sign order, if any.
func (b book) fold(changes []law.Change, key law.KeyID, at time.Time) (book, error) {
	for _, c := range changes {
		to := b.state
		switch c.Kind {
		case law.DidCreate:
			to = law.Pending
		case law.DidApprove:
			b.yes = appendYes(b.yes, c.By, c.Covers)
		case law.DidWithdraw:
			i := bytes.Index(b.yes, append([]byte(c.By), ':'))
			j := i + bytes.IndexByte(b.yes[i:], ';') + 1
			b.yes = slices.Concat(b.yes[:i], b.yes[j:])
		case law.DidMeet:
			to = law.Approved
		case law.DidLapse:
			to = law.Pending
		case law.DidReject:
			to = law.Rejected
		case law.DidRevoke:
			to = law.Revoked
		case law.DidExpire:
			to = law.Expired
		case law.DidExhaust:
			to = law.Exhausted
		case law.DidAcceptOrder:
			b.uses[key] = law.Usage{Taken: b.uses[key].Taken + 1, Signed: b.uses[key].Signed}
		case law.DidSignOrder:
			b.uses[key] = law.Usage{Taken: b.uses[key].Taken, Signed: b.uses[key].Signed + 1}
		case law.DidAttemptOrder, law.DidFailOrder, law.DidWithhold:
		default:
			return b, fmt.Errorf("change %q is unknown", c.Kind)
		}
		if to == b.state {
			continue
		}
		if !arrow[b.state][to] { // I6
			return b, fmt.Errorf("%s became %s", b.state, to)
		}
		b.state = to
		if to != law.Pending && to != law.Approved {
			b.ending = law.Ending{At: at, By: c.By, Reason: c.Reason}
		}
	}
	return b, nil
}

// arrow is the picture of the states in docs/law.md. From pending to exhausted leads the case
// that the last signature arrives while the operation has lapsed (rule 13).
var arrow = map[law.State]map[law.State]bool{
	"":           {law.Pending: true},
	law.Pending:  {law.Approved: true, law.Rejected: true, law.Revoked: true, law.Expired: true, law.Exhausted: true},
	law.Approved: {law.Pending: true, law.Rejected: true, law.Revoked: true, law.Expired: true, law.Exhausted: true},
}

func (b book) same(other book) bool {
	if b.state != other.state || !bytes.Equal(b.yes, other.yes) || b.ending != other.ending {
		return false
	}
	for k := range other.uses {
		if b.uses[k] != other.uses[k] {
			return false
		}
	}
	return true
}
