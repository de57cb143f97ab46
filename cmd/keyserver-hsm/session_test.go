//go:build cgo

package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/hsm"
	"example.org/keyserver/internal/keystore/hsm/hsmtest"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
)

// signing returns a session that has signed, and a function that signs with it and checks the signature.
func signing(t *testing.T, tok *token) (*session, hsm.Pair, func() error) {
	t.Helper()
	maker := &session{token: tok, writes: true}
	pair, err := maker.generate(hsm.Generate{Key: "fw", Version: 1, Algorithm: law.P256})
	if err != nil {
		t.Fatal(err)
	}
	s := &session{token: tok}
	in := keystoretest.Input(law.SHA256, law.ECDSA, []byte("firmware"))
	r := hsm.Sign{Handle: pair.Handle, Fingerprint: keystore.Fingerprint(pair.PublicKey), Hash: in.Hash, Scheme: in.Scheme, Digest: in.Digest}
	sign := func() error {
		signature, err := s.sign(r)
		if err != nil {
			return err
		}
		return keystore.Verify(pair.PublicKey, in, signature)
	}
	if err := sign(); err != nil {
		t.Fatal(err)
	}
	return s, pair, sign
}

func TestWhatIsLostUnderneathIsOpenedAgainWithoutAnyoneNoticing(t *testing.T) {
	for what, lose := range map[string]func(*token, *session) error{
		"all sessions":       func(tok *token, _ *session) error { return tok.module.CloseAllSessions(tok.slot) },
		"the session":        func(tok *token, s *session) error { return tok.module.CloseSession(s.handle) },
		"the login":          func(tok *token, s *session) error { return tok.module.Logout(s.handle) },
		"the object handles": func(tok *token, _ *session) error { return disturb(tok) },
		"an operation that was begun and not ended": func(tok *token, s *session) error {
			k, err := s.key(anyHandle(tok))
			if err != nil {
				return err
			}
			return tok.module.SignInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}, k.private)
		},
	} {
		t.Run(what, func(t *testing.T) {
			tok := opened(t, hsmtest.NewSoftHSM(t), 1)
			s, _, sign := signing(t, tok)
			if err := lose(tok, s); err != nil {
				t.Fatal(err)
			}
			if err := sign(); err != nil {
				t.Errorf("signing: %v", err)
			}
			if err := tok.keeper.ready(); err != nil {
				t.Errorf("being ready: %v", err)
			}
		})
	}
}

// disturb makes every known object handle one of nothing.
func disturb(tok *token) error {
	tok.keys.Lock()
	defer tok.keys.Unlock()
	for _, k := range tok.keys.known {
		k.private += 1000
	}
	return nil
}

func anyHandle(tok *token) string {
	tok.keys.RLock()
	defer tok.keys.RUnlock()
	for handle := range tok.keys.known {
		return handle
	}
	return ""
}

func TestALibraryThatIsNoLongerInitialisedIsGone(t *testing.T) {
	tok := opened(t, hsmtest.NewSoftHSM(t), 1)
	_, _, sign := signing(t, tok)
	if err := tok.module.Finalize(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{sign(), tok.keeper.ready()} {
		if r, is := errors.AsType[*refusal](err); !is || r.code != hsm.CodeGone {
			t.Errorf("it says: %v", err)
		}
	}
}

func TestAKeyPairThatWasRemovedIsNotThere(t *testing.T) {
	tok := opened(t, hsmtest.NewSoftHSM(t), 1)
	s, pair, sign := signing(t, tok)
	k, err := s.find(pair.Handle)
	if err != nil {
		t.Fatal(err)
	}
	other := &session{token: tok, writes: true}
	if err := other.open(); err != nil {
		t.Fatal(err)
	}
	if err := tok.module.DestroyObject(other.handle, k.private); err != nil {
		t.Fatal(err)
	}
	if err := sign(); !errors.Is(err, keystore.ErrNoKeyPair) {
		t.Errorf("signing: %v", err)
	}
	if _, err := s.publicKey(pair.Handle); !errors.Is(err, keystore.ErrNoKeyPair) {
		t.Errorf("asking for the public key: %v", err)
	}
	if err := tok.keeper.ready(); err != nil {
		t.Errorf("the token itself is well, and it says: %v", err)
	}
}

// A PIN that was changed meanwhile is tried once, by whichever lane comes first.
func TestALoginThatIsRefusedLaterIsNotTriedAgain(t *testing.T) {
	tok := opened(t, hsmtest.NewSoftHSM(t), 1)
	s, _, sign := signing(t, tok)
	right := tok.open.PIN
	tok.open.PIN = hsm.PIN("31415926")
	if err := tok.module.Logout(s.handle); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := sign()
		if r, is := errors.AsType[*refusal](err); !is || r.code != hsm.CodePIN || strings.Contains(err.Error(), "31415926") {
			t.Errorf("it says: %v", err)
		}
		tok.open.PIN = right // would be accepted, if it were tried
	}
}

func TestALabelThatNoTokenHasIsRefusedBeforeAnyPINIsTried(t *testing.T) {
	made := hsmtest.NewSoftHSM(t)
	made.Label = "other"
	tok := &token{open: hsm.Open{Module: made.Module, Token: made.Label, PIN: hsm.PIN(made.PIN), Sessions: 1}}
	t.Setenv("SOFTHSM2_CONF", made.Environment["SOFTHSM2_CONF"])
	if _, err := tok.start(); err == nil || !strings.Contains(err.Error(), `0 have the label "other", and there must be one`) {
		t.Errorf("a label that no token has: %v", err)
	}
	if err := tok.module.Finalize(); err != nil {
		t.Fatal(err)
	}
}

func TestEveryErrorThatMayComeOfALostSessionIsTriedAgainOnce(t *testing.T) {
	tok := opened(t, hsmtest.NewSoftHSM(t), 1)
	s, _, _ := signing(t, tok)
	for _, e := range []uint{
		pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_OPERATION_ACTIVE,
		pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED,
	} {
		calls := 0
		err := s.do(func(pkcs11.SessionHandle) error {
			if calls++; calls == 1 {
				return pkcs11.Error(e)
			}
			return nil
		})
		if err != nil || calls != 2 {
			t.Errorf("%v once: called %d times, %v", pkcs11.Error(e), calls, err)
		}
		calls = 0
		err = s.do(func(pkcs11.SessionHandle) error { calls++; return pkcs11.Error(e) })
		if r, is := errors.AsType[*refusal](err); !is || r.code != hsm.CodeGone || calls != 2 {
			t.Errorf("%v for ever: called %d times, %v", pkcs11.Error(e), calls, err)
		}
	}
	for _, e := range []uint{pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_DEVICE_MEMORY} { // of one key or call alone, perhaps
		calls := 0
		err := s.do(func(pkcs11.SessionHandle) error { calls++; return pkcs11.Error(e) })
		if _, is := errors.AsType[*refusal](err); is || !errors.Is(err, pkcs11.Error(e)) || calls != 2 {
			t.Errorf("%v for ever: called %d times, %v", pkcs11.Error(e), calls, err)
		}
	}
	for _, e := range []uint{pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED} {
		if lost(pkcs11.Error(e)) {
			t.Errorf("%v is tried again", pkcs11.Error(e))
		}
	}
}
