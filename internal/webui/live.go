package webui

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

const (
	pulse = 25 * time.Second // how often a stream says that it is there, and finds out anew who listens
	stall = 10 * time.Second // how long a browser may take to receive one piece

	// restful is how much longer than a look at the queue the rest after it is: where a great deal waits and changes,
	// those who watch must not take everything.
	restful = 10
)

// A stream of server-sent events (HTML, section 9.2) says that the page has changed, and nothing else: the script
// then loads the page again, as it is for whoever looks at it.

// watchOperation says when the operation has changed since the revision that the page shows.
func watchOperation(s *server, c *call) (view, error) {
	revision, err := strconv.ParseInt(c.URL.Query().Get("revision"), 10, 64)
	if err != nil {
		return view{}, &keyserver.Malformed{Sentence: "the revision is not a number"}
	}
	return view{}, s.tell(c, func(ctx context.Context) (bool, error) {
		o, err := s.Keyserver.WaitOperation(ctx, c.Caller, c.operation(), revision, pulse)
		changed := o.Revision > revision
		revision = max(revision, o.Revision)
		return changed, err
	})
}

// watchQueue says when what waits for the caller is not what the page has shown any more.
func watchQueue(s *server, c *call) (view, error) {
	return view{}, s.tellOf(c, func(c *call) (string, error) {
		all, _, err := s.Keyserver.Queue(c.Context(), c.Caller)
		return queueSum(all), err
	})
}

// liveQueue is where a page that shows a queue hears of it.
func liveQueue(shown []keyserver.Operation) string { return "/live/approvals?shown=" + queueSum(shown) }

// watchSession says when what the page of the session shows is not what it has shown any more.
func watchSession(s *server, c *call) (view, error) {
	return view{}, s.tellOf(c, func(c *call) (string, error) {
		found, err := s.Keyserver.Session(c.Context(), c.Caller, law.SessionID(c.PathValue("session")))
		if err != nil {
			return "", err
		}
		return sessionSum(c, found), nil
	})
}

// sessionSum is a digest of what the page of a session shows.
func sessionSum(c *call, p keyserver.Session) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %s %d %q %q\n", p.ID, p.Revision, p.State, p.Needed, p.Counted, sessionNext(c, p))
	if p.Plan != nil {
		fmt.Fprintf(h, "%q", policy.Describe(*p.Plan, p.Before))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// tellOf streams an event whenever the sum of what is watched is another one, first than that of what the page shows.
func (s *server) tellOf(c *call, sum func(*call) (string, error)) error {
	before := c.URL.Query().Get("shown")
	if shown, err := hex.DecodeString(before); err != nil || len(shown) != sha256.Size {
		return &keyserver.Malformed{Sentence: "it is not said what the page shows"}
	}
	var rest time.Duration
	return s.tell(c, func(ctx context.Context) (bool, error) {
		wait(ctx, nil, rest)
		changed, stop := s.Keyserver.Changed(ctx)
		defer stop()
		begun := s.Now()
		now, err := sum(c)
		rest = restful * s.Now().Sub(begun)
		if err != nil || now != before {
			differs := now != before
			before = now
			return differs, err
		}
		wait(ctx, changed, pulse)
		return false, nil
	})
}

// wait waits until the channel is closed, the time is over, or the context ends.
func wait(ctx context.Context, changed <-chan struct{}, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// queueSum is a digest of what a queue shows.
func queueSum(all []keyserver.Operation) string {
	h := sha256.New()
	for _, o := range all {
		fmt.Fprintf(h, "%s %d %s\n", o.ID, o.Revision, o.State)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// tell streams an event whenever next says that something has changed, until the browser goes away, the sign-in
// ends, or the server stops. Who listens is found out again before each event.
func (s *server) tell(c *call, next func(context.Context) (bool, error)) error {
	conn := http.NewResponseController(c.out)
	s.start(c, http.StatusOK, "text/event-stream")
	if err := conn.SetWriteDeadline(time.Time{}); err != nil { // instead of the server's, which is for whole answers
		return err
	}
	send := func(text string) error {
		cut := time.AfterFunc(stall, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
		defer cut.Stop()
		if _, err := c.out.Write([]byte(text)); err != nil {
			return err
		}
		return conn.Flush()
	}
	if err := send("retry: 2000\n\n"); err != nil {
		return nil
	}
	for c.Context().Err() == nil && !s.Keyserver.IsStopping() {
		changed, err := next(c.Context())
		if err == nil {
			err = s.authenticate(c)
		}
		switch {
		case err != nil && c.Context().Err() != nil:
			return nil
		case err != nil: // not to be seen any more, or nobody is there any more: the page finds out which
			_ = send("event: gone\ndata:\n\n")
			return nil
		}
		text := ": still here\n\n"
		if changed {
			text = "event: changed\ndata:\n\n"
		}
		if err := send(text); err != nil {
			return nil
		}
	}
	return nil
}
