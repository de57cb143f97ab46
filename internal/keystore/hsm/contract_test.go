package hsm_test

import (
	"maps"
	"slices"
	"testing"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/hsm/hsmtest"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
)

func TestSoftHSMKeepsTheContractOfKeystores(t *testing.T) {
	keepsContract(t, hsmtest.NewSoftHSM(t), keystoretest.All())
}

// keepsContract runs the contract on the token for exactly what its own list of mechanisms says it can do,
// which must be what it is known for.
func keepsContract(t *testing.T, token hsmtest.Token, can keystoretest.Can) {
	k := hsmtest.Open(t, token.Options(t, nil))
	opened, err := k.Opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(opened.Can, can, slices.Equal) {
		t.Errorf("the token's mechanisms make %v, and must %v", opened.Can, can)
	}
	keystoretest.Run(t, can, func(t *testing.T) keystore.Keystore { return hsmtest.Open(t, token.Options(t, nil)) })
}

func TestNSSKeepsTheContractOfKeystores(t *testing.T) {
	can := keystoretest.All()
	delete(can, law.Ed25519) // Debian's NSS has none
	keepsContract(t, hsmtest.NewNSS(t), can)
}
