package hsm

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"example.org/keyserver/internal/law"
)

// Protocol is the version of what the two sides say to each other. They are of one release, so there is no
// choosing: a worker of another version is refused.
const Protocol = 1

// WorkerSocket is the file descriptor at which a worker finds its end of the socketpair.
const WorkerSocket = 3

// Request is what the server asks of the worker: exactly one of the verbs. Answers come in any order.
type Request struct {
	ID        uint64     `json:"id"` // unique among the requests without an answer
	Open      *Open      `json:"open,omitzero"`
	Generate  *Generate  `json:"generate,omitzero"`
	Adopt     *Adopt     `json:"adopt,omitzero"`
	PublicKey *PublicKey `json:"publickey,omitzero"`
	Sign      *Sign      `json:"sign,omitzero"`
	Ready     *Ready     `json:"ready,omitzero"`
}

// Open is the first request and comes once: load the library and log in.
type Open struct {
	Protocol   int    `json:"protocol"`
	Module     string `json:"module"`               // absolute path of the PKCS#11 library
	Parameters string `json:"parameters,omitempty"` // given to the library when it is initialised (pReserved), if it wants any
	Token      string `json:"token"`                // label of the token
	PIN        PIN    `json:"pin"`                  // of the token's user
	Sessions   int    `json:"sessions"`
}

// PIN is a PIN. It can be printed in no way.
type PIN []byte

// Format prints that it is a PIN, whatever the verb.
func (PIN) Format(s fmt.State, _ rune) { fmt.Fprint(s, "a PIN") }

// LogValue logs that it is a PIN.
func (PIN) LogValue() slog.Value { return slog.StringValue("a PIN") }

// Generate asks for a new key pair.
type Generate struct {
	Key       law.KeyID     `json:"keyid"`
	Version   int           `json:"version"`
	Algorithm law.Algorithm `json:"algorithm"`
}

// Adopt asks which key pair of the token a PKCS#11 URI means.
type Adopt struct {
	URI string `json:"uri"`
}

// PublicKey asks for the key pair at a handle.
type PublicKey struct {
	Handle string `json:"handle"`
}

// Sign asks for one signature.
type Sign struct {
	Handle      string     `json:"handle"`
	Fingerprint string     `json:"fingerprint"` // of the public key that must be there, as law.Key has it
	Hash        law.Hash   `json:"hash"`
	Scheme      law.Scheme `json:"scheme"`
	Digest      []byte     `json:"digest"`
	Message     []byte     `json:"message,omitempty"` // for law.EdDSA alone
}

// Ready asks whether the token could sign now.
type Ready struct{}

// Answer is the worker's answer to the request of the same id: exactly one of the results.
type Answer struct {
	ID        uint64   `json:"id"`
	Opened    *Opened  `json:"opened,omitzero"`
	Pair      *Pair    `json:"pair,omitzero"`
	Signature []byte   `json:"signature,omitempty"`
	Ready     *Ready   `json:"ready,omitzero"`
	Refusal   *Refusal `json:"refusal,omitzero"`
}

// Opened says what was opened.
type Opened struct {
	Protocol int       `json:"protocol"`
	Token    TokenInfo `json:"token"`
	// Can lists what the token's list of mechanisms says that it can do.
	Can map[law.Algorithm][]law.Scheme `json:"can"`
}

// TokenInfo is what a token says of itself, for people.
type TokenInfo struct {
	Label        string `json:"label"`
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Serial       string `json:"serial"`
	Library      string `json:"library"`
}

// Pair is a key pair of the token.
type Pair struct {
	Handle     string            `json:"handle"`
	PublicKey  []byte            `json:"publickey"` // SubjectPublicKeyInfo, DER
	Attributes law.KeyAttributes `json:"attributes"`
}

// Refusal says why a request was not fulfilled.
type Refusal struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

// Code says what a refusal means.
type Code string

const (
	CodeFailed    Code = "failed"    // the token gave an error; another attempt may succeed
	CodeGone      Code = "gone"      // the token or the login is lost, and logging in again did not help: begin anew
	CodePIN       Code = "pin"       // the token refuses the PIN; it must not be tried again
	CodeNoKeyPair Code = "nokeypair" // there is no such key pair in the token
	CodeUnfit     Code = "unfit"     // the public key there is another, or does not fit the input
	CodeExists    Code = "exists"    // the token has a key pair of that id and version
	CodeRefused   Code = "refused"   // what is asked for cannot be done, now or later
)

// Text is the text of an error as a refusal may carry it.
func Text(err error) string {
	text := strings.ToValidUTF8(err.Error(), "?")
	return text[:min(len(text), maxText/2)]
}

func (c Code) known() bool {
	switch c {
	case CodeFailed, CodeGone, CodePIN, CodeNoKeyPair, CodeUnfit, CodeExists, CodeRefused:
		return true
	}
	return false
}

// Bounds of what a message may say.
const (
	maxPIN        = 255  // bytes
	maxParameters = 4096 // bytes
	maxHandle     = 512  // bytes
	maxSessions   = 256
	maxText       = 4096 // bytes of a refusal's text
)

// DecodeRequest reads a request, strictly.
func DecodeRequest(message []byte) (Request, error) {
	var r Request
	if err := json.Unmarshal(message, &r, json.RejectUnknownMembers(true)); err != nil {
		return Request{}, fmt.Errorf("reading a request: %w", unquoted(err))
	}
	if err := r.check(); err != nil {
		return Request{}, fmt.Errorf("reading a request: %w", err)
	}
	return r, nil
}

// unquoted keeps what was read out of the error: it may be a PIN.
func unquoted(err error) error {
	if s, is := errors.AsType[*json.SemanticError](err); is {
		return fmt.Errorf("member %q cannot be understood", s.JSONPointer)
	}
	return errors.New("it is not valid JSON")
}

func (r Request) check() error {
	verbs := 0
	for _, there := range []bool{r.Open != nil, r.Generate != nil, r.Adopt != nil, r.PublicKey != nil, r.Sign != nil, r.Ready != nil} {
		if there {
			verbs++
		}
	}
	switch {
	case r.ID == 0:
		return errors.New("it has no id")
	case verbs != 1:
		return fmt.Errorf("it has %d verbs; it must have one", verbs)
	case r.Open != nil:
		return r.Open.check()
	case r.Adopt != nil && len(r.Adopt.URI) > maxHandle, r.PublicKey != nil && len(r.PublicKey.Handle) > maxHandle, r.Sign != nil && len(r.Sign.Handle) > maxHandle:
		return fmt.Errorf("the name of a key pair is longer than %d bytes", maxHandle)
	}
	return nil
}

func (o Open) check() error {
	switch {
	case o.Protocol != Protocol:
		return fmt.Errorf("the server speaks version %d of the protocol, this worker %d; install both of one release", o.Protocol, Protocol)
	case !filepath.IsAbs(o.Module):
		return errors.New("the module must be an absolute path")
	case len(o.Parameters) > maxParameters || strings.ContainsRune(o.Parameters, 0):
		return fmt.Errorf("the parameters must be at most %d bytes, and none of them zero", maxParameters)
	case o.Token == "" || len(o.Token) > 32:
		return errors.New("the token's label must be 1 to 32 bytes long")
	case len(o.PIN) == 0 || len(o.PIN) > maxPIN:
		return fmt.Errorf("the PIN must be 1 to %d bytes long", maxPIN)
	case o.Sessions < 1 || o.Sessions > maxSessions:
		return fmt.Errorf("the number of sessions must be from 1 to %d", maxSessions)
	}
	return nil
}

// DecodeAnswer reads an answer, strictly.
func DecodeAnswer(message []byte) (Answer, error) {
	var a Answer
	if err := json.Unmarshal(message, &a, json.RejectUnknownMembers(true)); err != nil {
		return Answer{}, fmt.Errorf("reading an answer: %w", err)
	}
	if err := a.check(); err != nil {
		return Answer{}, fmt.Errorf("reading an answer: %w", err)
	}
	return a, nil
}

func (a Answer) check() error {
	results := 0
	for _, there := range []bool{a.Opened != nil, a.Pair != nil, len(a.Signature) > 0, a.Ready != nil, a.Refusal != nil} {
		if there {
			results++
		}
	}
	switch {
	case a.ID == 0:
		return errors.New("it has no id")
	case results != 1:
		return fmt.Errorf("it has %d results; it must have one", results)
	case a.Opened != nil && a.Opened.Protocol != Protocol:
		return fmt.Errorf("the worker speaks version %d of the protocol, this server %d; install both of one release", a.Opened.Protocol, Protocol)
	case a.Pair != nil && (len(a.Pair.Handle) > maxHandle || len(a.Pair.PublicKey) == 0):
		return errors.New("a key pair needs a handle that is not too long and a public key")
	case a.Refusal != nil && (!a.Refusal.Code.known() || len(a.Refusal.Text) > maxText):
		return fmt.Errorf("a refusal with the code %.20q is not known, or its text is too long", a.Refusal.Code)
	}
	return nil
}
