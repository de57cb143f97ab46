package keyserver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// Way is how a message is sent.
type Way string

const (
	WayMail    Way = "mail"
	WayWebhook Way = "webhook" // of a subject
	WayChannel Way = "channel" // a webhook of the server
)

const (
	noticeBatch = 64               // messages taken in one transaction
	mostInMail  = 50               // operations in one e-mail
	noticeLease = 2 * time.Minute  // how long sending one may take; then it is sent again
	firstAgain  = 10 * time.Second // after the first attempt that failed; twice that after the next
	latestAgain = time.Hour
	noticeAge   = 72 * time.Hour // what could not be sent for so long is given up
	maxFailure  = 500            // bytes that are kept of why
	oneAtATime  = time.Second    // between two messages to one webhook
	mostWaiting = 1000           // messages that wait for one target; older ones are given up
	busyPause   = 5 * time.Second
)

// Notice is something that a recipient is told of.
type Notice struct {
	ID        string // UUIDv7
	Kind      Kind
	Event     audit.Type // what happened; empty of a test
	By        string     // display name of who did it; empty: the server
	At        time.Time
	Operation NoticedOperation // of a test the zero one
	attempts  int
}

// NoticedOperation is what a message says of an operation: nothing that its orderer has written.
type NoticedOperation struct {
	ID      law.OperationID
	Digest  law.Digest
	State   law.State // now
	Orderer string    // display name
	Keys    []law.KeyGrant
	Expires time.Time
}

// Message is what is sent to one recipient at a time: of an e-mail all that is due, else one notice.
type Message struct {
	ID      string // the same if the same is sent again
	Way     Way
	To      law.SubjectID // empty: a channel
	Name    string        // of the subject, for people, or of the channel
	Mail    string
	Webhook Webhook
	Notices []Notice
	tells   []Kind // what the subject has chosen to be told
}

// TakeMessages addresses what the outbox holds and returns messages that are due, at most that many, and none to where one
// is being sent, by [Message.Target]. Each is to be answered with [Keyserver.MessageSent] or [Keyserver.MessageFailed]; if
// it is not, it is sent again: at least once, seldom twice.
func (k *Keyserver) TakeMessages(ctx context.Context, most int, busy map[string]bool) ([]Message, error) {
	due, err := look(ctx, k, func(r *store.Reader) (bool, error) {
		outgoing, err := r.Outbox(r.Now(), 1)
		if err != nil || len(outgoing) > 0 {
			return true, err
		}
		notices, err := r.Notices(r.Now(), 1)
		return len(notices) > 0, err
	})
	if err != nil || !due {
		return nil, err
	}
	for n := noticeBatch; n == noticeBatch; {
		if n, err = update(ctx, k, k.addressAll); err != nil {
			return nil, err
		}
	}
	t, err := update(ctx, k, func(tx *store.Tx) (taken, error) { return k.take(tx, most, busy) })
	for target, n := range t.dropped {
		k.log.ErrorContext(ctx, "messages were given up: too many wait", slog.String("to", target), slog.Int("messages", n))
	}
	return t.messages, err
}

// addressAll addresses what the outbox holds, at most noticeBatch, and says how much it was.
func (k *Keyserver) addressAll(tx *store.Tx) (int, error) {
	outgoing, err := tx.Outbox(tx.Now(), noticeBatch)
	if err != nil {
		return 0, err
	}
	for _, o := range outgoing {
		if err := k.address(tx, o); err != nil {
			return 0, err
		}
	}
	return len(outgoing), nil
}

// taken are messages that are leased, and how many were dropped of those that wait, by target.
type taken struct {
	messages []Message
	dropped  map[string]int
}

// address makes messages of what is to be told, by what everybody has chosen now.
func (k *Keyserver) address(tx *store.Tx, o store.Outgoing) error {
	stored, known, err := tx.Operation(o.Operation)
	if err == nil && !known {
		err = fmt.Errorf("operation %s is not there", o.Operation)
	}
	if err != nil {
		return err
	}
	op := stored.Operation
	var messages []store.Notice
	add := func(kind Kind, recipient string, way Way) error {
		id, err := newID()
		messages = append(messages, store.Notice{ID: id, Outgoing: o, Kind: string(kind), Recipient: recipient, Way: string(way), Created: tx.Now()})
		messages[len(messages)-1].Due = tx.Now()
		return err
	}
	tell := func(kind Kind, people []law.SubjectID) error {
		for _, c := range k.notify.Channels {
			if slices.Contains(c.Tells, kind) && len(people) > 0 {
				if err := add(kind, c.Name, WayChannel); err != nil {
					return err
				}
			}
		}
		for _, who := range people {
			chosen, _, err := tx.Contact(who)
			if err != nil {
				return err
			}
			if !slices.Contains(chosen.Tells, string(kind)) {
				continue
			}
			if chosen.Mail {
				err = add(kind, string(who), WayMail)
			}
			if err == nil && chosen.Webhook != "" {
				err = add(kind, string(who), WayWebhook)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	switch o.Type {
	case audit.OperationCreated:
		err = tell(KindWaiting, op.Awaited(tx.Facts(), tx.Now()))
		if at := op.Expires.Add(-k.reminder(op)); err == nil && tx.Now().Before(at) {
			err = tx.Remind(o, at)
		}
	case store.Reminder:
		err = tell(KindExpiring, op.Awaited(tx.Facts(), tx.Now()))
	case audit.OperationLapsed:
		err = tell(KindWaiting, op.Awaited(tx.Facts(), tx.Now()))
		if err == nil {
			err = tell(KindChange, []law.SubjectID{op.Orderer.Subject})
		}
	default:
		err = tell(KindChange, []law.SubjectID{op.Orderer.Subject})
	}
	if err != nil {
		return err
	}
	return tx.Address(o, messages)
}

// reminder is how long before its end people are told again of an operation: never in the first half of its validity.
func (k *Keyserver) reminder(o law.Operation) time.Duration {
	return min(k.notify.Reminder, o.Expires.Sub(o.Created)/2)
}

// take leases messages that are due, one to each target: the others follow, so that nobody waits for the messages of
// somebody else. What is of no use any more is forgotten.
func (k *Keyserver) take(tx *store.Tx, most int, busy map[string]bool) (taken, error) {
	out := taken{dropped: map[string]int{}}
	due, err := tx.Notices(tx.Now(), noticeBatch)
	if err != nil {
		return out, err
	}
	seen, bounded := map[string]bool{}, map[string]bool{}
	for _, n := range due {
		m := Message{Way: Way(n.Way), Name: n.Recipient}
		if m.Way != WayChannel {
			m.To = law.SubjectID(n.Recipient)
		}
		target := m.Target()
		if !bounded[target] {
			bounded[target] = true
			dropped, err := tx.KeepNewest(n.Recipient, n.Way, mostWaiting)
			if err != nil {
				return out, err
			}
			if dropped > 0 { // this one may be among them
				out.dropped[target], seen[target] = dropped, true
			}
		}
		switch {
		case len(out.messages) == most:
			return out, nil
		case seen[target]:
			continue
		case busy[target]:
			seen[target] = true
			if err := tx.PostponeAll(n.Recipient, n.Way, tx.Now().Add(busyPause)); err != nil {
				return out, err
			}
			continue
		}
		if err := k.fill(tx, &m, n); err != nil {
			return out, err
		}
		if len(m.Notices) > 0 {
			out.messages = append(out.messages, m)
		}
		seen[target] = len(m.Notices) > 0 || m.Way == WayMail // what is of no use holds up nothing
	}
	return out, nil
}

// fill makes a message of what is due to a target.
func (k *Keyserver) fill(tx *store.Tx, m *Message, first store.Notice) error {
	due := []store.Notice{first}
	if m.To != "" {
		var err error
		if due, err = k.toSubject(tx, m, first); err != nil {
			return err
		}
	}
	for _, one := range due {
		useful, notice, err := k.notice(&tx.Reader, *m, one)
		switch {
		case err != nil:
		case !useful:
			err = tx.Forget(one.ID)
		default:
			m.Notices = append(m.Notices, notice)
			err = tx.Postpone(one.ID, tx.Now().Add(noticeLease), one.Attempts+1)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case m.Way == WayMail && len(m.Notices) > 0:
		m.ID = nameNotices(m.Notices)
		if m.tests() {
			return nil
		}
		return tx.MailAfter(m.To, tx.Now().Add(k.notify.Gather))
	case len(m.Notices) > 0:
		m.ID = m.Notices[0].ID
		return tx.PostponeAll(first.Recipient, first.Way, tx.Now().Add(oneAtATime))
	}
	return nil
}

// toSubject fills in where a message to a subject goes, and returns what is in it: nothing if it is too early for another
// e-mail.
func (k *Keyserver) toSubject(tx *store.Tx, m *Message, first store.Notice) ([]store.Notice, error) {
	who, _ := tx.Facts().Subject(m.To)
	chosen, err := k.contact(&tx.Reader, m.To)
	if err != nil {
		return nil, err
	}
	m.Name, m.tells = who.Name, chosen.Tells
	if m.Way == WayMail {
		m.Mail = chosen.Mail
	} else {
		m.Webhook = chosen.Webhook
	}
	if k.possible(Contact{Mail: m.Mail, Webhook: m.Webhook}) != nil { // any more
		m.Mail, m.Webhook = "", Webhook{}
		if err := tx.Reached(m.To, "this server does not send messages there any more; choose again"); err != nil {
			return nil, err
		}
	}
	if m.Way == WayWebhook {
		return []store.Notice{first}, nil
	}
	stored, _, err := tx.Contact(m.To)
	if err != nil {
		return nil, err
	}
	if tx.Now().Before(stored.Mailed) {
		return nil, tx.PostponeAll(first.Recipient, first.Way, stored.Mailed)
	}
	return tx.NoticesTo(first.Recipient, first.Way, tx.Now(), mostInMail)
}

// notice is what is said of a stored one. It is of no use if nobody is to act on it, may see it, or wants to be told of it, any more.
func (k *Keyserver) notice(r *store.Reader, m Message, n store.Notice) (useful bool, out Notice, err error) {
	who, known := r.Facts().Subject(m.To)
	nowhere := m.Way == WayMail && m.Mail == "" || m.Way == WayWebhook && m.Webhook.URL == ""
	if nowhere || m.To != "" && (!known || !who.Enabled) {
		return false, Notice{}, nil
	}
	out = Notice{ID: n.ID, Kind: Kind(n.Kind), Event: n.Type, At: n.Created, attempts: n.Attempts}
	if out.Kind == KindTest {
		return true, out, nil
	}
	if m.To != "" && !slices.Contains(m.tells, out.Kind) {
		return false, Notice{}, nil
	}
	stored, known, err := r.Operation(n.Operation)
	if err != nil || !known {
		return false, Notice{}, err
	}
	o := stored.Operation
	switch awaited := o.Awaited(r.Facts(), r.Now()); {
	case out.Kind == KindChange:
		useful = m.To == "" || r.Facts().Sees(m.To, o)
	case m.To == "":
		useful = len(awaited) > 0
	default:
		useful = slices.Contains(awaited, m.To)
	}
	out.By = nameOf(r.Facts(), n.Actor)
	out.Operation = NoticedOperation{
		ID: o.ID, Digest: o.Digest(), State: o.State(r.Facts(), r.Now()), Orderer: nameOf(r.Facts(), o.Orderer.Subject), Keys: o.Keys, Expires: o.Expires,
	}
	return useful, out, nil
}

func nameOf(f law.Facts, id law.SubjectID) string {
	if who, known := f.Subject(id); known {
		return who.Name
	}
	return string(id)
}

// digestOf names what is in an e-mail.
func nameNotices(notices []Notice) string {
	var ids strings.Builder
	for _, n := range notices {
		ids.WriteString(n.ID + "\n")
	}
	sum := sha256.Sum256([]byte(ids.String()))
	return hex.EncodeToString(sum[:16])
}

// MessageSent stores that a message was sent.
func (k *Keyserver) MessageSent(ctx context.Context, m Message) error {
	_, err := update(ctx, k, func(tx *store.Tx) (struct{}, error) {
		for _, n := range m.Notices {
			if err := tx.Forget(n.ID); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, m.reached(tx, "")
	})
	return err
}

// reached stores for the recipient how sending went.
func (m Message) reached(tx *store.Tx, failure string) error {
	if m.To == "" {
		return nil
	}
	return tx.Reached(m.To, failure)
}

// MessageFailed stores that a message could not be sent, and why, for its recipient. It is sent again, later after each
// attempt, unless it failed for good or is old.
func (k *Keyserver) MessageFailed(ctx context.Context, m Message, why string, forGood bool) error {
	why = strings.ToValidUTF8(why[:min(len(why), maxFailure)], "")
	givenUp, err := update(ctx, k, func(tx *store.Tx) (int, error) {
		givenUp := 0
		for _, n := range m.Notices {
			var err error
			if forGood || tx.Now().Sub(n.At) > noticeAge {
				givenUp++
				err = tx.Forget(n.ID)
			} else {
				err = tx.Postpone(n.ID, tx.Now().Add(min(firstAgain<<min(n.attempts, 20), latestAgain)), n.attempts+1)
			}
			if err != nil {
				return 0, err
			}
		}
		if m.Way == WayMail && !m.tests() {
			if err := tx.MailAfter(m.To, tx.Now()); err != nil {
				return 0, err
			}
		}
		return givenUp, m.reached(tx, why)
	})
	if givenUp > 0 {
		k.log.ErrorContext(ctx, "messages were given up", slog.String("to", m.Target()), slog.Int("messages", givenUp), slog.String("error", why))
	}
	return err
}

// tests says whether there is nothing in the message but tests.
func (m Message) tests() bool {
	return !slices.ContainsFunc(m.Notices, func(n Notice) bool { return n.Kind != KindTest })
}

// Target names where a message goes, for people who run the server: never the address or URL itself.
func (m Message) Target() string { return fmt.Sprintf("%s %s", m.Way, cmp.Or(string(m.To), m.Name)) }
