package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"

	"example.org/keyserver/internal/law"
)

// spki is a SubjectPublicKeyInfo (RFC 5280 section 4.1).
type spki struct {
	Raw       asn1.RawContent
	Algorithm struct {
		ID         asn1.ObjectIdentifier
		Parameters asn1.RawValue `asn1:"optional"`
	}
	Key asn1.BitString
}

var (
	oidRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidEC      = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
)

// checkDeviceKey says of which algorithm the public key of a device is, and refuses weak ones. All of it is cheap: it is
// done before any signature by the key is verified.
func (k spki) checkDeviceKey() (law.Algorithm, error) {
	if k.Key.BitLength%8 != 0 {
		return "", errors.New("its public key is no whole number of bytes long")
	}
	switch id := k.Algorithm.ID; {
	case id.Equal(oidRSA):
		return k.checkRSA()
	case id.Equal(oidEC):
		return k.checkEC()
	case id.Equal(oidEd25519):
		return law.Ed25519, k.checkEd25519()
	default:
		return "", fmt.Errorf("its public key is of the algorithm %s; use RSA, ECDSA or Ed25519", id)
	}
}

func (k spki) checkRSA() (law.Algorithm, error) {
	var public struct{ N, E *big.Int }
	after, err := asn1.Unmarshal(k.Key.Bytes, &public)
	switch {
	case !bytes.Equal(k.Algorithm.Parameters.FullBytes, asn1.NullBytes):
		return "", errors.New("its public key has parameters other than NULL (RFC 3279 section 2.3.1)")
	case err != nil || len(after) > 0 || checkDER(k.Key.Bytes) != nil:
		return "", errors.New("its public key is no RSAPublicKey (RFC 8017 appendix A.1.1)")
	case public.N.Sign() <= 0 || !slices.Contains([]int{2048, 3072, 4096}, public.N.BitLen()):
		return "", fmt.Errorf("its RSA key has %d bits; use one of 2048, 3072 or 4096", public.N.BitLen())
	case !public.E.IsInt64() || public.E.Int64() != 65537:
		return "", errors.New("its RSA key has another public exponent than 65537, the only one that is accepted")
	case hasSmallFactor(public.N):
		return "", errors.New("the modulus of its RSA key is even or has another small factor; the device's generator of keys is broken")
	case roca(public.N):
		return "", errors.New("its RSA key has the pattern of a generator whose keys can be factored (ROCA, CVE-2017-15361); make another with other firmware or software")
	case closePrimes(public.N):
		return "", errors.New("its RSA key is the product of two primes that are close to each other (Fermat, CVE-2022-26320); the device's generator of keys is broken")
	}
	return law.Algorithm(fmt.Sprintf("RSA-%d", public.N.BitLen())), nil
}

// rest is n modulo a small number, without the memory that big.Int takes for each of hundreds of them.
func rest(n *big.Int, small uint64) uint64 {
	var r uint64
	for _, word := range slices.Backward(n.Bits()) {
		r = bits.Rem64(r, uint64(word), small)
	}
	return r
}

// hasSmallFactor tries all factors below 1000.
func hasSmallFactor(n *big.Int) bool {
	for p := uint64(2); p < 1000; p++ {
		if rest(n, p) == 0 {
			return true
		}
	}
	return false
}

// roca says whether the modulus is a power of 65537 modulo each of these primes, which happens by chance in fewer than
// one of 10^8 keys (Nemec and others, The Return of Coppersmith's Attack, 2017, section 3).
func roca(n *big.Int) bool {
	for _, p := range []uint64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157} {
		r, power, found := rest(n, p), uint64(1), false
		for range p {
			found = found || power == r
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}

// closePrimes makes a hundred rounds of Fermat's method, which find the factors if they have the upper half of their
// bits in common.
func closePrimes(n *big.Int) bool {
	var a, square, root big.Int
	a.Sqrt(n)
	for range 100 {
		square.Mul(&a, &a).Sub(&square, n)
		if square.Sign() >= 0 && couldBeSquare(&square) {
			if root.Sqrt(&square); root.Mul(&root, &root).Cmp(&square) == 0 {
				return true
			}
		}
		a.Add(&a, big.NewInt(1))
	}
	return false
}

// couldBeSquare spares square roots: fewer than one number of fifty is a square modulo all three of these.
func couldBeSquare(n *big.Int) bool {
	for _, m := range []uint64{64, 63, 65} {
		r, found := rest(n, m), false
		for x := range m {
			found = found || x*x%m == r
		}
		if !found {
			return false
		}
	}
	return true
}

func (k spki) checkEC() (law.Algorithm, error) {
	var curve asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(k.Algorithm.Parameters.FullBytes, &curve); err != nil || len(rest) > 0 {
		return "", errors.New("its EC key does not name its curve (RFC 5480 section 2.1.1); explicit parameters are refused, since they can describe a curve that is broken")
	}
	curves := map[string]elliptic.Curve{"1.2.840.10045.3.1.7": elliptic.P256(), "1.3.132.0.34": elliptic.P384(), "1.3.132.0.35": elliptic.P521()}
	c, known := curves[curve.String()]
	if !known {
		return "", fmt.Errorf("its EC key is on the curve %s; use P-256, P-384 or P-521", curve)
	}
	if len(k.Key.Bytes) == 0 || k.Key.Bytes[0] != 4 {
		return "", errors.New("the point of its EC key is compressed, or none; write it uncompressed (RFC 5480 section 2.2)")
	}
	if _, err := ecdsa.ParseUncompressedPublicKey(c, k.Key.Bytes); err != nil {
		return "", fmt.Errorf("the point of its EC key is not on the curve %s", c.Params().Name)
	}
	size := (c.Params().BitSize + 7) / 8
	if bytes.Equal(k.Key.Bytes[1:1+size], c.Params().Gx.FillBytes(make([]byte, size))) {
		return "", errors.New("its EC key is the generator of the curve, whose private key everybody knows")
	}
	return map[int]law.Algorithm{256: law.P256, 384: law.P384, 521: law.P521}[c.Params().BitSize], nil
}

// Encodings of the points of small order, without the sign of x (RFC 8032 section 5.1.3): every message has a signature
// by such a key that anybody can make.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
}

// notReduced is the encoding of 2^255-19, the least that is not below the prime.
const notReduced = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"

func (k spki) checkEd25519() error {
	point := bytes.Clone(k.Key.Bytes)
	if len(k.Algorithm.Parameters.FullBytes) > 0 || len(point) != 32 {
		return errors.New("its Ed25519 key has parameters, or is not 32 bytes long (RFC 8410)")
	}
	point[31] &= 0x7f
	prime, _ := hex.DecodeString(notReduced)
	big := func(little []byte) []byte { b := bytes.Clone(little); slices.Reverse(b); return b }
	if slices.Contains(smallOrder, hex.EncodeToString(point)) || bytes.Compare(big(point), big(prime)) >= 0 {
		return errors.New("its Ed25519 key is a point of small order, or not in its shortest form; such a key proves nothing")
	}
	return nil
}
