package verifytest

import (
	"encoding/hex"
	"errors"
	"time"

	"github.com/google/uuid"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
)

// Create creates an operation for a subject: so many uses of each key.
func (w *World) Create(who law.SubjectID, uses int, more func(*law.Ask), keys ...law.KeyID) keyserver.Operation {
	w.Helper()
	o, err := w.TryCreate(who, uses, more, keys...)
	w.must(err)
	return o
}

// TryCreate is Create that may be refused.
func (w *World) TryCreate(who law.SubjectID, uses int, more func(*law.Ask), keys ...law.KeyID) (keyserver.Operation, error) {
	ask := law.Ask{Description: "release 1.2.3", Context: "built from tag v1.2.3", Validity: time.Hour}
	for _, k := range keys {
		ask.Keys = append(ask.Keys, law.KeyAsk{Key: k, MaxUses: uses})
	}
	if more != nil {
		more(&ask)
	}
	return w.Server.CreateOperation(w.Context(), w.Caller(who), keyserver.CreateRequest{IdempotencyKey: uuid.NewString(), Ask: ask})
}

// Approve approves an operation for each of these people.
func (w *World) Approve(o keyserver.Operation, approvers ...law.SubjectID) {
	w.Helper()
	for _, who := range approvers {
		_, err := w.Server.Approve(w.Context(), w.Caller(who), o.ID, o.Digest)
		w.must(err)
	}
}

// Sign places a sign order over a text.
func (w *World) Sign(who law.SubjectID, o keyserver.Operation, key law.KeyID, idempotencyKey, text string) error {
	ask := law.OrderAsk{Key: key, IdempotencyKey: idempotencyKey}
	switch key {
	case "fw-ed":
		ask.Data = []byte(text)
	case "fw-rsa":
		ask.Scheme = law.PSS
		fallthrough
	default:
		ask.Hash, ask.Digest = law.SHA256, law.SHA256.Sum([]byte(text))
	}
	_, err := w.Server.PlaceSignOrder(w.Context(), w.Caller(who), o.ID, ask)
	return err
}

// Story is what happens in a world: every type of event, and every state of operations and sign orders, at
// least once. It ends with open operations and an open administration session.
func (w *World) Story() {
	w.Helper()
	w.plainUses()
	w.approvals()
	w.endings()
	w.attempts()
	w.refusals()
	w.configurationChanges()
	w.sessions()
	w.certificates()
	w.devices()
	w.signIns()
	w.contacts()
	w.clock()
	open := w.Create("olga", 2, nil, "fw-two", "fw-zero")
	w.Approve(open, "alice", "bob")
	w.must(w.Sign("olga", open, "fw-zero", "1", "the last image"))
	w.Approve(w.Create("olga", 1, nil, "fw-two"), "carol")
	left := w.OpenSession("anna", nil)
	w.withdraw("anna", left)
	w.Authorise(left, "adam")
}

func (w *World) plainUses() {
	w.Helper()
	o := w.Create("olga", 2, nil, "fw-zero", "fw-ed", "fw-rsa")
	for _, key := range []law.KeyID{"fw-zero", "fw-ed", "fw-rsa"} {
		for _, image := range []string{"a", "b"} {
			w.must(w.Sign("olga", o, key, image, "image "+image))
			w.must(w.Sign("olga", o, key, image, "image "+image)) // the same order again
			w.Step(time.Second)
		}
	}
	image := law.SHA256.Sum([]byte("an image"))
	pinned := w.Create("ci", 3, func(ask *law.Ask) {
		ask.Artifacts = []law.Artifact{{Name: "image.bin", Size: 8, Hash: law.SHA256, Digest: hex.EncodeToString(image)}}
		ask.Clients = []law.SubjectID{"olga"}
	}, "fw-zero")
	w.must(w.Sign("ci", pinned, "fw-zero", "1", "an image"))
	w.must(w.Sign("olga", pinned, "fw-zero", "1", "an image"))
	w.Refused(w.Sign("ci", pinned, "fw-zero", "2", "another image"))
}

func (w *World) approvals() {
	w.Helper()
	o := w.Create("ci", 2, nil, "fw-two", "fw-zero")
	w.Refused(w.Sign("ci", o, "fw-zero", "1", "too early"))
	_, err := w.Server.Approve(w.Context(), w.Caller("dora"), o.ID, o.Digest) // her own job
	w.Refused(err)
	w.Approve(o, "alice")
	_, err = w.Server.Approve(w.Context(), w.Caller("alice"), o.ID, o.Digest)
	w.Refused(err)
	w.Approve(o, "bob")
	_, err = w.Server.Withdraw(w.Context(), w.Caller("alice"), o.ID)
	w.must(err)
	w.Approve(o, "carol")
	w.must(w.Sign("ci", o, "fw-two", "1", "image"))
	_, err = w.Server.Withdraw(w.Context(), w.Caller("bob"), o.ID)
	w.Refused(err)
	again := w.Create("olga", 1, nil, "fw-two")
	w.Approve(again, "alice")
	_, err = w.Server.Withdraw(w.Context(), w.Caller("alice"), again.ID)
	w.must(err)
	w.Approve(again, "alice", "dora")
}

func (w *World) endings() {
	w.Helper()
	no := w.Create("olga", 1, nil, "fw-two")
	w.Approve(no, "bob")
	_, err := w.Server.Reject(w.Context(), w.Caller("bob"), no.ID, "not like this")
	w.must(err)
	_, err = w.Server.Approve(w.Context(), w.Caller("alice"), no.ID, no.Digest)
	w.Refused(err)
	for _, who := range []law.SubjectID{"olga", "alice", "ada"} {
		_, err := w.Server.Revoke(w.Context(), w.Caller(who), w.Create("olga", 1, nil, "fw-zero", "fw-two").ID, "no longer needed")
		w.must(err)
	}
	short := func(ask *law.Ask) { ask.Validity = 5 * time.Second }
	w.Create("olga", 1, short, "fw-two")
	met := w.Create("olga", 1, short, "fw-zero")
	w.Step(5 * time.Second)
	w.Refused(w.Sign("olga", met, "fw-zero", "1", "too late")) // meets the expiry
	w.must(w.Server.Beat(w.Context()))                         // finds the other one
}

func (w *World) attempts() {
	w.Helper()
	o := w.Create("olga", 2, nil, "fw-zero")
	w.Keystore.Fail(errors.New("no HSM"))
	w.Unavailable(w.Sign("olga", o, "fw-zero", "1", "image"))
	w.Keystore.Hook(keystoretest.Hooks{})
	w.must(w.Sign("olga", o, "fw-zero", "1", "image"))

	// The result is lost: once the next attempt comes after its lease, once the server starts again.
	w.cutOff(o, "2")
	w.Step(law.AttemptLease)
	w.must(w.Sign("olga", o, "fw-zero", "2", "image"))
	o = w.Create("olga", 5, nil, "fw-zero")
	w.cutOff(o, "1")
	w.Restart()
	w.must(w.Sign("olga", o, "fw-zero", "1", "image"))
	w.cutOff(o, "2")
	w.Step(law.AttemptLease)
	w.must(w.Server.Beat(w.Context()))

	// Something happens to the operation while the keystore works.
	w.WhileSigning(func() { w.Enable("olga", false) })
	w.must(w.Sign("olga", o, "fw-zero", "3", "image")) // only revocation withholds
	w.Enable("olga", true)
	w.WhileSigning(func() {
		_, err := w.Server.Revoke(w.Context(), w.Caller("ada"), o.ID, "the pipeline is not ours any more")
		w.must(err)
	})
	w.Refused(w.Sign("olga", o, "fw-zero", "4", "image"))
	last := w.Create("olga", 1, nil, "fw-zero")
	w.WhileSigning(func() { w.Enable("olga", false) })
	w.must(w.Sign("olga", last, "fw-zero", "1", "image")) // exhausted while it has lapsed
	w.Enable("olga", true)
	short := w.Create("olga", 2, func(ask *law.Ask) { ask.Validity = time.Second }, "fw-zero")
	w.WhileSigning(func() { w.Step(time.Second) })
	w.must(w.Sign("olga", short, "fw-zero", "1", "image"))
	w.Keystore.Hook(keystoretest.Hooks{})
}

// cutOff places a sign order whose result cannot be stored.
func (w *World) cutOff(o keyserver.Operation, idempotencyKey string) {
	w.Helper()
	w.WhileSigning(func() { w.lose.Store(true) })
	w.Unavailable(w.Sign("olga", o, "fw-zero", idempotencyKey, "image"))
	w.lose.Store(false)
	w.Keystore.Hook(keystoretest.Hooks{})
}

// Unavailable fails the test unless something could not be had.
func (w *World) Unavailable(err error) {
	w.Helper()
	var u *keyserver.Unavailable
	if !errors.As(err, &u) {
		w.Fatalf("something should not be to be had, but: %v", err)
	}
}

func (w *World) refusals() {
	w.Helper()
	o := w.Create("olga", 1, nil, "fw-zero")
	_, err := w.TryCreate("alice", 1, nil, "fw-zero")
	w.Refused(err)
	_, err = w.TryCreate("olga", 1000, nil, "fw-zero")
	w.Refused(err)
	_, err = w.Server.Operation(w.Context(), w.Caller("eve"), o.ID)
	w.Refused(err)
	_, err = w.Server.Key(w.Context(), w.Caller("eve"), "fw-two")
	w.Refused(err)
	_, err = w.Server.Events(w.Context(), w.Caller("eve"), keyserver.EventFilter{Page: keyserver.Page{Limit: 1}})
	w.Refused(err)
	w.must(w.Sign("olga", o, "fw-zero", "1", "image"))
	w.Refused(w.Sign("olga", o, "fw-zero", "1", "not the image"))
	w.Refused(w.Sign("eve", o, "fw-zero", "1", "image"))
	w.Server.SignInRefused("192.0.2.66", "the token has expired")
	w.Server.SignInRefused("192.0.2.66", "the token has expired")
	w.Step(time.Minute)
	w.must(w.Server.Beat(w.Context()))
}

// signIns are two of alice's, of which she ends one, and another's, which is ended after she was disabled.
func (w *World) signIns() {
	w.Helper()
	signIn := func(who law.SubjectID) string {
		s := keyserver.SignIn{ID: uuid.Must(uuid.NewV7()).String(), At: w.Now(), ACR: "mfa", AMR: []string{"pwd", "hwk"}}
		w.must(w.Server.SignedIn(w.Context(), w.Caller(who), s))
		return s.ID
	}
	signOut := func(who law.SubjectID, id string) error {
		return w.Server.SignOut(w.Context(), w.Caller(who), id, w.Now().Add(8*time.Hour))
	}
	ended, left, disabled := signIn("alice"), signIn("alice"), signIn("eve")
	w.must(signOut("alice", ended))
	w.must(signOut("alice", ended)) // again
	w.Refused(signOut("bob", left))
	w.Enable("eve", false)
	w.must(signOut("eve", disabled))
	w.Enable("eve", true)
}

// contacts are what alice and bob want to be told: he nothing any more.
func (w *World) contacts() {
	w.Helper()
	choose := func(who law.SubjectID, c keyserver.Contact) error {
		_, err := w.Server.SetContact(w.Context(), w.Caller(who), c, false)
		return err
	}
	c := keyserver.Contact{Tells: []keyserver.Kind{keyserver.KindWaiting, keyserver.KindChange}, Mail: "alice@example.com"}
	c.Webhook = keyserver.Webhook{URL: "https://hooks.example.com/", Format: keyserver.FormatChat}
	w.must(choose("alice", c))
	w.must(choose("bob", c))
	w.must(choose("bob", keyserver.Contact{}))
}

func (w *World) configurationChanges() {
	w.Helper()
	o := w.Create("olga", 3, nil, "fw-two", "fw-zero")
	w.Approve(o, "alice", "bob")
	w.must(w.Sign("olga", o, "fw-two", "1", "image"))
	w.Enable("alice", false) // lapses
	w.Enable("alice", true)
	w.ChangeKey("fw-two", func(k *law.Key) { k.Requirement = law.Require(3) })
	w.Approve(o, "carol")
	w.ChangeKey("fw-two", func(k *law.Key) { k.Requirement = law.Require(1) })
	w.ChangeKey("fw-zero", func(k *law.Key) { k.State = law.KeyDisabled })
	w.ChangeKey("fw-zero", func(k *law.Key) { k.State = law.KeyActive })
	w.Create("olga", 1, nil, "fw-rsa")
	w.ChangeKey("fw-rsa", func(k *law.Key) { k.State = law.KeyRevoked }) // revokes
	w.ChangeKey("fw-two", func(k *law.Key) { k.Requirement = law.Require(2) })
}

func (w *World) clock() {
	w.Helper()
	o := w.Create("olga", 2, nil, "fw-zero")
	w.must(w.Sign("olga", o, "fw-zero", "1", "image"))
	w.Create("olga", 1, nil, "fw-two")
	w.OpenSession("ada", nil)
	w.Authorise(w.OpenSession("adam", nil), "anna")
	w.Step(-time.Hour)
	w.must(w.Server.Beat(w.Context()))
	_, err := w.TryCreate("olga", 1, nil, "fw-zero")
	w.Unavailable(err)
	_, err = w.Server.Revoke(w.Context(), w.Caller("olga"), o.ID, "while the clock is wrong")
	w.must(err)
	if _, err := keyserver.AcceptClock(w.Context(), w.DB); err != nil {
		w.Fatal(err)
	}
	w.must(w.Server.Beat(w.Context()))
}
