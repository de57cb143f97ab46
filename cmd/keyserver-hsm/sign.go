//go:build cgo

package main

import (
	"fmt"

	"github.com/miekg/pkcs11"

	"example.org/keyserver/internal/keystore/hsm"
	"example.org/keyserver/internal/law"
)

// What PKCS#11 v3.0 has for Edwards curves, and the module's header does not.
const (
	ckkECEdwards                = 0x40
	ckmEdDSA                    = 0x1057
	ckmECEdwardsKeyPairGen      = 0x1055
	ckrCurveNotSupported   uint = 0x140
)

// sign makes one signature with the key pair at the handle, if it is the one that the request means.
func (s *session) sign(r hsm.Sign) (signature []byte, err error) {
	err = s.do(func(h pkcs11.SessionHandle) error {
		k, err := s.key(r.Handle)
		if err != nil {
			return err
		}
		if err := r.Check(k.fingerprint, k.algorithm); err != nil {
			return err
		}
		input, err := r.Input(k.algorithm)
		if err != nil {
			return err
		}
		m, err := mechanism(r)
		if err != nil {
			return err
		}
		if err := s.token.module.SignInit(h, []*pkcs11.Mechanism{m}, k.private); err != nil {
			return fmt.Errorf("beginning a signature: %w", err)
		}
		made, err := s.token.module.Sign(h, input)
		if err != nil {
			return &unsure{err}
		}
		s.token.unsure.Store(0)
		signature, err = r.Signature(k.algorithm, made)
		return err
	})
	return signature, err
}

func mechanism(r hsm.Sign) (*pkcs11.Mechanism, error) {
	switch r.Scheme {
	case law.PKCS1v15:
		return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS, nil), nil
	case law.ECDSA:
		return pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil), nil
	case law.EdDSA:
		return pkcs11.NewMechanism(ckmEdDSA, nil), nil
	case law.PSS:
		hash, mgf := uint(pkcs11.CKM_SHA256), uint(pkcs11.CKG_MGF1_SHA256)
		switch r.Hash {
		case law.SHA384:
			hash, mgf = pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384
		case law.SHA512:
			hash, mgf = pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512
		}
		return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.NewPSSParams(hash, mgf, uint(r.Hash.Size()))), nil
	}
	return nil, refused("scheme %q is unknown", r.Scheme)
}

// abilities are the mechanisms of the token with their sizes of keys.
type abilities map[uint]pkcs11.MechanismInfo

func (t *token) abilities() (abilities, error) {
	list, err := t.module.GetMechanismList(t.slot)
	if err != nil {
		return nil, fmt.Errorf("listing the mechanisms: %w", err)
	}
	out := abilities{}
	for _, m := range list {
		switch m.Mechanism {
		case pkcs11.CKM_RSA_PKCS, pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKM_ECDSA, ckmEdDSA,
			pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.CKM_EC_KEY_PAIR_GEN, ckmECEdwardsKeyPairGen:
			info, err := t.module.GetMechanismInfo(t.slot, []*pkcs11.Mechanism{m})
			if err != nil {
				return nil, fmt.Errorf("asking for mechanism %#x: %w", m.Mechanism, err)
			}
			out[m.Mechanism] = info
		}
	}
	return out, nil
}

// bits is how long keys of an algorithm are, as mechanisms count it.
func bits(a law.Algorithm) uint {
	return map[law.Algorithm]uint{
		law.RSA2048: 2048, law.RSA3072: 3072, law.RSA4096: 4096, law.P256: 256, law.P384: 384, law.P521: 521,
	}[a]
}

// has says whether the token has the mechanism for keys of this algorithm.
func (m abilities) has(mechanism uint, a law.Algorithm) bool {
	info, has := m[mechanism]
	size := bits(a)
	if size == 0 { // there is one Ed25519, and tokens count its bits differently
		return has
	}
	return has && info.MinKeySize <= size && (info.MaxKeySize == 0 || size <= info.MaxKeySize)
}

// schemes lists what the token can sign with, and generate.
func (m abilities) schemes() map[law.Algorithm][]law.Scheme {
	by := map[law.Scheme]uint{law.PKCS1v15: pkcs11.CKM_RSA_PKCS, law.PSS: pkcs11.CKM_RSA_PKCS_PSS, law.ECDSA: pkcs11.CKM_ECDSA, law.EdDSA: ckmEdDSA}
	out := map[law.Algorithm][]law.Scheme{}
	for _, a := range law.Algorithms() {
		for _, s := range a.Schemes() {
			if m.has(by[s], a) && m.has(generator(a), a) {
				out[a] = append(out[a], s)
			}
		}
	}
	return out
}

// generator is the mechanism that makes key pairs of this algorithm.
func generator(a law.Algorithm) uint {
	switch a.Schemes()[0] {
	case law.EdDSA:
		return ckmECEdwardsKeyPairGen
	case law.ECDSA:
		return pkcs11.CKM_EC_KEY_PAIR_GEN
	}
	return pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN
}
