//go:build cgo

package main

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/hsm"
)

// worker hands requests to lanes. A lane has one session of the token and does one thing after the other, so
// that no call waits for another of a different kind: as many lanes as are configured sign, one generates,
// one answers questions. The session of the last is also what keeps the login alive.
type worker struct {
	socket     io.ReadWriter
	answers    *hsm.Sender
	token      *token // nil until it is opened
	signing    chan hsm.Request
	generating chan hsm.Request
	asking     chan hsm.Request
}

const queue = 512 // requests a lane may have waiting; the server asks for no more than there are lanes

func newWorker(socket io.ReadWriter) *worker {
	return &worker{
		socket: socket, answers: hsm.NewSender(socket),
		signing: make(chan hsm.Request, queue), generating: make(chan hsm.Request, queue), asking: make(chan hsm.Request, queue),
	}
}

// serve reads requests until there is no more server. A request that cannot be understood is the end: the
// two sides are not what they think they are.
func (w *worker) serve() error {
	for {
		message, err := hsm.ReadFrame(w.socket)
		if err != nil {
			return err
		}
		r, err := hsm.DecodeRequest(message)
		clear(message) // there may be a PIN in it
		switch {
		case err != nil:
			return err
		case (r.Open != nil) != (w.token == nil):
			return errors.New("open must be the first request, and come once")
		case r.Open != nil:
			if err := w.open(r); err != nil {
				return err
			}
		default:
			w.dispatch(r)
		}
	}
}

// open loads the library and starts the lanes. It does so beside serve, which must see the end of the server
// also while the library hangs.
func (w *worker) open(r hsm.Request) error {
	w.token = &token{open: *r.Open}
	go func() {
		opened, err := w.token.start()
		if err != nil {
			w.refuse(r.ID, err)
			return
		}
		for range r.Open.Sessions {
			go w.lane(w.signing, &session{token: w.token})
		}
		go w.lane(w.generating, &session{token: w.token, writes: true})
		go w.lane(w.asking, w.token.keeper)
		w.answer(hsm.Answer{ID: r.ID, Opened: &opened})
	}()
	return nil
}

func (w *worker) dispatch(r hsm.Request) {
	lane := w.asking
	switch {
	case r.Sign != nil:
		lane = w.signing
	case r.Generate != nil:
		lane = w.generating
	}
	select {
	case lane <- r:
	default:
		w.refuse(r.ID, &refusal{hsm.CodeFailed, errors.New("too many requests wait")})
	}
}

func (w *worker) lane(requests <-chan hsm.Request, s *session) {
	for r := range requests {
		a, err := s.fulfil(r)
		if err != nil {
			w.refuse(r.ID, err)
			continue
		}
		a.ID = r.ID
		w.answer(a)
	}
}

func (s *session) fulfil(r hsm.Request) (hsm.Answer, error) {
	switch {
	case r.Sign != nil:
		signature, err := s.sign(*r.Sign)
		return hsm.Answer{Signature: signature}, err
	case r.Generate != nil:
		pair, err := s.generate(*r.Generate)
		return hsm.Answer{Pair: &pair}, err
	case r.Adopt != nil:
		pair, err := s.adopt(r.Adopt.URI)
		return hsm.Answer{Pair: &pair}, err
	case r.PublicKey != nil:
		pair, err := s.publicKey(r.PublicKey.Handle)
		return hsm.Answer{Pair: &pair}, err
	default:
		return hsm.Answer{Ready: &hsm.Ready{}}, s.ready()
	}
}

func (w *worker) answer(a hsm.Answer) {
	message, err := json.Marshal(a)
	if err == nil {
		err = w.answers.Send(message)
	}
	if err != nil && a.Refusal == nil {
		w.refuse(a.ID, &refusal{hsm.CodeFailed, fmt.Errorf("writing the answer: %w", err)})
	}
}

func (w *worker) refuse(id uint64, err error) {
	code := hsm.CodeFailed
	switch r, is := errors.AsType[*refusal](err); {
	case is:
		code = r.code
	case errors.Is(err, keystore.ErrNoKeyPair):
		code = hsm.CodeNoKeyPair
	case errors.Is(err, keystore.ErrUnfit):
		code = hsm.CodeUnfit
	case errors.Is(err, keystore.ErrExists):
		code = hsm.CodeExists
	}
	w.answer(hsm.Answer{ID: id, Refusal: &hsm.Refusal{Code: code, Text: hsm.Text(err)}})
}

// refusal is an error with what it means to the server.
type refusal struct {
	code hsm.Code
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refused(format string, args ...any) error {
	return &refusal{hsm.CodeRefused, fmt.Errorf(format, args...)}
}
