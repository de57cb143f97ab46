package database_test

import (
	"fmt"
	"slices"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/verify/verifytest"
)

// AT-01
func TestAT01_AChangedEntryIsNamed(t *testing.T) {
	s := tell(t)
	size := int64(len(s.events))
	for _, n := range []int64{0, 1, size / 2, size - 2, size - 1} {
		i := s.intrude(t)
		i.do(`UPDATE audit_events SET leaf = leaf || ' ' WHERE idx = ?`, n)
		wantTampered(t, i.verify(), n)
		i = s.intrude(t)
		i.do(`UPDATE audit_events SET batch = 'batch', leaf = replace(leaf, batch, 'batch') WHERE idx = ?`, n)
		wantTampered(t, i.verify(), n)
		i = s.intrude(t)
		i.do(`DELETE FROM audit_events WHERE idx = ?`, n)
		wantTampered(t, i.verify(), n)
	}
}

// AT-01
func TestAT01_EntriesReorderedDuplicatedOrForgedAreFoundAndTheFirstNamed(t *testing.T) {
	s := tell(t)
	i := s.intrude(t)
	i.do(`UPDATE audit_events SET leaf = (SELECT leaf FROM audit_events WHERE idx = 41) WHERE idx = 40`)
	wantTampered(t, i.verify(), 40)
	i = s.intrude(t)
	i.do(`UPDATE audit_events SET idx = 1000000 WHERE idx = 40`)
	i.do(`UPDATE audit_events SET idx = 40 WHERE idx = 41`)
	i.do(`UPDATE audit_events SET idx = 41 WHERE idx = 1000000`)
	wantTampered(t, i.verify(), 40)
	i = s.intrude(t)
	forged := s.events[40]
	forged.Reason = "another"
	leaf, err := forged.Leaf()
	i.must(err)
	i.do(`UPDATE audit_events SET leaf = ? WHERE idx = 40`, string(leaf))
	wantTampered(t, i.verify(), 40)
	i = s.intrude(t)
	i.do(`DELETE FROM audit_events WHERE idx BETWEEN 40 AND 60`)
	wantTampered(t, i.verify(), 40)
}

// AT-01: the hashes say something else than the entries.
func TestAT01_AChangedHashIsNamed(t *testing.T) {
	s := tell(t)
	i := s.intrude(t)
	i.do(`UPDATE audit_hashes SET hash = zeroblob(32) WHERE idx = 2`) // of entries 0 and 1
	wantDifference(t, i.verify(), "audit_hashes", "2", "hash")
	i = s.intrude(t)
	i.do(`UPDATE audit_hashes SET hash = zeroblob(32) WHERE idx = 3`) // of entry 2
	wantTampered(t, i.verify(), 2)
	i = s.intrude(t)
	i.do(`DELETE FROM audit_hashes WHERE idx = 2`)
	wantDifference(t, i.verify(), "audit_hashes", "2", "")
}

// AT-01: somebody who makes every hash anew is found out by the state, unless he removes what changes none.
func TestAT01_AnEventRemovedOrRepeatedIsFoundThoughTheLogWasMadeToFit(t *testing.T) {
	s := tell(t)
	for n, e := range s.events {
		if n%3 != 0 || changesNothing(s.events, n) { // every third will do
			continue
		}
		i := s.intrude(t)
		i.forgeLog(without(s.events, n))
		wantFound(t, i.verify(), fmt.Sprintf("%s %d removed", e.Type, n))
		if e.Type == audit.ConfigurationChanged || e.Type == audit.ContactChanged || n%9 != 0 {
			continue // the same again changes nothing; of the others, fewer will do
		}
		i = s.intrude(t)
		i.forgeLog(slices.Insert(slices.Clone(s.events), n, e))
		wantFound(t, i.verify(), fmt.Sprintf("%s %d repeated", e.Type, n))
	}
}

// changesNothing says whether the state without the event would be the same.
func changesNothing(events []audit.Event, n int) bool {
	e := events[n]
	switch e.Type {
	case audit.ConfigurationChanged:
		for _, before := range slices.Backward(events[:n]) {
			if c := before.Configuration; c != nil && c.Kind == e.Configuration.Kind && c.ID == e.Configuration.ID {
				return string(c.Value) == string(e.Configuration.Value)
			}
		}
		return false
	case audit.OperationRefused, audit.OrderRefused, audit.RequestRefused, audit.SessionRefused, audit.SignInRefused, audit.ClockStepped,
		audit.ServerStarted:
		return true
	case audit.SignedIn: // nothing is stored of one that was not ended
		return !slices.ContainsFunc(events[n:], func(out audit.Event) bool { return out.Type == audit.SignedOut && out.SignIn.ID == e.SignIn.ID })
	case audit.ContactChanged:
		return slices.ContainsFunc(events[n+1:], func(later audit.Event) bool {
			return later.Type == audit.ContactChanged && later.Actor.Subject == e.Actor.Subject
		})
	case audit.CertificateRequestSigned, audit.CertificateRequestFailed, // an attempt that was cut off has neither
		audit.StatusesPermitted: // nothing is stored of what was not signed under it
		return true
	}
	return false
}

// AT-01, I12: what nothing else shows, a remembered checkpoint does.
func TestAT01_ALogThatWasMadeToFitIsFoundWithARememberedCheckpoint(t *testing.T) {
	s := tell(t)
	refusal := slices.IndexFunc(s.events, func(e audit.Event) bool { return e.Type == audit.OrderRefused })
	hidden := without(s.events, refusal)
	i := s.intrude(t)
	i.forgeLog(hidden)
	i.must(i.verify()) // nothing in the database itself tells
	i = s.intrude(t)
	i.forgeLog(hidden)
	wantTampered(t, i.verify(s.newest), int64(len(hidden))) // the log is too short
	i = s.intrude(t)
	i.forgeLog(append(hidden, s.events[refusal]))
	wantTampered(t, i.verify(s.newest), s.newest.Size-1)
}

// AT-01, I12
func TestAT01_ALogThatWasCutOffIsFoundWithARememberedCheckpoint(t *testing.T) {
	w := verifytest.New(t)
	w.Story()
	w.Refused(w.Sign("eve", w.Create("olga", 1, nil, "fw-zero"), "fw-zero", "1", "image"))
	before := w.DB.Head()
	w.Refused(w.Sign("eve", w.Create("olga", 1, nil, "fw-zero"), "fw-zero", "1", "image"))
	events := w.Events()
	s := &told{world: w, file: fileOf(t, w)}
	cut := func() *intruder {
		i := s.intrude(t)
		i.forgeLog(events[:before.Size()])
		last := i.text(`SELECT max(id) FROM operations`)
		i.do(`DELETE FROM operation_keys WHERE operation = ?`, last)
		i.do(`DELETE FROM operations WHERE id = ?`, last)
		return i
	}
	i := cut()
	i.must(i.verify())
	i = cut()
	i.must(i.verify(audit.Checkpoint{Origin: verifytest.ServerID, Size: before.Size(), Root: before.Root()}))
	i = cut()
	newest := audit.Checkpoint{Origin: verifytest.ServerID, Size: int64(len(events)), Root: w.DB.Head().Root()}
	wantTampered(t, i.verify(newest), before.Size())
}

// AT-01: a log that fits together, of which the tables hold exactly what it tells, and that the law forbids.
func TestAT01_AStateMadeToFitALogThatTheLawForbidsIsFound(t *testing.T) {
	s := tell(t)
	i := s.intrude(t)
	approval := slices.IndexFunc(s.events, func(e audit.Event) bool { return e.Type == audit.OperationApproved && len(e.Covers) == 2 })
	o := s.events[approval].Operation
	i.forgeLog(without(s.events, approval))
	i.do(`DELETE FROM approvals WHERE operation = ? AND position = 0`, string(o))
	i.do(`UPDATE approvals SET position = position - 1 WHERE operation = ?`, string(o))
	met := slices.IndexFunc(s.events, func(e audit.Event) bool { return e.Type == audit.OperationBecameApproved && e.Operation == o })
	wantViolation(t, i.verify(), int64(met-1), "I3")
}
