package law_test

import (
	"reflect"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

func TestWhatAKeyIsNeverChanges(t *testing.T) {
	for name, c := range map[string]struct {
		id     law.KeyID
		change func(*law.Key)
		said   string // empty: it may change
	}{
		"type":                  {"ca", func(k *law.Key) { k.Type = law.Firmware }, "key ca: its type never changes; make a new key"},
		"algorithm":             {"fw-dev", func(k *law.Key) { k.Algorithm = law.P384 }, "its algorithm never changes"},
		"what it signs":         {"fw-dev", func(k *law.Key) { k.Profile = responder() }, "its extended key usage OCSPSigning never changes"},
		"hash":                  {"fw-dev", func(k *law.Key) { k.Hash = law.SHA384 }, "its hash never changes"},
		"a scheme less":         {"rsa", func(k *law.Key) { k.Schemes = k.Schemes[:1] }, "its signature schemes never changes"},
		"keystore":              {"fw-dev", func(k *law.Key) { k.Keystore = "hsm" }, "its keystore and key pair never changes"},
		"adopted":               {"fw-dev", func(k *law.Key) { k.Adopted = "pkcs11:object=x" }, "its keystore and key pair never changes"},
		"that it may leave":     {"fw-dev", func(k *law.Key) { k.MayLeave = true }, "its keystore and key pair never changes"},
		"requirement":           {"fw-dev", func(k *law.Key) { k.Requirement = law.Require(1) }, "key fw-dev: 1 approval"}, // nobody approves for it
		"requirement, lower":    {"fw-prod", func(k *law.Key) { k.Requirement = law.Require(1) }, ""},
		"requirement, absent":   {"fw-prod", func(k *law.Key) { k.Requirement = law.Requirement{} }, "no requirement"},
		"requirement, less":     {"fw-prod", func(k *law.Key) { k.Requirement = law.Require(-1) }, "no requirement"},
		"longest validity":      {"fw-dev", func(k *law.Key) { k.MaxValidity = time.Minute }, ""},
		"an absurd validity":    {"fw-dev", func(k *law.Key) { k.MaxValidity = -time.Minute }, "longest validity"},
		"uses":                  {"fw-dev", func(k *law.Key) { k.MaxUses = 1 }, ""},
		"absurd uses":           {"fw-dev", func(k *law.Key) { k.MaxUses = 1 << 60 }, "largest use count"},
		"artifacts":             {"fw-dev", func(k *law.Key) { k.ArtifactsNeeded = true }, ""},
		"disabled":              {"fw-dev", func(k *law.Key) { k.State = law.KeyDisabled }, ""},
		"revoked":               {"fw-dev", func(k *law.Key) { k.State = law.KeyRevoked }, ""},
		"a key pair of another": {"fw-dev", func(k *law.Key) { *k = k.With(made("other/1", 5)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCouncil(t)
			was, _ := w.facts().Key(c.id)
			k := was
			c.change(&k)
			for _, pairs := range []map[law.KeyID]law.KeyPair{nil, noPairs, {c.id: made("another/2", 2)}} {
				next, err := law.Changes{Set: law.Configuration{Keys: []law.Key{k}}}.On(w.facts(), pairs, law.Mode{})
				wantSaid(t, c.said, err)
				for _, n := range next.Keys {
					if n.ID == c.id && (!reflect.DeepEqual(n.Pair(), was.Pair()) || !reflect.DeepEqual(n, k.With(was.Pair()))) {
						t.Errorf("it is %+v", n)
					}
				}
			}
		})
	}
}

func TestARevokedKeyIsRevokedForEver(t *testing.T) {
	for state, said := range map[law.KeyState]string{
		law.KeyActive: "key fw-dev is revoked for ever", law.KeyDisabled: "key fw-dev is revoked for ever", law.KeyRevoked: "",
	} {
		c := newCouncil(t)
		c.setState("fw-dev", law.KeyRevoked)
		k := with(key("fw-dev", 0), func(k *law.Key) { k.State, k.MaxUses = state, 2 })
		_, err := law.Changes{Set: law.Configuration{Keys: []law.Key{k}}}.On(c.facts(), noPairs, law.Mode{})
		wantSaid(t, said, err)
	}
}

func TestADisabledKeyIsEnabledByAChange(t *testing.T) {
	c := newCouncil(t)
	c.setState("fw-dev", law.KeyDisabled)
	next, err := law.Changes{Set: law.Configuration{Keys: []law.Key{key("fw-dev", 0)}}}.On(c.facts(), noPairs, law.Mode{})
	if err != nil || len(next.Keys) == 0 {
		t.Fatal(err)
	}
	c.cfg = next
	if k, _ := c.facts().Key("fw-dev"); k.State != law.KeyActive {
		t.Errorf("it is %s", k.State)
	}
}

func TestANewKeyIsActiveAndHasAKeyPair(t *testing.T) {
	leaves, stays := &law.KeyAttributes{Extractable: true, Sensitive: true}, &law.KeyAttributes{Sensitive: true}
	of := func(a *law.KeyAttributes, change func(*law.KeyPair)) map[law.KeyID]law.KeyPair {
		p := made("new/1", 1)
		p.Attributes = a
		if change != nil {
			change(&p)
		}
		return map[law.KeyID]law.KeyPair{"new": p}
	}
	plain, adopted := func(*law.Key) {}, func(k *law.Key) { k.Adopted = "pkcs11:object=new" }
	leaving := func(k *law.Key) { k.Adopted, k.MayLeave = "pkcs11:object=new", true }
	for name, c := range map[string]struct {
		key   func(*law.Key)
		pairs map[law.KeyID]law.KeyPair
		said  string
	}{
		"as it is":                     {plain, of(nil, nil), ""},
		"before it has a key pair":     {plain, nil, ""},
		"disabled":                     {func(k *law.Key) { k.State = law.KeyDisabled }, of(nil, nil), "key new is new; it must be active"},
		"revoked":                      {func(k *law.Key) { k.State = law.KeyRevoked }, nil, "key new is new; it must be active"},
		"without a key pair":           {plain, map[law.KeyID]law.KeyPair{"fw-dev": made("new/1", 1)}, "key new is new and has no key pair"},
		"with the zero key pair":       {plain, map[law.KeyID]law.KeyPair{"new": {}}, "key new: its key pair is not complete"},
		"version 0":                    {plain, of(nil, func(p *law.KeyPair) { p.Version = 0 }), "its key pair is not complete"},
		"no handle":                    {plain, of(nil, func(p *law.KeyPair) { p.Handle = "" }), "its key pair is not complete"},
		"no public key":                {plain, of(nil, func(p *law.KeyPair) { *p = made("", 1); p.Handle = "new/1" }), "its key pair is not complete"},
		"no fingerprint":               {plain, of(nil, func(p *law.KeyPair) { p.Fingerprint = "" }), "its key pair is not complete"},
		"fingerprint of another":       {plain, of(nil, func(p *law.KeyPair) { p.Fingerprint = made("other/1", 1).Fingerprint }), "its key pair is not complete"},
		"made, and can leave":          {plain, of(leaves, nil), "key new: the private key could leave keystore software"},
		"made, and stays":              {plain, of(stays, nil), ""},
		"adopted, and says nothing":    {adopted, of(nil, nil), "key new: the private key could leave"},
		"adopted, and can leave":       {adopted, of(leaves, nil), "key new: the private key could leave"},
		"adopted, and stays":           {adopted, of(stays, nil), ""},
		"adopted, and may leave":       {leaving, of(leaves, nil), ""},
		"adopted, and may be anywhere": {leaving, of(nil, nil), ""},
		"made, and may leave":          {func(k *law.Key) { k.MayLeave = true }, of(leaves, nil), ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCouncil(t)
			k := with(key("new", 0).With(law.KeyPair{}), c.key)
			next, err := law.Changes{Set: law.Configuration{Keys: []law.Key{k}}}.On(w.facts(), c.pairs, law.Mode{})
			wantSaid(t, c.said, err)
			if c.said != "" && !reflect.DeepEqual(next, law.Configuration{}) {
				t.Error("a refused change left a configuration")
			}
		})
	}
}

// rule 9: a key pair that is replaced ends what was open under the old one, so it must be another
func TestAKeyPairIsReplacedByANewOne(t *testing.T) {
	present := made("fw-dev/1", 1)
	for name, c := range map[string]struct {
		change func(*law.Key)
		pair   law.KeyPair
		said   string
	}{
		"by a new one":            {func(*law.Key) {}, made("fw-dev/2", 2), ""},
		"some versions later":     {func(*law.Key) {}, made("fw-dev/9", 9), ""},
		"of a disabled key":       {func(k *law.Key) { k.State = law.KeyDisabled }, made("fw-dev/2", 2), ""},
		"of a revoked key":        {func(k *law.Key) { k.State = law.KeyRevoked }, made("fw-dev/2", 2), "key fw-dev is revoked for ever; make a new key"},
		"of an adopted key":       {func(k *law.Key) { k.Adopted = "x" }, made("fw-dev/2", 2), "key fw-dev was adopted; its key pair is not ours to replace"},
		"by itself":               {func(*law.Key) {}, with(present, func(p *law.KeyPair) { p.Version = 2 }), "version 2 of its key pair is not a new one"},
		"by one of its version":   {func(*law.Key) {}, made("fw-dev/x", 1), "version 1 of its key pair is not a new one"},
		"by none":                 {func(*law.Key) {}, law.KeyPair{}, "version 0 of its key pair is not a new one"},
		"by an incomplete one":    {func(*law.Key) {}, with(made("fw-dev/2", 2), func(p *law.KeyPair) { p.Handle = "" }), "its key pair is not complete"},
		"by one that could leave": {func(*law.Key) {}, with(made("fw-dev/2", 2), func(p *law.KeyPair) { p.Attributes = &law.KeyAttributes{} }), "could leave keystore"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCouncil(t)
			w.changeKey("fw-dev", func(k *law.Key) { *k = k.With(present) })
			w.changeKey("fw-dev", c.change)
			ch := law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}}
			next, err := ch.On(w.facts(), map[law.KeyID]law.KeyPair{"fw-dev": c.pair}, law.Mode{})
			wantSaid(t, c.said, err)
			if err != nil {
				return
			}
			was, _ := w.facts().Key("fw-dev")
			w.cfg = next
			if got, _ := w.facts().Key("fw-dev"); !reflect.DeepEqual(got, was.With(c.pair)) {
				t.Errorf("it is %+v", got)
			}
		})
	}
	w := newCouncil(t)
	ch := law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}}
	_, err := ch.On(w.facts(), noPairs, law.Mode{})
	wantSaid(t, "key fw-dev has no new key pair", err)
	if next, err := ch.On(w.facts(), nil, law.Mode{}); err != nil || !reflect.DeepEqual(next, w.facts().Configuration()) {
		t.Errorf("before it is made: %v", err)
	}
}

// section 5: the safe direction needs no session
func TestAnyAdministratorDisablesAKeyAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		who    law.SubjectID
		id     law.KeyID
		state  law.KeyState
		kind   law.RefusalKind
		change bool
	}{
		"an administrator":            {"dora", "fw-prod", law.KeyActive, "", true},
		"what is disabled already":    {"dora", "fw-prod", law.KeyDisabled, "", false},
		"what is revoked":             {"dora", "fw-prod", law.KeyRevoked, law.WrongState, false},
		"what is not there":           {"dora", "fw", law.KeyActive, law.NotFound, false},
		"an auditor":                  {"otto", "fw-prod", law.KeyActive, law.Forbidden, false},
		"an approver":                 {"anna", "fw-prod", law.KeyActive, law.Forbidden, false},
		"somebody, what is not there": {"zoe", "fw", law.KeyActive, law.Forbidden, false},
		"nobody":                      {"", "fw-prod", law.KeyActive, law.Forbidden, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCouncil(t)
			w.held = true
			w.setState("fw-prod", c.state)
			was, _ := w.facts().Key(c.id)
			ch, err := w.facts().DisableKey(c.who, c.id)
			want := law.Changes{}
			if c.change {
				was.State = law.KeyDisabled
				want.Set.Keys = []law.Key{was}
			}
			if !reflect.DeepEqual(ch, want) {
				t.Errorf("it changes %+v", ch)
			}
			if c.kind != "" {
				wantRefusal(t, c.kind, err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// section 5: administrators too, even the last but one
func TestAnyAdministratorDisablesASubjectAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		who, id law.SubjectID
		enabled bool
		kind    law.RefusalKind
		change  bool
	}{
		"an approver":                {"dora", "anna", true, "", true},
		"a machine":                  {"dora", "line", true, "", true},
		"an administrator":           {"dora", "ada", true, "", true},
		"oneself":                    {"dora", "dora", true, "", true},
		"who is disabled already":    {"dora", "anna", false, "", false},
		"who is not there":           {"dora", "max", true, law.NotFound, false},
		"by an auditor":              {"otto", "anna", true, law.Forbidden, false},
		"by somebody, a stranger":    {"zoe", "max", true, law.Forbidden, false},
		"by nobody":                  {"", "anna", true, law.Forbidden, false},
		"by who is disabled as well": {"bert", "bert", false, law.Forbidden, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCouncil(t)
			w.held = true
			if c.id != "max" {
				w.enable(c.id, c.enabled)
			}
			ch, err := w.facts().DisableSubject(c.who, c.id)
			want := law.Changes{}
			if c.change {
				want.Set.Subjects = []law.Subject{with(*w.subject(c.id), func(s *law.Subject) { s.Enabled = false })}
			}
			if !reflect.DeepEqual(ch, want) {
				t.Errorf("it changes %+v", ch)
			}
			if c.kind != "" {
				wantRefusal(t, c.kind, err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// Else an operation that one key lets nobody use could be had with the other.
func TestTwoKeysNeverHaveTheSameKeyPair(t *testing.T) {
	c := newCouncil(t)
	twin := key("twin", 0).With(law.KeyPair{})
	next, err := law.Changes{Set: law.Configuration{Keys: []law.Key{twin}}}.On(c.facts(), map[law.KeyID]law.KeyPair{"twin": made("fw-prod/1", 1)}, law.Mode{})
	if err != nil {
		t.Fatal(err)
	}
	c.cfg = next
	other := key("other", 0).With(law.KeyPair{})
	_, err = law.Changes{Set: law.Configuration{Keys: []law.Key{other}}}.On(c.facts(), map[law.KeyID]law.KeyPair{"other": made("fw-prod/1", 1)}, law.Mode{})
	wantRefusal(t, law.Impossible, err)
	wantSaid(t, "have the same key pair", err)
}
