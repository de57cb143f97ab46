package verify_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/verify/verifytest"
)

// tale is a log of administration sessions that the law itself tells, without a server.
type tale struct {
	testing.TB
	now      time.Time
	facts    law.Facts
	changed  int64
	sessions map[string]law.Session // by description
	plans    map[string]law.Changes
	log      *log
}

func newTale(t testing.TB) *tale {
	l := &tale{TB: t, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), sessions: map[string]law.Session{}, plans: map[string]law.Changes{}, log: &log{TB: t}}
	l.configured(audit.Event{Reason: "first configuration"}, nil, l.objects(law.Changes{Set: administered()}, administered()))
	l.step(time.Minute)
	return l
}

// administered is a configuration with four administrators: ada, bea, cleo and dina. audrey audits, eve may do nothing.
func administered() law.Configuration {
	var c law.Configuration
	for _, id := range []law.SubjectID{"ada", "audrey", "bea", "cleo", "dina", "eve", "olga"} {
		c.Subjects = append(c.Subjects, law.Subject{ID: id, Kind: law.User, Name: string(id), Enabled: true, Identities: someIdentity(id)})
	}
	for _, id := range []law.KeyID{"fw-one", "fw-two", "old"} {
		c.Keys = append(c.Keys, someKey(id).With(somePair(id, 1)))
	}
	c.Keys[2].State = law.KeyRevoked
	c.Issuers = []law.Issuer{{URL: "https://people.test", Audiences: []string{"a"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}}}
	c.Issuers = append(c.Issuers, c.Issuers[0])
	c.Issuers[1].URL = "https://spare.test"
	c.Roles = []law.Role{
		{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"ada", "bea", "cleo", "dina"}},
		{ID: "approvers", Kind: law.Approver, Keys: []law.KeyID{"fw-one", "fw-two"}, Members: []law.SubjectID{"ada", "eve"}},
		{ID: "auditors", Kind: law.Auditor, Members: []law.SubjectID{"audrey", "dina"}},
		{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{"fw-one", "fw-two"}, Members: []law.SubjectID{"olga"}},
	}
	return c
}

func someIdentity(of law.SubjectID) []law.Identity {
	return []law.Identity{{Issuer: "https://people.test", Claims: map[string][]string{"sub": {"sub of " + string(of)}}}}
}

func someKey(id law.KeyID) law.Key {
	return law.Key{
		ID: id, Type: law.Firmware, Algorithm: law.P256, Hash: law.SHA256, Schemes: []law.Scheme{law.ECDSA}, Requirement: law.Require(0),
		MaxValidity: time.Hour, MaxUses: 10, Approvals: law.SessionApprovals, State: law.KeyActive, Keystore: "software",
	}
}

func somePair(id law.KeyID, version int) law.KeyPair {
	public := []byte(fmt.Sprint(id, " ", version))
	sum := sha256.Sum256(public)
	return law.KeyPair{Version: version, Handle: string(public), PublicKey: public, Fingerprint: hex.EncodeToString(sum[:]),
		Attributes: &law.KeyAttributes{Local: true, Sensitive: true}}
}

func (l *tale) step(d time.Duration) { l.now = l.now.Add(d) }

func (l *tale) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *tale) objects(c law.Changes, after law.Configuration) []audit.Configuration {
	l.Helper()
	objects, err := audit.Changed(c, after)
	l.must(err)
	return objects
}

// write adds an event in the batch of the time.
func (l *tale) write(e audit.Event) {
	e.Version, e.Time, e.Batch = audit.Version, l.now.UnixMilli(), l.now.String()
	l.log.events = append(l.log.events, e)
}

// happened writes what happened to a session.
func (l *tale) happened(out law.SessionOutcome) {
	for _, c := range out.Changes {
		e := audit.Event{
			Type: audit.Type(c.Kind), Session: string(out.Session.ID), SessionDescription: out.Session.Description, Digest: out.Session.Digest(), Reason: c.Reason,
		}
		if c.By != "" {
			by(c.By)(&e)
		}
		if c.Kind == law.DidOpenSession {
			e.Statement = out.Session.Canonical()
		}
		l.write(e)
	}
	l.sessions[out.Session.Description] = out.Session
}

// configured writes the objects, then what else happened to the session in which they changed, then what followed
// from it for other sessions.
func (l *tale) configured(like audit.Event, rest []law.Change, objects []audit.Configuration) {
	l.Helper()
	all := l.facts.Configuration()
	for _, o := range objects {
		e := like
		e.Type, e.Configuration = audit.ConfigurationChanged, &o
		l.write(e)
	}
	for _, o := range objects { // each in the place of the one before
		all.Keys = slices.DeleteFunc(all.Keys, func(k law.Key) bool { return o.Kind == audit.ConfiguredKey && string(k.ID) == o.ID })
		all.Subjects = slices.DeleteFunc(all.Subjects, func(s law.Subject) bool { return o.Kind == audit.ConfiguredSubject && string(s.ID) == o.ID })
		all.Roles = slices.DeleteFunc(all.Roles, func(r law.Role) bool { return o.Kind == audit.ConfiguredRole && string(r.ID) == o.ID })
		all.Issuers = slices.DeleteFunc(all.Issuers, func(i law.Issuer) bool { return o.Kind == audit.ConfiguredIssuer && i.URL == o.ID })
		if !o.Removes() {
			l.must(o.AddTo(&all))
		}
	}
	var err error
	l.facts, err = law.NewFacts(all)
	l.must(err)
	l.changed++
	if len(rest) > 0 {
		l.happened(law.SessionOutcome{Session: l.sessions[like.SessionDescription], Changes: rest})
	}
	l.settle()
}

// settle writes what has come about by itself.
func (l *tale) settle() {
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range l.sessions {
			if !yield(name) {
				return
			}
		}
	}) {
		l.happened(l.sessions[name].Settle(l.facts, l.now))
	}
}

func (l *tale) open(name string, who law.SubjectID, plan ...law.Changes) {
	l.Helper()
	ask := law.SessionAsk{
		Server: verifytest.ServerID, ID: law.SessionID("session " + name), Nonce: strings.Repeat("0a", 32), Description: name, Base: l.changed,
	}
	for _, p := range plan {
		canonical, err := audit.Plan(p)
		l.must(err)
		sum := sha256.Sum256(canonical)
		ask.Plan, l.plans[name] = law.Digest(hex.EncodeToString(sum[:])), p
	}
	out, err := law.OpenSession(law.Principal{Subject: who, Issuer: "https://people.test", Sub: "sub of " + string(who)}, ask, l.facts, l.now)
	l.must(err)
	l.happened(out)
	l.step(time.Minute)
}

func (l *tale) authorise(name string, people ...law.SubjectID) {
	l.Helper()
	for _, who := range people {
		out, err := l.sessions[name].Authorise(who, l.sessions[name].Digest(), l.facts, l.now)
		l.must(err)
		l.happened(out)
		l.step(time.Minute)
	}
}

func (l *tale) withdraw(name string, who law.SubjectID) {
	l.Helper()
	out, err := l.sessions[name].Withdraw(who, l.facts, l.now)
	l.must(err)
	l.happened(out)
	l.step(time.Minute)
}

func (l *tale) close(name string, who law.SubjectID) {
	l.Helper()
	out, err := l.sessions[name].Close(who, l.facts, l.now)
	l.must(err)
	l.happened(out)
	l.step(time.Minute)
}

// change changes the configuration in a session. New key pairs have that version.
func (l *tale) change(name string, who law.SubjectID, version int, c law.Changes) {
	l.Helper()
	pairs := map[law.KeyID]law.KeyPair{}
	for _, k := range c.NewPairs(l.facts) {
		pairs[k.ID] = somePair(k.ID, version)
	}
	s := l.sessions[name]
	out, after, err := s.Change(who, c, s.Plan, l.changed, pairs, law.Mode{}, l.facts, l.now)
	l.must(err)
	var rest []law.Change
	for i, did := range out.Changes {
		if did.Kind == law.DidApplyPlan {
			l.happened(law.SessionOutcome{Session: out.Session, Changes: out.Changes[:i+1]})
			rest = out.Changes[i+1:]
		}
	}
	l.sessions[name] = out.Session
	like := audit.Event{Session: string(s.ID), SessionDescription: name, Reason: "because"}
	by(who)(&like)
	l.configured(like, rest, l.objects(c, after))
	l.step(time.Minute)
}

func (l *tale) apply(name string, who law.SubjectID) {
	l.Helper()
	l.change(name, who, 1, l.plans[name])
}

// disable disables a key or a subject in an emergency.
func (l *tale) disable(who law.SubjectID, key law.KeyID, subject law.SubjectID) {
	l.Helper()
	c, err := l.facts.DisableSubject(who, subject)
	if key != "" {
		c, err = l.facts.DisableKey(who, key)
	}
	l.must(err)
	like := audit.Event{Reason: "an emergency"}
	by(who)(&like)
	l.configured(like, nil, l.objects(c, c.Set))
	l.step(time.Minute)
}

// Changes.

func (l *tale) key(id law.KeyID, change func(*law.Key)) law.Changes {
	k, _ := l.facts.Key(id)
	change(&k)
	return law.Changes{Set: law.Configuration{Keys: []law.Key{k}}}
}

func (l *tale) enable(who law.SubjectID, enabled bool) law.Changes {
	s, _ := l.facts.Subject(who)
	s.Enabled = enabled
	return law.Changes{Set: law.Configuration{Subjects: []law.Subject{s}}}
}

// fold reads the whole log.
func (l *log) fold() error {
	f := verify.NewFold(verifytest.ServerID)
	for i, e := range l.events {
		e.Index = int64(i)
		if err := f.Add(e); err != nil {
			return err
		}
	}
	return f.Finish()
}
