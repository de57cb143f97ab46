package webui

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
)

// sealer keeps what the server wants to remember in the browser, where it can be neither read nor changed.
type sealer struct {
	aead   cipher.AEAD
	tokens []byte // key of the form tokens
}

func newSealer(secret []byte) (*sealer, error) {
	if len(secret) < sha256.Size {
		return nil, errors.New("the secret of the pages is too short")
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "keyserver pages: cookies, version 1", 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the key of the cookies: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("deriving the key of the cookies: %w", err)
	}
	s := &sealer{}
	if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, fmt.Errorf("deriving the key of the cookies: %w", err)
	}
	s.tokens, err = hkdf.Key(sha256.New, secret, nil, "keyserver pages: form tokens, version 1", 32)
	return s, err
}

// seal returns a value as text that only open understands, for the same purpose.
func (s *sealer) seal(purpose string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("sealing: %w", err)
	}
	return s.sealBytes(purpose, plain), nil
}

// open reads what seal wrote, and says whether it did.
func (s *sealer) open(purpose, sealed string, v any) bool {
	plain, ok := s.openBytes(purpose, sealed)
	return ok && json.Unmarshal(plain, v) == nil
}

// sealBytes is seal of bytes, which makes them no longer than it has to.
func (s *sealer) sealBytes(purpose string, plain []byte) string {
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, []byte(purpose)))
}

func (s *sealer) openBytes(purpose, sealed string) ([]byte, bool) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return nil, false
	}
	plain, err := s.aead.Open(nil, nil, data, []byte(purpose))
	return plain, err == nil
}

// token is what a form of a sign-in must bring, so that no other page can send it.
func (s *sealer) token(signIn, action string) string {
	mac := hmac.New(sha256.New, s.tokens)
	fmt.Fprintf(mac, "%s\x00%s", signIn, action)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
