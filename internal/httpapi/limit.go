package httpapi

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"example.org/keyserver/internal/law"
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

// crowd bounds how many requests of one kind are under way at the same time. What a request holds on to
// while it lasts (one of the database's few connections, a page in memory) does not depend on how often
// somebody asks, but on how many he leaves unfinished.
type crowd struct {
	each, all int // of one subject, of all together; all 0: no bound
	mu        sync.Mutex
	present   map[law.SubjectID]int
	total     int
}

func newCrowd(each, all int) *crowd {
	return &crowd{each: each, all: all, present: map[law.SubjectID]int{}}
}

// enter says whether there is room for one more request of the subject, which leaves when it is done.
func (c *crowd) enter(who law.SubjectID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.present[who] >= c.each || c.all > 0 && c.total >= c.all {
		return false
	}
	c.present[who]++
	c.total++
	return true
}

func (c *crowd) leave(who law.SubjectID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.present[who]--; c.present[who] == 0 {
		delete(c.present, who)
	}
}
