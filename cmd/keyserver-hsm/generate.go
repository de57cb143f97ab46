//go:build cgo

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/hsm"
)

// generate makes a key pair that cannot leave the token and reads back that it cannot.
func (s *session) generate(g hsm.Generate) (pair hsm.Pair, err error) {
	if err := g.Check(); err != nil {
		return hsm.Pair{}, &refusal{hsm.CodeRefused, err}
	}
	if !s.token.can.has(generator(g.Algorithm), g.Algorithm) {
		return hsm.Pair{}, refused("the token makes no keys of %s", g.Algorithm)
	}
	label := pkcs11.NewAttribute(pkcs11.CKA_LABEL, g.Label())
	err = s.do(func(pkcs11.SessionHandle) error {
		if found, err := s.search(label); err != nil || len(found) > 0 {
			return errors.Join(err, existing(found))
		}
		public, private, err := s.make(g, label)
		if err != nil {
			return err
		}
		if pair, err = s.inspect(private, label); err != nil {
			return errors.Join(err, s.destroy(public), s.destroy(private))
		}
		return nil
	})
	return pair, err
}

func existing(found []pkcs11.ObjectHandle) error {
	if len(found) > 0 {
		return keystore.ErrExists
	}
	return nil
}

// make asks the token for the key pair. Tokens differ in how they want a curve to be named and in which
// attributes they let be set, so it asks in several ways, the strictest first; inspect sees what came of it. What
// the public key is for is left to the token: nothing is verified there.
func (s *session) make(g hsm.Generate, label *pkcs11.Attribute) (public, private pkcs11.ObjectHandle, err error) {
	id := make([]byte, 20)
	if _, err := rand.Read(id); err != nil {
		return 0, 0, err
	}
	both := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), label, pkcs11.NewAttribute(pkcs11.CKA_ID, id)}
	secret := slices.Concat(both, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true), pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, false), pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, false),
	})
	secrets := [][]*pkcs11.Attribute{
		slices.Concat(secret, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_DERIVE, false), pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false)}),
		slices.Concat(secret, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_DERIVE, false)}),
		secret,
	}
	for _, shape := range shapes(g) {
		for _, secret := range secrets {
			m := []*pkcs11.Mechanism{pkcs11.NewMechanism(generator(g.Algorithm), nil)}
			public, private, err = s.token.module.GenerateKeyPair(s.handle, m, slices.Concat(both, shape), secret)
			if !otherwise(err) {
				return public, private, described(err)
			}
		}
	}
	return 0, 0, described(err)
}

func described(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("generating a key pair: %w", err)
}

// shapes are the ways to say which kind of key pair it is.
func shapes(g hsm.Generate) [][]*pkcs11.Attribute {
	var out [][]*pkcs11.Attribute
	for _, curve := range hsm.Curves(g.Algorithm) {
		out = append(out, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, curve)})
	}
	if out == nil {
		out = [][]*pkcs11.Attribute{{pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, bits(g.Algorithm)), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})}}
	}
	return out
}

// otherwise says whether the token wants to be asked in another way.
func otherwise(err error) bool {
	switch e, _ := errors.AsType[pkcs11.Error](err); uint(e) {
	case pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_ATTRIBUTE_READ_ONLY, pkcs11.CKR_TEMPLATE_INCONSISTENT,
		pkcs11.CKR_DOMAIN_PARAMS_INVALID, ckrCurveNotSupported:
		return true
	}
	return false
}

// inspect reads a new key pair as it will be read from now on, and refuses one that could leave the token or
// do more than sign, and one that got its label together with another: two servers made it at the same time.
func (s *session) inspect(private pkcs11.ObjectHandle, label *pkcs11.Attribute) (hsm.Pair, error) {
	id, err := s.attribute(private, pkcs11.CKA_ID)
	if err != nil {
		return hsm.Pair{}, err
	}
	k, err := s.withID(id)
	if err != nil {
		return hsm.Pair{}, err
	}
	same, err := s.search(label, pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY))
	if err != nil {
		return hsm.Pair{}, err
	}
	pair := s.pair(k)
	switch a := pair.Attributes; {
	case len(same) > 1:
		return hsm.Pair{}, keystore.ErrExists
	case a.CanLeave():
		return hsm.Pair{}, refused("the token made a private key that it would give away (%+v); it was removed: such a token is no place for keys", a)
	}
	for what, kind := range map[string]uint{"decrypt": pkcs11.CKA_DECRYPT, "unwrap": pkcs11.CKA_UNWRAP, "derive": pkcs11.CKA_DERIVE} {
		if s.says(private, kind) {
			return hsm.Pair{}, refused("the token made a private key that can %s as well; it was removed", what)
		}
	}
	if !s.says(private, pkcs11.CKA_TOKEN) || !s.says(private, pkcs11.CKA_PRIVATE) || !s.says(private, pkcs11.CKA_SIGN) {
		return hsm.Pair{}, refused("the token made a private key that does not stay, needs no login, or cannot sign; it was removed")
	}
	return pair, nil
}

func (s *session) destroy(o pkcs11.ObjectHandle) error {
	if err := s.token.module.DestroyObject(s.handle, o); err != nil {
		return fmt.Errorf("removing a key pair that is not wanted: %w", err)
	}
	return nil
}
