//go:build cgo

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/miekg/pkcs11"
	"golang.org/x/sys/unix"

	"example.org/keyserver/internal/keystore/hsm"
)

// token is the one token that this worker uses.
type token struct {
	open   hsm.Open
	module *pkcs11.Ctx
	slot   uint
	info   hsm.TokenInfo
	login  bool // whether it asks for one
	can    abilities
	keeper *session
	unsure atomic.Int64 // errors of C_Sign since the last signature

	parameters runtime.Pinner // of the library, which may read them whenever it likes

	pin struct {
		sync.Mutex
		refused error // the PIN was refused once, and is not tried again
	}
	keys struct {
		sync.RWMutex
		known map[string]*key // by handle; none after a session was lost
	}
}

// start loads the library, finds the token and logs in.
func (t *token) start() (hsm.Opened, error) {
	if err := t.load(); err != nil {
		return hsm.Opened{}, err
	}
	info, err := t.find()
	if err != nil {
		return hsm.Opened{}, err
	}
	if n := info.MaxSessionCount; n != 0 && n != pkcs11.CK_UNAVAILABLE_INFORMATION && n < uint(t.open.Sessions)+2 {
		return hsm.Opened{}, refused("the token allows %d sessions; configure at most %d, since two more are needed for other than signatures", n, max(int(n)-2, 0))
	}
	t.login = info.Flags&pkcs11.CKF_LOGIN_REQUIRED != 0
	if t.can, err = t.abilities(); err != nil {
		return hsm.Opened{}, err
	}
	t.keeper = &session{token: t}
	if err := t.keeper.do(func(pkcs11.SessionHandle) error { return nil }); err != nil {
		return hsm.Opened{}, err
	}
	return hsm.Opened{Protocol: hsm.Protocol, Token: t.info, Can: t.can.schemes()}, nil
}

func (t *token) load() error {
	if _, err := os.Stat(t.open.Module); err != nil {
		return refused("loading the PKCS#11 library: %w", err)
	}
	t.module = pkcs11.New(t.open.Module)
	if t.module == nil {
		return refused("loading the PKCS#11 library %s: the dynamic linker refuses it; is it one, for this machine, with all it depends on?", t.open.Module)
	}
	var options []pkcs11.InitializeOption
	if t.open.Parameters != "" {
		text, err := unix.ByteSliceFromString(t.open.Parameters)
		if err != nil {
			return refused("the library's parameters: %w", err)
		}
		t.parameters.Pin(&text[0])
		options = append(options, pkcs11.InitializeWithReserved(unsafe.Pointer(&text[0])))
	}
	if err := t.module.Initialize(options...); err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return fmt.Errorf("initialising the PKCS#11 library %s: %w; %s", t.open.Module, err, environmentHint)
	}
	return nil
}

// environmentHint is for libraries that look for their configuration where a variable says.
const environmentHint = "the library has the variables of the keystore's `environment` and no others"

// find finds the slot of the token with the configured label.
func (t *token) find() (pkcs11.TokenInfo, error) {
	slots, err := t.module.GetSlotList(true)
	if err != nil {
		return pkcs11.TokenInfo{}, fmt.Errorf("listing the slots: %w", err)
	}
	var found []pkcs11.TokenInfo
	labels := []string{} // of all that are initialised
	for _, slot := range slots {
		info, err := t.module.GetTokenInfo(slot)
		if err != nil || info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		labels = append(labels, strconv.Quote(info.Label))
		if info.Label == t.open.Token {
			found = append(found, info)
			t.slot = slot
		}
	}
	if len(found) != 1 {
		return pkcs11.TokenInfo{}, fmt.Errorf("of the %d tokens that %s shows, %d have the label %q, and there must be one; the labels are: %s; %s",
			len(labels), t.open.Module, len(found), t.open.Token, cmp.Or(strings.Join(labels, ", "), "none"), environmentHint)
	}
	info := found[0]
	trim := func(text string) string { return strings.TrimRight(text, " \x00") } // some tokens pad with zeros
	t.info = hsm.TokenInfo{Label: info.Label, Manufacturer: trim(info.ManufacturerID), Model: trim(info.Model), Serial: trim(info.SerialNumber)}
	if library, err := t.module.GetInfo(); err == nil {
		t.info.Library = fmt.Sprintf("%s %d.%d", library.LibraryDescription, library.LibraryVersion.Major, library.LibraryVersion.Minor)
	}
	return info, nil
}

// pinErrors are those after which another try could lock the token for everybody.
func pinError(err error) bool {
	switch e, _ := errors.AsType[pkcs11.Error](err); e {
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED:
		return true
	}
	return false
}

// logIn logs this process in, if it is not. A PIN that was refused is not tried again.
func (t *token) logIn(h pkcs11.SessionHandle) error {
	if !t.login {
		return nil
	}
	t.pin.Lock()
	defer t.pin.Unlock()
	if t.pin.refused != nil {
		return t.pin.refused
	}
	if state, err := t.module.GetSessionInfo(h); err == nil && (state.State == pkcs11.CKS_RO_USER_FUNCTIONS || state.State == pkcs11.CKS_RW_USER_FUNCTIONS) {
		return nil
	}
	info, err := t.module.GetTokenInfo(t.slot)
	if err != nil {
		return fmt.Errorf("asking whether the token is locked: %w", err)
	}
	switch {
	case info.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		t.pin.refused = pinRefused("the token's PIN is locked; unlock it with the vendor's tools")
	case info.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		t.pin.refused = pinRefused("one more wrong PIN locks the token, so it is not tried; log in once with the vendor's tools")
	}
	if t.pin.refused != nil {
		return t.pin.refused
	}
	err = t.module.Login(h, pkcs11.CKU_USER, string(t.open.PIN))
	switch {
	case err == nil, errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)):
		return nil
	case pinError(err):
		t.pin.refused = pinRefused("the token refuses the PIN (%w), and it is not tried again, so that the token is not locked; put the PIN right", err)
		return t.pin.refused
	}
	return fmt.Errorf("logging in: %w", err)
}

func pinRefused(format string, args ...any) error {
	return &refusal{hsm.CodePIN, fmt.Errorf(format+" and start the server again", args...)}
}
