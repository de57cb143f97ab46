package identity

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// cache remembers the tokens that were verified last, by their SHA-256.
type cache struct {
	max     int
	mu      sync.Mutex
	entries map[[sha256.Size]byte]*list.Element
	byUse   *list.List // of entry; the front was used last
}

type entry struct {
	sum [sha256.Size]byte
	v   *verified
}

func newCache(max int) *cache {
	return &cache{max: max, entries: map[[sha256.Size]byte]*list.Element{}, byUse: list.New()}
}

// get returns nil for a token that it does not remember.
func (c *cache) get(sum [sha256.Size]byte) *verified {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[sum]
	if e == nil {
		return nil
	}
	c.byUse.MoveToFront(e)
	return e.Value.(entry).v
}

func (c *cache) put(sum [sha256.Size]byte, v *verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[sum]; e != nil {
		c.byUse.Remove(e)
	}
	c.entries[sum] = c.byUse.PushFront(entry{sum, v})
	if c.byUse.Len() > c.max {
		oldest := c.byUse.Remove(c.byUse.Back()).(entry)
		delete(c.entries, oldest.sum)
	}
}
