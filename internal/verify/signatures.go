package verify

import (
	"bytes"
	"runtime"
	"sync"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// signatures verifies stored signatures on all cores while the tables are read, since that takes
// longer than all the rest.
type signatures struct {
	checker keystore.Checker
	given   int
	checks  chan check
	workers sync.WaitGroup

	mu    sync.Mutex
	first check // the earliest one given that does not verify
	bad   *Difference
}

// check is one signature that is to be verified.
type check struct {
	number    int // as it was given
	table     string
	row       string
	column    string
	publicKey []byte // SubjectPublicKeyInfo, DER
	input     law.Input
	signature []byte
}

func newSignatures() *signatures {
	s := &signatures{checks: make(chan check, 64)}
	for range runtime.GOMAXPROCS(0) {
		s.workers.Go(func() {
			for c := range s.checks {
				if err := s.checker.Verify(c.publicKey, c.input, c.signature); err != nil {
					s.found(c, err)
				}
			}
		})
	}
	return s
}

// verify has a signature verified some time before wait returns.
func (s *signatures) verify(c check) {
	s.given++
	c.number, c.signature = s.given, bytes.Clone(c.signature)
	s.checks <- c
}

func (s *signatures) found(c check, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad == nil || c.number < s.first.number {
		s.first, s.bad = c, &Difference{Table: c.table, Row: c.row, Column: c.column, What: err.Error()}
	}
}

// wait ends the work, and returns the first signature given that does not verify, nil if all do.
func (s *signatures) wait() *Difference {
	close(s.checks)
	s.workers.Wait()
	return s.bad
}
