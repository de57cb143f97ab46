package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is a number of clients that ask for the same again and again, each on a connection of its own and one
// request after the other. It costs the machine as little as can be, since the servers that are measured
// share the cores with it: a request is one text in which a few digits are replaced, and of an answer the
// status and the length are looked at.
type load struct {
	addresses []string    // of the servers; the clients are spread over them
	tls       *tls.Config // nil: plain HTTP
	clients   int
	request   string // with each [number] replaced by one that is used once
	status    int    // that each answer must have
}

// number stands in a request for 16 digits that no other request of the run has.
const number = "################"

// result is what one line of a table is made of.
type result struct {
	rate      float64         // requests answered a second
	latencies []time.Duration // sorted
	answer    int             // bytes of the body of the last answer
}

func (r result) at(part float64) time.Duration {
	return r.latencies[min(len(r.latencies)-1, int(part*float64(len(r.latencies))))]
}

// run lets the clients ask until the time is over, or, if most is not 0, until so many requests are answered.
func (l load) run(ctx context.Context, each time.Duration, most int64) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	clients := make([]*loadClient, l.clients)
	for i := range clients {
		c, err := l.dial(ctx, l.addresses[i%len(l.addresses)])
		if err != nil {
			return result{}, err
		}
		defer c.conn.Close()
		clients[i] = c
	}
	var asked atomic.Int64
	errs := make([]error, l.clients)
	begun := time.Now()
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				n := asked.Add(1)
				if most > 0 && n > most {
					return
				}
				if errs[i] = c.ask(n); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(begun)
	var r result
	for _, c := range clients {
		r.latencies = append(r.latencies, c.latencies...)
		r.answer = max(r.answer, len(c.body))
	}
	slices.Sort(r.latencies)
	r.rate = float64(len(r.latencies)) / took.Seconds()
	if len(r.latencies) == 0 {
		errs = append(errs, errors.New("not one request was answered"))
	}
	return r, errors.Join(errs...)
}

// loadClient is one connection.
type loadClient struct {
	conn      net.Conn
	answers   *bufio.Reader
	request   []byte
	numbers   []int // where in the request the number stands
	status    string
	body      []byte // of the last answer
	latencies []time.Duration
}

func (l load) dial(ctx context.Context, address string) (*loadClient, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if l.tls != nil {
		secured := tls.Client(conn, l.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		conn = secured
	}
	c := &loadClient{conn: conn, answers: bufio.NewReader(conn), request: []byte(l.request), status: "HTTP/1.1 " + strconv.Itoa(l.status)}
	for from := 0; ; {
		at := strings.Index(l.request[from:], number)
		if at < 0 {
			return c, nil
		}
		c.numbers = append(c.numbers, from+at)
		from += at + len(number)
	}
}

// ask makes one request and reads its answer.
func (c *loadClient) ask(n int64) error {
	digits := fmt.Appendf(nil, "%0*x", len(number), n)
	for _, at := range c.numbers {
		copy(c.request[at:], digits)
	}
	sent := time.Now()
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	status, err := c.answers.ReadString('\n')
	if err != nil {
		return err
	}
	length, err := c.readHead()
	if err != nil {
		return err
	}
	c.body = slices.Grow(c.body[:0], length)[:length]
	if _, err := io.ReadFull(c.answers, c.body); err != nil {
		return err
	}
	c.latencies = append(c.latencies, time.Since(sent))
	if !strings.HasPrefix(status, c.status) {
		return fmt.Errorf("the server answered %s: %s", strings.TrimSpace(status), c.body)
	}
	return nil
}

// readHead reads the head of an answer to its end, and returns how long the body is.
func (c *loadClient) readHead() (int, error) {
	length := -1
	for {
		line, err := c.answers.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
		if len(bytes.TrimSpace(line)) == 0 {
			if length < 0 {
				err = errors.New("the server's answer has no Content-Length")
			}
			return length, err
		}
	}
}
