package software_test

import (
	"testing"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/keystore/software"
)

var passphrase = []byte("correct horse battery staple")

func create(t testing.TB) (*software.Keystore, string) {
	t.Helper()
	dir := t.TempDir() + "/keys"
	k, err := software.Create(dir, passphrase, software.Options{Iterations: software.MinIterations})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k, dir
}

func TestSoftwareKeystoreKeepsTheContract(t *testing.T) {
	keystoretest.Run(t, func(t *testing.T) keystore.Keystore {
		k, _ := create(t)
		return k
	})
}
