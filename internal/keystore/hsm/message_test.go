package hsm

import (
	"bytes"
	"encoding/binary"
	"encoding/json/v2"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.org/keyserver/internal/law"
)

// requests and answers are one of each kind, as they are on the wire.
var requests = []string{
	`{"id":1,"open":{"protocol":1,"module":"/usr/lib/p11.so","parameters":"x","token":"keys","pin":"MTIzNA==","sessions":8}}`,
	`{"id":2,"generate":{"keyid":"fw","version":1,"algorithm":"ECDSA-P256"}}`,
	`{"id":3,"adopt":{"uri":"pkcs11:token=keys;id=%01"}}`,
	`{"id":4,"publickey":{"handle":"pkcs11:token=keys;id=%01;type=private"}}`,
	`{"id":5,"sign":{"handle":"pkcs11:token=keys;id=%01;type=private","fingerprint":"00","hash":"SHA-512","scheme":"EdDSA","digest":"AA==","message":"AA=="}}`,
	`{"id":6,"ready":{}}`,
}

var answers = []string{
	`{"id":1,"opened":{"protocol":1,"token":{"label":"keys","manufacturer":"m","model":"o","serial":"s","library":"l"},"can":{"ECDSA-P256":["ECDSA"]}}}`,
	`{"id":2,"pair":{"handle":"pkcs11:token=keys;id=%01;type=private","publickey":"AA==","attributes":{"local":true,"sensitive":true,"alwayssensitive":true,"extractable":false,"neverextractable":true}}}`,
	`{"id":5,"signature":"AA=="}`,
	`{"id":6,"ready":{}}`,
	`{"id":7,"refusal":{"code":"gone","text":"the token is not there"}}`,
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	for _, text := range requests {
		r, err := DecodeRequest([]byte(text))
		again, marshalErr := json.Marshal(r)
		if err != nil || marshalErr != nil || string(again) != text {
			t.Errorf("%s came back as %s (%v, %v)", text, again, err, marshalErr)
		}
	}
	for _, text := range answers {
		a, err := DecodeAnswer([]byte(text))
		again, marshalErr := json.Marshal(a)
		if err != nil || marshalErr != nil || string(again) != text {
			t.Errorf("%s came back as %s (%v, %v)", text, again, err, marshalErr)
		}
	}
}

func TestAMessageThatCouldMeanSomethingElseIsRefused(t *testing.T) {
	open := requests[0]
	for _, text := range []string{
		``, `null`, `[]`, `{}`, `{"id":1}`, `{"id":0,"ready":{}}`, `{"ready":{}}`, `{"id":1,"ready":{},"publickey":{"handle":"x"}}`,
		`{"id":1,"ready":{"x":1}}`, `{"id":1,"ready":{}} {}`, `{"id":1,"id":2,"ready":{}}`, `{"id":-1,"ready":{}}`, `{"id":"1","ready":{}}`, `{"ID":1,"ready":{}}`,
		strings.Replace(open, `"protocol":1`, `"protocol":2`, 1), strings.Replace(open, `/usr`, `usr`, 1), strings.Replace(open, `"keys"`, `""`, 1),
		strings.Replace(open, `"keys"`, `"`+strings.Repeat("k", 33)+`"`, 1), strings.Replace(open, `MTIzNA==`, ``, 1), strings.Replace(open, `MTIzNA==`, `1234!`, 1),
		strings.Replace(open, `MTIzNA==`, strings.Repeat("AAAA", 86), 1), strings.Replace(open, `:8}`, `:0}`, 1), strings.Replace(open, `:8}`, `:257}`, 1),
		strings.Replace(open, `"x"`, `"\u0000"`, 1), strings.Replace(requests[3], "%01", strings.Repeat("%01", 200), 1),
	} {
		if r, err := DecodeRequest([]byte(text)); err == nil {
			t.Errorf("request %s is %+v", text, r)
		}
	}
	for _, text := range []string{
		``, `{}`, `{"id":1}`, `{"id":0,"ready":{}}`, `{"id":1,"ready":{},"signature":"AA=="}`, `{"id":1,"signature":""}`, `{"id":1,"refusal":{"code":"no","text":""}}`,
		`{"id":1,"refusal":{"code":"gone","text":"` + strings.Repeat("x", 4097) + `"}}`, strings.Replace(answers[0], `"protocol":1`, `"protocol":2`, 1),
		strings.Replace(answers[1], `"AA=="`, `""`, 1), `{"id":1,"unknown":{}}`,
	} {
		if a, err := DecodeAnswer([]byte(text)); err == nil {
			t.Errorf("answer %s is %+v", text, a)
		}
	}
}

func TestAnErrorAboutARequestDoesNotRepeatWhatWasInIt(t *testing.T) {
	for _, text := range []string{
		strings.Replace(requests[0], `"MTIzNA=="`, `"31415926!"`, 1), strings.Replace(requests[0], `"MTIzNA=="`, `31415926`, 1), strings.Replace(requests[0], `"MTIzNA=="`, `31415926 x`, 1),
	} {
		if _, err := DecodeRequest([]byte(text)); err == nil || strings.Contains(err.Error(), "31415926") {
			t.Errorf("it says: %v", err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, text := range requests {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		r, err := DecodeRequest(message)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		same, err := DecodeRequest(again)
		if twice, marshalErr := json.Marshal(same); err != nil || marshalErr != nil || !bytes.Equal(twice, again) {
			t.Fatalf("%s came back as %s: %v", message, again, err)
		}
		if r.Sign != nil { // whatever is asked for, the worker does not fall over it
			for _, a := range law.Algorithms() {
				if r.Sign.Check(r.Sign.Fingerprint, a) == nil {
					if _, err := r.Sign.Input(a); err != nil {
						t.Fatalf("%s passes the check for %s, and has no input: %v", message, a, err)
					}
				}
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, text := range answers {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		a, err := DecodeAnswer(message)
		if err != nil {
			return
		}
		again, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		same, err := DecodeAnswer(again)
		if twice, marshalErr := json.Marshal(same); err != nil || marshalErr != nil || !bytes.Equal(twice, again) {
			t.Fatalf("%s came back as %s: %v", message, again, err)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, '{', '}', 0, 0, 0, 1, 'x'})
	f.Add([]byte{0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, text []byte) {
		r, again := bytes.NewReader(text), []byte(nil)
		for {
			message, err := ReadFrame(r)
			if err != nil {
				break
			}
			if again, err = appendFrame(again, message); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(text, again) {
			t.Fatalf("%x was read as %x", text, again)
		}
	})
}

func TestAFrameThatIsEmptyTooLongOrCutOffIsRefused(t *testing.T) {
	for _, text := range [][]byte{{0, 0, 0, 0}, binary.BigEndian.AppendUint32(nil, maxFrame+1), {0, 0, 0, 2, 'x'}, {0, 0}} {
		if m, err := ReadFrame(bytes.NewReader(text)); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%x is %q, %v", text, m, err)
		}
	}
	if _, err := ReadFrame(bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if err := NewSender(io.Discard).Send(make([]byte, maxFrame+1)); err == nil {
		t.Error("a frame that is too long is sent")
	}
}

// slow lets one write after the other through.
type slow struct {
	entered chan struct{}
	release chan struct{}
	got     [][]byte
	err     error
}

func (s *slow) Write(p []byte) (int, error) {
	s.entered <- struct{}{}
	<-s.release
	s.got = append(s.got, bytes.Clone(p))
	return len(p), s.err
}

func TestMessagesThatWaitAreWrittenTogether(t *testing.T) {
	w := &slow{entered: make(chan struct{}), release: make(chan struct{})}
	s := NewSender(w)
	var first sync.WaitGroup
	first.Go(func() {
		if err := s.Send([]byte("one")); !errors.Is(err, io.ErrClosedPipe) { // it writes for the others
			t.Error(err)
		}
	})
	<-w.entered
	for _, m := range []string{"two", "three"} {
		if err := s.Send([]byte(m)); err != nil { // it does not wait
			t.Error(err)
		}
	}
	w.release <- struct{}{}
	<-w.entered
	w.err = io.ErrClosedPipe
	w.release <- struct{}{}
	first.Wait()
	if want := [][]byte{[]byte("\x00\x00\x00\x03one"), []byte("\x00\x00\x00\x03two\x00\x00\x00\x05three")}; !slices.EqualFunc(w.got, want, bytes.Equal) {
		t.Errorf("it wrote %q", w.got)
	}
	if err := s.Send([]byte("four")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after an error: %v", err)
	}
}
