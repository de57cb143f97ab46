package software

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// pair is a key pair ready to sign. The private key is inside a function, where no print finds it.
type pair struct {
	publicKey []byte
	sign      func(law.Input) ([]byte, error)
}

// generate makes a private key, in PKCS #8.
func generate(a law.Algorithm) ([]byte, error) {
	var key crypto.PrivateKey
	var err error
	switch a {
	case law.RSA2048:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case law.RSA3072:
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	case law.RSA4096:
		key, err = rsa.GenerateKey(rand.Reader, 4096)
	case law.P256, law.P384, law.P521:
		key, err = ecdsa.GenerateKey(keystore.Curve(a), rand.Reader)
	case law.Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, fmt.Errorf("algorithm %q is unknown", a)
	}
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// load makes a key pair of a private key in PKCS #8, which must be of the algorithm.
func load(a law.Algorithm, pkcs8 []byte) (*pair, error) {
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, err
	}
	got, err := keystore.AlgorithmOf(public)
	if err != nil {
		return nil, err
	}
	if got != a {
		return nil, fmt.Errorf("it is to be a key of %s and is one of %s", a, got)
	}
	return &pair{public, func(in law.Input) ([]byte, error) { return sign(signer, in) }}, nil
}

func sign(key crypto.Signer, in law.Input) ([]byte, error) {
	h := in.Hash.Crypto()
	switch in.Scheme {
	case law.PSS:
		return key.Sign(rand.Reader, in.Digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h})
	case law.EdDSA:
		return key.Sign(rand.Reader, in.Message, crypto.Hash(0))
	}
	return key.Sign(rand.Reader, in.Digest, h) // RSASSA-PKCS1-v1_5 and ECDSA
}
