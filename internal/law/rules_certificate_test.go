package law_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

func profile(pathLen int, usage ...law.KeyUsage) *law.Profile {
	p := &law.Profile{Subject: law.Name{CommonName: "Example"}, Validity: 365 * 24 * time.Hour, PathLen: pathLen, KeyUsage: usage}
	if usage[0] == law.DigitalSignature {
		p.ExtendedKeyUsage = []string{"codeSigning"}
	}
	return p
}

// newHierarchy is the small world with a second administrator and profiles on root, ca and fw-dev, and with a session
// that both administrators have authorised.
func newHierarchy(t testing.TB) (*world, law.Session) {
	w := newWorld(t)
	w.cfg.Subjects = append(w.cfg.Subjects, person("bill"))
	w.cfg.Roles[4].Members = append(w.cfg.Roles[4].Members, "bill")
	for i := range w.cfg.Keys {
		switch k := &w.cfg.Keys[i]; k.ID {
		case "root":
			k.Profile = profile(1, law.KeyCertSign, law.CRLSign)
		case "ca":
			k.Profile, k.Requirement = profile(0, law.KeyCertSign, law.CRLSign), law.Require(0)
		case "fw-dev":
			k.Profile = profile(0, law.DigitalSignature)
		}
	}
	return w, w.session("")
}

// session is an active one of ada and bill.
func (w *world) session(plan law.Digest) law.Session {
	w.t.Helper()
	ask := law.SessionAsk{Server: "keyserver/test", ID: "s-1", Nonce: "00", Description: "certificates", Plan: plan}
	out, err := law.OpenSession(law.Principal{Subject: "ada"}, ask, w.facts(), w.now)
	if err == nil {
		out, err = out.Session.Authorise("bill", out.Session.Digest(), w.facts(), w.now)
	}
	if err != nil || out.Session.Recorded != law.SessionActive {
		w.t.Fatalf("opening a session: %v, it is %s", err, out.Session.Recorded)
	}
	return out.Session
}

func draftBy(tbs string) law.Draft {
	return law.Draft{TBS: []byte(tbs), Input: law.Input{Hash: law.SHA256, Scheme: law.ECDSA, Digest: digestOf(tbs)}}
}

func (w *world) certificate(issuer, of law.KeyID) law.CertificateAsk {
	return law.CertificateAsk{ID: "c-1", Issuer: issuer, Key: of, Draft: law.CertificateDraft{
		Draft: draftBy("certificate of " + string(of)), Fingerprint: "fingerprint-of-" + string(of), Serial: "4f2a",
		NotBefore: w.now, NotAfter: w.now.Add(time.Hour),
	}}
}

func (w *world) key(id law.KeyID) *law.Key {
	return &w.cfg.Keys[slices.IndexFunc(w.cfg.Keys, func(k law.Key) bool { return k.ID == id })]
}

func TestARootKeyIssuesCertificatesInAnActiveSession(t *testing.T) {
	w, s := newHierarchy(t)
	for _, of := range []law.KeyID{"root", "ca", "fw-dev"} {
		c, err := s.Certify("ada", w.certificate("root", of), w.facts(), w.now)
		if err != nil {
			t.Fatalf("certificate of %s: %v", of, err)
		}
		want := law.Certificate{
			ID: "c-1", Key: of, Fingerprint: "fingerprint-of-" + string(of), Issuer: "root", IssuerFingerprint: "fingerprint-of-root", Serial: "4f2a",
			TBS: []byte("certificate of " + string(of)), NotBefore: w.now, NotAfter: w.now.Add(time.Hour), Session: "s-1", Accepted: w.now,
			State: law.CertificateRunning, Lease: w.now.Add(law.AttemptLease),
		}
		if !reflect.DeepEqual(c.Certificate, want) {
			t.Errorf("certificate\n     %+v\nwant %+v", c.Certificate, want)
		}
		p := c.Permit
		if !p.Granted() || p.Purpose() != law.ForCertificate || p.Session() != "s-1" || p.Certificate() != "c-1" || p.Operation() != "" ||
			p.Order() != "" || p.Key().ID != "root" || !reflect.DeepEqual(p.Input(), draftBy("certificate of "+string(of)).Input) {
			t.Errorf("permit %+v", p)
		}
	}
}

// AZ-04
func TestAZ04_OutsideAnActiveSessionTheLawPermitsNoUseOfARootKey(t *testing.T) {
	w, active := newHierarchy(t)
	opened, err := law.OpenSession(law.Principal{Subject: "ada"}, law.SessionAsk{Server: "keyserver/test", ID: "s-2", Nonce: "00", Description: "x"}, w.facts(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := active.Close("bill", w.facts(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	late := w.now.Add(time.Hour)
	for what, test := range map[string]struct {
		s    law.Session
		who  law.SubjectID
		at   time.Time
		want law.RefusalKind
	}{
		"the zero session":               {law.Session{}, "ada", w.now, law.Forbidden},
		"an inactive session":            {opened.Session, "ada", w.now, law.Forbidden},
		"a closed session":               {closed.Session, "ada", w.now, law.Forbidden},
		"a session at its last instant":  {active, "ada", late, law.Forbidden},
		"who has not authorised it":      {active, "otto", w.now, law.Forbidden},
		"who knows nothing of sessions":  {active, "olga", w.now, law.NotFound},
		"a session with a plan":          {w.session(aPlan), "ada", w.now, law.Forbidden},
		"a subject that nobody has seen": {active, "nobody", w.now, law.NotFound},
	} {
		t.Run(what, func(t *testing.T) {
			ask := w.certificate("root", "ca")
			ask.Draft.NotAfter = late.Add(time.Hour)
			c, err := test.s.Certify(test.who, ask, w.facts(), test.at)
			wantRefusal(t, test.want, err)
			_, request, err := test.s.Request(test.who, "root", draftBy("request"), w.facts(), test.at)
			wantRefusal(t, test.want, err)
			list := law.ListDraft{Draft: draftBy("list"), ThisUpdate: w.now, NextUpdate: late.Add(time.Hour)}
			_, a, err := test.s.PermitRevocationList(test.who, law.RevocationList{Key: "root"}, list, w.facts(), test.at)
			wantRefusal(t, test.want, err)
			_, err = test.s.Import(test.who, law.Certificate{Key: "ca", Fingerprint: "fingerprint-of-ca", NotAfter: late.Add(time.Hour)}, "", w.facts(), test.at)
			wantRefusal(t, test.want, err)
			if c.Permit.Granted() || request.Granted() || a.Permit.Granted() {
				t.Error("a permit was granted with the refusal")
			}
		})
	}
	_, err = law.RevocationList{Key: "root"}.PermitRevocationList(law.ListDraft{Draft: draftBy("list"), ThisUpdate: w.now, NextUpdate: late}, w.facts(), w.now)
	wantRefusal(t, law.Impossible, err)
}

func TestACertificateThatCannotBeIsRefused(t *testing.T) {
	for what, test := range map[string]struct {
		issuer, of law.KeyID
		change     func(*world, *law.CertificateAsk)
		want       law.RefusalKind
	}{
		"by a CA key":              {"ca", "fw-dev", nil, law.Impossible},
		"by an FW key":             {"fw-dev", "ca", nil, law.Impossible},
		"by a key that is not":     {"none", "ca", nil, law.Impossible},
		"of a key that is not":     {"root", "none", nil, law.Impossible},
		"of a key without profile": {"root", "fw-test", nil, law.Impossible},
		"that cannot be drawn up":  {"root", "ca", func(_ *world, a *law.CertificateAsk) { a.Draft.Fault = "no" }, law.Impossible},
		"by a disabled ROOT key":   {"root", "ca", func(w *world, _ *law.CertificateAsk) { w.key("root").State = law.KeyDisabled }, law.Impossible},
		"of a revoked key":         {"root", "ca", func(w *world, _ *law.CertificateAsk) { w.key("ca").State = law.KeyRevoked }, law.Impossible},
		"of another ROOT key": {"root", "root-2", func(w *world, _ *law.CertificateAsk) {
			w.cfg.Keys = append(w.cfg.Keys, with(*w.key("root"), func(k *law.Key) {
				k.ID, k.Fingerprint, k.Handle, k.PublicKey = "root-2", "fingerprint-of-root-2", "handle-of-root-2", []byte("public key of root-2")
			}))
		}, law.Impossible},
		"of an old key pair": {"root", "ca", func(_ *world, a *law.CertificateAsk) { a.Draft.Fingerprint = "older" }, law.WrongState},
		"without a serial":   {"root", "ca", func(_ *world, a *law.CertificateAsk) { a.Draft.Serial = "" }, law.Impossible},
		"that is never valid": {"root", "ca", func(_ *world, a *law.CertificateAsk) {
			a.Draft.NotAfter = a.Draft.NotBefore
		}, law.Impossible},
		"that is over already": {"root", "ca", func(w *world, a *law.CertificateAsk) {
			a.Draft.NotBefore, a.Draft.NotAfter = w.now.Add(-time.Hour), w.now
		}, law.Impossible},
		"with another hash":          {"root", "ca", func(_ *world, a *law.CertificateAsk) { a.Draft.Input.Hash = law.SHA384 }, law.InputMisfit},
		"with another scheme":        {"root", "ca", func(_ *world, a *law.CertificateAsk) { a.Draft.Input.Scheme = law.PSS }, law.InputMisfit},
		"with the digest of another": {"root", "ca", func(_ *world, a *law.CertificateAsk) { a.Draft.Input.Digest = digestOf("x") }, law.InputMisfit},
		"with a shorter digest":      {"root", "ca", func(_ *world, a *law.CertificateAsk) { a.Draft.Input.Digest = digestOf("x")[:31] }, law.InputMisfit},
		"with nothing to sign":       {"root", "ca", func(_ *world, a *law.CertificateAsk) { a.Draft.Draft = law.Draft{Input: draftBy("").Input} }, law.InputMisfit},
	} {
		t.Run(what, func(t *testing.T) {
			w, s := newHierarchy(t)
			ask := w.certificate(test.issuer, test.of)
			if test.change != nil {
				test.change(w, &ask)
			}
			c, err := s.Certify("ada", ask, w.facts(), w.now)
			wantRefusal(t, test.want, err)
			if c.Permit.Granted() {
				t.Error("a permit was granted with the refusal")
			}
		})
	}
}

func TestAnEd25519KeySignsTheCertificateItself(t *testing.T) {
	w, s := newHierarchy(t)
	root := w.key("root")
	root.Algorithm, root.Hash, root.Schemes = law.Ed25519, law.SHA512, []law.Scheme{law.EdDSA}
	ask := w.certificate("root", "ca")
	ask.Draft.Input = law.Input{Hash: law.SHA512, Scheme: law.EdDSA, Digest: law.SHA512.Sum(ask.Draft.TBS)}
	c, err := s.Certify("ada", ask, w.facts(), w.now)
	if err != nil || string(c.Permit.Input().Message) != string(ask.Draft.TBS) {
		t.Errorf("%v; what is signed is %q", err, c.Permit.Input().Message)
	}
}

func (w *world) certificateOrder(key, of law.KeyID) law.OrderAsk {
	ask := law.OrderAsk{ID: "so-1", Who: "olga", Key: key, IdempotencyKey: "idem-1"}
	c := w.certificate("", of)
	c.ID = ""
	ask.Certificate = &c
	return ask
}

// CE-01
func TestACAKeyIssuesTheCertificateOfAnFWKeyUnderAnOperation(t *testing.T) {
	w, _ := newHierarchy(t)
	w.order("ca")
	p, err := w.op.Place(w.certificateOrder("ca", "fw-dev"), nil, w.facts(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	c := p.Certificate
	if c.ID != "so-1" || c.Key != "fw-dev" || c.Issuer != "ca" || c.IssuerFingerprint != "fingerprint-of-ca" || c.Operation != "op-1" || c.Session != "" {
		t.Errorf("certificate %+v", c)
	}
	if m := p.Permit; !m.Granted() || m.Purpose() != law.ForCertificate || m.Operation() != "op-1" || m.Order() != "so-1" || m.Certificate() != "so-1" || m.Session() != "" {
		t.Errorf("permit %+v", m)
	}
	if p.Order.Certifies != "fw-dev" || p.Operation.Usage["ca"].Taken != 1 {
		t.Errorf("order %+v, usage %+v", p.Order, p.Operation.Usage)
	}
	if c = c.Follow(p.Order, nil); c.State != law.CertificateRunning || !c.Lease.Equal(p.Order.Lease) {
		t.Errorf("running: %+v", c)
	}

	// Another attempt is made at the same draft, whatever a new one would be like.
	failed, err := p.Operation.Fail(p.Order, 1, "no answer", w.facts(), w.now)
	if c = c.Follow(failed.Order, nil); err != nil || c.State != law.CertificateFailed || c.Failure != "no answer" {
		t.Errorf("failed: %v %+v", err, c)
	}
	other := w.certificateOrder("ca", "fw-dev")
	other.Certificate.Draft.Draft = draftBy("another draft")
	_, err = failed.Operation.Place(other, &failed.Order, w.facts(), w.now)
	wantRefusal(t, law.KeyReused, err)
	again, err := failed.Operation.Place(w.certificateOrder("ca", "fw-dev"), &failed.Order, w.facts(), w.now)
	if err != nil || again.Permit.Attempt() != 2 || again.Operation.Usage["ca"].Taken != 1 {
		t.Errorf("a further attempt: %v, %+v", err, again)
	}
	done, err := again.Operation.Complete(again.Order, 2, []byte("signature"), w.facts(), w.now)
	if c = c.Follow(done.Order, []byte("der")); err != nil || c.State != law.CertificateIssued || string(c.DER) != "der" {
		t.Errorf("issued: %v %+v", err, c)
	}
	// What is there is there, also if no more could be drawn up.
	fault := w.certificateOrder("ca", "fw-dev")
	fault.Certificate.Draft = law.CertificateDraft{Draft: law.Draft{Fault: "no"}}
	got, err := done.Operation.Place(fault, &done.Order, w.facts(), w.now)
	if err != nil || got.Permit.Granted() || string(got.Order.Signature) != "signature" {
		t.Errorf("asked for again: %v, %+v", err, got)
	}
	w.key("fw-test").Profile = profile(0, law.DigitalSignature)
	_, err = done.Operation.Place(w.certificateOrder("ca", "fw-test"), &done.Order, w.facts(), w.now)
	wantRefusal(t, law.KeyReused, err)
}

// rule 9: what an FW key's certificate holds is as when the operation was created, or there is none under it.
func TestTheCertificateOfAnFWKeyIsOfTheProfileThatItHadWhenTheOperationWasCreated(t *testing.T) {
	other := func(w *world) {
		p := *w.key("fw-dev").Profile
		p.Subject.CommonName = "Evil Twin"
		w.key("fw-dev").Profile = &p
	}
	for name, change := range map[string]func(*world){
		"another subject":  other,
		"another validity": func(w *world) { p := *w.key("fw-dev").Profile; p.Validity *= 2; w.key("fw-dev").Profile = &p },
		"another usage": func(w *world) {
			p := *w.key("fw-dev").Profile
			p.ExtendedKeyUsage = []string{"timeStamping"}
			w.key("fw-dev").Profile = &p
		},
		"another key pair":      func(w *world) { w.key("fw-dev").Fingerprint = "another" },
		"another list":          func(w *world) { p := *w.key("ca").Profile; p.CRLURL = "http://evil.example/"; w.key("ca").Profile = &p },
		"another issuer":        func(w *world) { p := *w.key("ca").Profile; p.Subject.CommonName = "Evil"; w.key("ca").Profile = &p },
		"a profile for another": func(w *world) { w.key("fw-test").Profile = profile(0, law.DigitalSignature) },
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := newHierarchy(t)
			w.order("ca")
			before := w.cfg
			w.cfg.Keys = slices.Clone(w.cfg.Keys)
			change(w)
			ask := w.certificateOrder("ca", "fw-dev")
			p, err := w.op.Place(ask, nil, w.facts(), w.now)
			wantRefusal(t, law.WrongState, err)
			if p.Permit.Granted() || p.Operation.Used() {
				t.Error("a refused order got a permit or took a use")
			}
			w.order("ca")
			ask.Certificate.Draft.Fingerprint = w.key("fw-dev").Fingerprint
			if p, err := w.op.Place(ask, nil, w.facts(), w.now); err != nil || !p.Permit.Granted() {
				t.Errorf("under an operation that was created since: %v", err)
			}
			w.cfg = before
			_, err = w.op.Place(w.certificateOrder("ca", "fw-dev"), nil, w.facts(), w.now)
			wantRefusal(t, law.WrongState, err)
		})
	}
}

// CR-04
func TestCR04_NoRawInputByACAKeyAndNoCertificateByAnyOther(t *testing.T) {
	for what, test := range map[string]struct {
		key, of law.KeyID
		who     law.SubjectID
		change  func(*world, *law.OrderAsk)
		want    law.RefusalKind
	}{
		"a raw input with a CA key":          {"ca", "", "olga", nil, law.Impossible},
		"a raw input with a ROOT key":        {"root", "", "olga", nil, law.Impossible},
		"a certificate by an FW key":         {"fw-dev", "fw-dev", "olga", nil, law.Impossible},
		"a certificate by a ROOT key":        {"root", "fw-dev", "olga", nil, law.Impossible},
		"a certificate of a CA key":          {"ca", "ca", "olga", nil, law.Impossible},
		"a certificate of a ROOT key":        {"ca", "root", "olga", nil, law.Impossible},
		"a certificate of an unknown key":    {"ca", "none", "olga", nil, law.Forbidden},
		"a certificate of a hidden key":      {"ca", "fw-dev", "line", nil, law.Forbidden},
		"a certificate without a profile":    {"ca", "fw-test", "olga", nil, law.Impossible},
		"by who is no party":                 {"ca", "fw-dev", "ci", nil, law.NotFound},
		"by who may not see it":              {"ca", "fw-dev", "zoe", nil, law.NotFound},
		"a certificate and artifacts needed": {"ca", "fw-dev", "olga", func(w *world, _ *law.OrderAsk) { w.key("ca").ArtifactsNeeded = true }, law.InputMisfit},
		"a certificate of a revoked key":     {"ca", "rsa", "olga", func(w *world, _ *law.OrderAsk) { w.key("rsa").State = law.KeyRevoked }, law.Impossible},
		"a certificate that has a fault":     {"ca", "fw-dev", "olga", func(_ *world, a *law.OrderAsk) { a.Certificate.Draft.Fault = "no" }, law.Impossible},
	} {
		t.Run(what, func(t *testing.T) {
			w, _ := newHierarchy(t)
			w.order("ca", "fw-dev")
			w.op.Clients = []law.SubjectID{"line"}
			w.cfg.Roles = append(w.cfg.Roles[1:], law.Role{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{"ca", "fw-dev", "fw-test", "root", "rsa"}, Members: []law.SubjectID{"olga"}},
				law.Role{ID: "line-orders", Kind: law.Orderer, Keys: []law.KeyID{"ca"}, Members: []law.SubjectID{"line"}})
			ask := w.certificateOrder(test.key, test.of)
			ask.Who = test.who
			if test.of == "" {
				ask.Certificate, ask.Hash, ask.Scheme, ask.Digest = nil, law.SHA256, law.ECDSA, digestOf("firmware")
			}
			if test.change != nil {
				test.change(w, &ask)
			}
			p, err := w.op.Place(ask, nil, w.facts(), w.now)
			wantRefusal(t, test.want, err)
			if p.Permit.Granted() || p.Operation.Used() {
				t.Error("a refused order got a permit or took a use")
			}
		})
	}
}

func TestACertificateWhoseKeysAreGoneIsNotIssued(t *testing.T) {
	for what, change := range map[string]func(*world){
		"nothing":                   func(*world) {},
		"the issuer is revoked":     func(w *world) { w.key("root").State = law.KeyRevoked },
		"the subject is revoked":    func(w *world) { w.key("ca").State = law.KeyRevoked },
		"the subject is replaced":   func(w *world) { w.key("ca").Fingerprint = "newer" },
		"the issuer is replaced":    func(w *world) { w.key("root").Fingerprint = "newer" },
		"the subject is disabled":   func(w *world) { w.key("ca").State = law.KeyDisabled },
		"its profile is not there":  func(w *world) { w.key("ca").Profile = nil },
		"the session has ended now": func(w *world) { w.now = w.now.Add(2 * time.Hour) },
	} {
		t.Run(what, func(t *testing.T) {
			w, s := newHierarchy(t)
			c, err := s.Certify("ada", w.certificate("root", "ca"), w.facts(), w.now)
			if err != nil {
				t.Fatal(err)
			}
			change(w)
			done, err := c.Certificate.Complete([]byte("der"), w.facts(), w.now)
			gone := w.key("root").State == law.KeyRevoked || w.key("ca").State == law.KeyRevoked || w.key("ca").Fingerprint == "newer" || w.key("root").Fingerprint == "newer"
			if err != nil || gone != (done.State == law.CertificateFailed) || gone != (done.DER == nil) {
				t.Errorf("%v, %+v", err, done)
			}
			_, err = done.Complete([]byte("der"), w.facts(), w.now)
			wantRefusal(t, law.Superseded, err)
			_, err = done.Fail("late", w.now)
			wantRefusal(t, law.Superseded, err)
		})
	}
}

func TestAnyAdministratorRevokesACertificateWithoutASession(t *testing.T) {
	w, s := newHierarchy(t)
	accepted, err := s.Certify("ada", w.certificate("root", "ca"), w.facts(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := accepted.Certificate.Complete([]byte("der"), w.facts(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	own := c
	own.Key = "root"
	for what, test := range map[string]struct {
		c      law.Certificate
		who    law.SubjectID
		code   law.RevocationCode
		reason string
		want   law.RefusalKind
	}{
		"by an auditor":              {c, "otto", "superseded", "r", law.Forbidden},
		"by an orderer":              {c, "olga", "superseded", "r", law.Forbidden},
		"by who does not see it":     {c, "zoe", "superseded", "r", law.NotFound},
		"while it is signed":         {accepted.Certificate, "ada", "superseded", "r", law.WrongState},
		"without a reason":           {c, "ada", "superseded", "", law.Impossible},
		"with a hold":                {c, "ada", "certificateHold", "r", law.Impossible},
		"without a code":             {c, "ada", "", "r", law.Impossible},
		"of a self-signed one":       {own, "ada", "superseded", "r", law.Impossible},
		"by an administrator who is": {c, "ada", "superseded", "r", ""},
	} {
		t.Run(what, func(t *testing.T) {
			r, err := test.c.Revoke(test.who, test.code, test.reason, w.facts(), w.now)
			if test.want != "" {
				wantRefusal(t, test.want, err)
				return
			}
			if err != nil || r.Valid() || r.Revocation != (law.Revocation{At: w.now, By: "ada", Code: "superseded", Reason: "r"}) {
				t.Errorf("%v, %+v", err, r)
			}
			again, err := r.Revoke("bill", "keyCompromise", "other", w.facts(), w.now.Add(time.Hour))
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("revoking it again: %v, %+v", err, again)
			}
		})
	}
}

func TestTheNewestValidCertificateOfTheKeyPairIsTheCurrentOne(t *testing.T) {
	w, _ := newHierarchy(t)
	of := func(id law.CertificateID, change func(*law.Certificate)) law.Certificate {
		c := law.Certificate{ID: id, Key: "ca", Fingerprint: "fingerprint-of-ca", State: law.CertificateIssued}
		change(&c)
		return c
	}
	all := []law.Certificate{
		of("1", func(c *law.Certificate) {}),
		of("2", func(c *law.Certificate) { c.State = law.CertificateImported }),
		of("3", func(c *law.Certificate) { c.Revocation.At = monday }),
		of("4", func(c *law.Certificate) { c.State = law.CertificateFailed }),
		of("5", func(c *law.Certificate) { c.State = law.CertificateRunning }),
		of("6", func(c *law.Certificate) { c.State = law.CertificateWithheld }),
		of("7", func(c *law.Certificate) { c.Fingerprint = "older" }),
		of("8", func(c *law.Certificate) { c.Key = "root" }),
	}
	if c, found := w.key("ca").Current(all); !found || c.ID != "2" {
		t.Errorf("current is %q (%t)", c.ID, found)
	}
	if c, found := w.key("ca").Current(all[2:]); found {
		t.Errorf("current is %q", c.ID)
	}
}

func TestTheServerMakesTheRevocationListsOfCAKeysByItself(t *testing.T) {
	w, s := newHierarchy(t)
	list := law.RevocationList{Key: "ca"}
	draft := law.ListDraft{Draft: draftBy("list"), Entries: 2, ThisUpdate: w.now, NextUpdate: w.now.Add(law.ListValidity)}
	if !list.Due(*w.key("ca"), 0, w.now) {
		t.Error("the first list is not due")
	}
	a, err := list.PermitRevocationList(draft, w.facts(), w.now)
	p := a.Permit
	if err != nil || !p.Granted() || p.Purpose() != law.ForRevocationList || p.RevocationList() != 1 || p.Session() != "" || p.Key().ID != "ca" {
		t.Fatalf("%v, permit %+v", err, p)
	}
	_, err = a.List.PermitRevocationList(draft, w.facts(), w.now)
	wantRefusal(t, law.Superseded, err)
	list, err = a.Complete(a.List, []byte("der"))
	if err != nil || list.Issued != 1 || list.Entries != 2 || string(list.DER) != "der" || list.Fingerprint != "fingerprint-of-ca" {
		t.Fatalf("%v, %+v", err, list)
	}
	renewal := list.NextUpdate.Add(-law.ListRenewal)
	for what, due := range map[string][2]bool{
		"now":              {list.Due(*w.key("ca"), 2, w.now), false},
		"at its renewal":   {list.Due(*w.key("ca"), 2, renewal), false},
		"after it":         {list.Due(*w.key("ca"), 2, renewal.Add(1)), true},
		"with another":     {list.Due(*w.key("ca"), 3, w.now), true},
		"by a new pair":    {list.Due(with(*w.key("ca"), func(k *law.Key) { k.Fingerprint = "newer" }), 2, w.now), true},
		"of a ROOT key":    {list.Due(*w.key("root"), 2, w.now), true},
		"running at first": {a.List.Running(w.now.Add(law.AttemptLease - 1)), true},
		"and no longer":    {a.List.Running(w.now.Add(law.AttemptLease)), false},
	} {
		if due[0] != due[1] {
			t.Errorf("%s: %t, want %t", what, due[0], due[1])
		}
	}
	b, err := list.PermitRevocationList(draft, w.facts(), w.now)
	if err != nil || b.Permit.RevocationList() != 2 {
		t.Fatalf("%v, number %d", err, b.Permit.RevocationList())
	}
	_, err = a.Complete(b.List, []byte("der"))
	wantRefusal(t, law.Superseded, err)
	_, err = a.Fail(b.List)
	wantRefusal(t, law.Superseded, err)
	if list, err = b.Fail(b.List); err != nil || list.Issued != 1 || list.Running(w.now) {
		t.Errorf("%v, %+v", err, list)
	}

	_, err = law.RevocationList{Key: "fw-dev"}.PermitRevocationList(draft, w.facts(), w.now)
	wantRefusal(t, law.Impossible, err)
	_, _, err = s.PermitRevocationList("ada", law.RevocationList{Key: "ca"}, draft, w.facts(), w.now)
	wantRefusal(t, law.Impossible, err)
	_, r, err := s.PermitRevocationList("ada", law.RevocationList{Key: "root"}, draft, w.facts(), w.now)
	if err != nil || !r.Permit.Granted() || r.Permit.Session() != "s-1" {
		t.Errorf("ROOT: %v, %+v", err, r.Permit)
	}
	w.held = true
	_, err = law.RevocationList{Key: "ca"}.PermitRevocationList(draft, w.facts(), w.now)
	wantRefusal(t, law.Held, err)
	w.held = false
	w.key("ca").State = law.KeyDisabled
	_, err = law.RevocationList{Key: "ca"}.PermitRevocationList(draft, w.facts(), w.now)
	wantRefusal(t, law.Impossible, err)
}

func TestACertificateRequestIsSignedInASession(t *testing.T) {
	w, s := newHierarchy(t)
	_, p, err := s.Request("bill", "ca", draftBy("request"), w.facts(), w.now)
	if err != nil || !p.Granted() || p.Purpose() != law.ForCertificateRequest || p.Session() != "s-1" || p.Key().ID != "ca" {
		t.Errorf("%v, %+v", err, p)
	}
	_, _, err = s.Request("bill", "fw-test", draftBy("request"), w.facts(), w.now) // which has no profile
	wantRefusal(t, law.Impossible, err)
	w.key("ca").State = law.KeyDisabled
	_, _, err = s.Request("bill", "ca", draftBy("request"), w.facts(), w.now)
	wantRefusal(t, law.Impossible, err)
}

func TestACertificateFromElsewhereIsTakenOverIfItFits(t *testing.T) {
	w, s := newHierarchy(t)
	c := law.Certificate{ID: "c-1", Key: "ca", Fingerprint: "fingerprint-of-ca", Issuer: "root", NotAfter: w.now.Add(time.Hour), DER: []byte("der")}
	got, err := s.Import("ada", c, "", w.facts(), w.now)
	if err != nil || got.Certificate.State != law.CertificateImported || got.Certificate.Issuer != "" || got.Certificate.Session != "s-1" || !got.Certificate.Valid() {
		t.Errorf("%v, %+v", err, got.Certificate)
	}
	for what, test := range map[string]func(*law.Certificate, *string){
		"of another key pair": func(c *law.Certificate, _ *string) { c.Fingerprint = "other" },
		"expired":             func(c *law.Certificate, _ *string) { c.NotAfter = w.now },
		"of an unknown key":   func(c *law.Certificate, _ *string) { c.Key = "none" },
		"with a fault":        func(_ *law.Certificate, fault *string) { *fault = "no" },
	} {
		bad, fault := c, ""
		test(&bad, &fault)
		_, err := s.Import("ada", bad, fault, w.facts(), w.now)
		t.Run(what, func(t *testing.T) { wantRefusal(t, law.Impossible, err) })
	}
}
