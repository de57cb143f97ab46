package storetest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

const (
	issuer = "https://issuer.test"
	hour   = time.Hour
)

var olga = law.Caller{Principal: law.Principal{Subject: "olga", Issuer: issuer, Sub: "sub of olga"}}

// World is a small configuration: olga orders; anna and bert approve; fw needs 0 approvals and fw-two 2.
func World() law.Configuration {
	return law.Configuration{
		Issuers:  []law.Issuer{{URL: issuer, Audiences: []string{"keyserver"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}}},
		Keys:     []law.Key{key("fw", 0), key("fw-two", 2)},
		Subjects: []law.Subject{person("olga"), person("anna"), person("bert")},
		Roles: []law.Role{
			{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{"fw", "fw-two"}, Members: []law.SubjectID{"olga"}},
			{ID: "approvers", Kind: law.Approver, Keys: []law.KeyID{"fw", "fw-two"}, Members: []law.SubjectID{"anna", "bert"}},
		},
	}
}

func person(id law.SubjectID) law.Subject {
	return law.Subject{ID: id, Kind: law.User, Name: string(id), Enabled: true}
}

func key(id law.KeyID, requirement int) law.Key {
	sum := sha256.Sum256([]byte(id))
	return law.Key{
		ID: id, Type: law.Firmware, Algorithm: law.P256, Hash: law.SHA256, Schemes: []law.Scheme{law.ECDSA},
		Requirement: law.Require(requirement), MaxValidity: 24 * hour, MaxUses: law.MaxUses, Approvals: law.SessionApprovals,
		State: law.KeyActive, Keystore: "none", Version: 1, Handle: string(id) + "/1", PublicKey: []byte(id), Fingerprint: hex.EncodeToString(sum[:]),
	}
}

// Configure stores a configuration.
func Configure(tx *store.Tx, c law.Configuration) error {
	objects, err := audit.ConfigurationOf(c)
	if err != nil {
		return err
	}
	var events []audit.Event
	for _, o := range objects {
		events = append(events, audit.Event{Type: audit.ConfigurationChanged, Configuration: &o})
	}
	return tx.Configure(events...)
}

// Create makes an operation of olga's, valid for an hour, with so many uses of each of the keys.
func Create(tx *store.Tx, id law.OperationID, uses int, keys ...law.KeyID) error {
	return createWith(tx, id, func(a *law.Ask) {
		for _, k := range keys {
			a.Keys = append(a.Keys, law.KeyAsk{Key: k, MaxUses: uses})
		}
	})
}

func createWith(tx *store.Tx, id law.OperationID, change func(*law.Ask)) error {
	ask := law.Ask{Server: tx.Server(), ID: id, Nonce: strings.Repeat("0f", 32), Description: "release", Context: "of the test", Validity: hour}
	change(&ask)
	out, err := law.Create(olga, ask, tx.Facts(), tx.Now())
	if err != nil {
		return err
	}
	return save(tx, store.Operation{IdempotencyKey: "idem " + string(id), Asked: "asked " + string(id)}, out)
}

func save(tx *store.Tx, o store.Operation, out law.Outcome) error {
	if len(out.Changes) == 0 {
		return nil
	}
	o.Operation = out.Operation
	events := eventsOf(o.Operation, out.Changes, law.Order{})
	return tx.SaveOperation(o, events[0], events[1:]...)
}

func eventsOf(o law.Operation, changes []law.Change, r law.Order) []audit.Event {
	var events []audit.Event
	for _, c := range changes {
		e := audit.Event{Type: audit.Type(c.Kind), Operation: o.ID, Digest: o.Digest(), Key: r.Key, Order: r.ID, Use: r.Use, Reason: c.Reason}
		if c.By != "" {
			e.Actor = &audit.Actor{Subject: c.By}
		}
		events = append(events, e)
	}
	return events
}

func operation(r *store.Reader, id law.OperationID) (store.Operation, error) {
	o, known, err := r.Operation(id)
	if err == nil && !known {
		err = fmt.Errorf("there is no operation %s", id)
	}
	return o, err
}

// Placing is where [Place] will look for an earlier sign order.
func Placing(id law.OperationID, k law.KeyID, order law.OrderID) store.OrderKey {
	return orderKey(id, k, olga.Subject, string(order))
}

// Place places a sign order for olga under a new idempotency key, as the law says. The order's id is the
// idempotency key too. A refusal is stored as an event.
func Place(tx *store.Tx, id law.OperationID, k law.KeyID, order law.OrderID) (law.Order, error) {
	o, err := operation(&tx.Reader, id)
	if err != nil {
		return law.Order{}, err
	}
	if prior, known, err := tx.OrderByKey(Placing(id, k, order)); known || err != nil {
		return prior, errors.Join(err, errors.New("it was placed before"))
	}
	sum := sha256.Sum256([]byte(order))
	placed, err := o.Place(law.OrderAsk{
		ID: order, Who: olga.Subject, Key: k, IdempotencyKey: string(order), Hash: law.SHA256, Scheme: law.ECDSA, Digest: sum[:],
	}, nil, tx.Facts(), tx.Now())
	var refusal *law.Refusal
	if errors.As(err, &refusal) {
		return law.Order{}, errors.Join(refusal, tx.Append(audit.Event{
			Type: audit.OrderRefused, Operation: id, Refusal: refusal.Kind, Reason: refusal.Reason, Actor: &audit.Actor{Subject: olga.Subject},
		}))
	}
	if err != nil {
		return law.Order{}, err
	}
	return placed.Order, saveOrder(tx, o, placed)
}

func complete(tx *store.Tx, id law.OrderID, signature []byte) error {
	r, _, err := tx.Order(id)
	if err != nil {
		return err
	}
	o, err := operation(&tx.Reader, r.Operation)
	if err != nil {
		return err
	}
	placed, err := o.Complete(r, r.Attempt, signature, tx.Facts(), tx.Now())
	if err != nil {
		return err
	}
	return saveOrder(tx, o, placed)
}

func saveOrder(tx *store.Tx, o store.Operation, p law.Placed) error {
	o.Operation = p.Operation
	events := eventsOf(o.Operation, p.Changes, p.Order)
	return tx.SaveOrder(o, p.Order, events[0], events[1:]...)
}

func approve(tx *store.Tx, id law.OperationID, who law.SubjectID) error {
	o, err := operation(&tx.Reader, id)
	if err != nil {
		return err
	}
	out, err := o.Approve(who, o.Digest(), tx.Facts(), tx.Now())
	if err != nil {
		return err
	}
	return save(tx, o, out)
}

func orderKey(o law.OperationID, k law.KeyID, who law.SubjectID, idempotencyKey string) store.OrderKey {
	return store.OrderKey{Operation: o, Key: k, Requester: who, IdempotencyKey: idempotencyKey}
}

// opID is an id that sorts as its number does.
func opID(n int) law.OperationID { return law.OperationID(fmt.Sprintf("operation-%04d", n)) }
