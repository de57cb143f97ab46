package keyserver_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// constants are the values of all constants of a type in a source file.
func constants(t *testing.T, file, of string) []string {
	t.Helper()
	source, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(source, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is {
			return true
		}
		if name, is := spec.Type.(*ast.Ident); !is || name.Name != of {
			return true
		}
		for _, v := range spec.Values {
			value, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	return values
}

func TestWhateverTheLawDoesIsAnAuditEvent(t *testing.T) {
	kinds := constants(t, "../law/operation.go", "ChangeKind")
	if len(kinds) < 14 {
		t.Errorf("only %d kinds of change were found", len(kinds))
	}
	for _, kind := range kinds {
		if !slices.Contains(audit.Types(), audit.Type(kind)) {
			t.Errorf("a change %s is no type of audit event", kind)
		}
	}
	if types := constants(t, "../audit/event.go", "Type"); len(types) != len(audit.Types()) {
		t.Errorf("there are %d types of audit events, and %d are listed", len(types), len(audit.Types()))
	}
}

// unwritten are the types of events that nothing writes yet.
var unwritten = []audit.Type{
	audit.IntegrityViolation, // the server will check what it reads with the signed approvals
}

func TestEveryTypeOfEventIsWritten(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{World: testkit.Responding})
	everyCertificateEvent(k)
	everySessionEvent(k)
	ask := testkit.Ask("fw-one")
	ask.Keys[0].MaxUses = 2
	used, rejected := k.Approve(k.Create(ask), "alice"), k.Create(ask)
	k.Keyserver.SignInRefused("192.0.2.1", "expired")
	if err := signOut(k, k.Caller("alice"), signIn(k, "alice")); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Keyserver.SetContact(k.Context(), k.Caller("alice"), keyserver.Contact{}, false); err != nil {
		t.Fatal(err)
	}
	_, err := k.Keyserver.Reject(k.Context(), k.Caller("dave"), rejected.ID, "no")
	_, err2 := k.Keyserver.Withdraw(k.Context(), k.Caller("alice"), used.ID) // lapses
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	k.Approve(used, "dave")
	k.Keystore.Fail(errors.New("no power"))
	_, err = k.Sign(used, testkit.OrderAsk("fw-one", "1", "image"))
	testkit.Unavailable(t, "a failure", err, "keystore")
	k.Keystore.Hook(keystoretest.Hooks{})
	k.MustSign(used, testkit.OrderAsk("fw-one", "1", "image"))
	k.MustSign(used, testkit.OrderAsk("fw-one", "2", "image")) // exhausts
	_, err = k.Sign(used, testkit.OrderAsk("fw-one", "3", "image"))
	testkit.Refused(t, "a use too many", err, law.WrongState)
	_, err = k.CreateAs(k.Caller("eve"), ask)
	testkit.Refused(t, "an operation of eve's", err, law.Forbidden)
	_, err = k.Keyserver.Key(k.Context(), k.Caller("eve"), "fw-one")
	testkit.Refused(t, "a key for eve", err, law.NotFound)
	revoked, _, hanging, answer := hangingOrder(k)
	if _, err := k.Keyserver.Revoke(k.Context(), k.Caller("olga"), revoked.ID, "no"); err != nil {
		t.Fatal(err)
	}
	hanging.Release()
	testkit.Refused(t, "a revoked order", (<-answer).err, law.WrongState)
	k.Create(ask)
	k.Clock.Step(testkit.Day) // expires
	k.Clock.Set(-time.Hour)
	k.Beat()
	k.AcceptClock()

	seen := map[audit.Type]int{}
	for _, e := range k.Events("") {
		seen[e.Type]++
	}
	for _, of := range audit.Types() {
		if (seen[of] == 0) != slices.Contains(unwritten, of) {
			t.Errorf("there are %d events %s", seen[of], of)
		}
	}
}

// everyCertificateEvent lets everything happen that can happen to certificates and revocation lists.
func everyCertificateEvent(k *testkit.Kit) {
	k.Helper()
	k.Certify("root")
	k.Certify("ca-dev")
	if _, err := k.Keyserver.RevokeCertificate(k.Context(), k.Caller("adam"), underOperation(k, "fw-dev").ID, "superseded", "old"); err != nil {
		k.Fatal(err)
	}
	wantStatus(k, "its own", underOperation(k, "status-ca"), ocsp.Good)
	k.Beat() // makes the revocation list
	s := k.ActiveSession(nil)
	request, err := k.Keyserver.CertificateRequest(k.Context(), k.Caller("ada"), s.ID, "fw-dev")
	if err != nil {
		k.Fatal(err)
	}
	if _, err := k.Keyserver.ImportCertificate(k.Context(), k.Caller("ada"), s.ID, "fw-dev", newElsewhere(k).answer(k, request)); err != nil {
		k.Fatal(err)
	}
	k.Keystore.Fail(errors.New("no power"))
	_, err = k.CertifyIn(s, "fw-ed")
	testkit.Unavailable(k, "a certificate", err, "keystore")
	_, err = k.Keyserver.CertificateRequest(k.Context(), k.Caller("ada"), s.ID, "fw-dev")
	testkit.Unavailable(k, "a certificate request", err, "keystore")
	_, err = k.Keyserver.MakeRevocationList(k.Context(), k.Caller("ada"), s.ID, "root")
	testkit.Unavailable(k, "a revocation list", err, "keystore")
	k.Keystore.Hook(keystoretest.Hooks{})
	k.Close(s)
}

// everySessionEvent lets everything happen that can happen to administration sessions.
func everySessionEvent(k *testkit.Kit) {
	k.Helper()
	policy := k.Policy(requiring("fw-one", 2))
	if _, err := k.Keyserver.ApplyPlan(k.Context(), k.Caller("ada"), k.ActiveSession(&policy).ID); err != nil {
		k.Fatal(err)
	}
	s := k.OpenSession(nil)
	if _, err := k.Keyserver.WithdrawAuthorisation(k.Context(), k.Caller("ada"), s.ID); err != nil {
		k.Fatal(err)
	}
	k.Authorise(s, "ada", "adam")
	k.Configure(requiring("fw-one", 1))
	k.Enable("adam", false) // lapses
	_, err := k.ChangeIn(s, law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}})
	testkit.Refused(k, "a change in a session that has lapsed", err, law.Forbidden)
	k.Clock.Step(time.Hour) // expires
	k.Beat()
}

func TestProofsAreOfTheLogThereIs(t *testing.T) {
	k := testkit.New(t)
	k.Create(testkit.Ask("fw-dev"))
	size := k.LogSize()
	server, ctx, c := k.Keyserver, k.Context(), k.Caller("eve") // whoever holds a checkpoint is a witness
	for _, index := range []int64{0, 1, size - 1} {
		if _, err := server.InclusionProof(ctx, c, index, size); err != nil {
			t.Error(err)
		}
		if _, err := server.ConsistencyProof(ctx, c, index+1, size); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range [][2]int64{{0, 0}, {0, -1}, {-1, size}, {size, size}, {0, size + 1}, {1 << 62, 1 << 62}} {
		_, err := server.InclusionProof(ctx, c, bad[0], bad[1])
		if _, is := errors.AsType[*keyserver.Malformed](err); !is {
			t.Errorf("a proof of entry %d in %d: %v", bad[0], bad[1], err)
		}
	}
	for _, bad := range [][2]int64{{0, size}, {-1, size}, {size, size - 1}, {1, size + 1}, {1, 0}} {
		_, err := server.ConsistencyProof(ctx, c, bad[0], bad[1])
		if _, is := errors.AsType[*keyserver.Malformed](err); !is {
			t.Errorf("a proof from %d to %d: %v", bad[0], bad[1], err)
		}
	}
}

// slowReader takes nothing until it is let go.
type slowReader struct{ began, letGo chan struct{} }

func (s slowReader) Write(p []byte) (int, error) {
	select {
	case s.began <- struct{}{}:
	case <-s.letGo: // more than one write
	}
	<-s.letGo
	return len(p), nil
}

func TestASlowExportHoldsNobodyUp(t *testing.T) {
	k := testkit.New(t)
	const many = 50 // more than there are connections to the database
	slow := slowReader{make(chan struct{}), make(chan struct{})}
	ended := make(chan error, many)
	for range many {
		go func() { ended <- k.Keyserver.Export(t.Context(), k.Caller("audrey"), slow) }()
	}
	for range many {
		<-slow.began
	}
	o := k.Create(testkit.Ask("fw-dev"))
	if k.State(o.ID) != law.Approved {
		t.Error("the operation is not approved")
	}
	close(slow.letGo)
	for range many {
		if err := <-ended; err != nil {
			t.Errorf("exporting: %v", err)
		}
	}
}
