package pki_test

import (
	"bytes"
	"slices"
	"testing"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

func TestACertificateThatWasPreparedBeforeARestartIsFinishedAsIfThereWasNone(t *testing.T) {
	for _, a := range []law.Algorithm{law.RSA2048, law.P384, law.Ed25519} {
		for _, s := range a.Schemes() {
			root := newKey(t, "root", law.Root, a, law.SHA384, rootPair, s)
			d, err := pki.PrepareRoot(root.Key, now, newSerial(t))
			if err != nil {
				t.Fatal(err)
			}
			signature := root.sign(t, d.Input())
			want, err := d.Finish(d.TBS(), signature)
			if err != nil {
				t.Fatal(err)
			}
			kept := d.Input()
			kept.Message = nil
			if got, err := pki.FinishCertificate(d.TBS(), root.PublicKey, kept, signature); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: error %v, or another certificate", a, s, err)
			}
			if c, err := pki.Describe(d.TBS()); err != nil || !bytes.Equal(c.RawTBSCertificate, d.TBS()) {
				t.Errorf("%s, %s: error %v, or another certificate is described", a, s, err)
			}
		}
	}
}

func TestAKeptCertificateThatWasChangedIsNotFinished(t *testing.T) {
	for _, a := range []law.Algorithm{law.RSA2048, law.P256, law.Ed25519} {
		root := newKey(t, "root", law.Root, a, law.SHA256, rootPair)
		other := newKey(t, "other", law.Root, a, law.SHA256, caPair)
		d, err := pki.PrepareRoot(root.Key, now, newSerial(t))
		if err != nil {
			t.Fatal(err)
		}
		in, tbs, signature := d.Input(), d.TBS(), root.sign(t, d.Input())
		changed := slices.Clone(tbs)
		changed[len(changed)-1] ^= 1
		for name, is := range map[string]struct {
			tbs, key []byte
			in       law.Input
			by       []byte
		}{
			"the TBS is another":       {changed, root.PublicKey, in, signature},
			"the key is another":       {tbs, other.PublicKey, in, signature},
			"another key signed":       {tbs, root.PublicKey, in, other.sign(t, in)},
			"the input is the zero":    {tbs, root.PublicKey, law.Input{}, signature},
			"there is no signature":    {tbs, root.PublicKey, in, nil},
			"there is nothing to sign": {nil, root.PublicKey, in, signature},
		} {
			if _, err := pki.FinishCertificate(is.tbs, is.key, is.in, is.by); err == nil {
				t.Errorf("%s: %s, and it is finished", a, name)
			}
		}
	}
	root := newKey(t, "root", law.Root, law.RSA2048, law.SHA256, rootPair, law.PKCS1v15)
	d, err := pki.PrepareRoot(root.Key, now, newSerial(t))
	if err != nil {
		t.Fatal(err)
	}
	in := d.Input()
	in.Scheme = law.PSS
	_, err = pki.FinishCertificate(d.TBS(), root.PublicKey, in, root.sign(t, in))
	refused(t, err, "finishing a certificate: ")
	for _, bad := range [][]byte{nil, []byte("0"), {0x30, 0}, append(d.TBS(), 0)} {
		if _, err := pki.Describe(bad); err == nil {
			t.Errorf("%x is described", bad)
		}
	}
}
