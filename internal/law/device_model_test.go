package law_test

import (
	"fmt"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// A world of one CA key and two devices: the first asks with one key, and with another, the second with the other key of
// the first. An administrator revokes what was issued or is being issued, and the profile changes what it says of duplicates.
func TestModelOfDeviceCertificates(t *testing.T) {
	rule := func(r law.DuplicateRule) func(*law.Configuration) {
		return ofKey("ca", func(k *law.Key) { k.Devices = meterProfile(r) })
	}
	explore(t, smallWorld{
		cfg: func(w *world) {
			w.cfg.Subjects = []law.Subject{person("olga"), person("ada"), machine("line")}
			w.cfg.Keys = []law.Key{with(key("ca", 0), func(k *law.Key) {
				k.Type, k.Profile, k.Devices = law.CA, profile(0, law.KeyCertSign, law.CRLSign), meterProfile(law.DuplicatesSame)
			})}
			w.cfg.Roles = []law.Role{
				{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{"ca"}, Members: []law.SubjectID{"olga", "line"}},
				{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"ada"}},
			}
		},
		clients: []law.SubjectID{"line"},
		keys:    []law.KeyAsk{{Key: "ca", MaxUses: 2}},
		knobs:   []knob{{rule(law.DuplicatesSame), rule(law.DuplicatesRefused), rule(law.DuplicatesReplaced)}},
		people:  []law.SubjectID{"olga", "ada"},
		asks: []law.OrderAsk{
			certify("1", "line", "SN-1", "f-1"), certify("2", "line", "SN-1", "f-1"), certify("3", "olga", "SN-1", "f-2"),
			certify("4", "line", "SN-2", "f-2"), certify("1", "line", "SN-2", "f-2"), // under the idempotency key of another
		},
		ticks: 1,
		tries: map[law.OrderID]int{"line-ca-1": 2},
		reached: []law.ChangeKind{
			law.DidRevoke, law.DidExpire, law.DidExhaust,
			law.DidAcceptOrder, law.DidAttemptOrder, law.DidSignOrder, law.DidFailOrder, law.DidWithhold,
		},
	})
}

func certify(idem string, who law.SubjectID, device, fingerprint string) law.OrderAsk {
	tbs := fmt.Sprintf("certificate %s of %s with %s", idem, device, fingerprint)
	d := law.DeviceAsk{Request: "request of " + device + " with " + fingerprint, Authority: "c-0"}
	d.Draft = law.DeviceDraft{
		CertificateDraft: law.CertificateDraft{Draft: draftBy(tbs), Fingerprint: fingerprint, Serial: "4f2b", NotBefore: monday, NotAfter: monday.Add(time.Hour)},
		Device:           device, Request: d.Request, Authority: "c-0",
	}
	return law.OrderAsk{ID: law.OrderID(string(who) + "-ca-" + idem), Who: who, Key: "ca", IdempotencyKey: idem, Device: &d}
}

// drawnUp is what is asked for by the profile of now, if it is the certificate of a device.
func drawnUp(ask law.OrderAsk, set *scene) law.OrderAsk {
	if ask.Device != nil {
		d := *ask.Device
		d.Draft.Profile = set.plain.keys[ask.Key].Devices.Digest()
		ask.Device = &d
	}
	return ask
}
