package store

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// EventQuery selects audit events; an empty field selects all.
type EventQuery struct {
	Type      audit.Type
	Operation law.OperationID
	Subject   law.SubjectID
	Key       law.KeyID
	Session   law.SessionID
	From      int64 // index of the first one
	Before    int64 // index behind the last one; 0: the end of the log
	Newest    bool  // the newest first
	Limit     int
}

// Event is one audit event as it is stored.
type Event struct {
	Index int64
	Leaf  []byte // canonical bytes
}

// statement is the query of a log that has so many entries.
func (query EventQuery) statement(size int64) (text string, args []any) {
	where := []string{`idx >= $1`, `idx < $2`}
	end, order := size, `ORDER BY idx`
	if query.Before > 0 {
		end = min(end, query.Before)
	}
	if query.Newest {
		order += ` DESC`
	}
	args = []any{query.From, end}
	for _, w := range []struct{ column, value string }{
		{"type", string(query.Type)}, {"operation", string(query.Operation)}, {"subject", string(query.Subject)}, {"keyid", string(query.Key)}, {"session", string(query.Session)},
	} {
		if w.value != "" {
			args = append(args, w.value)
			// SQLite takes an index of those that have a value only where the query says so too.
			where = append(where, w.column+` = $`+strconv.Itoa(len(args)), w.column+` <> ''`)
		}
	}
	args = append(args, query.Limit)
	return `SELECT idx, leaf FROM audit_events WHERE ` + strings.Join(where, ` AND `) + ` ` + order + ` LIMIT $` + strconv.Itoa(len(args)), args
}

// Events lists audit events, oldest first unless the query says otherwise.
func (r *Reader) Events(query EventQuery) ([]Event, error) {
	var out []Event
	text, args := query.statement(r.head.size)
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	err = q.each(text, args, func(scan func(...any) error) error {
		var e Event
		err := scan(&e.Index, &e.Leaf)
		out = append(out, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading audit events: %w", err)
	}
	return out, nil
}

// Hashes reads the stored hashes of the audit log, for proofs.
func (r *Reader) Hashes() tlog.HashReader { return r.q }
