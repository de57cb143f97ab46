package hsm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// oids are the curves' names in CKA_EC_PARAMS (RFC 5480 section 2.1.1.1, RFC 8410 section 3).
func oids() map[law.Algorithm]asn1.ObjectIdentifier {
	return map[law.Algorithm]asn1.ObjectIdentifier{
		law.P256: {1, 2, 840, 10045, 3, 1, 7}, law.P384: {1, 3, 132, 0, 34}, law.P521: {1, 3, 132, 0, 35},
		law.Ed25519: {1, 3, 101, 112},
	}
}

const edwardsName = "edwards25519" // PKCS#11 v3.0 section 2.3.5 (curveName)

// Curves returns what CKA_EC_PARAMS may say for keys of this algorithm, the best known first. It is empty
// for an algorithm without a curve.
func Curves(a law.Algorithm) [][]byte {
	var out [][]byte
	if oid, has := oids()[a]; has {
		der, _ := asn1.Marshal(oid) // a constant
		out = append(out, der)
	}
	if a == law.Ed25519 {
		der, _ := asn1.MarshalWithParams(edwardsName, "printable")
		out = append(out, der)
	}
	return out
}

// CurveOf says of which algorithm the keys are that have these CKA_EC_PARAMS. Only a named curve is one.
func CurveOf(params []byte) (law.Algorithm, error) {
	for a := range oids() {
		if slices.ContainsFunc(Curves(a), func(p []byte) bool { return bytes.Equal(p, params) }) {
			return a, nil
		}
	}
	return "", fmt.Errorf("the curve %.64x is not supported", params)
}

// ECPublicKey makes a SubjectPublicKeyInfo of CKA_EC_PARAMS and CKA_EC_POINT, for Ed25519 as well. The point
// is the DER of an OCTET STRING, as PKCS#11 has it, or its content alone, as some tokens have it; which of
// them is told by the length.
func ECPublicKey(params, point []byte) ([]byte, error) {
	a, err := CurveOf(params)
	if err != nil {
		return nil, err
	}
	size := ed25519.PublicKeySize
	if c := keystore.Curve(a); c != nil {
		size = 1 + 2*((c.Params().BitSize+7)/8)
	}
	if len(point) != size {
		var content []byte
		if rest, err := asn1.Unmarshal(point, &content); err != nil || len(rest) > 0 {
			return nil, fmt.Errorf("the point of a key of %s is neither the DER of an OCTET STRING nor %d bytes long", a, size)
		}
		if again, err := asn1.Marshal(content); err != nil || !bytes.Equal(again, point) || len(content) != size {
			return nil, fmt.Errorf("the point of a key of %s must be %d bytes in the DER of an OCTET STRING", a, size)
		}
		point = content
	}
	if a == law.Ed25519 {
		return x509.MarshalPKIXPublicKey(ed25519.PublicKey(point))
	}
	key, err := ecdsa.ParseUncompressedPublicKey(keystore.Curve(a), point)
	if err != nil {
		return nil, fmt.Errorf("the point of a key of %s: %w", a, err)
	}
	return x509.MarshalPKIXPublicKey(key)
}

// RSAPublicKey makes a SubjectPublicKeyInfo of CKA_MODULUS and CKA_PUBLIC_EXPONENT.
func RSAPublicKey(modulus, exponent []byte) ([]byte, error) {
	e := new(big.Int).SetBytes(exponent)
	if !e.IsInt64() || e.Int64() != 65537 {
		return nil, fmt.Errorf("an RSA key with the exponent %.16x is not supported; it must be 65537", exponent)
	}
	n := new(big.Int).SetBytes(modulus)
	if n.Bit(0) == 0 {
		return nil, errors.New("the modulus of an RSA key is even or missing")
	}
	spki, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: int(e.Int64())})
	if err != nil {
		return nil, err
	}
	_, err = keystore.AlgorithmOf(spki)
	return spki, err
}

// Check says what of the request does not fit a key pair with a public key of this fingerprint and algorithm:
// an error that wraps keystore.ErrUnfit.
func (s Sign) Check(fingerprint string, a law.Algorithm) error {
	if s.Fingerprint != fingerprint {
		return fmt.Errorf("%w: the public key at %s is another", keystore.ErrUnfit, s.Handle)
	}
	err := keystore.CheckInput(a, law.Input{Hash: s.Hash, Scheme: s.Scheme, Digest: s.Digest, Message: s.Message})
	if err == nil && s.Scheme != law.EdDSA && len(s.Message) > 0 {
		err = fmt.Errorf("%s signs a digest, not a message", s.Scheme)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", keystore.ErrUnfit, err)
	}
	return nil
}

// digestInfo is DigestInfo of RFC 8017 section 9.2.
type digestInfo struct {
	Algorithm struct {
		OID        asn1.ObjectIdentifier
		Parameters asn1.RawValue
	}
	Digest []byte
}

// Input is what the token gets to sign for a request that was checked: for RSASSA-PKCS1-v1_5 a DigestInfo,
// for ECDSA the digest or as much of it as the curve's order is long (FIPS 186-5 section 6.4.1, since not
// every token cuts it off), for EdDSA the message.
func (s Sign) Input(a law.Algorithm) ([]byte, error) {
	switch s.Scheme {
	case law.EdDSA:
		return s.Message, nil
	case law.PKCS1v15:
		var info digestInfo
		last := map[law.Hash]int{law.SHA256: 1, law.SHA384: 2, law.SHA512: 3}[s.Hash]
		info.Algorithm.OID = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, last}
		info.Algorithm.Parameters = asn1.NullRawValue
		info.Digest = s.Digest
		return asn1.Marshal(info)
	case law.ECDSA:
		if c := keystore.Curve(a); c != nil { // the order of each is as long as the curve, in bytes
			return s.Digest[:min(len(s.Digest), (c.Params().N.BitLen()+7)/8)], nil
		}
	case law.PSS:
		return s.Digest, nil
	}
	return nil, fmt.Errorf("a key of %s makes no %s signatures", a, s.Scheme)
}

// Signature turns what the token has made into the form that keystores give.
func (s Sign) Signature(a law.Algorithm, made []byte) ([]byte, error) {
	if s.Scheme == law.ECDSA {
		return keystore.FromP1363(a, made)
	}
	return made, nil
}
