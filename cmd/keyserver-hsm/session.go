//go:build cgo

package main

import (
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"example.org/keyserver/internal/keystore/hsm"
)

// session is the session of one lane. It is opened when it is needed, and anew after an error.
type session struct {
	token  *token
	writes bool // whether it makes objects
	handle pkcs11.SessionHandle
	isOpen bool
}

// lost says whether the error may come from a session, login or object handle that has been lost, so that
// the call is worth another try with new ones.
func lost(err error) bool {
	switch e, _ := errors.AsType[pkcs11.Error](err); e {
	case pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID,
		pkcs11.CKR_OPERATION_ACTIVE, pkcs11.CKR_OPERATION_NOT_INITIALIZED,
		pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_DEVICE_MEMORY,
		pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_SLOT_ID_INVALID,
		pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED:
		return true
	}
	return false
}

// unsure is an error of C_Sign: the token may have made the signature all the same. So it is not asked again in this
// attempt, of which the audit log knows one; the next one begins with everything new.
type unsure struct{ err error }

func (u *unsure) Error() string { return fmt.Sprintf("signing: %v", u.err) }
func (u *unsure) Unwrap() error { return u.err }

// vague says whether the error tells nothing of what is lost, if anything is. A key or call that always gives
// one must not cost the others their worker; when it is the token that is ill, ready says so.
func vague(err error) bool {
	switch e, _ := errors.AsType[pkcs11.Error](err); e {
	case pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_DEVICE_MEMORY:
		return true
	}
	return false
}

// do runs fn with a session that is logged in. What fails since the session, the login or a handle is lost
// is done once more with all of them new, unless it was C_Sign that failed. If that does not help either, the
// token is gone, as it is if C_Sign fails twice in a row.
func (s *session) do(fn func(pkcs11.SessionHandle) error) error {
	err := s.try(fn)
	if !lost(err) {
		return err
	}
	s.token.forget()
	if _, is := errors.AsType[*unsure](err); is {
		if s.token.unsure.Add(1) > 1 && !vague(err) {
			return &refusal{hsm.CodeGone, err}
		}
		return err
	}
	err = s.try(fn)
	if lost(err) && !vague(err) {
		return &refusal{hsm.CodeGone, err}
	}
	return err
}

// try runs fn once. After an error of the token nothing is known of the session, so it is closed.
func (s *session) try(fn func(pkcs11.SessionHandle) error) error {
	if err := s.open(); err != nil {
		return err
	}
	err := fn(s.handle)
	if _, is := errors.AsType[pkcs11.Error](err); is {
		s.close()
	}
	return err
}

func (s *session) open() error {
	if s.isOpen {
		return nil
	}
	flags := uint(pkcs11.CKF_SERIAL_SESSION)
	if s.writes {
		flags |= pkcs11.CKF_RW_SESSION
	}
	h, err := s.token.module.OpenSession(s.token.slot, flags)
	if err != nil {
		return fmt.Errorf("opening a session: %w", err)
	}
	s.handle, s.isOpen = h, true
	if err := s.token.logIn(h); err != nil {
		s.close()
		return err
	}
	return nil
}

func (s *session) close() {
	_ = s.token.module.CloseSession(s.handle) // if it fails, there was none
	s.isOpen = false
}

// ready says whether the token could sign now: it is there, the login holds, and objects can be searched.
func (s *session) ready() error {
	err := s.do(func(h pkcs11.SessionHandle) error {
		info, err := s.token.module.GetTokenInfo(s.token.slot)
		if err != nil {
			return fmt.Errorf("asking the token what it is: %w", err)
		}
		if info.Label != s.token.open.Token {
			return fmt.Errorf("there is another token in the slot now, %q: %w", info.Label, pkcs11.Error(pkcs11.CKR_TOKEN_NOT_PRESENT))
		}
		state, err := s.token.module.GetSessionInfo(h)
		if err != nil {
			return fmt.Errorf("asking for the state of the session: %w", err)
		}
		if s.token.login && state.State != pkcs11.CKS_RO_USER_FUNCTIONS && state.State != pkcs11.CKS_RW_USER_FUNCTIONS {
			return fmt.Errorf("the login is lost: %w", pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN))
		}
		_, err = s.search(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte("keyserver: no such key")))
		return err
	})
	if _, is := errors.AsType[*refusal](err); err != nil && !is {
		return &refusal{hsm.CodeGone, err} // it is ill, whatever the error: begin anew
	}
	return err
}

const maxFound = 16 // more of one name than this are as bad as any

// search finds the objects with all these attributes.
func (s *session) search(attributes ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	m := s.token.module
	if err := m.FindObjectsInit(s.handle, attributes); err != nil {
		return nil, fmt.Errorf("searching objects: %w", err)
	}
	found, _, err := m.FindObjects(s.handle, maxFound)
	if err := errors.Join(err, m.FindObjectsFinal(s.handle)); err != nil {
		return nil, fmt.Errorf("searching objects: %w", err)
	}
	return found, nil
}
