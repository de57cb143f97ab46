package verify_test

import (
	"slices"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// AT-01, I3: sign orders need an operation that is approved, by enough people, at that moment.
func TestAT01_AForgedSignOrderIsFoundByItsOperation(t *testing.T) {
	wantRefused(t, map[string]forgery{
		"accepted before the operation is approved": {"I3", func(l *log) int {
			_, id := l.quorum()
			accepted := l.find(0, audit.OrderAccepted, of(id))
			return l.tell(l.find(0, audit.OperationApproved, of(id))+1, l.events[accepted], nil)
		}},
		"accepted after it has lapsed": {"I3", func(l *log) int {
			lapsed := l.find(0, audit.OperationLapsed, func(e audit.Event) bool { return l.find(0, audit.OrderAccepted, of(e.Operation)) < len(l.events) })
			accepted := l.find(0, audit.OrderAccepted, of(l.events[lapsed].Operation))
			return l.tell(lapsed+1, l.events[accepted], func(e *audit.Event) {
				e.Order, e.IdempotencyKey, e.Use = "another", "another", e.Use+1
				e.Lease = e.Time + 1
			})
		}},
		"accepted after its end": {"I3", func(l *log) int {
			ended := l.find(0, audit.OperationExhausted)
			accepted := l.find(0, audit.OrderAccepted, of(l.events[ended].Operation))
			return l.tell(ended+1, l.events[accepted], func(e *audit.Event) { e.Order, e.IdempotencyKey = "another", "another" })
		}},
		"accepted when its validity has run out": {"I6", func(l *log) int {
			expired := l.find(0, audit.OperationExpired)
			accepted := l.find(0, audit.OrderAccepted)
			o := l.events[expired]
			return l.tell(expired, l.events[accepted], func(e *audit.Event) {
				e.Operation, e.Digest, e.Time, e.Order = o.Operation, o.Digest, o.Time, "another"
			})
		}},
		"accepted with one approval too few": {"I3", func(l *log) int {
			_, id := l.quorum()
			l.remove(l.find(0, audit.OperationApproved, of(id)))
			met := l.find(0, audit.OperationBecameApproved, of(id))
			l.remove(met)
			for met < len(l.events) && l.events[met].Type != audit.OrderAccepted { // nothing else tells of it
				if l.events[met].Operation == id {
					l.remove(met)
				} else {
					met++
				}
			}
			return met
		}},
		"accepted for somebody who is no party": {"I3", func(l *log) int {
			_, id := l.quorum()
			accepted := l.find(0, audit.OrderAccepted, of(id))
			l.edit(accepted, by("olga")) // who orders on all keys, but not here
			return accepted
		}},
		"accepted for a client without a role on the key": {"I3", func(l *log) int {
			created := l.find(0, audit.OperationCreated, says(`"clients":["olga"]`))
			id := l.events[created].Operation
			l.restate(id, func(s *law.Statement) { s.Clients = []law.SubjectID{"ada"} })
			accepted := l.find(created, audit.OrderAccepted, of(id), bySubject("olga"))
			l.edit(accepted, by("ada"))
			return accepted
		}},
		"accepted under an operation that was never created": {"I11", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted)
			l.edit(accepted, func(e *audit.Event) { e.Operation = "another" })
			return accepted
		}},
		"accepted under another digest": {"I11", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted)
			l.edit(accepted, func(e *audit.Event) { e.Digest = l.events[l.find(accepted+2, audit.OperationCreated)].Digest })
			return accepted
		}},
		"for a key that is not in the operation": {"rule 10", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted)
			l.edit(accepted, func(e *audit.Event) { e.Key = "fw-two" })
			return accepted
		}},
		"with another key pair's fingerprint": {"I1", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted)
			other := l.find(0, audit.OrderAccepted, onKey("fw-ed"))
			l.edit(accepted, func(e *audit.Event) { e.Fingerprint = l.events[other].Fingerprint })
			return accepted
		}},
		"over an input that is no artifact": {"I9", func(l *log) int {
			created := l.find(0, audit.OperationCreated, says(`"name":"image.bin"`))
			accepted := l.find(created, audit.OrderAccepted, of(l.events[created].Operation))
			input := l.events[l.find(0, audit.OrderAccepted, onKey("fw-zero"))].Input
			l.edit(accepted, func(e *audit.Event) { e.Input = input })
			return accepted
		}},
		"over a digest of the wrong length": {"rule 10", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted)
			l.edit(accepted, func(e *audit.Event) { e.Input = e.Input[2:] })
			return accepted
		}},
		"with a hash that is not the key's": {"rule 10", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted)
			l.edit(accepted, func(e *audit.Event) { e.Hash, e.Input = law.SHA512, e.Input+e.Input })
			return accepted
		}},
		"with a scheme that the key does not make": {"rule 10", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted)
			l.edit(accepted, func(e *audit.Event) { e.Scheme = law.PSS })
			return accepted
		}},
	})
}

// AT-01, I1, I4, I7, I8: a use is one input, one signature.
func TestAT01_AForgedUseIsFound(t *testing.T) {
	another := func(e *audit.Event) { e.Order, e.IdempotencyKey, e.Lease = "another", "another", e.Time+1 }
	wantRefused(t, map[string]forgery{
		"one use more than was approved": {"I1", func(l *log) int {
			last := l.find(0, audit.OrderSigned, use(2, 2))
			return l.tell(last+1, l.events[last-1], func(e *audit.Event) { another(e); e.Use = 3 })
		}},
		"a use left out": {"I1", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted, use(1, 2))
			l.edit(accepted, func(e *audit.Event) { e.Use = 2 })
			return accepted
		}},
		"a use counted twice": {"I1", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted, use(2, 2))
			l.edit(accepted, func(e *audit.Event) { e.Use = 1 })
			return accepted
		}},
		"of more uses than were approved": {"I1", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted, use(1, 2))
			l.edit(accepted, func(e *audit.Event) { e.Of = 3 })
			return accepted
		}},
		"the same idempotency key twice": {"I4", func(l *log) int {
			second := l.find(0, audit.OrderAccepted, use(2, 2))
			first := l.find(0, audit.OrderAccepted, use(1, 2))
			l.edit(second, func(e *audit.Event) { e.IdempotencyKey = l.events[first].IdempotencyKey })
			return second
		}},
		"the same sign order accepted twice": {"I4", func(l *log) int {
			second := l.find(0, audit.OrderAccepted, use(2, 2))
			first := l.find(0, audit.OrderAccepted, use(1, 2))
			l.edit(second, func(e *audit.Event) { e.Order = l.events[first].Order })
			return second
		}},
		"signed without a use": {"I1", func(l *log) int {
			l.remove(l.find(0, audit.OrderAccepted))
			return l.find(0, audit.OrderSigned)
		}},
		"signed twice": {"I1", func(l *log) int {
			signed := l.find(0, audit.OrderSigned)
			return l.tell(signed+1, l.events[signed], nil)
		}},
		"signed over another input": {"I1", func(l *log) int {
			signed := l.find(0, audit.OrderSigned)
			l.edit(signed, func(e *audit.Event) { e.Input = e.Signature })
			return signed
		}},
		"signed after it was revoked": {"I8", func(l *log) int {
			withheld := l.find(0, audit.OrderWithheld)
			l.edit(withheld, func(e *audit.Event) { e.Type, e.Reason, e.Signature = audit.OrderSigned, "", e.Input })
			return withheld
		}},
		"withheld though nobody revoked": {"rule 7", func(l *log) int {
			signed := l.find(0, audit.OrderSigned)
			l.edit(signed, func(e *audit.Event) { e.Type, e.Reason, e.Signature = audit.OrderWithheld, "revoked", "" })
			return signed
		}},
		"signed without a hash of the signature": {"I2", func(l *log) int {
			signed := l.find(0, audit.OrderSigned)
			l.edit(signed, func(e *audit.Event) { e.Signature = "signature" })
			return signed
		}},
		"failed after it was signed": {"I1", func(l *log) int {
			failed := l.events[l.find(0, audit.OrderFailed)]
			signed := l.find(0, audit.OrderSigned)
			s := l.events[signed]
			s.Type, s.Signature, s.Reason = audit.OrderFailed, "", failed.Reason
			return l.tell(signed+1, s, nil)
		}},
	})
}

// AT-01, rule 12: attempts at a sign order.
func TestAT01_AForgedAttemptIsFound(t *testing.T) {
	wantRefused(t, map[string]forgery{
		"the first attempt with another number": {"rule 12", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted)
			l.edit(accepted, func(e *audit.Event) { e.Attempt = 2 })
			return accepted
		}},
		"an attempt left out": {"rule 12", func(l *log) int {
			attempted := l.find(0, audit.OrderAttempted)
			l.edit(attempted, func(e *audit.Event) { e.Attempt++ })
			return attempted
		}},
		"an attempt while another is under way": {"rule 12", func(l *log) int {
			attempted := l.find(0, audit.OrderAttempted)
			l.remove(l.find(0, audit.OrderFailed))
			return attempted - 1
		}},
		"an attempt after the signature": {"rule 12", func(l *log) int {
			attempted := l.find(0, audit.OrderAttempted)
			signed := l.find(attempted, audit.OrderSigned)
			return l.tell(signed+1, l.events[attempted], func(e *audit.Event) { e.Attempt++ })
		}},
		"an attempt for somebody else": {"rule 12", func(l *log) int {
			attempted := l.find(0, audit.OrderAttempted)
			l.edit(attempted, by("ci"))
			return attempted
		}},
		"an attempt under another idempotency key": {"rule 12", func(l *log) int {
			attempted := l.find(0, audit.OrderAttempted)
			l.edit(attempted, func(e *audit.Event) { e.IdempotencyKey = "another" })
			return attempted
		}},
		"an attempt over another input": {"I1", func(l *log) int {
			attempted := l.find(0, audit.OrderAttempted)
			l.edit(attempted, func(e *audit.Event) { e.Input = e.Fingerprint })
			return attempted
		}},
		"an attempt at an order that was never accepted": {"rule 12", func(l *log) int {
			attempted := l.find(0, audit.OrderAttempted)
			l.edit(attempted, func(e *audit.Event) { e.Order = "another" })
			return attempted
		}},
		"an attempt after the operation was revoked": {"I3", func(l *log) int {
			withheld := l.find(0, audit.OrderWithheld)
			failed := l.find(0, audit.OrderFailed, of(l.events[withheld].Operation), func(e audit.Event) bool {
				return !slices.ContainsFunc(l.events, func(s audit.Event) bool { return s.Type == audit.OrderSigned && s.Order == e.Order })
			})
			accepted := l.events[l.find(0, audit.OrderAccepted, func(e audit.Event) bool { return e.Order == l.events[failed].Order })]
			revoked := l.find(failed, audit.OperationRevoked)
			return l.tell(revoked+1, accepted, func(e *audit.Event) { e.Type, e.Attempt, e.Lease = audit.OrderAttempted, 2, e.Time+1 })
		}},
		"a lease that is over at once": {"rule 12", func(l *log) int {
			accepted := l.find(0, audit.OrderAccepted)
			l.edit(accepted, func(e *audit.Event) { e.Lease = e.Time })
			return accepted
		}},
		"the result of an attempt that is not the latest": {"rule 12", func(l *log) int {
			attempted := l.find(0, audit.OrderAttempted)
			signed := l.find(attempted, audit.OrderSigned)
			l.edit(signed, func(e *audit.Event) { e.Attempt-- })
			return signed
		}},
	})
}
