package identity

import (
	"crypto/sha256"
	"testing"
)

func TestTheCacheForgetsWhatWasNotUsedLongest(t *testing.T) {
	c := newCache(2)
	a, b, d := sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b")), sha256.Sum256([]byte("d"))
	c.put(a, &verified{sub: "a"})
	c.put(b, &verified{sub: "b"})
	c.put(b, &verified{sub: "b again"})
	if got := c.get(b); got == nil || got.sub != "b again" {
		t.Errorf("b is remembered as %+v", got)
	}
	c.get(a)
	c.put(d, &verified{sub: "d"})
	if c.get(a) == nil || c.get(b) != nil || c.get(d) == nil {
		t.Error("b should be forgotten, a and d remembered")
	}
	if len(c.entries) != 2 || c.byUse.Len() != 2 {
		t.Errorf("%d and %d entries, want 2", len(c.entries), c.byUse.Len())
	}
}
