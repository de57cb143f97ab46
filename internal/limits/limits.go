// Package limits keeps one caller from taking everything: how often he may ask ([Limiter]), and how much of
// what he asked may be under way at the same time ([Crowd]).
package limits

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

// Rate is how often somebody may ask. The zero Rate lets nobody ask.
type Rate struct {
	PerSecond float64 // in the long run
	Burst     int     // at once
}

// Limiter gives everybody a token bucket of the same size.
type Limiter struct {
	rate    Rate
	mu      sync.Mutex
	buckets map[string]*list.Element
	recent  *list.List // of *bucket, the latest in front
}

type bucket struct {
	who string
	*rate.Limiter
}

// NewLimiter returns a limiter that nobody has asked yet.
func NewLimiter(r Rate) *Limiter {
	return &Limiter{rate: r, buckets: map[string]*list.Element{}, recent: list.New()}
}

// Take takes one token, or says how long to wait for one.
func (l *Limiter) Take(who string, now time.Time) time.Duration {
	r := l.bucket(who).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

func (l *Limiter) bucket(who string) *bucket {
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
	b := &bucket{who, rate.NewLimiter(rate.Limit(l.rate.PerSecond), l.rate.Burst)}
	l.buckets[who] = l.recent.PushFront(b)
	return b
}

// Crowd bounds how many requests of one kind are under way at the same time. What a request holds on to
// while it lasts (one of the database's few connections, a page in memory) does not depend on how often
// somebody asks, but on how many he leaves unfinished. A nil Crowd bounds nothing.
type Crowd struct {
	each    int           // of one subject, until they are answered
	room    chan struct{} // for all who are being served; nil: as much as they need
	mu      sync.Mutex
	present map[law.SubjectID]int
}

// patience is how long a request waits for room.
const patience = 10 * time.Second

// NewCrowd returns a crowd of so many requests of each subject, of which so many are served; 0: all of them.
func NewCrowd(each, served int) *Crowd {
	c := &Crowd{each: each, present: map[law.SubjectID]int{}}
	if served > 0 {
		c.room = make(chan struct{}, served)
	}
	return c
}

// Join counts one more request of the subject, unless it has too many already.
func (c *Crowd) Join(who law.SubjectID) bool {
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

// Quit undoes one Join.
func (c *Crowd) Quit(who law.SubjectID) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.present[who]--; c.present[who] == 0 {
		delete(c.present, who)
	}
}

// Enter waits for room to be served in, and says whether there was any in time.
func (c *Crowd) Enter(ctx context.Context) bool {
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

// Leave undoes an Enter that was told that there is room.
func (c *Crowd) Leave() {
	if c != nil && c.room != nil {
		<-c.room
	}
}
