package identity

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	freshFor  = time.Hour      // after which something is fetched again before it is used
	usableFor = 24 * time.Hour // after which it is not used, even if nothing newer can be had
	fetchTime = 5 * time.Second
)

// source keeps the newest of something that an issuer publishes: its keys, or what it says of itself. Fetches are
// rare, shared by all who wait for one, and not given up when a caller goes away.
type source[T any] struct {
	load   func(context.Context) (*T, error)
	reason Reason // why nothing is known without it, for programs
	late   string // and for people

	mu      sync.Mutex
	limit   *rate.Limiter
	newest  *T // nil before the first success; never changed
	fetched time.Time
	failure error         // of the last fetch
	running chan struct{} // closed when the fetch under way has ended; nil when there is none
}

func newSource[T any](load func(context.Context) (*T, error), min time.Duration, reason Reason, late string) *source[T] {
	return &source[T]{load: load, reason: reason, late: late, limit: rate.NewLimiter(rate.Every(min), 1)}
}

// current returns the newest there is, after fetching it if it is not fresh or does not suit, and if the rate limit
// lets it. When no fetch succeeds, an older one serves until it is too old.
func (s *source[T]) current(ctx context.Context, now time.Time, suits func(*T) bool) (*T, error) {
	s.mu.Lock()
	var wait chan struct{}
	if s.newest == nil || now.Sub(s.fetched) >= freshFor || !suits(s.newest) {
		wait = s.fetch(ctx, now)
	}
	s.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, s.unavailable(context.Cause(ctx))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil || now.Sub(s.fetched) >= usableFor {
		return nil, s.unavailable(s.failure)
	}
	return s.newest, nil
}

// fetch returns what to wait for: the fetch under way or a new one; nil if it is too early for a new one.
func (s *source[T]) fetch(ctx context.Context, now time.Time) chan struct{} {
	if s.running != nil || !s.limit.AllowN(now, 1) {
		return s.running
	}
	done := make(chan struct{})
	s.running = done
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	go func() {
		defer close(done)
		defer cancel()
		found, err := s.load(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil {
			s.newest, s.fetched = found, now
		}
		s.failure, s.running = err, nil
	}()
	return done
}

func (s *source[T]) unavailable(cause error) error {
	return &Error{Kind: Unavailable, Reason: s.reason, Sentence: s.late, cause: cause}
}
