package store

import (
	"fmt"
	"strings"
	"testing"

	"example.org/keyserver/internal/law"
)

// What is kept in memory is bounded whatever orderers ask for.
func TestTheCacheCountsAllThatItHolds(t *testing.T) {
	var c cache
	held := 0
	for i := range 2 * cacheEntries {
		var o Operation
		o.ID = law.OperationID(fmt.Sprint(i))
		o.Artifacts = make([]law.Artifact, law.MaxArtifacts)
		c.keep(o)
	}
	for _, g := range c.operations {
		held += len(g)
	}
	if bytes := held * law.MaxArtifacts * 64; bytes > 64<<20 {
		t.Errorf("%d operations with %d artifacts each are held, more than %d MiB", held, law.MaxArtifacts, bytes>>20)
	}
	for i := range cacheEntries - 1 {
		c.keepOrder(law.Order{ID: law.OrderID(fmt.Sprint(i)), State: law.OrderRunning, Input: law.Input{Message: []byte(strings.Repeat("x", law.MaxMessage))}})
	}
	held = 0
	for _, r := range c.orders {
		held += len(r.Input.Message)
	}
	if held > 0 {
		t.Errorf("%d MiB of messages are held that are not stored", held>>20)
	}
}
