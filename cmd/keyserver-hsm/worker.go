//go:build cgo

package main

import (
	"bufio"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/hsm"
)

// worker does what requests ask for, in lanes. A lane has one session of the token and does one thing after the
// other: as many lanes as are configured sign, one generates, one answers questions, and the session of the
// last is also what keeps the login alive.
//
// The lanes that sign take turns in reading requests, so that the thread which reads a request is the one
// that goes on into the library: to hand it to another would cost as much as a signature.
type worker struct {
	socket     *os.File // blocking
	answers    *hsm.Sender
	token      *token
	generating chan hsm.Request
	asking     chan hsm.Request
	over       chan error // why it ends

	reading  sync.Mutex
	requests *bufio.Reader
}

const queue = 512 // requests that may wait for a lane which does not sign

func newWorker(socket *os.File) *worker {
	return &worker{
		socket: socket, answers: hsm.NewSender(socket), requests: bufio.NewReader(socket),
		generating: make(chan hsm.Request, queue), asking: make(chan hsm.Request, queue), over: make(chan error, 1),
	}
}

// serve does what the server asks until there is no more server, also while every lane hangs in the library.
func (w *worker) serve(fd int) error {
	go func() { w.end(hangup(fd)) }()
	go func() {
		if err := w.open(); err != nil {
			w.end(err)
		}
	}()
	return <-w.over
}

// end says why it is over. Only the first reason counts.
func (w *worker) end(why error) {
	select {
	case w.over <- why:
	default:
	}
}

// hangup waits until the other end of the socket is closed.
func hangup(fd int) error {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		switch _, err := unix.Poll(fds, -1); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("watching the server: %w", err)
		default:
			return nil
		}
	}
}

// open takes the first request, loads the library and starts the lanes.
func (w *worker) open() error {
	r, err := w.next()
	if err != nil {
		return err
	}
	if r.Open == nil {
		return errors.New("the first request must be open")
	}
	w.token = &token{open: *r.Open}
	opened, err := w.token.start()
	if err != nil {
		w.refuse(r.ID, err)
		return nil // the server has nothing more to ask, and ends it
	}
	for range r.Open.Sessions {
		go w.sign(&session{token: w.token})
	}
	go w.lane(w.generating, &session{token: w.token, writes: true})
	go w.lane(w.asking, w.token.keeper)
	w.answer(hsm.Answer{ID: r.ID, Opened: &opened})
	return nil
}

// next reads a request. One that cannot be understood is the end: the two sides are not what they think they are.
func (w *worker) next() (hsm.Request, error) {
	w.reading.Lock()
	message, err := hsm.ReadFrame(w.requests)
	w.reading.Unlock()
	if err != nil {
		return hsm.Request{}, err
	}
	defer clear(message) // there may be a PIN in it
	return hsm.DecodeRequest(message)
}

// sign is a lane that signs. What else it reads it hands on.
func (w *worker) sign(s *session) {
	for {
		r, err := w.next()
		if err == nil && r.Open != nil {
			err = errors.New("open must come once")
		}
		switch {
		case err != nil:
			w.end(err)
			return
		case r.Sign != nil:
			w.fulfil(s, r)
		case r.Generate != nil:
			w.hand(w.generating, r)
		default:
			w.hand(w.asking, r)
		}
	}
}

func (w *worker) hand(to chan<- hsm.Request, r hsm.Request) {
	select {
	case to <- r:
	default:
		w.refuse(r.ID, &refusal{hsm.CodeFailed, errors.New("too many requests wait")})
	}
}

func (w *worker) lane(requests <-chan hsm.Request, s *session) {
	for r := range requests {
		w.fulfil(s, r)
	}
}

func (w *worker) fulfil(s *session, r hsm.Request) {
	a, err := s.fulfil(r)
	if err != nil {
		w.refuse(r.ID, err)
		return
	}
	a.ID = r.ID
	w.answer(a)
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
