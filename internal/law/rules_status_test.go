package law_test

import (
	"reflect"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// newResponding is the hierarchy with fw-test as a key that signs certificate statuses, its certificate by ca, and one of a
// device by the same key.
func newResponding(t testing.TB) (w *world, by, of law.Certificate) {
	w, _ = newHierarchy(t)
	w.key("fw-test").Profile = responder()
	issued := func(id law.CertificateID, key law.KeyID) law.Certificate {
		return law.Certificate{
			ID: id, Key: key, Fingerprint: "fingerprint-of-" + string(key), Issuer: "ca", IssuerFingerprint: "fingerprint-of-ca", Serial: "4f2a",
			State: law.CertificateIssued, DER: []byte("der"), NotBefore: w.now, NotAfter: w.now.Add(48 * time.Hour),
		}
	}
	of = issued("c-2", "")
	of.Device, of.Fingerprint = "SN-1", "fingerprint-of-a-device"
	return w, issued("c-1", "fw-test"), of
}

func responder() *law.Profile {
	p := profile(0, law.DigitalSignature)
	p.ExtendedKeyUsage = []string{"OCSPSigning"}
	return p
}

func status(of law.Certificate, now time.Time) law.StatusDraft {
	return law.StatusDraft{Draft: draftBy("status"), Of: of, ThisUpdate: now, NextUpdate: now.Add(law.StatusValidity)}
}

func TestAResponderKeySignsStatusesOfWhatItsIssuerHasIssued(t *testing.T) {
	w, by, of := newResponding(t)
	leave, err := law.PermitStatuses(by, w.facts(), w.now)
	if err != nil || leave.Left != law.MaxStatuses || !leave.Until.Equal(w.now.Add(law.StatusLease)) {
		t.Fatalf("%v, %+v", err, leave)
	}
	left, p, err := leave.Permit(by, status(of, w.now), w.facts(), w.now)
	if err != nil || left.Left != law.MaxStatuses-1 || leave.Left != law.MaxStatuses {
		t.Fatalf("%v, left %d of %d", err, left.Left, leave.Left)
	}
	if !p.Granted() || p.Purpose() != law.ForStatus || p.Key().ID != "fw-test" || p.Certificate() != "c-2" || p.Operation() != "" || p.Order() != "" ||
		!reflect.DeepEqual(p.Input(), draftBy("status").Input) {
		t.Errorf("permit %+v", p)
	}
	of.Revocation.At = w.now // what is said of it is the status
	if _, p, err = left.Permit(by, status(of, w.now), w.facts(), w.now); err != nil || !p.Granted() {
		t.Errorf("of a revoked certificate: %v", err)
	}
}

func TestNoStatusIsSignedWithoutALeave(t *testing.T) {
	w, by, of := newResponding(t)
	leave, err := law.PermitStatuses(by, w.facts(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		leave law.Statuses
		at    time.Time
		want  law.RefusalKind // empty: permitted
	}{
		"the first":               {leave, w.now, ""},
		"the last":                {with(leave, func(s *law.Statuses) { s.Left = 1 }), w.now, ""},
		"one more":                {with(leave, func(s *law.Statuses) { s.Left = 0 }), w.now, law.Superseded},
		"the zero leave":          {law.Statuses{}, w.now, law.Superseded},
		"at the last instant":     {leave, leave.Until.Add(-1), ""},
		"when its time is over":   {leave, leave.Until, law.Superseded},
		"of a time that will be":  {with(leave, func(s *law.Statuses) { s.Until = w.now.Add(law.StatusLease + law.ClockSlack + 1) }), w.now, law.Superseded},
		"by another certificate":  {with(leave, func(s *law.Statuses) { s.Certificate = "c-0" }), w.now, law.Superseded},
		"of a time a little late": {with(leave, func(s *law.Statuses) { s.Until = w.now.Add(law.StatusLease + law.ClockSlack) }), w.now, ""},
	} {
		_, p, err := c.leave.Permit(by, status(of, c.at), w.facts(), c.at)
		if c.want == "" {
			if err != nil || !p.Granted() {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		wantRefusal(t, c.want, err)
		if p.Granted() {
			t.Errorf("%s: refused, and permitted", what)
		}
	}
}

func TestWhatAStatusIsSignedOf(t *testing.T) {
	w, by, of := newResponding(t)
	leave, err := law.PermitStatuses(by, w.facts(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	draft := func(change func(*law.StatusDraft)) law.StatusDraft { return with(status(of, w.now), change) }
	for what, c := range map[string]struct {
		draft law.StatusDraft
		want  law.RefusalKind
	}{
		"one that is being signed": {draft(func(d *law.StatusDraft) { d.Of.State = law.CertificateRunning }), law.NotFound},
		"one that failed":          {draft(func(d *law.StatusDraft) { d.Of.State = law.CertificateFailed }), law.NotFound},
		"one that was withheld":    {draft(func(d *law.StatusDraft) { d.Of.State = law.CertificateWithheld }), law.NotFound},
		"one that was imported": {draft(func(d *law.StatusDraft) {
			d.Of.State, d.Of.Issuer, d.Of.IssuerFingerprint = law.CertificateImported, "", ""
		}), law.NotFound},
		"one by another key":             {draft(func(d *law.StatusDraft) { d.Of.Issuer = "root" }), law.NotFound},
		"one by another key pair":        {draft(func(d *law.StatusDraft) { d.Of.IssuerFingerprint = "older" }), law.NotFound},
		"the zero certificate":           {draft(func(d *law.StatusDraft) { d.Of = law.Certificate{} }), law.NotFound},
		"in the future":                  {draft(func(d *law.StatusDraft) { d.ThisUpdate = w.now.Add(1) }), law.Impossible},
		"that is over":                   {draft(func(d *law.StatusDraft) { d.NextUpdate = w.now }), law.Impossible},
		"for longer than a status holds": {draft(func(d *law.StatusDraft) { d.NextUpdate = d.NextUpdate.Add(1) }), law.Impossible},
		"that could not be drawn up":     {draft(func(d *law.StatusDraft) { d.Fault = "no" }), law.Impossible},
		"with another digest":            {draft(func(d *law.StatusDraft) { d.TBS = []byte("other") }), law.InputMisfit},
	} {
		left, p, err := leave.Permit(by, c.draft, w.facts(), w.now)
		if t.Run(what, func(t *testing.T) { wantRefusal(t, c.want, err) }); p.Granted() || left.Left != leave.Left {
			t.Errorf("%s: refused, and something was taken", what)
		}
	}
}

func TestByWhatCertificateStatusesAreSigned(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*world, *law.Certificate)
		want   law.RefusalKind
	}{
		"of a key for code":          {func(w *world, _ *law.Certificate) { w.key("fw-test").Profile = profile(0, law.DigitalSignature) }, law.Impossible},
		"of a key without a profile": {func(w *world, _ *law.Certificate) { w.key("fw-test").Profile = nil }, law.Impossible},
		"of the CA key itself":       {func(w *world, by *law.Certificate) { by.Key, by.Fingerprint = "ca", "fingerprint-of-ca" }, law.Impossible},
		"of no key":                  {func(w *world, by *law.Certificate) { by.Key = "none" }, law.Impossible},
		"of a disabled key":          {func(w *world, _ *law.Certificate) { w.key("fw-test").State = law.KeyDisabled }, law.Impossible},
		"of a revoked key":           {func(w *world, _ *law.Certificate) { w.key("fw-test").State = law.KeyRevoked }, law.Impossible},
		"of an older key pair":       {func(w *world, by *law.Certificate) { by.Fingerprint = "older" }, law.Impossible},
		"that is revoked":            {func(w *world, by *law.Certificate) { by.Revocation.At = w.now }, law.Impossible},
		"that is being signed":       {func(w *world, by *law.Certificate) { by.State = law.CertificateRunning }, law.Impossible},
		"that was imported": {func(w *world, by *law.Certificate) {
			by.State, by.Issuer, by.IssuerFingerprint = law.CertificateImported, "", ""
		}, law.Impossible},
		"before its time":      {func(w *world, by *law.Certificate) { by.NotBefore = w.now.Add(1) }, law.Impossible},
		"after its time":       {func(w *world, by *law.Certificate) { by.NotAfter = w.now }, law.Impossible},
		"while the clock held": {func(w *world, _ *law.Certificate) { w.held = true }, law.Held},
	} {
		t.Run(what, func(t *testing.T) {
			w, by, of := newResponding(t)
			leave, err := law.PermitStatuses(by, w.facts(), w.now)
			if err != nil {
				t.Fatal(err)
			}
			c.change(w, &by)
			leave.Certificate = by.ID
			_, p, err := leave.Permit(by, status(of, w.now), w.facts(), w.now)
			wantRefusal(t, c.want, err)
			taken, err := law.PermitStatuses(by, w.facts(), w.now)
			wantRefusal(t, c.want, err)
			if p.Granted() || taken.Left != 0 {
				t.Errorf("refused, and permitted: %+v, %+v", p, taken)
			}
		})
	}
}

// rules 1 and 10
func TestAResponderKeySignsNothingUnderAnOperation(t *testing.T) {
	w, _, _ := newResponding(t)
	w.notCreated(law.Impossible)(w.create(olga, nil, "fw-test"))

	// One that was created before the key became one cannot be: a key is a responder for ever or never. Even so:
	w.order("fw-dev")
	w.key("fw-dev").Profile = responder()
	w.noOrder(law.Impossible)(w.place("olga", "fw-dev"))
}

func TestWhoCanUseAResponderKeyIsTheServerAlone(t *testing.T) {
	w, _, _ := newResponding(t)
	who, known := w.facts().WhoCan("fw-test")
	if !known || len(who.Orderers) > 0 || len(who.Approvers) > 0 || len(who.Alone) > 0 || len(who.Administrators) > 0 {
		t.Errorf("%+v", who)
	}
	w.require("fw-test", 50) // which nobody could meet, and nobody has to
	if faults := w.facts().Sense(law.Mode{}); len(faults) > 0 {
		t.Errorf("faults %q", faults)
	}
}

// What a key is for is so from its beginning, in both directions.
func TestAResponderKeyStaysOne(t *testing.T) {
	w, _, _ := newResponding(t)
	noPairs := map[law.KeyID]law.KeyPair{}
	for what, c := range map[string]struct {
		profile *law.Profile
		said    string
	}{
		"for code": {profile(0, law.DigitalSignature), "OCSPSigning never changes"}, "without a profile": {nil, "OCSPSigning never changes"},
		"for a shorter time": {with(responder(), func(p **law.Profile) { (*p).Validity /= 2 }), ""},
	} {
		k := with(*w.key("fw-test"), func(k *law.Key) { k.Profile = c.profile })
		_, err := law.Changes{Set: law.Configuration{Keys: []law.Key{k}}}.On(w.facts(), noPairs, law.Mode{Development: true})
		t.Run(what, func(t *testing.T) { wantSaid(t, c.said, err) })
	}
}

func TestOnlyAnFWKeyIsAResponder(t *testing.T) {
	for of, want := range map[law.KeyType]bool{law.Root: false, law.CA: false, law.Firmware: true} {
		for _, usage := range []string{"OCSPSigning", "1.3.6.1.5.5.7.3.9"} {
			k := with(key("k", 0), func(k *law.Key) { k.Type, k.Profile = of, &law.Profile{ExtendedKeyUsage: []string{usage}} })
			if k.Responder() != want {
				t.Errorf("a %s key with %s: %t", of, usage, !want)
			}
		}
		if (law.Key{Type: of}).Responder() || (law.Key{Type: of, Profile: profile(0, law.DigitalSignature)}).Responder() {
			t.Errorf("a %s key for something else", of)
		}
	}
}
