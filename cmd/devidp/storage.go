package main

import (
	"crypto/rand"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// shelf keeps values under random names until they are taken or a lifetime has passed.
type shelf[T any] struct {
	lifetime time.Duration
	now      func() time.Time

	mu    sync.Mutex
	items map[string]shelved[T]
}

type shelved[T any] struct {
	value   T
	expires time.Time
}

func newShelf[T any](lifetime time.Duration, now func() time.Time) *shelf[T] {
	return &shelf[T]{lifetime: lifetime, now: now, items: make(map[string]shelved[T])}
}

// put keeps a value and returns its name, which nobody can guess.
func (s *shelf[T]) put(value T) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	maps.DeleteFunc(s.items, func(_ string, it shelved[T]) bool { return !now.Before(it.expires) })
	name := rand.Text()
	s.items[name] = shelved[T]{value, now.Add(s.lifetime)}
	return name
}

// look returns a value and keeps it.
func (s *shelf[T]) look(name string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.items[name]
	return it.value, ok && s.now().Before(it.expires)
}

// take returns a value to one caller only.
func (s *shelf[T]) take(name string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.items[name]
	delete(s.items, name)
	return it.value, ok && s.now().Before(it.expires)
}

// verdict is how a device authorization stands.
type verdict int

const (
	unknown verdict = iota // no such device code, or it has been used
	pending                // nobody has answered yet
	allowed
	denied
	expired
)

// device is one device authorization (RFC 8628).
type device struct {
	clientID string
	scopes   []string
	userCode string
	expires  time.Time
	verdict  verdict
	subject  string    // who allowed it
	authTime time.Time // when
}

// devices keeps device authorizations. An expired one is remembered for one more lifetime, so that a
// program that asks late is told why (RFC 8628, section 3.5).
type devices struct {
	lifetime time.Duration
	now      func() time.Time

	mu     sync.Mutex
	byCode map[string]*device
}

func newDevices(lifetime time.Duration, now func() time.Time) *devices {
	return &devices{lifetime: lifetime, now: now, byCode: make(map[string]*device)}
}

// add starts a device authorization and returns its two codes.
func (ds *devices) add(clientID string, scopes []string) (deviceCode, userCode string, err error) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	now := ds.now()
	maps.DeleteFunc(ds.byCode, func(_ string, d *device) bool { return !now.Before(d.expires.Add(ds.lifetime)) })
	for userCode == "" || ds.find(userCode) != nil {
		form := op.UserCodeBase20
		userCode, err = op.NewUserCode([]rune(form.CharSet), form.CharAmount, form.DashInterval)
		if err != nil {
			return "", "", fmt.Errorf("making a user code: %w", err)
		}
	}
	deviceCode = rand.Text()
	ds.byCode[deviceCode] = &device{
		clientID: clientID, scopes: scopes, userCode: userCode, expires: now.Add(ds.lifetime), verdict: pending,
	}
	return deviceCode, userCode, nil
}

// waiting returns the client that waits for an answer to a user code, if one does.
func (ds *devices) waiting(userCode string) (clientID string, ok bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d := ds.find(userCode); d != nil {
		return d.clientID, true
	}
	return "", false
}

// decide answers a user code, once, and reports whether there was something to answer.
func (ds *devices) decide(userCode string, v verdict, subject string) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.find(userCode)
	if d == nil {
		return false
	}
	d.verdict, d.subject, d.authTime = v, subject, ds.now()
	return true
}

// redeem returns how a client's device authorization stands. What is allowed or denied is forgotten with
// this answer.
func (ds *devices) redeem(clientID, deviceCode string) device {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.byCode[deviceCode]
	switch {
	case d == nil || d.clientID != clientID:
		return device{}
	case !ds.now().Before(d.expires):
		return device{verdict: expired}
	case d.verdict != pending:
		delete(ds.byCode, deviceCode)
	}
	return *d
}

// find returns the pending device with a user code. People copy these by hand, so case, dashes and spaces
// do not matter (RFC 8628, section 6.1).
func (ds *devices) find(userCode string) *device {
	for _, d := range ds.byCode {
		if d.verdict == pending && ds.now().Before(d.expires) && plain(d.userCode) == plain(userCode) {
			return d
		}
	}
	return nil
}

func plain(userCode string) string {
	return strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(userCode))
}
