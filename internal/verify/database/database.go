// Package database re-verifies a whole database: its audit log, that the law allows what the log tells, and
// that every table holds exactly that.
//
// It stands apart from package verify so that programs which verify exports do not carry a database.
package database

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"golang.org/x/mod/sumdb/tlog"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/verify"
)

// Verify verifies one state of a database. logKey is the audit log's key; its name is the server id. The
// error is *[audit.Tampered] where the log is not what it was, *[verify.Violation] where the law does not
// allow what it tells, *[verify.Difference] where a table is not as it tells, or that of the database.
func Verify(ctx context.Context, db *store.DB, logKey audit.Verifier, o verify.Options) (verify.Report, error) {
	return store.Inspect(ctx, db, func(d *store.Dump) (verify.Report, error) {
		l := &log{dump: d, fold: verify.NewFold(logKey.Name()), origin: logKey.Name()}
		var err error
		if l.checker, err = audit.NewChecker(l.origin, o.Remembered, l.checked); err != nil {
			return verify.Report{}, err
		}
		found, err := l.read(o.Progress)
		if err != nil {
			return verify.Report{}, err
		}
		err = l.fold.Tables(func(table string, each func(verify.Row) error) error {
			return d.Rows(table, func(columns []string, values []any) error { return each(verify.Row{Columns: columns, Values: values}) })
		})
		if err != nil {
			return verify.Report{}, err
		}
		return l.fold.Report(found), nil
	})
}

// log is the audit log of a database, as far as it has been read.
type log struct {
	dump    *store.Dump
	origin  string
	checker *audit.Checker
	fold    *verify.Fold
	tree    audit.Tree         // of the leaves read
	hashes  []audit.StoredHash // of the leaves of this portion
	row     verify.Row         // the event being read
	linked  int64              // entries that follow the one before
	bad     error              // the first thing wrong besides the chain of entries
}

// portion is how many events are read at a time.
const portion = 1000

// read reads the whole log. What is wrong with the chain of entries is said first, since it explains the
// rest.
func (l *log) read(progress func(int64)) (audit.Report, error) {
	size, err := l.headSize()
	if err != nil {
		return audit.Report{}, err
	}
	from, events, hashes := int64(math.MinInt64), int64(0), int64(0)
	for {
		n := 0
		l.hashes = l.hashes[:0]
		err := l.dump.RowsFrom("audit_events", from, portion, func(columns []string, values []any) error {
			n++
			row := verify.Row{Columns: columns, Values: values}
			from, _ = row.Value("idx").(int64)
			from++
			return l.event(row)
		})
		if err != nil {
			return audit.Report{}, err
		}
		events += int64(n)
		if err := l.compareHashes(hashes); err != nil {
			return audit.Report{}, err
		}
		hashes += int64(len(l.hashes))
		if progress != nil {
			progress(events)
		}
		if n < portion {
			break
		}
	}
	report, err := l.checker.Finish(audit.Checkpoint{Origin: l.origin, Size: size, Root: l.root(size)})
	if err != nil {
		return audit.Report{}, err
	}
	if l.bad == nil {
		l.bad = l.fold.Finish()
	}
	if l.bad == nil {
		l.bad = errors.Join(l.count("audit_events", events), l.count("audit_hashes", hashes))
	}
	return report, l.bad
}

// headSize is how many entries the log has, as the database says.
func (l *log) headSize() (int64, error) {
	heads, size := 0, int64(-1)
	err := l.dump.Rows("head", func(columns []string, values []any) error {
		heads++
		size, _ = verify.Row{Columns: columns, Values: values}.Value("size").(int64)
		return nil
	})
	if err == nil && heads != 1 {
		err = &verify.Difference{Table: "head", What: fmt.Sprintf("it has %d rows, and must have one", heads)}
	}
	return size, err
}

// event reads one row of the log.
func (l *log) event(row verify.Row) error {
	leaf, ok := row.Value("leaf").(string)
	if !ok {
		leaf = "" // which is no event
	}
	l.row = row
	if err := l.checker.Leaf([]byte(leaf)); err != nil {
		return err
	}
	var stored []audit.StoredHash
	l.tree, stored = l.tree.Append([]byte(leaf))
	l.hashes = append(l.hashes, stored...)
	return nil
}

// checked gets every entry that follows the one before.
func (l *log) checked(e audit.Event) error {
	l.linked++
	if l.bad == nil {
		l.bad = l.row.CompareEvent(&e)
	}
	if l.bad == nil {
		l.bad = l.fold.Add(e)
	}
	return nil
}

// compareHashes compares the stored hashes from that index on with those of the portion's leaves.
func (l *log) compareHashes(from int64) error {
	i := 0
	err := l.dump.RowsFrom("audit_hashes", from, len(l.hashes), func(columns []string, values []any) error {
		row := verify.Row{Columns: columns, Values: values}
		if l.bad == nil {
			l.bad = compareHash(row, l.hashes[i])
		}
		i++
		return nil
	})
	if err == nil && l.bad == nil && i < len(l.hashes) {
		l.bad = &verify.Difference{Table: "audit_hashes", Row: fmt.Sprint(l.hashes[i].Index), What: "it is missing"}
	}
	return err
}

func compareHash(row verify.Row, must audit.StoredHash) error {
	id := fmt.Sprint(must.Index)
	index, _ := row.Value("idx").(int64)
	hash, _ := row.Value("hash").([]byte)
	level, n := tlog.SplitStoredHashIndex(must.Index)
	switch {
	case len(row.Columns) != 2:
		return &verify.Difference{Table: "audit_hashes", What: fmt.Sprintf("its columns are %v, and must be idx and hash", row.Columns)}
	case index != must.Index:
		return &verify.Difference{Table: "audit_hashes", Row: id, What: "it is missing"}
	case string(hash) == string(must.Hash[:]):
		return nil
	case level == 0:
		return &audit.Tampered{Index: n, What: fmt.Sprintf("its stored hash is another (%s): one of them was changed", hex.EncodeToString(hash))}
	}
	return &verify.Difference{Table: "audit_hashes", Row: id, Column: "hash", What: fmt.Sprintf("it is not that of %d entries from %d on", 1<<level, n<<level)}
}

// root is the root of which the log's end is judged. If its last entry does not follow the one before, the
// stored hashes say which of the two is bad.
func (l *log) root(size int64) audit.Hash {
	if l.linked < l.tree.Size() {
		if stored, err := audit.Resume(size, l.dump.Hashes()); err == nil {
			return stored.Root()
		}
	}
	return l.tree.Root()
}

// count finds the rows that have no index, which are read by nobody.
func (l *log) count(table string, read int64) error {
	n, err := l.dump.Count(table)
	if err == nil && n != read {
		err = &verify.Difference{Table: table, What: fmt.Sprintf("it has %d rows, and must have %d", n, read)}
	}
	return err
}
