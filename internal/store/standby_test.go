package store_test

import (
	"errors"
	"testing"

	"example.org/keyserver/internal/store"
)

// A commit that waits for a synchronous standby is not answered, and seen by nobody, until the standby has it,
// however long that takes.
func TestACommitThatNoStandbyHasIsNeitherAnsweredNorSeen(t *testing.T) {
	t.Parallel()
	c, _, db := withoutStandby(t)
	var unavailable *store.Unavailable
	if err := update(db, happened); !errors.As(err, &unavailable) {
		t.Errorf("without its standby the database has stored it: %v", err)
	}
	size, err := store.View(t.Context(), db, func(r *store.Reader) (int64, error) { return r.LogSize(), nil })
	if err != nil || size != 1 {
		t.Errorf("%d entries are seen (%v), want 1", size, err)
	}

	must(t, c.Exec(t.Context(), "postgres", `ALTER SYSTEM RESET synchronous_standby_names`))
	must(t, c.Exec(t.Context(), "postgres", `SELECT pg_reload_conf()`))
	must(t, update(db, happened))
	if size := db.Head().Size(); size != 3 { // what was under way has happened after all
		t.Errorf("the log has %d entries, want 3", size)
	}
}
