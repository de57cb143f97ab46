package verify_test

import (
	"encoding/json/jsontext"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

func replaceValue(old, with string) func(*audit.Event) {
	return func(e *audit.Event) {
		c := *e.Configuration
		c.Value = jsontext.Value(strings.Replace(string(c.Value), old, with, 1))
		e.Configuration = &c
	}
}

// AT-01, rules 1 and 3.
func TestAT01_AForgedCreationIsFound(t *testing.T) {
	// restated is an operation that says something else of itself.
	restated := func(rule string, change func(s *law.Statement)) forgery {
		return forgery{rule, func(l *log) int {
			created, id := l.quorum()
			l.restate(id, change)
			return created
		}}
	}
	edited := func(rule string, change func(e *audit.Event)) forgery {
		return forgery{rule, func(l *log) int {
			created, _ := l.quorum()
			l.edit(created, change)
			return created
		}}
	}
	wantRefused(t, map[string]forgery{
		"another digest":             edited("section 4", func(e *audit.Event) { e.Digest = law.Digest(strings.Repeat("0", 64)) }),
		"another id":                 edited("section 4", func(e *audit.Event) { e.Operation = "another" }),
		"by another orderer":         edited("section 4", by("olga")),
		"not in canonical form":      edited("section 4", func(e *audit.Event) { e.Statement = jsontext.Value(`{}`) }),
		"of another server":          restated("section 4", func(s *law.Statement) { s.Server = "another" }),
		"at another time":            restated("rule 8", func(s *law.Statement) { s.Created = s.Created.Add(-time.Second) }),
		"without context":            restated("section 4", func(s *law.Statement) { s.Context = "" }),
		"with a short nonce":         restated("section 4", func(s *law.Statement) { s.Nonce = "00" }),
		"valid for too long":         restated("rule 1", func(s *law.Statement) { s.Expires = s.Created.Add(25 * time.Hour) }),
		"never valid":                restated("rule 1", func(s *law.Statement) { s.Expires = s.Created }),
		"with too many uses":         restated("rule 1", func(s *law.Statement) { s.Keys[0].MaxUses = 101 }),
		"with no use":                restated("rule 1", func(s *law.Statement) { s.Keys[0].MaxUses = 0 }),
		"with a lower requirement":   restated("section 4", func(s *law.Statement) { s.Keys[0].Requirement = law.Require(0) }),
		"with another key pair":      restated("section 4", func(s *law.Statement) { s.Keys[0].Fingerprint = s.Keys[1].Fingerprint }),
		"with the same key twice":    restated("rule 1", func(s *law.Statement) { s.Keys[1] = s.Keys[0] }),
		"with no key":                restated("rules 1 and 3", func(s *law.Statement) { s.Keys = nil }),
		"with an unknown key":        restated("rule 1", func(s *law.Statement) { s.Keys[0].Key = "another" }),
		"with its orderer as client": restated("rule 1", func(s *law.Statement) { s.Clients = []law.SubjectID{"ci"} }),
		"with an unknown client":     restated("rule 1", func(s *law.Statement) { s.Clients = []law.SubjectID{"nobody"} }),
		"with a client twice":        restated("rule 1", func(s *law.Statement) { s.Clients = []law.SubjectID{"ada", "ada"} }),
		"with an unknown issuer": {"rule 1", func(l *log) int {
			created, id := l.quorum()
			l.edit(created, func(e *audit.Event) { e.Actor.Issuer = "https://elsewhere.test" })
			l.restate(id, func(s *law.Statement) { s.Orderer.Issuer = "https://elsewhere.test" })
			return created
		}},
		"without the person behind the orderer": edited("rules 1 and 3", func(e *audit.Event) { e.Behind = "" }),
		"with a token that names nobody": {"rule 1", func(l *log) int {
			created, id := l.quorum()
			l.edit(created, func(e *audit.Event) { e.Behind = "" })
			l.restate(id, func(s *law.Statement) { s.Claims[0].Value = "nobody" })
			return created
		}},
		"with another eligible person": edited("rule 3", func(e *audit.Event) {
			e.Eligible = map[law.KeyID][]law.SubjectID{"fw-two": {"alice", "bob", "carol", "dora"}, "fw-zero": e.Eligible["fw-zero"]}
		}),
		"with eligible people for a key that it does not name": edited("rules 1 and 3", func(e *audit.Event) {
			e.Eligible = map[law.KeyID][]law.SubjectID{"fw-two": e.Eligible["fw-two"], "fw-zero": e.Eligible["fw-zero"], "fw-ed": {}}
		}),
		"created twice": {"I6", func(l *log) int {
			created, _ := l.quorum()
			return l.tell(created+1, l.events[created], nil)
		}},
		"by somebody without an orderer role": {"rule 1", func(l *log) int {
			created := l.find(0, audit.OperationCreated, bySubject("olga"))
			l.edit(created, by("ada"))
			l.restate(l.events[created].Operation, func(s *law.Statement) {
				s.Orderer = law.Principal{Subject: "ada", Issuer: s.Orderer.Issuer, Sub: "sub of ada"}
			})
			return created
		}},
		"with a key that is not active": {"rule 1", func(l *log) int {
			key := l.find(0, audit.ConfigurationChanged, func(e audit.Event) bool { return e.Configuration.ID == "fw-two" })
			l.edit(key, replaceValue(`"state":"active"`, `"state":"disabled"`))
			created, _ := l.quorum()
			return created
		}},
		"with a ROOT key": {"rule 1", func(l *log) int {
			key := l.find(0, audit.ConfigurationChanged, func(e audit.Event) bool { return e.Configuration.ID == "fw-two" })
			l.edit(key, replaceValue(`"type":"FW"`, `"type":"ROOT"`))
			created, _ := l.quorum()
			return created
		}},
		"with a key that signs statuses": {"rule 1", func(l *log) int {
			key := l.find(0, audit.ConfigurationChanged, func(e audit.Event) bool { return e.Configuration.ID == "fw-two" })
			l.edit(key, replaceValue(`"profile":null`, `"profile":{"crlurl":"","extendedkeyusage":["1.3.6.1.5.5.7.3.9"],"keyusage":["digitalSignature"],"pathlen":0,`+
				`"subject":{"commonname":"x","country":"","locality":"","organization":"","organizationalunit":"","province":""},"validityms":1000}`))
			created, _ := l.quorum()
			return created
		}},
		"without artifacts that the key needs": {"rule 1", func(l *log) int {
			key := l.find(0, audit.ConfigurationChanged, func(e audit.Event) bool { return e.Configuration.ID == "fw-two" })
			l.edit(key, replaceValue(`"artifactsneeded":false`, `"artifactsneeded":true`))
			created, _ := l.quorum()
			return created
		}},
		"with artifacts that no key could sign": restated("rule 1", func(s *law.Statement) {
			s.Artifacts = []law.Artifact{{Name: "image", Size: 1, Hash: law.SHA384, Digest: strings.Repeat("00", 48)}}
		}),
		"with a requirement that nobody can meet": {"rule 1", func(l *log) int {
			key := l.find(0, audit.ConfigurationChanged, func(e audit.Event) bool { return e.Configuration.ID == "fw-two" })
			l.edit(key, replaceValue(`"requirement":2`, `"requirement":5`))
			created, id := l.quorum()
			l.restate(id, func(s *law.Statement) { s.Keys[0].Requirement = law.Require(5) })
			return created
		}},
	})
}

// AT-01, rules 2 to 7, I5, I6.
func TestAT01_AForgedJudgementIsFound(t *testing.T) {
	approval := func(l *log) int {
		_, id := l.quorum()
		return l.find(0, audit.OperationApproved, of(id))
	}
	edited := func(rule string, change func(e *audit.Event)) forgery {
		return forgery{rule, func(l *log) int {
			i := approval(l)
			l.edit(i, change)
			return i
		}}
	}
	// acted is what somebody does right after the first sign order of an operation was accepted.
	acted := func(rule string, kind audit.Type) forgery {
		return forgery{rule, func(l *log) int {
			first := l.events[approval(l)]
			accepted := l.find(0, audit.OrderAccepted, of(first.Operation))
			return l.tell(accepted+1, first, func(e *audit.Event) {
				by("carol")(e)
				e.Type, e.Covers = kind, nil
				if kind == audit.OperationRejected {
					e.Reason = "no"
				}
			})
		}}
	}
	wantRefused(t, map[string]forgery{
		"by the orderer":                    edited("rule 3", by("ci")),
		"by the person behind the orderer":  edited("rule 3", by("dora")),
		"by somebody for whom it is hidden": edited("section 6", by("eve")),
		"by somebody unknown":               edited("section 6", by("nobody")),
		"by an administrator":               edited("rule 3", by("ada")),
		"of another digest":                 edited("I11", func(e *audit.Event) { e.Digest = law.Digest(strings.Repeat("0", 64)) }),
		"that counts for fewer keys":        edited("rule 4", func(e *audit.Event) { e.Covers = e.Covers[:1] }),
		"that counts for a key it must not": edited("rule 4", func(e *audit.Event) { e.Covers = append(slices.Clone(e.Covers), "fw-ed") }),
		"withdrawn after a sign order":      acted("I5", audit.OperationWithdrawn),
		"rejected after a sign order":       acted("I5", audit.OperationRejected),
		"twice by the same person": {"rule 4", func(l *log) int {
			i := approval(l)
			return l.tell(i+1, l.events[i], nil)
		}},
		"when it is approved": {"rule 4", func(l *log) int {
			i := approval(l)
			met := l.find(i, audit.OperationBecameApproved)
			return l.tell(met+1, l.events[i], by("carol"))
		}},
		"after its end": {"I6", func(l *log) int {
			rejected := l.find(0, audit.OperationRejected)
			i := l.find(0, audit.OperationApproved, of(l.events[rejected].Operation))
			return l.tell(rejected+1, l.events[i], by("alice"))
		}},
		"withdrawn by somebody who gave none": {"rule 5", func(l *log) int {
			i := l.find(0, audit.OperationWithdrawn)
			l.edit(i, by("carol"))
			return i
		}},
		"rejected by somebody who is not eligible": {"rule 6", func(l *log) int {
			i := l.find(0, audit.OperationRejected)
			l.edit(i, by("ada"))
			return i
		}},
		"rejected after its end": {"I6", func(l *log) int {
			i := l.find(0, audit.OperationRejected)
			return l.tell(i+1, l.events[i], nil)
		}},
		"revoked by somebody who may not": {"rule 7", func(l *log) int {
			i := l.find(0, audit.OperationRevoked)
			l.edit(i, by("audrey"))
			return i
		}},
		"revoked by its orderer, who is disabled": {"section 6", func(l *log) int {
			lapsed := l.find(0, audit.OperationLapsed, func(e audit.Event) bool { return strings.Contains(e.Reason, "orderer olga is disabled") })
			after := lapsed
			for l.events[after].Type == audit.OperationLapsed {
				after++
			}
			return l.tell(after, l.events[lapsed], func(e *audit.Event) {
				by("olga")(e)
				e.Type = audit.OperationRevoked
			})
		}},
		"revoked twice": {"I6", func(l *log) int {
			i := l.find(0, audit.OperationRevoked)
			return l.tell(i+1, l.events[i], nil)
		}},
		"revoked by the server for no reason": {"rule", func(l *log) int {
			i := l.find(0, audit.OperationRevoked)
			l.edit(i, func(e *audit.Event) { e.Actor = nil })
			return i
		}},
		"given by nobody": {"what an event tells", func(l *log) int {
			i := approval(l)
			l.edit(i, func(e *audit.Event) { e.Actor = nil })
			return i
		}},
	})
}

// AT-01, rules 2, 8, 9 and 13, I6: what comes about by itself.
func TestAT01_AForgedStateIsFound(t *testing.T) {
	removed := func(rule string, kind audit.Type, conditions ...func(audit.Event) bool) forgery {
		return forgery{rule, func(l *log) int {
			i := l.find(0, kind, conditions...)
			batch := l.events[i].Batch
			l.remove(i)
			for l.events[i].Type == kind && l.events[i].Batch == batch { // of other operations
				i++
			}
			return i
		}}
	}
	wantRefused(t, map[string]forgery{
		"never approved though it needs nobody":     removed("rule 9", audit.OperationBecameApproved),
		"never exhausted":                           removed("rule 9", audit.OperationExhausted),
		"never lapsed though its orderer is gone":   removed("rule 9", audit.OperationLapsed, func(e audit.Event) bool { return strings.Contains(e.Reason, "disabled") }),
		"never lapsed though approvals are missing": removed("rule 9", audit.OperationLapsed, func(e audit.Event) bool { return strings.Contains(e.Reason, "approvals") }),
		"never revoked though its key is":           removed("rule 9", audit.OperationRevoked, byServer),
		"approved with one approval too few": {"I3", func(l *log) int {
			_, id := l.quorum()
			approved := l.find(0, audit.OperationApproved, of(id))
			l.remove(approved)
			return l.find(approved, audit.OperationBecameApproved, of(id))
		}},
		"approved by two approvals of one person": {"rule 4", func(l *log) int {
			_, id := l.quorum()
			first := l.find(0, audit.OperationApproved, of(id))
			second := l.find(first+1, audit.OperationApproved, of(id))
			l.edit(second, func(e *audit.Event) { e.Actor = l.events[first].Actor })
			return second
		}},
		"approved twice": {"I6", func(l *log) int {
			met := l.find(0, audit.OperationBecameApproved)
			return l.tell(met+1, l.events[met], nil)
		}},
		"lapsed for no reason": {"I3", func(l *log) int {
			met := l.find(0, audit.OperationBecameApproved)
			return l.tell(met+1, l.events[met], func(e *audit.Event) { e.Type = audit.OperationLapsed })
		}},
		"exhausted with uses left": {"rules 2, 8, 9 and 13", func(l *log) int {
			signed := l.find(0, audit.OrderSigned, use(1, 2))
			met := l.events[l.find(0, audit.OperationBecameApproved, of(l.events[signed].Operation))]
			return l.tell(signed+1, met, func(e *audit.Event) { e.Type = audit.OperationExhausted })
		}},
		"expired too early": {"rules 2, 8, 9 and 13", func(l *log) int {
			met := l.find(0, audit.OperationBecameApproved)
			return l.tell(met+1, l.events[met], func(e *audit.Event) { e.Type = audit.OperationExpired })
		}},
		"approved after it has expired": {"I6", func(l *log) int {
			expired := l.find(0, audit.OperationExpired)
			return l.tell(expired+1, l.events[expired], func(e *audit.Event) { e.Type = audit.OperationBecameApproved })
		}},
		"pending again after it was exhausted": {"I6", func(l *log) int {
			exhausted := l.find(0, audit.OperationExhausted)
			return l.tell(exhausted+1, l.events[exhausted], func(e *audit.Event) { e.Type = audit.OperationLapsed })
		}},
		"told in a batch of its own": {"rule 9", func(l *log) int {
			met := l.find(0, audit.OperationBecameApproved)
			l.edit(met, func(e *audit.Event) { e.Batch = "another" })
			return met
		}},
		"told later": {"rule 9", func(l *log) int {
			met := l.find(0, audit.OperationBecameApproved)
			for i := range l.events[met:] {
				l.edit(met+i, func(e *audit.Event) { e.Time++ })
			}
			return met
		}},
		"not told because the log ends": {"rule 9", func(l *log) int {
			met := l.find(0, audit.OperationBecameApproved)
			l.events = l.events[:met]
			return met
		}},
		"not told after the last change of configuration": {"rule 9", func(l *log) int {
			lapsed := l.find(0, audit.OperationLapsed)
			l.events = l.events[:lapsed]
			return lapsed
		}},
	})
}

// AT-01, rule 8.
func TestAT01_AForgedClockIsFound(t *testing.T) {
	wantRefused(t, map[string]forgery{
		"operations ended by a clock that nobody accepts": {"rule 8", func(l *log) int {
			i := l.find(0, audit.ClockAccepted)
			l.events = l.events[:i]
			return i
		}},
		"something else between the ends and the acceptance": {"rule 8", func(l *log) int {
			i := l.find(0, audit.ClockAccepted)
			refused := l.find(0, audit.SignInRefused)
			return l.tell(i, l.events[refused], nil)
		}},
		"an operation that outlives the acceptance": {"rule 8", func(l *log) int {
			i := l.find(0, audit.ClockAccepted)
			l.remove(l.find(0, audit.OperationExpired, byClock))
			return i - 1
		}},
		"an operation that outlives it and is not counted": {"rule 8", func(l *log) int {
			i := l.find(0, audit.ClockAccepted)
			l.edit(i, func(e *audit.Event) { e.Count-- })
			l.remove(l.find(0, audit.OperationExpired, byClock))
			return i - 1
		}},
		"an administration session that outlives it": {"rule 8", func(l *log) int {
			i := l.find(0, audit.ClockAccepted)
			l.remove(l.find(0, audit.SessionExpired, byClock))
			return i - 1
		}},
		"another number of ended operations": {"rule 8", func(l *log) int {
			i := l.find(0, audit.ClockAccepted)
			l.edit(i, func(e *audit.Event) { e.Count++ })
			return i
		}},
		"another time than the clock's": {"rule 8", func(l *log) int {
			i := l.find(0, audit.ClockAccepted)
			l.edit(i, func(e *audit.Event) { e.Time-- })
			return i
		}},
		"a clock that was never ahead": {"rule 8", func(l *log) int {
			i := l.find(0, audit.ClockAccepted)
			l.edit(i, func(e *audit.Event) { e.Clock = &audit.ClockStep{Old: e.Clock.New, New: e.Clock.New} })
			return i
		}},
		"a step to where it stood": {"rule 8", func(l *log) int {
			i := l.find(0, audit.ClockStepped)
			l.edit(i, func(e *audit.Event) { e.Clock = &audit.ClockStep{Old: 1, New: 1} })
			return i
		}},
	})
}

// AT-01: what is unknown is refused.
func TestAT01_AnEventThatTellsTooMuchOrTooLittleIsFound(t *testing.T) {
	edited := func(rule string, kind audit.Type, change func(e *audit.Event)) forgery {
		return forgery{rule, func(l *log) int {
			i := l.find(0, kind)
			l.edit(i, change)
			return i
		}}
	}
	configured := func(rule, id, old, with string, more int) forgery {
		return forgery{rule, func(l *log) int {
			i := l.find(0, audit.ConfigurationChanged, func(e audit.Event) bool { return e.Configuration.ID == id })
			l.edit(i, replaceValue(old, with))
			if more < 0 { // it is found when the change is complete
				return l.find(0, audit.ServerStarted) - 1
			}
			return i
		}}
	}
	const form = "the form of the configuration"
	wantRefused(t, map[string]forgery{
		"a session":                       edited("what an event tells", audit.OperationCreated, func(e *audit.Event) { e.Session = "session" }),
		"a signature before its time":     edited("what an event tells", audit.OrderAccepted, func(e *audit.Event) { e.Signature = e.Input }),
		"no batch":                        edited("what an event tells", audit.OrderAccepted, func(e *audit.Event) { e.Batch = "" }),
		"no reason":                       edited("what an event tells", audit.OperationRejected, func(e *audit.Event) { e.Reason = "" }),
		"no actor":                        edited("what an event tells", audit.OrderAccepted, func(e *audit.Event) { e.Actor = nil }),
		"another server":                  edited("one server", audit.ServerStarted, func(e *audit.Event) { e.Server = "another" }),
		"a refusal of what never was":     edited("I11", audit.OrderRefused, func(e *audit.Event) { e.Operation = "another" }),
		"a refusal to see what never was": edited("I11", audit.RequestRefused, func(e *audit.Event) { e.Operation, e.Digest = "another", "" }),
		"a refusal of another digest":     edited("I11", audit.OrderRefused, func(e *audit.Event) { e.Digest = "another" }),
		"a refusal of an unknown order":   edited("I11", audit.OrderRefused, func(e *audit.Event) { e.Order = "another" }),
		"a refusal that is no event":      edited("section 7", audit.OrderRefused, func(e *audit.Event) { e.Refusal = law.Held }),
		"an unknown kind of object":       edited(form, audit.ConfigurationChanged, func(e *audit.Event) { c := *e.Configuration; c.Kind = "page"; e.Configuration = &c }),
		"an object under another name":    edited(form, audit.ConfigurationChanged, func(e *audit.Event) { c := *e.Configuration; c.ID = "another"; e.Configuration = &c }),
		"an unknown member":               configured(form, "fw-zero", `"state":"active"`, `"state":"active","x":1`, 0),
		"a key without a requirement":     configured("section 3", "fw-zero", `"requirement":0`, `"requirement":null`, 0),
		"devices that are CAs":            configured("section 3", "ca", `"keyusage":["digitalSignature"],"names"`, `"keyusage":["digitalSignature","keyCertSign"],"names"`, 0),
		"devices that answer OCSP":        configured("section 3", "ca", `["clientAuth"]`, `["OCSPSigning"]`, 0),
		"a CA key that tells statuses":    configured("section 3", "ca", `"extendedkeyusage":[],"keyusage":["keyCertSign","cRLSign"]`, `"extendedkeyusage":["OCSPSigning"],"keyusage":["keyCertSign","cRLSign"]`, 0),
		"devices for any purpose":         configured("section 3", "ca", `["clientAuth"]`, `["2.5.29.37.0"]`, 0),
		"devices with basic constraints":  configured("section 3", "ca", `"id":"1.3.6.1.4.1.99999.1"`, `"id":"2.5.29.19"`, 0),
		"devices of one name":             configured("section 3", "ca", `"pattern":"[A-Z0-9]+"`, `"pattern":""`, 0),
		"devices that may have no name":   configured("section 3", "ca", `"optional":false`, `"optional":true`, 0),
		"devices of another name":         configured("section 3", "ca", `"identity":"serial-number"`, `"identity":"common-name"`, 0),
		"devices that end and do not":     configured("section 3", "ca", `"validityms":0`, `"validityms":1000`, 0),
		"devices of every algorithm":      configured("section 3", "ca", `"algorithms":["ECDSA-P256"]`, `"algorithms":[]`, 0),
		"devices of an FW key":            configured("section 3", "ca", `"type":"CA"`, `"type":"FW"`, 0),
		"devices in another form":         configured("the form of the configuration", "ca", `"extensions":[{"id":"1.3.6.1.4.1.99999.1","value":"0500"}]`, `"extensions":null`, 0),
		"another fingerprint":             configured("rule 9", "fw-zero", `"fingerprint":"`, `"fingerprint":"0`, 0),
		"a machine that approves":         configured(form, "approvers", `"alice"`, `"ci"`, -1),
		"a member who does not exist":     configured(form, "auditors", `"audrey"`, `"nobody"`, -1),
		"an unknown kind of role":         configured(form, "approvers", `"kind":"approver"`, `"kind":"king"`, -1),
		"two people with one name":        configured(form, "alice", `"actors":[]`, `"actors":[{"issuer":"https://builds.test","value":"dora-at-builds"}]`, -1),
	})
}
