//go:build cgo

package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/hsm"
	"example.org/keyserver/internal/law"
)

// key is a key pair of the token.
type key struct {
	handle      string
	private     pkcs11.ObjectHandle
	publicKey   []byte // SubjectPublicKeyInfo, DER
	fingerprint string
	algorithm   law.Algorithm
}

// forget drops what is known of the keys: their object handles may mean something else by now.
func (t *token) forget() {
	t.keys.Lock()
	defer t.keys.Unlock()
	t.keys.known = nil
}

// key returns the key pair at the handle, from memory if it was used before.
func (s *session) key(handle string) (*key, error) {
	t := s.token
	t.keys.RLock()
	k := t.keys.known[handle]
	t.keys.RUnlock()
	if k != nil {
		return k, nil
	}
	k, err := s.find(handle)
	if err != nil {
		return nil, err
	}
	t.keys.Lock()
	defer t.keys.Unlock()
	if t.keys.known == nil {
		t.keys.known = map[string]*key{}
	}
	t.keys.known[handle] = k
	return k, nil
}

// find finds the key pair at the handle in the token.
func (s *session) find(handle string) (*key, error) {
	label, id, ok := hsm.ParseHandle(handle)
	if !ok || label != s.token.open.Token {
		return nil, keystore.ErrNoKeyPair
	}
	return s.withID(id)
}

// withID finds the one private key with this CKA_ID and the one public key that has the same.
func (s *session) withID(id []byte) (*key, error) {
	private, err := s.only(pkcs11.CKO_PRIVATE_KEY, id)
	if err != nil {
		return nil, err
	}
	public, err := s.only(pkcs11.CKO_PUBLIC_KEY, id)
	if errors.Is(err, keystore.ErrNoKeyPair) {
		return nil, fmt.Errorf("%w: the private key with CKA_ID %x has no public key object with the same; make one", keystore.ErrNoKeyPair, id)
	}
	if err != nil {
		return nil, err
	}
	spki, err := s.read(private, public)
	if err != nil {
		return nil, fmt.Errorf("reading the key pair with CKA_ID %x: %w", id, err)
	}
	a, err := keystore.AlgorithmOf(spki)
	if err != nil {
		return nil, fmt.Errorf("the key pair with CKA_ID %x: %w", id, err)
	}
	return &key{hsm.Handle(s.token.open.Token, id), private, spki, keystore.Fingerprint(spki), a}, nil
}

func (s *session) only(class uint, id []byte) (pkcs11.ObjectHandle, error) {
	found, err := s.search(pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, keystore.ErrNoKeyPair
	case len(found) > 1:
		return 0, refused("%d objects of one class have the CKA_ID %x, so that it names no key pair; give each its own", len(found), id)
	}
	return found[0], nil
}

// read makes a SubjectPublicKeyInfo of the public key, which must not contradict the private key.
func (s *session) read(private, public pkcs11.ObjectHandle) ([]byte, error) {
	kind, err := s.attribute(public, pkcs11.CKA_KEY_TYPE)
	if err != nil {
		return nil, err
	}
	if other, err := s.attribute(private, pkcs11.CKA_KEY_TYPE); err != nil || !bytes.Equal(kind, other) {
		return nil, fmt.Errorf("%w: the private key is of another type than the public key (%v)", keystore.ErrUnfit, err)
	}
	first, second := uint(pkcs11.CKA_EC_PARAMS), uint(pkcs11.CKA_EC_POINT)
	form := hsm.ECPublicKey
	switch {
	case bytes.Equal(kind, pkcs11.NewAttribute(0, pkcs11.CKK_RSA).Value):
		first, second, form = pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, hsm.RSAPublicKey
	case !bytes.Equal(kind, pkcs11.NewAttribute(0, pkcs11.CKK_EC).Value) && !bytes.Equal(kind, pkcs11.NewAttribute(0, ckkECEdwards).Value):
		return nil, refused("keys of PKCS#11 type %x are not supported", kind)
	}
	one, err := s.attribute(public, first)
	if err != nil {
		return nil, err
	}
	two, err := s.attribute(public, second)
	if err != nil {
		return nil, err
	}
	if other, err := s.attribute(private, first); err == nil && !same(first, one, other) { // not every token shows it of a private key
		return nil, fmt.Errorf("%w: the private key has another modulus or curve than the public key", keystore.ErrUnfit)
	}
	return form(one, two)
}

// same says whether two values of CKA_MODULUS or CKA_EC_PARAMS mean the same. A token may write them in more
// than one way.
func same(kind uint, a, b []byte) bool {
	if kind == pkcs11.CKA_MODULUS {
		return bytes.Equal(bytes.TrimLeft(a, "\x00"), bytes.TrimLeft(b, "\x00"))
	}
	one, err := hsm.CurveOf(a)
	two, otherErr := hsm.CurveOf(b)
	return err == nil && otherErr == nil && one == two
}

// attribute reads one attribute. Each is asked for alone, since one that a token does not know would take
// the others along.
func (s *session) attribute(o pkcs11.ObjectHandle, kind uint) ([]byte, error) {
	got, err := s.token.module.GetAttributeValue(s.handle, o, []*pkcs11.Attribute{{Type: kind}})
	if err != nil {
		return nil, fmt.Errorf("reading attribute %#x: %w", kind, err)
	}
	return got[0].Value, nil
}

// says tells whether an attribute is there and true.
func (s *session) says(o pkcs11.ObjectHandle, kind uint) bool {
	value, err := s.attribute(o, kind)
	return err == nil && len(value) == 1 && value[0] != 0
}

// attributes reads what the token says of a private key. What it does not say counts as the worse.
func (s *session) attributes(private pkcs11.ObjectHandle) law.KeyAttributes {
	extractable, err := s.attribute(private, pkcs11.CKA_EXTRACTABLE)
	return law.KeyAttributes{
		Local:            s.says(private, pkcs11.CKA_LOCAL),
		Sensitive:        s.says(private, pkcs11.CKA_SENSITIVE),
		AlwaysSensitive:  s.says(private, pkcs11.CKA_ALWAYS_SENSITIVE),
		Extractable:      err != nil || len(extractable) != 1 || extractable[0] != 0,
		NeverExtractable: s.says(private, pkcs11.CKA_NEVER_EXTRACTABLE),
	}
}

func (s *session) pair(k *key) hsm.Pair {
	return hsm.Pair{Handle: k.handle, PublicKey: k.publicKey, Attributes: s.attributes(k.private)}
}

// publicKey looks the key pair up in the token itself, also if it was used before.
func (s *session) publicKey(handle string) (pair hsm.Pair, err error) {
	err = s.do(func(pkcs11.SessionHandle) error {
		k, err := s.find(handle)
		if err == nil {
			pair = s.pair(k)
		}
		return err
	})
	return pair, err
}

// adopt finds the one private key that the URI means. From then on its CKA_ID alone names it.
func (s *session) adopt(uri string) (pair hsm.Pair, err error) {
	u, err := hsm.ParseURI(uri)
	if err != nil {
		return hsm.Pair{}, &refusal{hsm.CodeRefused, err}
	}
	i := s.token.info
	for _, c := range []struct{ what, wanted, is string }{
		{"label", u.Token, i.Label}, {"manufacturer", u.Manufacturer, i.Manufacturer}, {"model", u.Model, i.Model}, {"serial", u.Serial, i.Serial},
	} {
		if c.wanted != "" && c.wanted != c.is {
			return hsm.Pair{}, fmt.Errorf("%w: the %s of this keystore's token is %q, not %q", keystore.ErrNoKeyPair, c.what, c.is, c.wanted)
		}
	}
	wanted := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY)}
	if u.ID != nil {
		wanted = append(wanted, pkcs11.NewAttribute(pkcs11.CKA_ID, u.ID))
	}
	if u.Object != "" {
		wanted = append(wanted, pkcs11.NewAttribute(pkcs11.CKA_LABEL, u.Object))
	}
	err = s.do(func(pkcs11.SessionHandle) error {
		pair, err = s.adoptOnly(wanted)
		return err
	})
	if meant, is := spelled(u.ID); is && err == keystore.ErrNoKeyPair { // and nothing more is known
		err = fmt.Errorf("%w: id=%s is the bytes % x; did you mean id=%s?", keystore.ErrNoKeyPair, u.ID, u.ID, meant)
	}
	return pair, err
}

// spelled writes an id of hex digits as a URI has the bytes that they stand for. Tools show it without the
// percent signs, and people type what they see.
func spelled(id []byte) (string, bool) {
	meant, err := hex.DecodeString(string(id))
	if err != nil || len(meant) == 0 {
		return "", false
	}
	text := ""
	for _, b := range meant {
		text += fmt.Sprintf("%%%02X", b)
	}
	return text, true
}

func (s *session) adoptOnly(wanted []*pkcs11.Attribute) (hsm.Pair, error) {
	found, err := s.search(wanted...)
	switch {
	case err != nil:
		return hsm.Pair{}, err
	case len(found) == 0:
		return hsm.Pair{}, keystore.ErrNoKeyPair
	case len(found) > 1:
		return hsm.Pair{}, refused("the URI means %d private keys; name one, by its id", len(found))
	}
	id, err := s.attribute(found[0], pkcs11.CKA_ID)
	if err != nil {
		return hsm.Pair{}, err
	}
	if len(id) == 0 || len(id) > hsm.MaxID {
		return hsm.Pair{}, refused("the private key has a CKA_ID of %d bytes; give it and its public key one of 1 to %d, which tells that they belong together", len(id), hsm.MaxID)
	}
	k, err := s.withID(id)
	if err != nil {
		return hsm.Pair{}, err
	}
	if !s.says(k.private, pkcs11.CKA_SIGN) {
		return hsm.Pair{}, refused("the private key may not sign (CKA_SIGN)")
	}
	return s.pair(k), nil
}
