package hsm_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/hsm"
	"example.org/keyserver/internal/keystore/hsm/hsmtest"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
)

// tool runs OpenSC's pkcs11-tool, which is not our code, as the token's user.
func tool(t *testing.T, token hsmtest.Token, args ...string) string {
	t.Helper()
	out, err := token.Tool(t.Context(), "pkcs11-tool", append([]string{"--module", token.Module, "--token-label", token.Label, "--login", "--pin", token.PIN}, args...)...)
	if err != nil {
		t.Fatalf("(Debian package opensc) %v", err)
	}
	return out
}

func TestAGeneratedKeyPairCannotLeaveTheTokenAndCanOnlySign(t *testing.T) {
	token := hsmtest.NewSoftHSM(t)
	k := hsmtest.Open(t, token.Options(t, nil))
	for _, a := range []law.Algorithm{law.RSA2048, law.P256, law.Ed25519} {
		id := law.KeyID("fw-" + strings.ToLower(string(a)))
		pair, err := k.Generate(t.Context(), id, 3, a)
		if err != nil {
			t.Fatal(err)
		}
		if want := (law.KeyAttributes{Local: true, Sensitive: true, AlwaysSensitive: true, NeverExtractable: true}); *pair.Attributes != want {
			t.Errorf("%s: its attributes are %+v", a, *pair.Attributes)
		}
		_, ckaID, ok := hsm.ParseHandle(pair.Handle)
		if !ok || len(ckaID) != 20 {
			t.Errorf("%s: its handle is %s", a, pair.Handle)
		}
		said := tool(t, token, "--list-objects", "--type", "privkey", "--label", string(id)+".3")
		for _, want := range []string{"label:      " + string(id) + ".3", "ID:         " + hex.EncodeToString(ckaID), "Usage:      sign\n",
			"Access:     sensitive, always sensitive, never extractable, local\n"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s: pkcs11-tool does not say %q:\n%s", a, want, said)
			}
		}
	}
}

func TestTokensAndObjectsWithTheSameLabelAreNotMixed(t *testing.T) {
	dir := t.TempDir()
	var tokens []hsmtest.Token
	var keys []law.Key
	var keystores []*hsm.Keystore
	in := keystoretest.Input(law.SHA256, law.ECDSA, []byte("firmware"))
	for _, label := range []string{"one", "two"} {
		token, err := hsmtest.MakeSoftHSM(t.Context(), dir, label, "1234")
		if err != nil {
			t.Fatal(err)
		}
		k := hsmtest.Open(t, token.Options(t, nil))
		pair, err := k.Generate(t.Context(), "fw", 1, law.P256)
		if err != nil {
			t.Fatal(err)
		}
		// others with the same label, which only the CKA_ID tells apart
		tool(t, token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "fw.1", "--id", "01")
		tool(t, token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "fw.1", "--id", "02")
		tokens, keystores, keys = append(tokens, token), append(keystores, k), append(keys, keystoretest.Key(label, "fw", law.P256, pair))
	}
	for i, k := range keystores {
		p := keystoretest.Permit(t, keys[i], in)
		made, err := k.Sign(t.Context(), p)
		if err == nil {
			_, err = made.Release(p)
		}
		if err != nil {
			t.Errorf("token %s: %v", tokens[i].Label, err)
		}
		other := keys[1-i]
		if _, err := k.Sign(t.Context(), keystoretest.Permit(t, other, in)); !errors.Is(err, keystore.ErrNoKeyPair) {
			t.Errorf("token %s, asked for a key pair of the other: %v", tokens[i].Label, err)
		}
		if _, err := k.Generate(t.Context(), "fw", 1, law.P256); !errors.Is(err, keystore.ErrExists) {
			t.Errorf("token %s, generating again: %v", tokens[i].Label, err)
		}
		one, err := k.Adopt(t.Context(), "pkcs11:token="+tokens[i].Label+";id=%01;type=private")
		if err != nil {
			t.Fatal(err)
		}
		two, err := k.Adopt(t.Context(), "pkcs11:token="+tokens[i].Label+";object=fw.1;id=%02")
		if err != nil || bytes.Equal(one.PublicKey, two.PublicKey) || bytes.Equal(one.PublicKey, keys[i].PublicKey) {
			t.Errorf("token %s: key pairs of one label are mixed (error %v)", tokens[i].Label, err)
		}
		if _, err := k.Adopt(t.Context(), "pkcs11:token="+tokens[i].Label+";object=fw.1"); err == nil || !strings.Contains(err.Error(), "means 3 private keys; name one, by its id") {
			t.Errorf("token %s, adopting by a label of three: %v", tokens[i].Label, err)
		}
	}
}

func TestAnAdoptedKeyPairIsTheOneThatTheURIMeansAndItsAttributesAreTold(t *testing.T) {
	token := hsmtest.NewSoftHSM(t)
	k := hsmtest.Open(t, token.Options(t, nil))
	tool(t, token, "--keypairgen", "--key-type", "rsa:2048", "--label", "release", "--id", "A1", "--extractable")
	tool(t, token, "--keypairgen", "--key-type", "EC:secp384r1", "--label", "kept", "--id", "A2", "--sensitive")
	tool(t, token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "torn", "--id", "A3")
	tool(t, token, "--delete-object", "--type", "pubkey", "--id", "A3")
	tool(t, token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "twice", "--id", "A4")
	tool(t, token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "twice", "--id", "A4")

	pair, err := k.Adopt(t.Context(), "pkcs11:token=keys;object=release;type=private")
	if err != nil {
		t.Fatal(err)
	}
	if !pair.Attributes.Extractable || pair.Attributes.NeverExtractable || pair.Handle != "pkcs11:token=keys;id=%A1;type=private" {
		t.Errorf("it is %s with %+v", pair.Handle, *pair.Attributes)
	}
	for _, s := range []law.Scheme{law.PKCS1v15, law.PSS} {
		p := keystoretest.Permit(t, keystoretest.Key("hsm", "release", law.RSA2048, pair), keystoretest.Input(law.SHA384, s, []byte("firmware")))
		made, err := k.Sign(t.Context(), p)
		if err == nil {
			_, err = made.Release(p)
		}
		if err != nil {
			t.Errorf("signing with it: %v", err)
		}
	}
	kept, err := k.Adopt(t.Context(), "pkcs11:token=keys;id=%A2;manufacturer=SoftHSM%20project")
	if err != nil || kept.Attributes.Extractable || !kept.Attributes.Sensitive {
		t.Errorf("one that cannot leave: %v %+v", err, kept.Attributes)
	}
	for uri, want := range map[string]string{
		"pkcs11:token=keys;id=%A9":                                   "no such key pair",
		"pkcs11:token=other;id=%A1":                                  "in this keystore: the label of this keystore's token is \"keys\", not \"other\"",
		"pkcs11:token=keys;id=A1":                                    "in this keystore: id=A1 is the bytes 41 31; did you mean id=%A1?",
		"pkcs11:token=keys;id=%A1;serial=0":                          "the serial of this keystore's token is",
		"pkcs11:token=keys;id=%A3":                                   "has no public key object with the same; make one",
		"pkcs11:token=keys;id=%A4":                                   "means 2 private keys",
		"pkcs11:token=keys;id=%A1?module-path=/tmp/evil.so":          "module-path, module-name, pin-value, pin-source",
		"pkcs11:token=keys;id=%A1?pin-value=1234":                    "belong into the configuration",
		"pkcs11:token=keys;id=%A1;type=public":                       "type=public is no private key",
		"pkcs11:token=keys":                                          "it must name the token",
		"token=keys;id=%A1":                                          "it must begin with pkcs11:",
		"pkcs11:token=keys;id=%A1;id=%A2":                            "id is there twice",
		"pkcs11:token=keys;id=%A1;slot-id=0":                         "slot-id is not used to find a key",
		"pkcs11:token=keys;id=%G1":                                   "between two semicolons",
		"pkcs11:token=keys;id=" + strings.Repeat("%00", hsm.MaxID+1): "id is longer than 128 bytes",
	} {
		if pair, err := k.Adopt(t.Context(), uri); err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "no such key pair") > 1 {
			t.Errorf("%s: %v %v", uri, pair.Handle, err)
		}
	}
}
