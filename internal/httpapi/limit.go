package httpapi

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxBuckets bounds what a limiter remembers. The caller that asked longest ago is forgotten first.
const maxBuckets = 10_000

// limiter gives everybody a token bucket of the same size.
type limiter struct {
	limits  Limits
	mu      sync.Mutex
	buckets map[string]*list.Element
	recent  *list.List // of *bucket, the latest in front
}

type bucket struct {
	who string
	*rate.Limiter
}

func newLimiter(l Limits) *limiter {
	return &limiter{limits: l, buckets: map[string]*list.Element{}, recent: list.New()}
}

// take takes one token, or says how long to wait for one.
func (l *limiter) take(who string, now time.Time) time.Duration {
	r := l.bucket(who).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

func (l *limiter) bucket(who string) *bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.buckets[who]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*bucket)
	}
	if l.recent.Len() >= maxBuckets {
		oldest := l.recent.Remove(l.recent.Back()).(*bucket)
		delete(l.buckets, oldest.who)
	}
	b := &bucket{who, rate.NewLimiter(rate.Limit(l.limits.PerSecond), l.limits.Burst)}
	l.buckets[who] = l.recent.PushFront(b)
	return b
}
