package client

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"example.org/keyserver/api"
)

// Signer signs with one key under one approved operation, as a crypto.Signer and crypto.MessageSigner. Each
// new input takes one use of the key in the operation; the idempotency key of its sign order is derived
// from operation, key, scheme, hash and input, so that the same input signed again, also after a crash, is
// the same order: it takes no second use and gives the same signature.
type Signer struct {
	// Placed, if not nil, is called with every sign order that was answered. Its checkpoint is worth keeping.
	Placed func(api.SignOrder)

	ctx         context.Context
	client      *Client
	operation   string
	keyid       string
	public      crypto.PublicKey
	fingerprint string
}

var _ crypto.MessageSigner = (*Signer)(nil)

// Signer returns a Signer of the key under the operation. Every request that it makes ends with the
// context, since crypto.Signer has no place for one.
func (c *Client) Signer(ctx context.Context, operation, keyid string) (*Signer, error) {
	text, err := c.PublicKey(ctx, keyid)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("reading the public key of %s: it is not PEM", keyid)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the public key of %s: %w", keyid, err)
	}
	sum := sha256.Sum256(block.Bytes)
	return &Signer{ctx: ctx, client: c, operation: operation, keyid: keyid, public: public, fingerprint: hex.EncodeToString(sum[:])}, nil
}

// Public returns the public key.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// Sign has a digest signed that was made with opts.HashFunc(); with an Ed25519 key it is the message itself,
// and opts.HashFunc() is 0. The options say the scheme: *rsa.PSSOptions asks for PSS with a salt as long as
// the digest, all others for PKCS #1 v1.5 with RSA keys. ECDSA signatures are ASN.1. The random source is
// not used: the keystore has its own.
func (s *Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	ask, err := s.newOrder(digest, opts)
	if err != nil {
		return nil, fmt.Errorf("signing with key %s: %w", s.keyid, err)
	}
	order, err := s.client.PlaceSignOrder(s.ctx, s.operation, s.idempotencyKey(ask), ask)
	if err != nil {
		return nil, err
	}
	if s.Placed != nil {
		s.Placed(order)
	}
	switch {
	case order.Fingerprint != s.fingerprint:
		return nil, fmt.Errorf("signing with key %s: the signature is by another key pair, %s", s.keyid, order.Fingerprint)
	case len(order.Signature) == 0:
		return nil, fmt.Errorf("signing with key %s: sign order %s is %s and has no signature", s.keyid, order.ID, order.State)
	}
	return order.Signature, nil
}

// SignMessage hashes the message as the options say and has the digest signed.
func (s *Signer) SignMessage(rand io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if h := opts.HashFunc(); h != 0 {
		if !h.Available() {
			return nil, fmt.Errorf("signing with key %s: hash %v is not available in this program", s.keyid, h)
		}
		d := h.New()
		d.Write(message)
		message = d.Sum(nil)
	}
	return s.Sign(rand, message, opts)
}

// newOrder says in the words of the API what crypto.SignerOpts say.
func (s *Signer) newOrder(digest []byte, opts crypto.SignerOpts) (api.NewSignOrder, error) {
	o := api.NewSignOrder{KeyID: s.keyid}
	pss, isPSS := opts.(*rsa.PSSOptions)
	switch s.public.(type) {
	case ed25519.PublicKey:
		if e, ok := opts.(*ed25519.Options); opts.HashFunc() != 0 || ok && e.Context != "" {
			return o, errors.New("an Ed25519 key signs the message itself, without context; use crypto.Hash(0)")
		}
		o.Scheme, o.Data = "EdDSA", digest
		return o, nil
	case *ecdsa.PublicKey:
		o.Scheme, o.Format = "ECDSA", api.DER
	case *rsa.PublicKey:
		o.Scheme, o.Format = "RSASSA-PKCS1-v1_5", api.Raw
		if isPSS {
			o.Scheme = "RSASSA-PSS"
		}
	default:
		return o, fmt.Errorf("keys of type %T are not known here", s.public)
	}
	switch h := opts.HashFunc(); h {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
		o.Hash = h.String()
	default:
		return o, fmt.Errorf("hash %v is not one of SHA-256, SHA-384 and SHA-512", h)
	}
	if len(digest) != opts.HashFunc().Size() {
		return o, fmt.Errorf("the digest is %d bytes long, not %d", len(digest), opts.HashFunc().Size())
	}
	if isPSS && pss.SaltLength != rsa.PSSSaltLengthEqualsHash && pss.SaltLength != rsa.PSSSaltLengthAuto && pss.SaltLength != len(digest) {
		return o, fmt.Errorf("a PSS salt of %d bytes is not made; its length is that of the digest", pss.SaltLength)
	}
	o.Digest, o.Encoding = hex.EncodeToString(digest), api.Hex
	return o, nil
}

func (s *Signer) idempotencyKey(o api.NewSignOrder) string {
	sum := sha256.New()
	for _, part := range []string{"keyserver signer v1", s.operation, o.KeyID, o.Scheme, o.Hash, o.Digest, base64.StdEncoding.EncodeToString(o.Data)} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return "signer-" + hex.EncodeToString(sum.Sum(nil))
}
