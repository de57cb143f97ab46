package keyserver_test

import (
	"errors"
	"testing"
	"unicode/utf8"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// A cursor that the server did not give is refused as malformed, whatever it is.
func FuzzCursor(f *testing.F) {
	k := testkit.New(f)
	for range 3 {
		k.Create(testkit.Ask("fw-dev"))
	}
	list := func(t testing.TB, cursor string) (keyserver.OperationPage, error) {
		return k.Keyserver.Operations(t.Context(), k.Caller("olga"), keyserver.OperationFilter{Page: keyserver.Page{Limit: 1, Cursor: cursor}})
	}
	first, err := list(f, "")
	if err != nil || first.Next == "" {
		f.Fatalf("there is no cursor: %v", err)
	}
	for _, seed := range []string{"AAAA", "====", "\x00", "018f-", "олга"} {
		f.Add(seed, 0, byte(1))
	}
	f.Fuzz(func(t *testing.T, made string, at int, mask byte) {
		changed := []byte(first.Next)
		changed[uint(at)%uint(len(changed))] ^= mask
		for _, cursor := range []string{made, string(changed)} {
			_, err := list(t, cursor)
			good := cursor == "" || cursor == first.Next
			var malformed *keyserver.Malformed
			if good != (err == nil) || err != nil && !errors.As(err, &malformed) {
				t.Errorf("cursor %q, given: %t: %v", cursor, good, err)
			}
		}
	})
}

// A key id that is no key of the caller's gives neither a key nor an operation, and breaks nothing.
func FuzzKeyID(f *testing.F) {
	k := testkit.New(f)
	for _, seed := range []string{"fw-dev", "FW-DEV", "fw-dev ", "fw-other", "root", "", "fw-dev\x00", "ｆｗ-dev", "' OR 1=1--"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		facts, err := k.Keyserver.Facts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		mine := facts.Holds("olga", law.Orderer, law.KeyID(id))
		key, err := k.Keyserver.Key(t.Context(), k.Caller("olga"), law.KeyID(id))
		if mine != (err == nil) || err == nil && string(key.ID) != id {
			t.Errorf("key %q: got %q, %v", id, key.ID, err)
		}
		ask := testkit.Ask(law.KeyID(id))
		_, err = k.Keyserver.CreateOperation(t.Context(), k.Caller("olga"), keyserver.CreateRequest{IdempotencyKey: "k-" + id, Ask: ask})
		var refusal *law.Refusal
		var malformed *keyserver.Malformed
		var tooMany *keyserver.TooMany
		if !mine && !errors.As(err, &refusal) && !errors.As(err, &malformed) || mine && err != nil && !errors.As(err, &tooMany) {
			t.Errorf("operation on %q (valid UTF-8: %t): %v", id, utf8.ValidString(id), err)
		}
	})
}
