package hsm

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// maxFrame is the longest message, in bytes: the longest data of a sign order (law.MaxMessage) in base64,
// and as much again.
const maxFrame = 64 << 10

const frameHead = 4 // bytes: the length of the message, big endian

// ReadFrame reads one message. The error is io.EOF if there is none because the other side has gone.
func ReadFrame(r io.Reader) ([]byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxFrame {
		return nil, fmt.Errorf("reading a message: its length is %d bytes; it must be from 1 to %d", n, maxFrame)
	}
	message := make([]byte, n)
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, fmt.Errorf("reading a message of %d bytes: %w", n, err)
	}
	return message, nil
}

// appendFrame adds one message to those that are to be written.
func appendFrame(to, message []byte) ([]byte, error) {
	if len(message) > maxFrame {
		return to, fmt.Errorf("writing a message: its length is %d bytes; the most is %d", len(message), maxFrame)
	}
	return append(binary.BigEndian.AppendUint32(to, uint32(len(message))), message...), nil
}

// Sender writes messages to one connection. Its methods are called concurrently.
type Sender struct {
	to io.Writer

	mu      sync.Mutex
	waiting []byte // frames that nobody has written yet
	writing bool
	err     error // the first; after it nothing is written
}

// NewSender returns a sender that writes to the connection.
func NewSender(to io.Writer) *Sender { return &Sender{to: to} }

// Send writes one message, together with those that others want to send while it writes; for these Send
// returns at once. An error means that the connection is of no more use, also for messages that Send took.
func (s *Sender) Send(message []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	var err error
	if s.waiting, err = appendFrame(s.waiting, message); err != nil || s.writing {
		return err
	}
	s.writing = true
	for len(s.waiting) > 0 && s.err == nil {
		frames := s.waiting
		s.waiting = nil
		s.mu.Unlock()
		_, err := s.to.Write(frames)
		clear(frames) // there may be a PIN in them
		s.mu.Lock()
		s.err = err
	}
	s.writing = false
	return s.err
}
