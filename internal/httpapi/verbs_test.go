package httpapi_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/v2"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func newOperation(keys ...string) api.NewOperation {
	o := api.NewOperation{Description: "release 1.2.3", Context: "built from tag v1.2.3", ValidMS: 3_600_000}
	for _, k := range keys {
		o.KeyUsageRestrictions = append(o.KeyUsageRestrictions, api.KeyUsageRestriction{KeyID: k, MaxUsageCount: 2})
	}
	return o
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refusedAs checks that the error is a problem of this kind, and returns it.
func refusedAs(t testing.TB, what string, err error, want api.Kind) *api.Problem {
	t.Helper()
	p, ok := errors.AsType[*api.Problem](err)
	if !ok || p.Kind() != want || p.Status != want.Status() {
		t.Fatalf("%s: got %v (%+v), want %s", what, err, p, want)
	}
	return p
}

func digestOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestOperationIsApprovedAndUsedThroughTheAPI(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	olga, alice, bob := clientOf(k, "olga"), clientOf(k, "alice"), clientOf(k, "bob")

	in := newOperation("fw-dev", "fw-prod")
	in.Clients = []string{"ci"}
	in.Artifacts = []api.Artifact{{Name: "gateway-2.4.1.bin", Size: 3, Hash: "SHA-256", Digest: digestOf("img")}}
	o := must[api.Operation](t)(olga.CreateOperation(ctx, "create-1", in))
	if o.State != api.Pending || o.Orderer.Subject != "olga" || o.Clients[0] != "ci" || o.Keys[1].Needed != 2 || o.Expires-o.Created != in.ValidMS {
		t.Errorf("created: %+v", o)
	}
	if again := must[api.Operation](t)(olga.CreateOperation(ctx, "create-1", in)); again.ID != o.ID {
		t.Errorf("the same request made another operation")
	}
	in.Description = "something else"
	_, err := olga.CreateOperation(ctx, "create-1", in)
	refusedAs(t, "the key of another request", err, api.KeyReused)

	order := api.NewSignOrder{KeyID: "fw-prod", Hash: "SHA-256", Digest: digestOf("img")}
	_, err = olga.PlaceSignOrder(ctx, o.ID, "sign-1", order)
	refusedAs(t, "signing before approval", err, api.WrongState)

	queue := must[api.Operations](t)(alice.Operations(ctx, client.OperationFilter{Queue: true}))
	if len(queue.Operations) != 1 || !slices.Equal(queue.Operations[0].CountsFor, []string{"fw-dev", "fw-prod"}) {
		t.Fatalf("alice's queue: %+v", queue)
	}
	digest := must[string](t)(queue.Operations[0].ComputeDigest())
	if digest != o.Digest {
		t.Errorf("the digest of what is shown is %s, the server says %s", digest, o.Digest)
	}
	_, err = alice.Approve(ctx, o.ID, digestOf("another operation"))
	refusedAs(t, "approving another digest", err, api.WrongDigest)
	must[api.Operation](t)(alice.Approve(ctx, o.ID, digest))
	_, err = alice.Approve(ctx, o.ID, digest)
	refusedAs(t, "approving twice", err, api.Duplicate)
	if o = must[api.Operation](t)(alice.Withdraw(ctx, o.ID)); o.Approvals[0].Withdrawn == 0 {
		t.Errorf("withdrawn: %+v", o.Approvals)
	}
	must[api.Operation](t)(alice.Approve(ctx, o.ID, digest))
	if o = must[api.Operation](t)(bob.Approve(ctx, o.ID, digest)); o.State != api.Approved || !slices.Equal(o.Keys[1].ApprovedBy, []string{"alice", "bob"}) {
		t.Errorf("approved: %+v", o)
	}

	signed := must[api.SignOrder](t)(olga.PlaceSignOrder(ctx, o.ID, "sign-1", order))
	if signed.State != api.OrderSigned || signed.Use != 1 || signed.Of != 2 || signed.Format != api.DER || signed.Digest != order.Digest {
		t.Errorf("signed: %+v", signed)
	}
	again := must[api.SignOrder](t)(olga.PlaceSignOrder(ctx, o.ID, "sign-1", order))
	if again.ID != signed.ID || !bytes.Equal(again.Signature, signed.Signature) {
		t.Errorf("the same sign order was signed again: %+v", again)
	}
	order.Digest = digestOf("other")
	_, err = olga.PlaceSignOrder(ctx, o.ID, "sign-1", order)
	refusedAs(t, "the key of another input", err, api.KeyReused)
	_, err = olga.PlaceSignOrder(ctx, o.ID, "sign-2", order)
	refusedAs(t, "an input that is no artifact", err, api.InputMisfit)
	_, err = olga.PlaceSignOrder(ctx, o.ID, "sign-3", api.NewSignOrder{KeyID: "fw-one", Hash: "SHA-256", Digest: digestOf("img")})
	refusedAs(t, "a key that is not in the operation", err, api.NotCovered)
	_, err = alice.Withdraw(ctx, o.ID)
	refusedAs(t, "withdrawing after the first sign order", err, api.WrongState)

	list := must[api.SignOrders](t)(bob.SignOrders(ctx, o.ID, client.Page{}))
	if len(list.SignOrders) != 1 || list.SignOrders[0].Signature != nil {
		t.Errorf("bob sees %+v", list)
	}
	o = must[api.Operation](t)(olga.Revoke(ctx, o.ID, "no longer needed"))
	if o.State != api.Revoked || o.Ended == nil || o.Ended.By != "olga" || !o.Used {
		t.Errorf("revoked: %+v", o)
	}
	must[api.Operation](t)(olga.Revoke(ctx, o.ID, "again"))
	_, err = olga.PlaceSignOrder(ctx, o.ID, "sign-4", api.NewSignOrder{KeyID: "fw-prod", Hash: "SHA-256", Digest: digestOf("img")})
	refusedAs(t, "signing after revocation", err, api.WrongState)
	if late := must[api.SignOrder](t)(olga.SignOrder(ctx, signed.ID, "")); !bytes.Equal(late.Signature, signed.Signature) {
		t.Errorf("the stored signature is not given: %+v", late)
	}
}

func TestRejectionEndsAnOperation(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	o := must[api.Operation](t)(clientOf(k, "olga").CreateOperation(ctx, "c", newOperation("fw-prod")))
	_, err := clientOf(k, "olga").Reject(ctx, o.ID, "no")
	refusedAs(t, "rejecting one's own", err, api.Forbidden)
	_, err = clientOf(k, "dave").Reject(ctx, o.ID, "no")
	refusedAs(t, "rejecting what one does not see", err, api.NotFound)
	_, err = clientOf(k, "carol").Reject(ctx, o.ID, "zero\u200bwidth")
	refusedAs(t, "a reason that cannot be shown", err, api.Impossible)
	o = must[api.Operation](t)(clientOf(k, "carol").Reject(ctx, o.ID, "wrong tag"))
	if o.State != api.Rejected || o.Ended.Reason != "wrong tag" || o.Ended.By != "carol" {
		t.Errorf("rejected: %+v", o)
	}
}

func TestSignaturesComeInTheFormAskedFor(t *testing.T) {
	k, ctx := testkit.NewWith(t, testkit.Options{World: withRSA}), context.Background()
	olga := clientOf(k, "olga")
	o := must[api.Operation](t)(olga.CreateOperation(ctx, "c", newOperation("fw-dev", "fw-ed", "fw-rsa")))
	sum := sha256.Sum256([]byte("image"))

	p1363 := must[api.SignOrder](t)(olga.PlaceSignOrder(ctx, o.ID, "ecdsa", api.NewSignOrder{
		KeyID: "fw-dev", Hash: "SHA-256", Digest: base64.StdEncoding.EncodeToString(sum[:]), Encoding: api.Base64, Format: api.P1363,
	}))
	public := publicKey(t, olga, "fw-dev").(*ecdsa.PublicKey)
	r, s := new(big.Int).SetBytes(p1363.Signature[:32]), new(big.Int).SetBytes(p1363.Signature[32:])
	if p1363.Format != api.P1363 || len(p1363.Signature) != 64 || !ecdsa.Verify(public, sum[:], r, s) {
		t.Errorf("p1363: %+v", p1363)
	}
	der := must[api.SignOrder](t)(olga.SignOrder(ctx, p1363.ID, ""))
	if der.Format != api.DER || !ecdsa.VerifyASN1(public, sum[:], der.Signature) {
		t.Errorf("der: %+v", der)
	}

	ed := must[api.SignOrder](t)(olga.PlaceSignOrder(ctx, o.ID, "ed", api.NewSignOrder{KeyID: "fw-ed", Data: []byte("image")}))
	if ed.Format != api.Raw || !ed25519.Verify(publicKey(t, olga, "fw-ed").(ed25519.PublicKey), []byte("image"), ed.Signature) {
		t.Errorf("ed25519: %+v", ed)
	}
	pss := must[api.SignOrder](t)(olga.PlaceSignOrder(ctx, o.ID, "pss", api.NewSignOrder{KeyID: "fw-rsa", Scheme: "RSASSA-PSS", Data: []byte("image"), Format: api.Raw}))
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	if err := rsa.VerifyPSS(publicKey(t, olga, "fw-rsa").(*rsa.PublicKey), crypto.SHA256, sum[:], pss.Signature, opts); err != nil || pss.Format != api.Raw {
		t.Errorf("pss: %v %+v", err, pss)
	}
}

func TestFormatThatDoesNotFitIsRefusedBeforeAnythingIsSigned(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	olga := clientOf(k, "olga")
	o := must[api.Operation](t)(olga.CreateOperation(ctx, "c", newOperation("fw-dev", "fw-ed")))
	for _, in := range []api.NewSignOrder{
		{KeyID: "fw-dev", Hash: "SHA-256", Digest: digestOf("x"), Format: api.Raw},
		{KeyID: "fw-ed", Data: []byte("x"), Format: api.DER},
		{KeyID: "fw-ed", Data: []byte("x"), Format: api.P1363},
	} {
		_, err := olga.PlaceSignOrder(ctx, o.ID, "k", in)
		refusedAs(t, string(in.Format), err, api.InputMisfit)
	}
	order := must[api.SignOrder](t)(olga.PlaceSignOrder(ctx, o.ID, "k", api.NewSignOrder{KeyID: "fw-dev", Hash: "SHA-256", Digest: digestOf("x")}))
	_, err := olga.SignOrder(ctx, order.ID, api.Raw)
	refusedAs(t, "fetching it as raw", err, api.InputMisfit)
	if order.Use != 1 || k.Count(law.OperationID(o.ID), "order-accepted") != 1 {
		t.Errorf("a use was taken by a refused order: %+v", order)
	}
}

// CR-02: the server makes the DigestInfo (RFC 8017 section 9.2), so that it signs nothing else.
func TestCR02_ADigestInfoIsNoDigest(t *testing.T) {
	k, ctx := testkit.NewWith(t, testkit.Options{World: withRSA}), context.Background()
	olga := clientOf(k, "olga")
	o := must[api.Operation](t)(olga.CreateOperation(ctx, "c", newOperation("fw-rsa")))
	in := api.NewSignOrder{KeyID: "fw-rsa", Hash: "SHA-256", Digest: "3031300d060960864801650304020105000420" + digestOf("x")}
	for _, scheme := range []law.Scheme{law.PKCS1v15, law.PSS} {
		in.Scheme = string(scheme)
		_, err := olga.PlaceSignOrder(ctx, o.ID, "k", in)
		refusedAs(t, in.Scheme, err, api.InputMisfit)
	}
	if n := k.Keystore.Signs("fw-rsa"); n != 0 || k.Count(law.OperationID(o.ID), audit.OrderAccepted) != 0 {
		t.Errorf("the keystore was asked %d times", n)
	}
}

// CR-01: the names and lengths that come through the API.
func TestCR01_UnknownHashesAndSchemesAndWrongLengthsAreRefused(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	olga := clientOf(k, "olga")
	o := must[api.Operation](t)(olga.CreateOperation(ctx, "c", newOperation("fw-dev")))
	good := digestOf("x")
	for name, in := range map[string]api.NewSignOrder{
		"31 bytes":          {Hash: "SHA-256", Digest: good[2:]},
		"33 bytes":          {Hash: "SHA-256", Digest: good + "00"},
		"48 bytes":          {Hash: "SHA-256", Digest: good + good[:32]},
		"SHA-1":             {Hash: "SHA-1", Digest: good[:40]},
		"MD5":               {Hash: "MD5", Digest: good[:32]},
		"another hash":      {Hash: "SHA-384", Digest: good},
		"lower-case name":   {Hash: "sha-256", Digest: good},
		"no hash":           {Digest: good},
		"another scheme":    {Hash: "SHA-256", Scheme: "RSASSA-PSS", Digest: good},
		"unknown scheme":    {Hash: "SHA-256", Scheme: "none", Digest: good},
		"neither":           {Hash: "SHA-256"},
		"digest and data":   {Hash: "SHA-256", Digest: good, Data: []byte("x")},
		"client's own DER":  {Hash: "SHA-256", Digest: "3031300d060960864801650304020105000420" + good},
		"scheme of 64 'a's": {Hash: "SHA-256", Scheme: strings.Repeat("a", 64), Digest: good},
	} {
		in.KeyID = "fw-dev"
		_, err := olga.PlaceSignOrder(ctx, o.ID, "k", in)
		refusedAs(t, name, err, api.InputMisfit)
	}
	_, err := olga.PlaceSignOrder(ctx, o.ID, "k", api.NewSignOrder{KeyID: "fw-dev", Hash: "SHA-256", Digest: good[1:]})
	refusedAs(t, "half a byte", err, api.Malformed)
	_, err = olga.PlaceSignOrder(ctx, o.ID, "k", api.NewSignOrder{KeyID: "fw-dev", Hash: "SHA-256", Digest: "====", Encoding: api.Base64})
	refusedAs(t, "no base64", err, api.Malformed)
	if n := k.Keystore.Signs("fw-dev"); n != 0 {
		t.Errorf("the keystore was asked %d times", n)
	}
}

func TestWaitEndsWithTheChange(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	olga := clientOf(k, "olga")
	o := must[api.Operation](t)(olga.CreateOperation(ctx, "c", newOperation("fw-one")))
	if same := must[api.Operation](t)(olga.WaitChange(ctx, o.ID, o.Revision, 0)); same.Revision != o.Revision {
		t.Errorf("nothing changed, and the revision is %d", same.Revision)
	}
	done := make(chan api.Operation)
	go func() {
		waited, err := olga.WaitOperation(ctx, o.ID, func(o api.Operation) bool { return o.State == api.Approved })
		if err != nil {
			t.Error(err)
		}
		done <- waited
	}()
	must[api.Operation](t)(clientOf(k, "dave").Approve(ctx, o.ID, o.Digest))
	if waited := <-done; waited.State != api.Approved || waited.Revision <= o.Revision {
		t.Errorf("waited for %+v", waited)
	}
}

func TestListsArePagedWithoutLossOrRepetition(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	olga := clientOf(k, "olga")
	for i := range 5 {
		must[api.Operation](t)(olga.CreateOperation(ctx, string(rune('a'+i)), newOperation("fw-dev")))
	}
	var ids []string
	page := client.Page{Limit: 2}
	for {
		out := must[api.Operations](t)(olga.Operations(ctx, client.OperationFilter{State: api.Approved, KeyID: "fw-dev", Orderer: "olga", Page: page}))
		for _, o := range out.Operations {
			ids = append(ids, o.ID)
		}
		if page.Cursor = out.Next; out.Next == "" {
			break
		}
	}
	if len(ids) != 5 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 5 {
		t.Errorf("the pages had %v", ids)
	}
}

// AZ-05: pages that the schema refuses are in TestParametersAreValidated.
func TestAZ05_ForgedAndForeignCursorsAreRefused(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	olga := clientOf(k, "olga")
	for _, key := range []string{"a", "b"} {
		must[api.Operation](t)(olga.CreateOperation(ctx, key, newOperation("fw-dev")))
	}
	cursor := must[api.Operations](t)(olga.Operations(ctx, client.OperationFilter{Page: client.Page{Limit: 1}})).Next
	for _, forged := range []string{"x", cursor[1:], cursor + "AA", strings.ToUpper(cursor)} {
		_, err := olga.Operations(ctx, client.OperationFilter{Page: client.Page{Limit: 1, Cursor: forged}})
		refusedAs(t, "a forged cursor", err, api.Malformed)
	}
	_, err := clientOf(k, "alice").Operations(ctx, client.OperationFilter{Page: client.Page{Limit: 1, Cursor: cursor}})
	refusedAs(t, "a foreign cursor", err, api.Malformed)
	_, err = olga.Operations(ctx, client.OperationFilter{State: api.Approved, Page: client.Page{Limit: 1, Cursor: cursor}})
	refusedAs(t, "the cursor of another list", err, api.Malformed)
}

func TestKeysAreShownToThoseWithARoleOnThem(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	if keys := must[[]api.Key](t)(clientOf(k, "carol").Keys(ctx)); len(keys) != 1 || keys[0].KeyID != "fw-prod" || keys[0].Requirement != 2 {
		t.Errorf("carol sees %+v", keys)
	}
	one := must[api.Key](t)(clientOf(k, "carol").Key(ctx, "fw-prod"))
	if one.Algorithm != "ECDSA-P256" || one.State != "active" {
		t.Errorf("the key is %+v", one)
	}
	der := must[[]byte](t)(x509.MarshalPKIXPublicKey(publicKey(t, clientOf(k, "carol"), "fw-prod")))
	if digestOf(string(der)) != one.Fingerprint {
		t.Errorf("the fingerprint is not that of the public key")
	}
	_, err := clientOf(k, "carol").Certificate(ctx, "fw-prod")
	refusedAs(t, "no certificate", err, api.NotFound)
	_, err = clientOf(k, "carol").Key(ctx, "fw-dev")
	refusedAs(t, "a key of others", err, api.NotFound)
	_, err = clientOf(k, "carol").PublicKey(ctx, "fw-dev")
	refusedAs(t, "a public key of others", err, api.NotFound)
}

func TestServerSaysWhatItIsAndWhoAsks(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	c := clientOf(k, "peter")
	if v := must[api.Version](t)(c.Version(ctx)); v.Server != k.ServerID || v.Mode != "development" || v.LogKey != k.Keyserver.LogKey() || v.API != "1" {
		t.Errorf("the version is %+v", v)
	}
	if self := must[api.Self](t)(c.WhoAmI(ctx)); self.Subject != "peter" || self.Kind != "user" || len(self.Roles) != 3 {
		t.Errorf("peter is %+v", self)
	}
	if h := must[api.Health](t)(c.Health(ctx)); h.Status != "ok" {
		t.Errorf("the health is %+v", h)
	}
	if err := c.Ready(ctx); err != nil {
		t.Error(err)
	}
	if spec := must[[]byte](t)(c.OpenAPI(ctx)); string(spec) != api.OpenAPI() {
		t.Error("another specification is served")
	}
}

func TestAuditLogIsReadAndProven(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	olga, audrey := clientOf(k, "olga"), clientOf(k, "audrey")
	must[api.Operation](t)(olga.CreateOperation(ctx, "c", newOperation("fw-dev")))
	verifier := must[audit.Verifier](t)(audit.NewVerifier(k.Keyserver.LogKey()))
	early := must[audit.Checkpoint](t)(audit.ParseCheckpoint([]byte(must[string](t)(olga.Checkpoint(ctx))), verifier))
	o := must[api.Operation](t)(olga.CreateOperation(ctx, "d", newOperation("fw-dev")))
	late := must[audit.Checkpoint](t)(audit.ParseCheckpoint([]byte(must[string](t)(olga.Checkpoint(ctx))), verifier))

	events := must[api.Events](t)(audrey.Events(ctx, client.EventFilter{Type: "operation-created", Subject: "olga", Page: client.Page{Limit: 1}}))
	if len(events.Events) != 1 || events.Next == "" {
		t.Fatalf("the events are %+v", events)
	}
	created := must[api.Events](t)(audrey.Events(ctx, client.EventFilter{Operation: o.ID, Type: "operation-created"}))
	var leaf struct{ Index int64 }
	if err := json.Unmarshal(created.Events[0], &leaf, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	inclusion := must[api.InclusionProof](t)(olga.InclusionProof(ctx, leaf.Index, late.Size))
	if err := audit.CheckInclusion(hashes(inclusion.Hashes), late, leaf.Index, created.Events[0]); err != nil {
		t.Error(err)
	}
	consistency := must[api.ConsistencyProof](t)(olga.ConsistencyProof(ctx, early.Size, late.Size))
	if err := audit.CheckConsistency(hashes(consistency.Hashes), late, early); err != nil {
		t.Error(err)
	}
	_, err := olga.InclusionProof(ctx, late.Size, late.Size)
	refusedAs(t, "a proof of what is not there", err, api.Malformed)
	_, err = olga.Events(ctx, client.EventFilter{})
	refusedAs(t, "all events, for olga", err, api.Forbidden)
	if own := must[api.Events](t)(olga.Events(ctx, client.EventFilter{Operation: o.ID})); len(own.Events) < 2 {
		t.Errorf("olga sees %d events of her operation", len(own.Events))
	}

	var export bytes.Buffer
	if err := audrey.Export(ctx, &export); err != nil {
		t.Fatal(err)
	}
	leaves, _, found := strings.Cut(export.String(), "\n\n")
	if !found || int64(strings.Count(leaves, "\n")+1) < late.Size {
		t.Errorf("the export has %d lines of at least %d", strings.Count(leaves, "\n")+1, late.Size)
	}
	refusedAs(t, "an export for olga", olga.Export(ctx, &export), api.Forbidden)
}

func TestSignerSignsUnderAnOperation(t *testing.T) {
	k, ctx := testkit.NewWith(t, testkit.Options{World: withRSA}), context.Background()
	olga := clientOf(k, "olga")
	in := newOperation("fw-dev", "fw-ed", "fw-rsa")
	o := must[api.Operation](t)(olga.CreateOperation(ctx, "c", in))
	sum := sha256.Sum256([]byte("image"))

	signer := must[*client.Signer](t)(olga.Signer(ctx, o.ID, "fw-dev"))
	var orders []api.SignOrder
	signer.Placed = func(o api.SignOrder) { orders = append(orders, o) }
	signature := must[[]byte](t)(signer.Sign(nil, sum[:], crypto.SHA256))
	if !ecdsa.VerifyASN1(signer.Public().(*ecdsa.PublicKey), sum[:], signature) {
		t.Error("the ECDSA signature does not verify")
	}
	again := must[[]byte](t)(signer.SignMessage(nil, []byte("image"), crypto.SHA256))
	if !bytes.Equal(again, signature) || len(orders) != 2 || orders[0].ID != orders[1].ID || orders[1].Use != 1 {
		t.Errorf("the same input took another use: %+v", orders)
	}

	ed := must[*client.Signer](t)(olga.Signer(ctx, o.ID, "fw-ed"))
	signature = must[[]byte](t)(ed.Sign(nil, []byte("image"), crypto.Hash(0)))
	if !ed25519.Verify(ed.Public().(ed25519.PublicKey), []byte("image"), signature) {
		t.Error("the Ed25519 signature does not verify")
	}

	// A certificate request is made by the standard library with any crypto.Signer.
	rsaSigner := must[*client.Signer](t)(olga.Signer(ctx, o.ID, "fw-rsa"))
	for _, algorithm := range []x509.SignatureAlgorithm{x509.SHA256WithRSA, x509.SHA256WithRSAPSS} {
		csr := must[[]byte](t)(x509.CreateCertificateRequest(nil, &x509.CertificateRequest{SignatureAlgorithm: algorithm}, rsaSigner))
		if err := must[*x509.CertificateRequest](t)(x509.ParseCertificateRequest(csr)).CheckSignature(); err != nil {
			t.Errorf("%v: %v", algorithm, err)
		}
	}
	_, err := rsaSigner.Sign(nil, sum[:], crypto.SHA256)
	refusedAs(t, "a third use of two", err, api.WrongState)
	for name, opts := range map[string]crypto.SignerOpts{
		"SHA-1": crypto.SHA1, "no hash": crypto.Hash(0), "a short salt": &rsa.PSSOptions{SaltLength: 20, Hash: crypto.SHA256},
	} {
		if _, err := rsaSigner.Sign(nil, sum[:], opts); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
}

func TestDigestIsComputedFromWhatIsShown(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	in := newOperation("fw-prod", "fw-dev")
	in.Description, in.Context = "Größe <b>&amp;</b> \u2028 \"x\" \\", "zweite\nZeile 𝄞"
	in.Description = strings.ReplaceAll(in.Description, "\u2028 ", "")
	in.Clients = []string{"oscar", "ci"}
	o := must[api.Operation](t)(clientOf(k, "olga").CreateOperation(ctx, "c", in))
	if got := must[string](t)(o.ComputeDigest()); got != o.Digest {
		t.Errorf("computed %s, the server says %s", got, o.Digest)
	}
	for name, change := range map[string]func(*api.Operation){
		"server": func(o *api.Operation) { o.Server += "x" }, "key count": func(o *api.Operation) { o.Keys[0].MaxUsageCount++ },
		"requirement": func(o *api.Operation) { o.Keys[0].Requirement = 0 }, "description": func(o *api.Operation) { o.Description += " " },
		"expiry": func(o *api.Operation) { o.Expires++ }, "clients": func(o *api.Operation) { slices.Reverse(o.Clients) },
	} {
		changed := must[api.Operation](t)(clientOf(k, "olga").Operation(ctx, o.ID))
		change(&changed)
		if got := must[string](t)(changed.ComputeDigest()); got == o.Digest {
			t.Errorf("another %s has the same digest", name)
		}
	}
}

// withRSA adds a key that makes two schemes.
func withRSA(c *law.Configuration) {
	key := testkit.Key("fw-rsa", 0)
	key.Algorithm, key.Schemes = law.RSA2048, []law.Scheme{law.PKCS1v15, law.PSS}
	c.Keys = append(c.Keys, key)
	c.Roles[0].Keys = append(c.Roles[0].Keys, key.ID)
}

func publicKey(t testing.TB, c *client.Client, id string) crypto.PublicKey {
	t.Helper()
	block, _ := pem.Decode(must[[]byte](t)(c.PublicKey(context.Background(), id)))
	return must[any](t)(x509.ParsePKIXPublicKey(block.Bytes))
}

func hashes(wire [][]byte) []audit.Hash {
	out := make([]audit.Hash, len(wire))
	for i, h := range wire {
		out[i] = audit.Hash(h)
	}
	return out
}
