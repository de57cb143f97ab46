package verify

import (
	"errors"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// Fold is the state that a log tells of, as far as it has been read. Its work does not grow with what it
// has read: an event is judged by the operation it names, and all open operations are judged only when the
// configuration changes.
type Fold struct {
	server string // server id
	next   int64  // index of the next entry
	last   int64  // time of the one before
	batch  string // of the one before
	err    error  // what ended it

	world        world
	operations   map[law.OperationID]*operation
	open         map[law.OperationID]*operation
	orders       map[law.OrderID]*order
	configured   int64 // configuration-changed events
	reconfigured int64 // runs of them

	// What the entries before demand of the next ones.
	changing  bool                    // the entry before changed the configuration; nobody was judged since
	due       map[*operation]struct{} // in another state than they are said to be; their events must follow at once
	accepting int                     // operations just ended because of a clock that is yet to be accepted

	signatures *signatures // while the tables are compared
}

// NewFold returns a fold of the log of that server from its first entry.
func NewFold(server string) *Fold {
	return &Fold{
		server: server, world: newWorld(), operations: map[law.OperationID]*operation{}, open: map[law.OperationID]*operation{},
		orders: map[law.OrderID]*order{}, due: map[*operation]struct{}{},
	}
}

// Add reads the next event. Its error is a *[Violation]; after it the fold is of no more use, and says the
// same for ever.
func (f *Fold) Add(e audit.Event) error {
	if f.err == nil {
		f.err = f.add(&e)
	}
	var v *Violation
	if errors.As(f.err, &v) && v.Index == here {
		v.Index = e.Index
	}
	return f.err
}

// Finish says whether the log may end here: nothing that belongs together is missing.
func (f *Fold) Finish() error {
	if f.err == nil {
		f.err = f.complete(&audit.Event{Index: f.next})
	}
	var v *Violation
	if errors.As(f.err, &v) && v.Index == here {
		v.Index = f.next
	}
	return f.err
}

func (f *Fold) add(e *audit.Event) error {
	switch {
	case e.Index != f.next:
		return breaks("the order of the log", "entry %d must stand here", f.next)
	case e.Version != audit.Version:
		return breaks("the events there are", "version %d is unknown", e.Version)
	case e.Time < f.last && e.Type != audit.ClockAccepted:
		return breaks("rule 8, I15", "its time is before that of the entry before")
	}
	if err := checkShape(e); err != nil {
		return err
	}
	if err := f.complete(e); err != nil {
		return err
	}
	if err := f.read(e); err != nil {
		return err
	}
	f.next, f.last, f.batch = e.Index+1, e.Time, e.Batch
	return nil
}

// complete refuses what stands where something else must.
func (f *Fold) complete(e *audit.Event) error {
	together := e.Batch == f.batch && e.Time == f.last
	if f.changing && !(together && e.Type == audit.ConfigurationChanged) {
		if err := f.rejudge(); err != nil {
			return err
		}
	}
	if len(f.due) > 0 {
		if o := f.operations[e.Operation]; !together || !settles(e) || !f.isDue(o) {
			return f.overdue()
		}
	}
	if f.accepting > 0 {
		sameBatch := e.Batch == f.batch
		if !(sameBatch && e.Type == audit.ClockAccepted || together && endsByClock(e)) {
			return breaks("rule 8", "operations were ended because of a clock that went back, but here nobody accepts it")
		}
	}
	return nil
}

// rejudge judges every open operation after a change of the configuration (rule 9).
func (f *Fold) rejudge() error {
	f.changing = false
	f.reconfigured++
	if err := f.world.derive(); err != nil {
		return &Violation{Index: f.next - 1, Rule: "the form of the configuration", What: err.Error()}
	}
	for _, o := range f.open {
		f.settleLater(o, f.last)
	}
	return nil
}

// settleLater notes that the operation's event must follow if it does not stand where it is said to.
func (f *Fold) settleLater(o *operation, at int64) {
	if o.stands(&f.world, at) != o.state {
		f.due[o] = struct{}{}
	}
}

func (f *Fold) isDue(o *operation) bool { _, is := f.due[o]; return is }

func (f *Fold) overdue() error {
	var first *operation
	for o := range f.due {
		if first == nil || o.id < first.id {
			first = o
		}
	}
	return breaks("rule 9", "operation %s is %s, though it has just become %s; the event of that must stand here",
		first.id, first.state, first.stands(&f.world, f.last))
}

func (f *Fold) read(e *audit.Event) error {
	switch e.Type {
	case audit.OperationCreated:
		return f.created(e)
	case audit.OperationApproved, audit.OperationWithdrawn, audit.OperationRejected:
		return f.judgement(e)
	case audit.OperationRevoked:
		if e.Actor != nil {
			return f.judgement(e)
		}
		return f.settled(e, law.Revoked)
	case audit.OperationBecameApproved:
		return f.settled(e, law.Approved)
	case audit.OperationLapsed:
		return f.settled(e, law.Pending)
	case audit.OperationExpired:
		return f.settled(e, law.Expired)
	case audit.OperationExhausted:
		return f.settled(e, law.Exhausted)
	case audit.OrderAccepted:
		return f.accepted(e)
	case audit.OrderAttempted:
		return f.attempted(e)
	case audit.OrderSigned, audit.OrderFailed, audit.OrderWithheld:
		return f.result(e)
	case audit.OperationRefused, audit.OrderRefused, audit.RequestRefused, audit.IntegrityViolation:
		return f.remark(e)
	case audit.ConfigurationChanged:
		f.changing = true
		f.configured++
		return f.world.set(e.Configuration)
	case audit.ClockAccepted:
		return f.clockAccepted(e)
	case audit.ClockStepped:
		if e.Clock.Old == e.Clock.New {
			return breaks("rule 8", "the clock is said to have stepped, but it stands where it stood")
		}
	case audit.ServerStarted:
		if e.Server != f.server {
			return breaks("one log, one server", "server %q has started, but this is the log of %q", e.Server, f.server)
		}
	}
	return nil
}

// remark checks what changes nothing (I14): it may only name what there is.
func (f *Fold) remark(e *audit.Event) error {
	o, r := f.operations[e.Operation], f.orders[e.Order]
	switch {
	case e.Refusal != "" && !recorded(e.Refusal):
		return breaks("section 7", "a refusal %q is no event", e.Refusal)
	case e.Operation != "" && o == nil:
		return breaks("I11", "operation %s was never created", e.Operation)
	case e.Digest != "" && (o == nil || e.Digest != o.digest):
		return breaks("I11", "this is not the digest of the operation")
	case e.Order != "" && (r == nil || o != nil && r.operation != o):
		return breaks("I11", "sign order %s was never accepted under this operation", e.Order)
	}
	return nil
}

// recorded says whether a refusal of this kind is an event: not that the server could not answer.
func recorded(kind law.RefusalKind) bool {
	switch kind {
	case law.Forbidden, law.NotFound, law.WrongState, law.NotCovered, law.Duplicate, law.WrongDigest, law.Impossible,
		law.InputMisfit, law.KeyReused:
		return true
	}
	return false
}

// The reason in the event of an operation that ends because the clock went back.
const clockWentBack = "an operator accepted a clock that went back"

func endsByClock(e *audit.Event) bool {
	return e.Type == audit.OperationExpired && e.Reason == clockWentBack
}

// clockAccepted follows the ends of all operations that were open (rule 8).
func (f *Fold) clockAccepted(e *audit.Event) error {
	switch {
	case len(f.open) > 0:
		return breaks("rule 8", "a clock that went back is accepted, but %d operations are still open", len(f.open))
	case e.Count != f.accepting:
		return breaks("rule 8", "%d operations are said to have ended, but %d have", e.Count, f.accepting)
	case e.Clock.New != e.Time || e.Clock.Old < e.Clock.New || e.Clock.Old < f.last:
		return breaks("rule 8", "the clock is said to have gone from %d to %d, which does not fit the entries around", e.Clock.Old, e.Clock.New)
	}
	f.accepting = 0
	return nil
}
