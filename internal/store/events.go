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

// Events lists audit events, oldest first unless the query says otherwise.
func (r *Reader) Events(query EventQuery) ([]Event, error) {
	where := []string{`idx >= $1`, `idx < $2`}
	end, order := r.head.size, `ORDER BY idx`
	if query.Before > 0 {
		end = min(end, query.Before)
	}
	if query.Newest {
		order += ` DESC`
	}
	args := []any{query.From, end}
	for _, w := range []struct{ column, value string }{
		{"type", string(query.Type)}, {"operation", string(query.Operation)}, {"subject", string(query.Subject)}, {"keyid", string(query.Key)},
	} {
		if w.value != "" {
			args = append(args, w.value)
			where = append(where, w.column+` = $`+strconv.Itoa(len(args)))
		}
	}
	args = append(args, query.Limit)
	var out []Event
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	err = q.each(`SELECT idx, leaf FROM audit_events WHERE `+strings.Join(where, ` AND `)+` `+order+` LIMIT $`+strconv.Itoa(len(args)), args,
		func(scan func(...any) error) error {
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
