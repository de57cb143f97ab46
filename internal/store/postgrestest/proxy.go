package postgrestest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"example.org/keyserver/internal/store"
)

// Proxy stands between a keyserver and its database, and loses a commit or the answer to one when it is told
// to. Of the protocol it understands just that (PostgreSQL documentation, "Message Formats").
type Proxy struct {
	At   store.Location // of the database through the proxy
	real string         // socket of the server

	mu       sync.Mutex
	lose     loss
	after    int // commits that are let through before that
	happened int
}

// loss is what a proxy loses next.
type loss int

const (
	nothing loss = iota
	request      // the commit does not reach the database
	answer       // the commit happens and its answer is lost
)

// NewProxy stands before a database until the test ends.
func NewProxy(t testing.TB, at store.Location) *Proxy {
	t.Helper()
	through := *at.Postgres
	through.Host = t.TempDir()
	name := fmt.Sprintf(".s.PGSQL.%d", through.Port)
	p := &Proxy{At: store.Location{Postgres: &through}, real: filepath.Join(at.Postgres.Host, name)}
	l, err := net.Listen("unix", filepath.Join(through.Host, name))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ended := make(chan struct{})
	t.Cleanup(func() {
		close(ended)
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(c, ended) })
		}
	})
	return p
}

// LoseCommit lets so many commits pass, and cuts the connection instead of the next one.
func (p *Proxy) LoseCommit(after int) { p.set(request, after) }

// LoseAnswer lets so many commits pass, and cuts the connection when the next one has happened, before
// anybody is told.
func (p *Proxy) LoseAnswer(after int) { p.set(answer, after) }

func (p *Proxy) set(what loss, after int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose, p.after = what, after
}

// Lost is how many commits or answers were lost.
func (p *Proxy) Lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.happened
}

// loses says whether this commit, or the answer to it, is the one to be lost.
func (p *Proxy) loses(what loss) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lose != what {
		return false
	}
	if p.after--; p.after >= 0 {
		return false
	}
	p.lose = nothing
	p.happened++
	return true
}

func (p *Proxy) serve(client net.Conn, ended <-chan struct{}) {
	server, err := net.Dial("unix", p.real)
	if err != nil {
		_ = client.Close()
		return
	}
	var both sync.WaitGroup
	cut := sync.OnceFunc(func() { _, _ = client.Close(), server.Close() })
	done := make(chan struct{})
	both.Go(func() {
		select {
		case <-ended:
		case <-done:
		}
		cut()
	})
	both.Go(func() {
		defer cut()
		// The first message of a client has no type.
		if err := forward(client, server, false, nil); err == nil {
			commits := map[string]bool{}
			for err == nil {
				err = forward(client, server, true, func(kind byte, body []byte) bool { return isCommit(commits, kind, body) && p.loses(request) })
			}
		}
	})
	for err == nil {
		err = forward(server, client, true, func(kind byte, body []byte) bool {
			return kind == 'C' && string(body) == "COMMIT\x00" && p.loses(answer)
		})
	}
	close(done)
	both.Wait()
}

// isCommit says whether a message asks for a commit, and remembers which prepared statements do.
func isCommit(statements map[string]bool, kind byte, body []byte) bool {
	first, rest, _ := bytes.Cut(body, []byte{0})
	second, _, _ := bytes.Cut(rest, []byte{0})
	switch kind {
	case 'Q': // query
		return string(first) == "COMMIT"
	case 'P': // prepare: name, text
		statements[string(first)] = string(second) == "COMMIT"
	case 'B': // bind: portal, name
		return statements[string(second)]
	}
	return false
}

// forward passes one message on, unless it is to be lost.
func forward(from io.Reader, to io.Writer, typed bool, lost func(kind byte, body []byte) bool) error {
	head := make([]byte, 4, 5)
	if typed {
		head = head[:5]
	}
	if _, err := io.ReadFull(from, head); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[len(head)-4:])-4)
	if _, err := io.ReadFull(from, body); err != nil {
		return err
	}
	if lost != nil && lost(head[0], body) {
		return io.EOF
	}
	_, err := to.Write(append(head, body...))
	return err
}
