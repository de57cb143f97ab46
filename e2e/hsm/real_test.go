package hsm_test

import (
	"context"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/e2e/pkcs11shim"
	"example.org/keyserver/e2e/stand"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keystore/hsm/hsmtest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// real is the real programs on a token behind the shim: the server with its worker, and an identity provider.
type real struct {
	testing.TB
	*stand.Stand
	shim  *pkcs11shim.Shim
	token string  // of the machine ci-firmware
	key   law.Key // fw-dev: P-256, needs nobody
}

// programs builds the programs, until the test ends.
func programs(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for cgo, programs := range map[string][]string{
		"CGO_ENABLED=0": {"../../cmd/keyserver", "../../cmd/devidp"}, "CGO_ENABLED=1": {"../../cmd/keyserver-hsm"},
	} {
		c := exec.Command("go", append([]string{"build", "-o", dir + string(os.PathSeparator)}, programs...)...)
		c.Env = append(os.Environ(), cgo)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("building the programs: %v\n%s", err, out)
		}
	}
	return dir
}

func newReal(t testing.TB, bin, database string) *real {
	t.Helper()
	token := hsmtest.NewSoftHSM(t)
	r := &real{TB: t, shim: pkcs11shim.New(t, token.Module)}
	token = behind(r.shim, token)
	var err error
	if r.Stand, err = stand.NewWith(t.Context(), bin, t.TempDir(), stand.Options{Database: database, Token: &token}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	if r.token, err = r.MachineToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	key, err := r.client().Key(t.Context(), "fw-dev")
	if err != nil || key.Attributes == nil || !key.Attributes.NeverExtractable {
		t.Fatalf("the key fw-dev is %+v (error %v)", key, err)
	}
	text, err := r.client().PublicKey(t.Context(), "fw-dev")
	block, _ := pem.Decode(text)
	if err != nil || block == nil {
		t.Fatalf("the public key of fw-dev is %s (error %v)", text, err)
	}
	r.key.PublicKey = block.Bytes
	return r
}

// client makes each request once, as the machine.
func (r *real) client() *client.Client {
	r.Helper()
	c, err := client.New(r.Server, client.StaticToken(r.token), client.Options{Tries: 1})
	if err != nil {
		r.Fatal(err)
	}
	return c
}

// create creates an operation of as many uses as there can be.
func (r *real) create() api.Operation {
	r.Helper()
	o, err := r.client().CreateOperation(r.Context(), "the-operation", api.NewOperation{
		KeyUsageRestrictions: []api.KeyUsageRestriction{{KeyID: "fw-dev", MaxUsageCount: law.MaxUses}},
		Description:          "a trial", Context: "of servers that are killed", ValidMS: int64(time.Hour / time.Millisecond),
	})
	if err != nil {
		r.Fatal(err)
	}
	return o
}

// again starts the server again after it was killed.
func (r *real) again() {
	r.Helper()
	if err := r.StopServer(); err != nil {
		r.Error(err)
	}
	if err := r.Serve(r.Context()); err != nil {
		r.Fatal(err)
	}
}

// finish stops the server, has keyserver verify judge what it left, and returns the audit log.
func (r *real) finish() []audit.Event {
	r.Helper()
	if err := r.StopServer(); err != nil {
		r.Error(err)
	}
	if out, err := r.Command(r.Context(), "keyserver", "verify", "--config", r.Config()).CombinedOutput(); err != nil {
		r.Errorf("keyserver verify: %v\n%s", err, out)
	}
	log, err := os.ReadFile(filepath.Join(r.Dir, "keyserver.log"))
	if err != nil {
		r.Fatal(err)
	}
	quiet(r, string(log))
	db, err := store.Open(context.Background(), r.Location(), store.Options{Clock: time.Now})
	if err != nil {
		r.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			r.Error(err)
		}
	}()
	events, err := store.View(context.Background(), db, func(tables *store.Reader) ([]audit.Event, error) {
		stored, err := tables.Events(store.EventQuery{Limit: 1 << 30})
		var events []audit.Event
		for _, s := range stored {
			e, err := audit.ParseLeaf(s.Leaf)
			if err != nil {
				return nil, err
			}
			events = append(events, e)
		}
		return events, err
	})
	if err != nil {
		r.Fatal(err)
	}
	return events
}
