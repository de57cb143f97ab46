package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"math"
	"strconv"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// Row is one row of a table as it is stored: every column with an int64, a string, a []byte or nil.
type Row struct {
	Columns []string
	Values  []any
}

// Value is the value in a column, nil if there is none.
func (r Row) Value(column string) any {
	for i, c := range r.Columns {
		if c == column {
			return r.Values[i]
		}
	}
	return nil
}

func (r Row) text(column string) string     { s, _ := r.Value(column).(string); return s }
func (r Row) number(column string) int64    { n, _ := r.Value(column).(int64); return n }
func (r Row) shown(column string) string    { return fmt.Sprint(r.Value(column)) }
func differs(table, row, what string) error { return &Difference{Table: table, Row: row, What: what} }

const (
	tooMany = "the audit log knows nothing of it"
	twice   = "it is there twice"
	missing = "it is missing"
)

// want is what a column must hold: a value, or a condition that says what is wrong.
type want struct {
	known bool
	value any
	check func(any) string
}

func is(value any) want                { return want{known: true, value: value} }
func must(check func(any) string) want { return want{known: true, check: check} }
func between(least, most int64) want {
	return must(func(got any) string {
		if n, ok := got.(int64); !ok || n < least || n > most {
			return fmt.Sprintf("it is %v, and must be from %d to %d", got, least, most)
		}
		return ""
	})
}

// compare compares every column of a row. A column that this program knows nothing of is a difference.
func (r Row) compare(table, row string, columns func(string) want) error {
	for i, column := range r.Columns {
		got, w := r.Values[i], columns(column)
		what := ""
		switch {
		case !w.known:
			what = "this program does not know what it must hold"
		case w.check != nil:
			what = w.check(got)
		default:
			what = unlike(got, w.value)
		}
		if what != "" {
			return &Difference{Table: table, Row: row, Column: column, What: what}
		}
	}
	return nil
}

func unlike(got, value any) string {
	if got == value {
		return ""
	}
	return fmt.Sprintf("it is %s, and must be %s", shown(got), shown(value))
}

func shown(value any) string {
	if text, ok := value.(string); ok {
		return fmt.Sprintf("%.200q", text)
	}
	return fmt.Sprintf("%.200v", value)
}

// CompareEvent compares a row of the table of audit events with the event that its leaf is.
func (r Row) CompareEvent(e *audit.Event) error {
	return r.compare("audit_events", strconv.FormatInt(e.Index, 10), func(column string) want {
		switch column {
		case "idx":
			return is(e.Index)
		case "batch":
			return is(e.Batch)
		case "time":
			return is(e.Time)
		case "type":
			return is(string(e.Type))
		case "operation":
			return is(string(e.Operation))
		case "subject":
			if e.Actor == nil {
				return is("")
			}
			return is(string(e.Actor.Subject))
		case "keyid":
			return is(string(e.Key))
		case "session":
			return is(e.Session)
		case "leaf":
			return must(func(any) string { return "" }) // it is what the event was read from
		}
		return want{}
	})
}

// Tables compares the state that the log has told with all tables of a database but those of the log, row
// by row and column by column, in both directions. read gives it every row of a table. The fold is of no
// more use afterwards.
func (f *Fold) Tables(read func(table string, each func(Row) error) error) error {
	f.signatures = newSignatures()
	err := f.compareTables(read)
	if bad := f.signatures.wait(); bad != nil { // it was read before what err is about
		return bad
	}
	return err
}

func (f *Fold) compareTables(read func(table string, each func(Row) error) error) error {
	for _, t := range []struct {
		name string
		each func(Row) error
	}{
		{"configuration", f.configurationRow}, {"operations", f.operationRow}, {"operation_keys", f.keyRow},
		{"approvals", f.approvalRow}, {"sign_orders", f.orderRow}, {"administration_sessions", f.sessionRow},
		{"session_authorisations", f.authorisationRow}, {"certificates", f.certificateRow}, {"revocation_lists", f.listRow}, {"ended_sign_ins", f.endedRow},
		{"contacts", f.contactRow}, {"head", f.headRow},
	} {
		if err := read(t.name, t.each); err != nil {
			return err
		}
	}
	return f.unseen()
}

// unseen names a row that is missing.
func (f *Fold) unseen() error {
	for name, c := range f.world.objects {
		if !c.seen {
			return differs("configuration", objectName(name), missing)
		}
	}
	for _, o := range f.operations {
		if !o.seen {
			return differs("operations", string(o.id), missing)
		}
		for i := range o.keys {
			if !o.keys[i].seen {
				return differs("operation_keys", string(o.id)+" "+string(o.keys[i].Key), missing)
			}
		}
		for i, a := range o.approvals {
			if !a.seen {
				return differs("approvals", string(o.id)+" "+strconv.Itoa(i), missing)
			}
		}
	}
	for _, r := range f.orders {
		if !r.seen {
			return differs("sign_orders", string(r.id), missing)
		}
	}
	if err := f.unseenSession(); err != nil {
		return err
	}
	for id, s := range f.signIns {
		if s.ended && !s.seen {
			return differs("ended_sign_ins", id, missing)
		}
	}
	for who, c := range f.contacts {
		if !c.seen {
			return differs("contacts", string(who), missing)
		}
	}
	return f.unseenCertificate()
}

func (f *Fold) headRow(r Row) error {
	return r.compare("head", r.shown("id"), func(column string) want {
		switch column {
		case "id":
			return is(int64(1))
		case "server":
			return is(f.server)
		case "size":
			return is(f.next)
		case "mark": // also grows without an event
			return between(f.last, math.MaxInt64)
		case "configuration":
			return is(f.configured)
		}
		return want{}
	})
}

func objectName(o object) string { return string(o.kind) + " " + o.id }

func (f *Fold) configurationRow(r Row) error {
	name := object{audit.ConfigurationKind(r.text("kind")), r.text("id")}
	c := f.world.objects[name]
	switch {
	case c == nil:
		return differs("configuration", objectName(name), tooMany)
	case c.seen:
		return differs("configuration", objectName(name), twice)
	}
	c.seen = true
	return r.compare("configuration", objectName(name), func(column string) want {
		switch column {
		case "kind":
			return is(string(name.kind))
		case "id":
			return is(name.id)
		case "body":
			return is(c.value)
		}
		return want{}
	})
}

func (f *Fold) operationRow(r Row) error {
	id := r.shown("id")
	o := f.operations[law.OperationID(id)]
	switch {
	case o == nil:
		return differs("operations", id, tooMany)
	case o.seen:
		return differs("operations", id, twice)
	}
	o.seen = true
	eligible, err := json.Marshal(o.eligible, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("writing who was eligible for operation %s: %w", id, err)
	}
	return r.compare("operations", id, func(column string) want {
		switch column {
		case "id":
			return is(id)
		case "orderer":
			return is(string(o.orderer))
		case "state":
			return is(string(o.state))
		case "expires":
			return is(o.expires)
		case "digest":
			return is(string(o.digest))
		case "statement":
			return must(hashes(string(o.digest)))
		case "behind":
			return is(string(o.behind))
		case "eligible":
			return is(string(eligible))
		case "endedat":
			return is(o.endedAt)
		case "endedby":
			return is(string(o.endedBy))
		case "endedreason":
			return is(o.reason)
		case "revision": // one change can have several events
			return between(1, o.changes)
		case "idempotencykey", "asked": // no event tells them; they only recognise the same request again
			return must(isText)
		}
		return want{}
	})
}

// hashes is the condition that a text has this SHA-256.
func hashes(digest string) func(any) string {
	return func(got any) string {
		text, ok := got.(string)
		if sum := sha256.Sum256([]byte(text)); !ok || hex.EncodeToString(sum[:]) != digest {
			return "it is not what has the digest " + digest
		}
		return ""
	}
}

func isText(got any) string {
	if s, ok := got.(string); !ok || s == "" {
		return fmt.Sprintf("it is %s, and must be a text", shown(got))
	}
	return ""
}

func (f *Fold) keyRow(r Row) error {
	id := r.text("operation") + " " + r.text("keyid")
	o := f.operations[law.OperationID(r.text("operation"))]
	if o == nil {
		return differs("operation_keys", id, tooMany)
	}
	for i := range o.keys {
		k := &o.keys[i]
		if string(k.Key) != r.text("keyid") {
			continue
		}
		if k.seen {
			return differs("operation_keys", id, twice)
		}
		k.seen = true
		return r.compare("operation_keys", id, func(column string) want {
			switch column {
			case "operation":
				return is(string(o.id))
			case "position":
				return is(int64(i))
			case "keyid":
				return is(string(k.Key))
			case "taken":
				return is(int64(k.taken))
			case "signed":
				return is(int64(k.signed))
			}
			return want{}
		})
	}
	return differs("operation_keys", id, tooMany)
}

func (f *Fold) approvalRow(r Row) error {
	id := r.text("operation") + " " + r.shown("position")
	o := f.operations[law.OperationID(r.text("operation"))]
	at := r.number("position")
	if o == nil || at < 0 || at >= int64(len(o.approvals)) {
		return differs("approvals", id, tooMany)
	}
	a := o.approvals[at]
	if a.seen {
		return differs("approvals", id, twice)
	}
	a.seen = true
	covers, err := json.Marshal(a.covers)
	if err != nil {
		return fmt.Errorf("writing what approval %s counts for: %w", id, err)
	}
	return r.compare("approvals", id, func(column string) want {
		switch column {
		case "operation":
			return is(string(o.id))
		case "position":
			return is(at)
		case "subject":
			return is(string(a.by))
		case "covers":
			return is(string(covers))
		case "at":
			return is(a.at)
		case "withdrawn":
			return is(a.withdrawn)
		}
		return want{}
	})
}

func (f *Fold) orderRow(r Row) error {
	id := r.shown("id")
	s := f.orders[law.OrderID(id)]
	switch {
	case s == nil:
		return differs("sign_orders", id, tooMany)
	case s.seen:
		return differs("sign_orders", id, twice)
	}
	s.seen = true
	return r.compare("sign_orders", id, func(column string) want {
		switch column {
		case "id":
			return is(id)
		case "operation":
			return is(string(s.operation.id))
		case "keyid":
			return is(string(s.key))
		case "fingerprint":
			return is(s.fingerprint)
		case "requester":
			return is(string(s.requester))
		case "idempotencykey":
			return is(s.idempotencyKey)
		case "hash":
			return is(string(s.hash))
		case "scheme":
			return is(string(s.scheme))
		case "input":
			return is(s.input)
		case "certifies":
			return is(string(f.ordered(s).Key))
		case "device":
			return is(f.ordered(s).Device)
		}
		return f.orderResult(s, column)
	})
}

// ordered is the certificate that a sign order is for, the zero one if it is for none.
func (f *Fold) ordered(s *order) audit.Certificate {
	if !s.certifies {
		return audit.Certificate{}
	}
	return f.certificates[law.CertificateID(s.id)].Certificate
}

func (f *Fold) orderResult(s *order, column string) want {
	switch column {
	case "usenumber":
		return is(int64(s.use))
	case "accepted":
		return is(s.accepted)
	case "state":
		return is(string(s.state))
	case "attempt":
		return is(int64(s.attempt))
	case "lease":
		return is(s.lease)
	case "settled":
		return is(s.settled)
	case "failure":
		return is(s.failure)
	case "signature":
		return must(func(got any) string { return f.unsigned(s, got) })
	}
	return want{}
}

// unsigned says what is wrong with a stored signature (I10), but for whether it verifies, which is found out
// beside: see [signatures]. The message of an EdDSA signature is not stored, so only the signature's hash can
// be compared.
func (f *Fold) unsigned(s *order, got any) string {
	signature, ok := got.([]byte)
	switch {
	case !ok:
		return "it is no sequence of bytes"
	case s.state != law.OrderSigned:
		if len(signature) > 0 {
			return "there is a signature, but the order has none"
		}
		return ""
	}
	if sum := sha256.Sum256(signature); hex.EncodeToString(sum[:]) != s.signature {
		return "it is not the signature that was made: its SHA-256 is another"
	}
	if s.scheme == law.EdDSA {
		return ""
	}
	digest, err := hex.DecodeString(s.input)
	if err != nil {
		return err.Error()
	}
	f.signatures.verify(check{
		table: "sign_orders", row: string(s.id), column: "signature", publicKey: f.world.ever[s.fingerprint], input: law.Input{Hash: s.hash, Scheme: s.scheme, Digest: digest}, signature: signature,
	})
	return ""
}
