package store

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// pending is what the closures of a batch have written and what has not been sent to the database yet: it is
// sent once, when the last of them has ended or one wants to read a list. Until then a closure's writes can be
// forgotten, which is how one that failed is rolled back, and an operation that many sign orders change is
// written once for all of them.
type pending struct {
	journal []change
	latest  map[law.OperationID]int // the newest entry of the journal about an operation
	events  [][]any                 // rows of audit_events
	hashes  [][]any                 // rows of audit_hashes
	outbox  [][]any                 // rows of outbox
	sent    marks                   // what has been sent
}

// change is an operation, a sign order or a certificate as a closure has written it.
type change struct {
	operation   *Operation
	was         law.Operation // as it is in the database
	revision    int64         // in the database; 0 if it is not there
	before      int           // the entry before it about the same operation, -1 if there is none
	order       *law.Order
	certificate *law.Certificate
}

// marks are lengths of what is pending.
type marks struct{ journal, events, hashes, outbox int }

func (p *pending) marks() marks {
	return marks{len(p.journal), len(p.events), len(p.hashes), len(p.outbox)}
}

// forget drops what was written since. It is false if some of that has been sent already.
func (p *pending) forget(since marks) bool {
	if p.sent.journal > since.journal || p.sent.events > since.events || p.sent.hashes > since.hashes || p.sent.outbox > since.outbox {
		return false
	}
	for i := len(p.journal) - 1; i >= since.journal; i-- {
		switch c := p.journal[i]; {
		case c.operation == nil:
		case c.before < 0:
			delete(p.latest, c.operation.ID)
		default:
			p.latest[c.operation.ID] = c.before
		}
	}
	p.journal, p.events, p.hashes, p.outbox = p.journal[:since.journal], p.events[:since.events], p.hashes[:since.hashes], p.outbox[:since.outbox]
	return true
}

func (p *pending) operation(id law.OperationID) (Operation, bool) {
	if p == nil {
		return Operation{}, false
	}
	i, known := p.latest[id]
	if !known {
		return Operation{}, false
	}
	return *p.journal[i].operation, true
}

// find returns the newest change that is the one looked for.
func (p *pending) find(is func(change) bool) (change, bool) {
	if p == nil {
		return change{}, false
	}
	for i := len(p.journal) - 1; i >= 0; i-- {
		if is(p.journal[i]) {
			return p.journal[i], true
		}
	}
	return change{}, false
}

var errChanged = errors.New("it is not there, or was changed in between")

// save notes an operation as it is to be, with its new revision.
func (p *pending) save(o Operation) error {
	c := change{was: o.was, revision: o.Revision, before: -1}
	if i, known := p.latest[o.ID]; known {
		earlier := p.journal[i]
		if earlier.operation.Revision != o.Revision {
			return errChanged
		}
		c.before = i
		if i >= p.sent.journal {
			c.was, c.revision = earlier.was, earlier.revision
		}
	}
	o.Revision++
	o.was = o.Operation
	c.operation = &o
	if p.latest == nil {
		p.latest = map[law.OperationID]int{}
	}
	p.latest[o.ID] = len(p.journal)
	p.journal = append(p.journal, c)
	return nil
}

// send sends what is pending to the database, and what is to follow it.
func (p *pending) send(q querier, more ...statement) error {
	statements, err := p.statements()
	if err != nil {
		return err
	}
	if err := q.all(append(statements, more...)); err != nil {
		return fmt.Errorf("storing what was written: %w", err)
	}
	p.sent = p.marks()
	return nil
}

// statements are those of what has not been sent. What it is about comes before what refers to it.
func (p *pending) statements() ([]statement, error) {
	var all []statement
	var keys, approvals, orders, certificates [][]any
	placed, drawn := map[law.OrderID]int{}, map[law.CertificateID]int{}
	for i, c := range p.journal[p.sent.journal:] {
		switch {
		case c.order != nil:
			row := orderRow(*c.order)
			if at, again := placed[c.order.ID]; again {
				orders[at] = row
			} else {
				placed[c.order.ID] = len(orders)
				orders = append(orders, row)
			}
		case c.certificate != nil:
			row := certificateRow(*c.certificate)
			if at, again := drawn[c.certificate.ID]; again {
				certificates[at] = row
			} else {
				drawn[c.certificate.ID] = len(certificates)
				certificates = append(certificates, row)
			}
		case p.latest[c.operation.ID] == p.sent.journal+i:
			row, err := c.row()
			if err == nil {
				keys = append(keys, c.keys()...)
				approvals, err = c.approvals(approvals)
			}
			if err != nil {
				return nil, fmt.Errorf("storing operation %s: %w", c.operation.ID, err)
			}
			all = append(all, row)
		}
	}
	return slices.Concat(all, keysInsertion.of(keys), approvalsInsertion.of(approvals), ordersInsertion.of(orders), certificatesInsertion.of(certificates),
		eventsInsertion.of(p.events[p.sent.events:]), hashesInsertion.of(p.hashes[p.sent.hashes:]),
		outboxInsertion.of(p.outbox[p.sent.outbox:])), nil
}

// insertion is a table's INSERT for any number of rows. Of one whose rows can be there already, conflict says
// what becomes of it.
type insertion struct {
	table, columns, conflict string
}

var (
	eventsInsertion = insertion{table: "audit_events", columns: "idx, batch, time, type, operation, subject, keyid, session, leaf"}
	hashesInsertion = insertion{table: "audit_hashes", columns: "idx, hash"}
	keysInsertion   = insertion{
		table: "operation_keys", columns: "operation, position, keyid, taken, signed",
		conflict: ` ON CONFLICT (operation, keyid) DO UPDATE SET taken = excluded.taken, signed = excluded.signed`,
	}
	approvalsInsertion = insertion{
		table: "approvals", columns: "operation, position, subject, covers, at, withdrawn",
		conflict: ` ON CONFLICT (operation, position) DO UPDATE SET withdrawn = excluded.withdrawn`,
	}
	ordersInsertion = insertion{
		table: "sign_orders", columns: orderColumns,
		conflict: ` ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempt = excluded.attempt, lease = excluded.lease,
			settled = excluded.settled, failure = excluded.failure, signature = excluded.signature`,
	}
)

// of makes statements of few different texts: the numbers of rows in them are powers of two.
func (in insertion) of(rows [][]any) []statement {
	var all []statement
	for len(rows) > 0 {
		n := 1
		for n*2 <= min(len(rows), batchLength) {
			n *= 2
		}
		all = append(all, statement{text: in.text(n, len(rows[0])), args: slices.Concat(rows[:n]...)})
		rows = rows[n:]
	}
	return all
}

func (in insertion) text(rows, columns int) string {
	var text strings.Builder
	text.WriteString(`INSERT INTO ` + in.table + ` (` + in.columns + `) VALUES `)
	for i := range rows * columns {
		switch {
		case i == 0:
			text.WriteString(`(`)
		case i%columns == 0:
			text.WriteString(`), (`)
		default:
			text.WriteString(`, `)
		}
		text.WriteString(`$` + strconv.Itoa(i+1))
	}
	return text.String() + `)` + in.conflict
}

// event notes an audit event as row of its table, and the hashes that it adds to the tree.
func (p *pending) event(e audit.Event, leaf []byte, hashes []audit.StoredHash) {
	var subject law.SubjectID
	if e.Actor != nil {
		subject = e.Actor.Subject
	}
	p.events = append(p.events, []any{e.Index, e.Batch, e.Time, string(e.Type), string(e.Operation), string(subject), string(e.Key), e.Session, string(leaf)})
	for _, h := range hashes {
		p.hashes = append(p.hashes, []any{h.Index, h.Hash[:]})
	}
}

// saved lists the operations that were changed.
func (p *pending) saved() []law.OperationID {
	var ids []law.OperationID
	for i, c := range p.journal {
		if c.operation != nil && p.latest[c.operation.ID] == i {
			ids = append(ids, c.operation.ID)
		}
	}
	return ids
}
