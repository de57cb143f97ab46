package store

import (
	"slices"
	"strconv"
	"strings"

	"example.org/keyserver/internal/law"
)

// OperationQuery selects operations by what is stored; an empty field selects all. What is stored as open
// may have expired since.
type OperationQuery struct {
	States  []law.State
	Key     law.KeyID
	Orderer law.SubjectID
	Since   law.OperationID // only this one and newer ones; empty: to the oldest
	Before  law.OperationID // only older ones; empty: from the newest
	Limit   int
}

// OperationIDs lists operations, newest first.
func (r *Reader) OperationIDs(query OperationQuery) ([]law.OperationID, error) {
	text, args := query.statement()
	return r.ids(text, args...)
}

// statement is the query. It goes through an index that is in the order of the list, and so reads no more than it lists
// where most fit: of several states, one such list each is merged.
func (query OperationQuery) statement() (text string, args []any) {
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	states := slices.Compact(slices.Sorted(slices.Values(query.States)))
	if len(states) == 0 {
		return query.of("", arg), args
	}
	lists := make([]string, len(states))
	for i, state := range states {
		lists[i] = `SELECT id FROM (` + query.of(state, arg) + `) AS list` + strconv.Itoa(i)
	}
	return `SELECT id FROM (` + strings.Join(lists, ` UNION ALL `) + `) AS lists ORDER BY id DESC LIMIT ` + arg(query.Limit), args
}

// of is the query for one state, or for all if it is empty. What of its two tables it goes through is said by the form,
// since SQLite knows nothing of how many rows fit: few operations are open.
func (query OperationQuery) of(state law.State, arg func(any) string) string {
	var where []string
	id, from := `o.id`, `operations o`
	throughKey := query.Key != "" && query.Orderer == "" && state == ""
	if throughKey {
		id, from = `k.operation`, `operation_keys k`
		where = append(where, `k.keyid = `+arg(string(query.Key)))
	}
	if state != "" {
		where = append(where, `o.state = `+arg(string(state)))
	}
	switch {
	case query.Orderer == "":
	case state != "" && !state.Final(): // the term keeps from going through all of the orderer's
		where = append(where, `o.orderer || '' = `+arg(string(query.Orderer)))
	default:
		where = append(where, `o.orderer = `+arg(string(query.Orderer)))
	}
	if query.Key != "" && !throughKey {
		where = append(where, `EXISTS (SELECT 1 FROM operation_keys k WHERE k.operation = o.id AND k.keyid = `+arg(string(query.Key))+`)`)
	}
	if query.Since != "" {
		where = append(where, id+` >= `+arg(string(query.Since)))
	}
	if query.Before != "" {
		where = append(where, id+` < `+arg(string(query.Before)))
	}
	text := `SELECT ` + id + ` AS id FROM ` + from
	if len(where) > 0 {
		text += ` WHERE ` + strings.Join(where, ` AND `)
	}
	return text + ` ORDER BY ` + id + ` DESC LIMIT ` + arg(query.Limit)
}
