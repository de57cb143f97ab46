package verify

import (
	"errors"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// Fold is the state that a log tells of, as far as it has been read. Its work does not grow with what it
// has read: an event is judged by the operation or administration session it names, and all that are open are
// judged only when the configuration changes.
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
	certificates map[law.CertificateID]*certificate
	serials      map[serial]struct{}
	devices      map[device][]*certificate
	replacing    map[law.CertificateID]law.CertificateID // that are to be revoked, and for which
	replacedIn   string                                  // batch
	revoked      map[pair]int64                          // certificates, by who issued them
	lists        map[law.KeyID]*list
	requests     map[request]int // for certificates, that are being signed
	sessions     map[law.SessionID]*session
	openSessions map[law.SessionID]*session
	signIns      map[string]*signIn // with a browser
	contacts     map[law.SubjectID]*contact
	configured   int64 // objects of the configuration that were set or removed

	// What the entries before demand of the next ones.
	change    *change               // of which they are; nobody was judged since
	applied   *session              // the plan of which is applied, so that it is closed
	due       map[settling]struct{} // in another state than they are said to be; their events must follow at once
	ended     bool                  // something has, because of a clock that is yet to be accepted
	accepting int                   // operations that have

	signatures *signatures // while the tables are compared
}

// NewFold returns a fold of the log of that server from its first entry.
func NewFold(server string) *Fold {
	return &Fold{
		server: server, world: newWorld(), operations: map[law.OperationID]*operation{}, open: map[law.OperationID]*operation{},
		orders: map[law.OrderID]*order{}, sessions: map[law.SessionID]*session{}, openSessions: map[law.SessionID]*session{},
		certificates: map[law.CertificateID]*certificate{}, serials: map[serial]struct{}{}, devices: map[device][]*certificate{}, replacing: map[law.CertificateID]law.CertificateID{}, revoked: map[pair]int64{},
		lists: map[law.KeyID]*list{}, requests: map[request]int{},
		signIns: map[string]*signIn{}, contacts: map[law.SubjectID]*contact{}, due: map[settling]struct{}{},
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
	if err := f.allReplaced(e.Batch); err != nil {
		return err
	}
	together := e.Batch == f.batch && e.Time == f.last
	if c := f.change; c != nil && !(together && c.goesOn(e)) {
		if err := f.rejudge(); err != nil {
			return err
		}
		if c.plan {
			return f.planEnds(c, e, together)
		}
	}
	if len(f.due) > 0 && !(together && f.settlesDue(e)) {
		return f.overdue()
	}
	if f.ended {
		sameBatch := e.Batch == f.batch
		if !(sameBatch && e.Type == audit.ClockAccepted || together && endsByClock(e)) {
			return breaks("rule 8", "something was ended because of a clock that went back, but here nobody accepts it")
		}
	}
	return nil
}

// rejudge judges all that is open after a change of the configuration (rule 9, section 5).
func (f *Fold) rejudge() error {
	c := f.change
	f.change = nil
	if err := f.world.derive(); err != nil {
		return &Violation{Index: f.next - 1, Rule: "the form of the configuration", What: err.Error()}
	}
	for _, o := range f.open {
		f.settleLater(o, f.last)
	}
	for _, s := range f.openSessions {
		if !c.plan || s != c.session { // a plan closes its own, whatever has become of it
			f.settleLater(s, f.last)
		}
	}
	return nil
}

// settling is what can come to stand elsewhere by itself: an operation, an administration session.
type settling interface {
	unsettled(w *world, at int64) bool // it is not said to stand where it does
	unsaid(w *world, at int64) string  // says so
}

// settleLater notes that the event of it must follow if it does not stand where it is said to.
func (f *Fold) settleLater(s settling, at int64) {
	if s.unsettled(&f.world, at) {
		f.due[s] = struct{}{}
	}
}

// settlesDue says whether the event is of what has just come about by itself.
func (f *Fold) settlesDue(e *audit.Event) bool {
	is := false
	switch e.Type {
	case audit.OperationBecameApproved, audit.OperationLapsed, audit.OperationExpired, audit.OperationExhausted, audit.OperationRevoked:
		if e.Actor == nil {
			_, is = f.due[f.operations[e.Operation]]
		}
	case audit.SessionBecameActive, audit.SessionLapsed, audit.SessionExpired:
		_, is = f.due[f.sessions[law.SessionID(e.Session)]]
	}
	return is
}

func (f *Fold) overdue() error {
	first := ""
	for s := range f.due {
		if what := s.unsaid(&f.world, f.last); first == "" || what < first {
			first = what
		}
	}
	return breaks("rule 9, section 5", "%s; the event of that must stand here", first)
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
	case audit.OperationRefused, audit.OrderRefused, audit.RequestRefused, audit.SessionRefused, audit.IntegrityViolation:
		return f.remark(e)
	case audit.ConfigurationChanged:
		return f.configure(e)
	case audit.SessionOpened:
		return f.sessionOpened(e)
	case audit.SessionAuthorised, audit.SessionWithdrawn, audit.SessionPlanApplied, audit.SessionClosed:
		return f.administered(e)
	case audit.SessionBecameActive:
		return f.sessionSettled(e, law.SessionActive)
	case audit.SessionLapsed:
		return f.sessionSettled(e, law.SessionInactive)
	case audit.SessionExpired:
		return f.sessionSettled(e, law.SessionExpired)
	case audit.CertificateAccepted, audit.CertificateIssued, audit.CertificateFailed, audit.CertificateImported, audit.CertificateRevoked,
		audit.CertificateRequestAccepted, audit.CertificateRequestSigned, audit.CertificateRequestFailed,
		audit.RevocationListAccepted, audit.RevocationListIssued, audit.RevocationListFailed, audit.StatusesPermitted:
		return f.certified(e)
	case audit.SignedIn:
		return f.signedIn(e)
	case audit.SignedOut:
		return f.signedOut(e)
	case audit.ContactChanged:
		return f.contactChanged(e)
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
	o, r, s := f.operations[e.Operation], f.orders[e.Order], f.sessions[law.SessionID(e.Session)]
	switch {
	case e.Refusal != "" && !recorded(e.Refusal):
		return breaks("section 7", "a refusal %q is no event", e.Refusal)
	case e.Operation != "" && o == nil:
		return breaks("I11", "operation %s was never created", e.Operation)
	case e.Session != "" && s == nil:
		return breaks("I11", "administration session %s was never opened", e.Session)
	case e.SessionDescription != "" && (s == nil || e.SessionDescription != s.description):
		return breaks("section 5", "this is not the description of the administration session")
	case e.Digest != "" && !(o != nil && e.Digest == o.digest || s != nil && e.Digest == s.digest):
		return breaks("I11", "this is not the digest of the operation or administration session")
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

// The reason in the event of what ends because the clock went back.
const clockWentBack = "an operator accepted a clock that went back"

func endsByClock(e *audit.Event) bool {
	return (e.Type == audit.OperationExpired || e.Type == audit.SessionExpired) && e.Reason == clockWentBack
}

// clockAccepted follows the ends of all that was open (rule 8).
func (f *Fold) clockAccepted(e *audit.Event) error {
	switch {
	case len(f.open)+len(f.openSessions) > 0:
		return breaks("rule 8", "a clock that went back is accepted, but %d operations and %d administration sessions are still open",
			len(f.open), len(f.openSessions))
	case e.Count != f.accepting:
		return breaks("rule 8", "%d operations are said to have ended, but %d have", e.Count, f.accepting)
	case e.Clock.New != e.Time || e.Clock.Old < e.Clock.New || e.Clock.Old < f.last:
		return breaks("rule 8", "the clock is said to have gone from %d to %d, which does not fit the entries around", e.Clock.Old, e.Clock.New)
	}
	f.accepting, f.ended = 0, false
	return nil
}
