package law_test

import (
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

const (
	request      = "00000000000000000000000000000000000000000000000000000000000000a1"
	otherRequest = "00000000000000000000000000000000000000000000000000000000000000a2"
)

// newFactory is a hierarchy whose CA key issues device certificates, and an operation on it.
func newFactory(t testing.TB, rule law.DuplicateRule) *world {
	w, _ := newHierarchy(t)
	w.key("ca").Devices = &law.DeviceProfile{
		Subject:  []law.DeviceAttribute{{Type: "serial-number", DeviceField: law.DeviceField{Pattern: ".*", MaxLength: 20}}},
		Identity: "serial-number", Algorithms: []law.Algorithm{law.P256}, Validity: time.Hour, KeyUsage: []law.KeyUsage{law.DigitalSignature}, Duplicates: rule,
	}
	w.order("ca")
	return w
}

// device asks for the certificate of a device under the operation.
func (w *world) device(name, key string, change ...func(*law.DeviceAsk)) law.OrderAsk {
	ask := law.DeviceAsk{Request: request, Authority: "c-ca", Draft: law.DeviceDraft{
		CertificateDraft: law.CertificateDraft{
			Draft: draftBy("certificate of device " + name), Fingerprint: key, Serial: "4f2b", NotBefore: w.now, NotAfter: w.now.Add(time.Hour),
		},
		Device: name, Request: request, Profile: w.key("ca").Devices.Digest(), Authority: "c-ca",
	}}
	for _, c := range change {
		c(&ask)
	}
	return law.OrderAsk{ID: "so-1", Who: "olga", Key: "ca", IdempotencyKey: "idem-1", Device: &ask}
}

func (w *world) placeDevice(ask law.OrderAsk, prior *law.Order) (law.Placed, error) {
	return w.op.Place(ask, prior, w.facts(), w.now)
}

// CE-01
func TestACAKeyIssuesTheCertificateOfADeviceUnderAnOperation(t *testing.T) {
	w := newFactory(t, law.DuplicatesRefused)
	p, err := w.placeDevice(w.device("SN-1", "f-1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := p.Certificate
	if c.ID != "so-1" || c.Key != "" || c.Device != "SN-1" || c.Fingerprint != "f-1" || c.Request != request || c.Issuer != "ca" ||
		c.IssuerFingerprint != "fingerprint-of-ca" || c.Operation != "op-1" || c.State != law.CertificateRunning || !c.OfDevice() {
		t.Errorf("certificate %+v", c)
	}
	if m := p.Permit; !m.Granted() || m.Purpose() != law.ForCertificate || m.Order() != "so-1" || m.Certificate() != "so-1" {
		t.Errorf("permit %+v", m)
	}
	if p.Order.Device != "SN-1" || p.Order.Certifies != "" || !p.Order.ForCertificate() || p.Operation.Usage["ca"].Taken != 1 {
		t.Errorf("order %+v, usage %+v", p.Order, p.Operation.Usage)
	}
	w.op = p.Operation
	failed, err := w.op.Fail(p.Order, 1, "no answer", w.facts(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	w.op = failed.Operation
	// rule 12: the same request gets another attempt under the same use, and another request none.
	_, err = w.placeDevice(w.device("SN-1", "f-1", func(a *law.DeviceAsk) { a.Request = otherRequest }), &failed.Order)
	wantRefusal(t, law.KeyReused, err)
	_, err = w.placeDevice(w.certificateOrder("ca", "fw-dev"), &failed.Order)
	wantRefusal(t, law.KeyReused, err)
	raw := law.OrderAsk{ID: "so-1", Who: "olga", Key: "ca", IdempotencyKey: "idem-1", Hash: law.SHA256, Scheme: law.ECDSA, Digest: digestOf("certificate of device SN-1")}
	_, err = w.placeDevice(raw, &failed.Order)
	wantRefusal(t, law.KeyReused, err)
	own := c.Follow(failed.Order, nil)
	again, err := w.placeDevice(w.device("SN-1", "f-1", func(a *law.DeviceAsk) { a.Earlier = []law.Certificate{own} }), &failed.Order)
	if err != nil || again.Permit.Attempt() != 2 || again.Operation.Usage["ca"].Taken != 1 {
		t.Errorf("a further attempt: %v, %+v", err, again)
	}
	own.Revocation.At = w.now
	_, err = w.placeDevice(w.device("SN-1", "f-1", func(a *law.DeviceAsk) { a.Earlier = []law.Certificate{own} }), &failed.Order)
	wantRefusal(t, law.WrongState, err)
}

func TestADeviceCertificateIsRefused(t *testing.T) {
	draft := func(change func(*law.DeviceDraft)) func(*law.DeviceAsk) {
		return func(a *law.DeviceAsk) { change(&a.Draft) }
	}
	for name, c := range map[string]struct {
		world func(*world)
		ask   func(*law.DeviceAsk)
		kind  law.RefusalKind
	}{
		"by a key without a profile":             {func(w *world) { w.key("ca").Devices = nil; w.order("ca") }, nil, law.Impossible},
		"where artifacts must be named":          {func(w *world) { w.key("ca").ArtifactsNeeded = true }, nil, law.InputMisfit},
		"that could not be drawn up":             {nil, draft(func(d *law.DeviceDraft) { d.Fault = "no" }), law.Impossible},
		"drawn up by another profile":            {nil, draft(func(d *law.DeviceDraft) { d.Profile = "other" }), law.WrongState},
		"drawn up under another certificate":     {nil, draft(func(d *law.DeviceDraft) { d.Authority = "other" }), law.WrongState},
		"for the key of the CA":                  {nil, draft(func(d *law.DeviceDraft) { d.Fingerprint = "fingerprint-of-ca" }), law.Impossible},
		"for a key of this server":               {nil, draft(func(d *law.DeviceDraft) { d.Fingerprint = "fingerprint-of-fw-dev" }), law.Impossible},
		"without a serial number":                {nil, draft(func(d *law.DeviceDraft) { d.Serial = "" }), law.Impossible},
		"with a serial number that is too long":  {nil, draft(func(d *law.DeviceDraft) { d.Serial = "012345678901234567890123456789012345678901" }), law.Impossible},
		"for no device":                          {nil, draft(func(d *law.DeviceDraft) { d.Device = "" }), law.Impossible},
		"for a device of two lines":              {nil, draft(func(d *law.DeviceDraft) { d.Device = "SN\n1" }), law.Impossible},
		"that was valid once":                    {nil, draft(func(d *law.DeviceDraft) { d.NotBefore, d.NotAfter = d.NotBefore.Add(-2*time.Hour), d.NotBefore }), law.Impossible},
		"that is never valid":                    {nil, draft(func(d *law.DeviceDraft) { d.NotBefore = d.NotAfter }), law.Impossible},
		"whose digest is another":                {nil, draft(func(d *law.DeviceDraft) { d.Input.Digest = digestOf("other") }), law.InputMisfit},
		"with a hash that the key does not make": {nil, draft(func(d *law.DeviceDraft) { d.Input.Hash = law.SHA384 }), law.InputMisfit},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFactory(t, law.DuplicatesRefused)
			ask := w.device("SN-1", "f-1")
			if c.ask != nil {
				c.ask(ask.Device)
			}
			if c.world != nil {
				c.world(w)
			}
			p, err := w.placeDevice(ask, nil)
			wantRefusal(t, c.kind, err)
			if p.Permit.Granted() || p.Operation.Usage["ca"].Taken != 0 {
				t.Errorf("a use was taken: %+v", p)
			}
		})
	}
	w := newFactory(t, law.DuplicatesRefused)
	both := w.device("SN-1", "f-1")
	both.Certificate = &law.CertificateAsk{Key: "fw-dev"}
	_, err := w.placeDevice(both, nil)
	wantRefusal(t, law.InputMisfit, err)
	w.order("fw-dev")
	byFirmware := w.device("SN-1", "f-1")
	byFirmware.Key = "fw-dev"
	_, err = w.placeDevice(byFirmware, nil)
	wantRefusal(t, law.Impossible, err)
}

func TestADeviceThatHasACertificateIsJudgedByTheProfile(t *testing.T) {
	const issued, running, failed, withheld = law.CertificateIssued, law.CertificateRunning, law.CertificateFailed, law.CertificateWithheld
	for _, c := range []struct {
		name                  string
		device, key           string
		state                 law.CertificateState
		change                func(*law.Certificate)
		refuse, same, replace law.RefusalKind // empty: it is issued
		isSame                bool            // under the rule same
	}{
		{"same device and key", "SN-1", "f-1", issued, nil, law.WrongState, "", "", true},
		{"same device", "SN-1", "f-2", issued, nil, law.WrongState, law.WrongState, "", false},
		{"same key", "SN-2", "f-1", issued, nil, law.WrongState, law.WrongState, law.WrongState, false},
		{"same device and key, running", "SN-1", "f-1", running, nil, law.WrongState, law.WrongState, law.WrongState, false},
		{"same device, failed", "SN-1", "f-2", failed, nil, law.WrongState, law.WrongState, law.WrongState, false},
		{"same key, failed", "SN-2", "f-1", failed, nil, law.WrongState, law.WrongState, law.WrongState, false},
		{"withheld", "SN-1", "f-1", withheld, nil, "", "", "", false},
		{"revoked", "SN-1", "f-1", issued, func(c *law.Certificate) { c.Revocation.At = c.NotBefore }, "", "", "", false},
		{"failed and revoked", "SN-1", "f-1", failed, func(c *law.Certificate) { c.Revocation.At = c.NotBefore }, "", "", "", false},
		{"expired", "SN-1", "f-1", issued, func(c *law.Certificate) { c.NotAfter = c.NotBefore }, "", "", "", false},
		{"another", "SN-2", "f-2", issued, nil, "", "", "", false},
	} {
		for rule, want := range map[law.DuplicateRule]law.RefusalKind{law.DuplicatesRefused: c.refuse, law.DuplicatesSame: c.same, law.DuplicatesReplaced: c.replace} {
			t.Run(c.name+", "+string(rule), func(t *testing.T) {
				w := newFactory(t, rule)
				earlier := law.Certificate{ID: "so-0", Device: c.device, Fingerprint: c.key, Issuer: "ca", State: c.state, NotBefore: w.now, NotAfter: w.now.Add(time.Hour)}
				if c.change != nil {
					c.change(&earlier)
				}
				p, err := w.placeDevice(w.device("SN-1", "f-1", func(a *law.DeviceAsk) { a.Earlier = []law.Certificate{earlier} }), nil)
				if want != "" {
					wantRefusal(t, want, err)
					return
				}
				isSame := c.isSame && rule == law.DuplicatesSame
				if err != nil || (p.Same != nil) != isSame || p.Permit.Granted() == isSame || isSame && p.Operation.Usage["ca"].Taken != 0 {
					t.Errorf("placed: %v, %+v", err, p)
				}
			})
		}
	}
}

func TestWhatADeviceHadBeforeIsRevokedOnceItHasAnotherCertificateAndTheProfileSaysSo(t *testing.T) {
	now := law.Certificate{ID: "so-2", Device: "SN-1", Issuer: "ca", State: law.CertificateIssued}
	for rule, want := range map[law.DuplicateRule]int{law.DuplicatesRefused: 0, law.DuplicatesSame: 0, law.DuplicatesReplaced: 1} {
		w := newFactory(t, rule)
		until := w.now.Add(time.Hour)
		all := []law.Certificate{
			{ID: "so-1", Device: "SN-1", Issuer: "ca", State: law.CertificateIssued, NotAfter: until},
			{ID: "so-3", Device: "SN-1", Issuer: "ca", State: law.CertificateFailed, NotAfter: until},
			{ID: "so-4", Device: "SN-1", Issuer: "ca", State: law.CertificateIssued, NotAfter: w.now},
			{ID: "so-5", Device: "SN-2", Issuer: "ca", State: law.CertificateIssued, NotAfter: until},
			{ID: "so-6", Device: "SN-1", Issuer: "other", State: law.CertificateIssued, NotAfter: until},
			{ID: "so-2", Device: "SN-1", Issuer: "ca", State: law.CertificateIssued, NotAfter: until},
		}
		got := now.Replace(all, "olga", w.facts(), w.now)
		if len(got) != want {
			t.Fatalf("%s: replaced are %+v", rule, got)
		}
		if want == 1 && (got[0].ID != "so-1" || got[0].Revocation != law.Revocation{At: w.now, By: "olga", Code: "superseded", Reason: "replaced by certificate so-2"}) {
			t.Errorf("replaced is %+v", got[0])
		}
		running := now
		running.State = law.CertificateRunning
		if got := running.Replace(all, "olga", w.facts(), w.now); len(got) != 0 {
			t.Errorf("%s: replaced by one that is not issued are %+v", rule, got)
		}
		revoked := now
		revoked.Revocation.At = w.now
		if got := revoked.Replace(all, "olga", w.facts(), w.now); len(got) != 0 {
			t.Errorf("%s: replaced by one that was revoked while it was signed are %+v", rule, got)
		}
	}
}

func TestADeviceCertificateIsRevokedByAnAdministratorAndStaysSo(t *testing.T) {
	w := newFactory(t, law.DuplicatesRefused)
	issued := law.Certificate{ID: "so-1", Device: "SN-1", Issuer: "ca", Operation: "op-1", State: law.CertificateIssued}
	revoke := func(c law.Certificate, who law.SubjectID, code law.RevocationCode, reason string) (law.Certificate, error) {
		return c.RevokeDevice(who, code, reason, w.op, w.facts(), w.now)
	}
	_, err := revoke(issued, "dora", "keyCompromise", "lost")
	wantRefusal(t, law.NotFound, err)
	_, err = revoke(issued, "olga", "keyCompromise", "lost")
	wantRefusal(t, law.Forbidden, err)
	_, err = revoke(issued, "ada", "certificateHold", "lost")
	wantRefusal(t, law.Impossible, err)
	_, err = revoke(issued, "ada", "keyCompromise", "")
	wantRefusal(t, law.Impossible, err)
	ofKey := issued
	ofKey.Device, ofKey.Key = "", "fw-dev"
	_, err = revoke(ofKey, "ada", "keyCompromise", "lost")
	wantRefusal(t, law.NotFound, err)
	withheld := issued
	withheld.State = law.CertificateWithheld
	_, err = revoke(withheld, "ada", "keyCompromise", "lost")
	wantRefusal(t, law.WrongState, err)
	for _, state := range []law.CertificateState{law.CertificateIssued, law.CertificateFailed, law.CertificateRunning} {
		c := issued
		c.State = state
		c, err = revoke(c, "ada", "keyCompromise", "lost")
		if err != nil || c.Revocation != (law.Revocation{At: w.now, By: "ada", Code: "keyCompromise", Reason: "lost"}) {
			t.Errorf("%s: %+v, %v", state, c.Revocation, err)
		}
		w.now = w.now.Add(time.Second)
		if again, err := revoke(c, "ada", "superseded", "again"); err != nil || again.Revocation != c.Revocation {
			t.Errorf("%s again: %+v, %v", state, again.Revocation, err)
		}
		w.now = w.now.Add(-time.Second)
	}
	wantRefusal(t, law.Forbidden, w.op.MayRevokeDevices("olga", w.facts()))
	wantRefusal(t, law.NotFound, w.op.MayRevokeDevices("dora", w.facts()))
	if err := w.op.MayRevokeDevices("ada", w.facts()); err != nil {
		t.Error(err)
	}
}

func TestALotIsReportedWhenItsOperationHasEnded(t *testing.T) {
	for state, want := range map[law.State]law.RefusalKind{
		law.Pending: law.WrongState, law.Approved: law.WrongState, law.Exhausted: "", law.Expired: "", law.Revoked: "", law.Rejected: "",
	} {
		err := law.Operation{Recorded: state}.MayReport()
		if want == "" && err != nil {
			t.Errorf("%s: %v", state, err)
		}
		if want != "" {
			wantRefusal(t, want, err)
		}
	}
}

// rule 9: what approvers have judged is what is issued, or nothing.
func TestAProfileOfDeviceCertificatesThatChangesEndsEveryOpenOperationThatNamesItsKey(t *testing.T) {
	for name, change := range map[string]func(*law.Key){
		"a device may say more": func(k *law.Key) {
			k.Devices.Subject = []law.DeviceAttribute{{Type: "serial-number", DeviceField: law.DeviceField{Pattern: ".*", MaxLength: 21}}}
		},
		"duplicates are replaced": func(k *law.Key) { k.Devices.Duplicates = law.DuplicatesReplaced },
		"there is none more":      func(k *law.Key) { k.Devices = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newFactory(t, law.DuplicatesRefused)
			ask := w.device("SN-1", "f-1")
			p, err := w.placeDevice(ask, nil)
			if err != nil {
				t.Fatal(err)
			}
			before, changed := w.key("ca").Devices, *w.key("ca").Devices
			w.key("ca").Devices = &changed
			change(w.key("ca"))
			done, err := p.Operation.Complete(p.Order, 1, []byte("signature"), w.facts(), w.now)
			if err != nil || done.Order.State != law.OrderWithheld {
				t.Errorf("what was being signed: %v, %+v", err, done.Order)
			}
			w.settles(law.Revoked, law.DidRevoke)
			if w.did[0].By != "" || w.did[0].Reason != "the profile of device certificates of key ca was changed" {
				t.Errorf("revoked by %q because %q", w.did[0].By, w.did[0].Reason)
			}
			w.key("ca").Devices = before
			w.settles(law.Revoked)
		})
	}
	t.Run("there was none", func(t *testing.T) {
		w, _ := newHierarchy(t)
		w.order("ca")
		w.key("ca").Devices = newFactory(t, law.DuplicatesRefused).key("ca").Devices
		w.settles(law.Revoked, law.DidRevoke)
	})
	t.Run("of another key", func(t *testing.T) {
		w, _ := newHierarchy(t)
		w.order("fw-dev")
		w.key("ca").Devices = newFactory(t, law.DuplicatesRefused).key("ca").Devices
		w.settles(law.Approved)
	})
}
