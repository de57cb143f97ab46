package httpapi

import (
	"container/list"
	"context"
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
// somebody asks, but on how many he leaves unfinished. A nil crowd bounds nothing.
type crowd struct {
	each    int           // of one subject, until they are answered
	room    chan struct{} // for all who are being served; nil: as much as they need
	mu      sync.Mutex
	present map[law.SubjectID]int
}

// patience is how long a request waits for room.
const patience = 10 * time.Second

// newCrowd makes a crowd of so many requests of each subject, of which so many are served; 0: all of them.
func newCrowd(each, served int) *crowd {
	c := &crowd{each: each, present: map[law.SubjectID]int{}}
	if served > 0 {
		c.room = make(chan struct{}, served)
	}
	return c
}

// join counts one more request of the subject, unless it has too many already.
func (c *crowd) join(who law.SubjectID) bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.present[who] >= c.each {
		return false
	}
	c.present[who]++
	return true
}

func (c *crowd) quit(who law.SubjectID) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.present[who]--; c.present[who] == 0 {
		delete(c.present, who)
	}
}

// enter waits for room to be served in, and says whether there was any in time.
func (c *crowd) enter(ctx context.Context) bool {
	if c == nil || c.room == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case c.room <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *crowd) leave() {
	if c != nil && c.room != nil {
		<-c.room
	}
}
