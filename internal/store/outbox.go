package store

import (
	"encoding/json/v2"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// Reminder is the type of what is told of an operation without an event, some time after it was created.
const Reminder audit.Type = "reminder"

// told are the events of an operation that people are told of.
var told = map[audit.Type]bool{
	audit.OperationCreated: true, audit.OperationApproved: true, audit.OperationWithdrawn: true, audit.OperationRejected: true,
	audit.OperationBecameApproved: true, audit.OperationLapsed: true, audit.OperationExpired: true, audit.OperationRevoked: true,
	audit.OperationExhausted: true,
}

// Outgoing is something that people are yet to be told of.
type Outgoing struct {
	Event     int64      // entry of the audit log
	Type      audit.Type // of that, or [Reminder]
	Operation law.OperationID
	Actor     law.SubjectID // who did it; empty: the server
	Due       time.Time
}

// Notice is a message that is to be sent.
type Notice struct {
	ID string // UUIDv7
	Outgoing
	Kind      string
	Recipient string
	Way       string
	Created   time.Time
	Attempts  int // with the one under way
}

// Contact is what a subject has chosen to be told, and by what.
type Contact struct {
	audit.Contact
	Targets []byte    // where messages go, sealed
	Mailed  time.Time // no e-mail before that; zero: none was sent yet
	Tested  time.Time // when a test message was last sent; zero: never
	Failure string    // why the last message could not be sent; empty: it was
}

// KeepOutbox has every event of an operation that people are told of noted in the outbox, in the same transaction. It is
// called before the first write.
func (db *DB) KeepOutbox() { db.outbox = true }

const outgoingColumns = `event, type, operation, actor, due`

var outboxInsertion = insertion{table: "outbox", columns: outgoingColumns}

func (o Outgoing) row() []any {
	return []any{o.Event, string(o.Type), string(o.Operation), string(o.Actor), millis(o.Due)}
}

// noted is what people are to be told of an event, if anything.
func noted(e audit.Event) (Outgoing, bool) {
	o := Outgoing{Event: e.Index, Type: e.Type, Operation: e.Operation, Due: fromMillis(e.Time)}
	if e.Actor != nil {
		o.Actor = e.Actor.Subject
	}
	return o, told[e.Type]
}

// Outbox lists what is due, at most limit.
func (r *Reader) Outbox(now time.Time, limit int) ([]Outgoing, error) {
	var all []Outgoing
	q, err := r.list()
	if err == nil {
		err = q.each(`SELECT `+outgoingColumns+` FROM outbox WHERE due <= $1 ORDER BY due, event LIMIT $2`, []any{millis(now), limit},
			func(scan func(...any) error) error {
				var o Outgoing
				var due int64
				err := scan(&o.Event, &o.Type, &o.Operation, &o.Actor, &due)
				o.Due = fromMillis(due)
				all = append(all, o)
				return err
			})
	}
	return all, because(err, "reading the outbox")
}

// apart does something beside the log, at once: what becomes of messages is not told in it.
func (tx *Tx) apart(doing string, do func(q querier) error) error {
	q, err := tx.list()
	if err == nil {
		tx.batch.sent, tx.batch.apart = true, true
		err = do(q)
	}
	return tx.wrote(because(err, "%s", doing))
}

// Remind notes a reminder that is due then, of an operation that was created with that event.
func (tx *Tx) Remind(of Outgoing, due time.Time) error {
	of.Type, of.Due = Reminder, due
	return tx.apart("noting a reminder", func(q querier) error { return q.all(outboxInsertion.of([][]any{of.row()})) })
}

// Address takes something out of the outbox and stores the messages that are sent instead.
func (tx *Tx) Address(o Outgoing, messages []Notice) error {
	return tx.apart("addressing messages", func(q querier) error {
		if err := q.exec(`DELETE FROM outbox WHERE event = $1 AND type = $2`, o.Event, string(o.Type)); err != nil {
			return err
		}
		return q.all(noticesInsertion.of(noticeRows(messages)))
	})
}

// Send stores messages that are about no event.
func (tx *Tx) Send(messages ...Notice) error {
	return tx.apart("storing messages", func(q querier) error { return q.all(noticesInsertion.of(noticeRows(messages))) })
}

const noticeColumns = `id, event, type, kind, operation, actor, recipient, way, created, due, attempts`

var noticesInsertion = insertion{table: "notices", columns: noticeColumns}

func noticeRows(messages []Notice) [][]any {
	var rows [][]any
	for _, n := range messages {
		rows = append(rows, []any{
			n.ID, n.Event, string(n.Type), n.Kind, string(n.Operation), string(n.Actor), n.Recipient, n.Way, millis(n.Created), millis(n.Due), n.Attempts,
		})
	}
	return rows
}

// Notices lists messages that are due, at most limit.
func (r *Reader) Notices(now time.Time, limit int) ([]Notice, error) {
	return r.notices(`due <= $1 ORDER BY due, id LIMIT $2`, millis(now), limit)
}

// NoticesTo lists messages to a recipient that are due, at most limit.
func (r *Reader) NoticesTo(recipient, way string, now time.Time, limit int) ([]Notice, error) {
	return r.notices(`recipient = $1 AND way = $2 AND due <= $3 ORDER BY due, id LIMIT $4`, recipient, way, millis(now), limit)
}

func (r *Reader) notices(where string, args ...any) ([]Notice, error) {
	var all []Notice
	q, err := r.list()
	if err == nil {
		err = q.each(`SELECT `+noticeColumns+` FROM notices WHERE `+where, args, func(scan func(...any) error) error {
			var n Notice
			var created, due int64
			err := scan(&n.ID, &n.Event, &n.Type, &n.Kind, &n.Operation, &n.Actor, &n.Recipient, &n.Way, &created, &due, &n.Attempts)
			n.Created, n.Due = fromMillis(created), fromMillis(due)
			all = append(all, n)
			return err
		})
	}
	return all, because(err, "reading messages")
}

// Postpone stores when a message is due, and how many attempts there were at it.
func (tx *Tx) Postpone(id string, due time.Time, attempts int) error {
	return tx.apart("postponing a message", func(q querier) error {
		return q.exec(`UPDATE notices SET due = $2, attempts = $3 WHERE id = $1`, id, millis(due), attempts)
	})
}

// PostponeAll stores that no message to a recipient is due before that.
func (tx *Tx) PostponeAll(recipient, way string, due time.Time) error {
	return tx.apart("postponing messages", func(q querier) error {
		return q.exec(`UPDATE notices SET due = $3 WHERE recipient = $1 AND way = $2 AND due < $3`, recipient, way, millis(due))
	})
}

// KeepNewest removes messages to a recipient but the newest ones, and says how many.
func (tx *Tx) KeepNewest(recipient, way string, keep int) (removed int, err error) {
	err = tx.apart("removing messages", func(q querier) error {
		n, err := q.changed(`DELETE FROM notices WHERE recipient = $1 AND way = $2 AND id < (
			SELECT id FROM notices WHERE recipient = $1 AND way = $2 ORDER BY id DESC LIMIT 1 OFFSET $3)`, recipient, way, keep-1)
		removed = int(n)
		return err
	})
	return removed, err
}

// Forget removes a message that was sent, or given up. It is no error if that was done before.
func (tx *Tx) Forget(id string) error {
	return tx.apart("removing a message", func(q querier) error { return q.exec(`DELETE FROM notices WHERE id = $1`, id) })
}

// Contact reads what a subject has chosen to be told. It is false if it never chose.
func (r *Reader) Contact(who law.SubjectID) (Contact, bool, error) {
	var c Contact
	found := false
	q, err := r.list()
	if err == nil {
		err = q.each(`SELECT mail, webhook, tells, targets, mailed, tested, failure FROM contacts WHERE subject = $1`, []any{string(who)},
			func(scan func(...any) error) error {
				var mail, mailed, tested int64
				var tells string
				if err := scan(&mail, &c.Webhook, &tells, &c.Targets, &mailed, &tested, &c.Failure); err != nil {
					return err
				}
				c.Mail, c.Mailed, c.Tested, found = mail == 1, fromMillis(mailed), fromMillis(tested), true
				return json.Unmarshal([]byte(tells), &c.Tells)
			})
	}
	return c, found, because(err, "reading what %s wants to be told", who)
}

// SaveContact stores what a subject has chosen to be told, with the event that says so.
func (tx *Tx) SaveContact(who law.SubjectID, c Contact, e audit.Event) error {
	tells, err := json.Marshal(c.Tells)
	if err != nil {
		return tx.wrote(err)
	}
	mail := 0
	if c.Mail {
		mail = 1
	}
	if err := tx.apart("storing what somebody wants to be told", func(q querier) error {
		return q.exec(`INSERT INTO contacts (subject, mail, webhook, tells, targets, mailed, tested, failure) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (subject) DO UPDATE SET mail = excluded.mail, webhook = excluded.webhook, tells = excluded.tells, targets = excluded.targets,
			mailed = excluded.mailed, tested = excluded.tested, failure = excluded.failure`,
			string(who), mail, c.Webhook, string(tells), c.Targets, millis(c.Mailed), millis(c.Tested), c.Failure)
	}); err != nil {
		return err
	}
	return tx.Append(e)
}

// Reached stores why the last message to a subject could not be sent; empty: it was.
func (tx *Tx) Reached(who law.SubjectID, failure string) error {
	return tx.apart("storing how a message was sent", func(q querier) error {
		return q.exec(`UPDATE contacts SET failure = $2 WHERE subject = $1`, string(who), failure)
	})
}

// MailAfter stores that no e-mail is sent to a subject before that.
func (tx *Tx) MailAfter(who law.SubjectID, at time.Time) error {
	return tx.apart("storing when the next e-mail may be sent", func(q querier) error {
		return q.exec(`UPDATE contacts SET mailed = $2 WHERE subject = $1`, string(who), millis(at))
	})
}
