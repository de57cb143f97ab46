package keyserver_test

import (
	"testing"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// CE-05: a list can be tens of megabytes long, and anybody can ask for it as often as the rate lets through.
func TestARevocationListIsInMemoryOnceHoweverManyAskForIt(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{World: testkit.Factory(law.DuplicatesRefused), Shared: true})
	k.Certify("root")
	k.Certify("ca-dev")
	other := k.Another()
	o := k.Lot(2)
	newest := func(k *testkit.Kit) keyserver.RevocationList {
		t.Helper()
		l, err := k.Keyserver.RevocationList(k.Context(), "ca-dev")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for n, device := range []string{"SN-1", "SN-2"} {
		c := mustIssue(k, o, device)
		if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), c.ID, "keyCompromise", "lost"); err != nil {
			t.Fatal(err)
		}
		k.Beat()
		for _, server := range []*testkit.Kit{k, other} {
			first, second := newest(server), newest(server)
			if first.Entries != n+1 || &first.DER[0] != &second.DER[0] {
				t.Errorf("list %d has %d entries, and is in memory once: %t", first.Number, first.Entries, &first.DER[0] == &second.DER[0])
			}
		}
	}
}
