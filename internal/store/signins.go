package store

import (
	"fmt"
	"time"

	"example.org/keyserver/internal/audit"
)

// SignIn finds the event of a sign-in with a browser. It is false if the audit log knows of none with that id. The newer
// it is, the faster it is found.
func (r *Reader) SignIn(id string) (audit.Event, bool, error) {
	var leaf []byte
	q, err := r.list()
	if err == nil {
		// A quotation mark within a text is escaped in a leaf: only the id itself reads like this.
		err = q.each(`SELECT leaf FROM audit_events WHERE type = $1 AND leaf LIKE $2 ORDER BY idx DESC LIMIT 1`,
			[]any{string(audit.SignedIn), `%"id":"` + id + `"%`}, func(scan func(...any) error) error { return scan(&leaf) })
	}
	if err != nil || leaf == nil {
		return audit.Event{}, false, because(err, "looking for sign-in %s", id)
	}
	e, err := audit.ParseLeaf(leaf)
	if err != nil || e.SignIn == nil || e.SignIn.ID != id { // LIKE takes some characters for others
		return audit.Event{}, false, because(err, "looking for sign-in %s", id)
	}
	return e, true, nil
}

// SignInEnded says whether a sign-in with a browser was ended before its time.
func (r *Reader) SignInEnded(id string) (bool, error) {
	ended := false
	err := r.q.each(`SELECT id FROM ended_sign_ins WHERE id = $1`, []any{id}, func(scan func(...any) error) error {
		ended = true
		return scan(&id)
	})
	return ended, because(err, "reading whether sign-in %s was ended", id)
}

// EndSignIn stores that a sign-in with a browser has ended, with the event that says so; until is when it would have ended
// by itself. It is stored for ever: if it were forgotten then, a clock that is put back would bring the sign-in to life
// again. It writes at once, not with the batch: sign-outs are rare.
func (tx *Tx) EndSignIn(id string, until time.Time, e audit.Event) error {
	q, err := tx.list()
	if err == nil {
		tx.batch.sent = true
		err = q.exec(`INSERT INTO ended_sign_ins (id, until) VALUES ($1, $2)`, id, millis(until))
	}
	if err != nil {
		return tx.wrote(because(err, "ending sign-in %s", id))
	}
	return tx.Append(e)
}

// because says what was being done when there was an error.
func because(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
