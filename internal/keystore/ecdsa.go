package keystore

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"example.org/keyserver/internal/law"
)

type ecdsaSignature struct{ R, S *big.Int } // Ecdsa-Sig-Value, RFC 3279 section 2.2.3

// ToP1363 turns an ECDSA signature in DER into the form of IEEE P1363: r and s, each as long as the
// order of the curve. It refuses an encoding that is not DER, and an r or s that is out of range.
func ToP1363(a law.Algorithm, der []byte) ([]byte, error) {
	size, order, err := scalars(a)
	if err != nil {
		return nil, err
	}
	var sig ecdsaSignature
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return nil, fmt.Errorf("reading an ECDSA signature: %w", err)
	}
	if err := sig.check(order); err != nil {
		return nil, err
	}
	again, err := asn1.Marshal(sig)
	if err != nil || !bytes.Equal(again, der) {
		return nil, errors.New("reading an ECDSA signature: its encoding is not DER, or there are bytes after it")
	}
	raw := make([]byte, 2*size)
	sig.R.FillBytes(raw[:size])
	sig.S.FillBytes(raw[size:])
	return raw, nil
}

// FromP1363 turns an ECDSA signature in the form of IEEE P1363 into DER.
func FromP1363(a law.Algorithm, raw []byte) ([]byte, error) {
	size, order, err := scalars(a)
	if err != nil {
		return nil, err
	}
	if len(raw) != 2*size {
		return nil, fmt.Errorf("reading an ECDSA signature: in the form of IEEE P1363 one of %s is %d bytes long, not %d", a, 2*size, len(raw))
	}
	sig := ecdsaSignature{new(big.Int).SetBytes(raw[:size]), new(big.Int).SetBytes(raw[size:])}
	if err := sig.check(order); err != nil {
		return nil, err
	}
	return asn1.Marshal(sig)
}

// scalars returns how many bytes r and s take each, and what both are below.
func scalars(a law.Algorithm) (size int, order *big.Int, err error) {
	c := Curve(a)
	if c == nil {
		return 0, nil, fmt.Errorf("%s makes no ECDSA signatures", a)
	}
	order = c.Params().N
	return (order.BitLen() + 7) / 8, order, nil
}

func (sig ecdsaSignature) check(order *big.Int) error {
	for _, i := range []*big.Int{sig.R, sig.S} {
		if i.Sign() <= 0 || i.Cmp(order) >= 0 {
			return errors.New("reading an ECDSA signature: r and s must be at least 1 and below the order of the curve")
		}
	}
	return nil
}
