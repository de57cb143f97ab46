package storetest

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/store"
)

const noticeID = "0192f0c1-0000-7000-8000-00000000000a"

// noticed is what the outbox holds at a time, oldest first.
func (f *fixture) noticed(at time.Time) []audit.Type {
	f.Helper()
	var types []audit.Type
	f.view(func(r *store.Reader) error {
		all, err := r.Outbox(at, 100)
		for _, o := range all {
			types = append(types, o.Type)
		}
		return err
	})
	return types
}

func (f *fixture) due(at time.Time) []store.Notice {
	f.Helper()
	var all []store.Notice
	f.view(func(r *store.Reader) (err error) {
		all, err = r.Notices(at, 100)
		return err
	})
	return all
}

func chosenBy(c store.Contact) audit.Event {
	return audit.Event{Type: audit.ContactChanged, Actor: &audit.Actor{Subject: "anna"}, Contact: &c.Contact}
}

var outbox = map[string]func(*fixture){
	"WhatPeopleAreToldOfIsNotedWithItsEvent": func(f *fixture) {
		f.db.KeepOutbox()
		before := f.clock.Now()
		f.update(func(tx *store.Tx) error {
			return tx.Append(
				audit.Event{Type: audit.OperationApproved, Operation: "o", Actor: &audit.Actor{Subject: "anna"}},
				audit.Event{Type: audit.OrderSigned, Operation: "o"},
				audit.Event{Type: audit.OperationBecameApproved, Operation: "o"},
			)
		})
		undone := errors.New("undone")
		if err := f.try(func(tx *store.Tx) error {
			return errors.Join(tx.Append(audit.Event{Type: audit.OperationRevoked, Operation: "o"}), undone)
		}); !errors.Is(err, undone) {
			f.Errorf("error %v", err)
		}
		f.reopen()
		if got := f.noticed(f.clock.Now()); !slices.Equal(got, []audit.Type{audit.OperationApproved, audit.OperationBecameApproved}) {
			f.Errorf("noted are %v", got)
		}
		if got := f.noticed(before.Add(-time.Second)); len(got) != 0 {
			f.Errorf("due before are %v", got)
		}
		f.update(func(tx *store.Tx) error { return tx.Append(audit.Event{Type: audit.OperationRevoked, Operation: "o"}) })
		if got := f.noticed(f.clock.Now()); len(got) != 2 {
			f.Errorf("noted though nobody is told are %v", got)
		}
	},
	"WhatWasAddressedIsMessagesThen": func(f *fixture) {
		f.db.KeepOutbox()
		f.update(func(tx *store.Tx) error {
			return tx.Append(audit.Event{Type: audit.OperationApproved, Operation: "o", Actor: &audit.Actor{Subject: "olga"}})
		})
		now := f.clock.Now().Truncate(time.Millisecond)
		var noted store.Outgoing
		f.view(func(r *store.Reader) error {
			all, err := r.Outbox(now, 1)
			noted = all[0]
			return err
		})
		want := store.Notice{ID: noticeID, Outgoing: noted, Kind: "waiting", Recipient: "anna", Way: "mail", Created: now}
		f.update(func(tx *store.Tx) error {
			return errors.Join(tx.Remind(noted, now.Add(hour)), tx.Address(noted, []store.Notice{want}))
		})
		if got := f.noticed(now); len(got) != 0 {
			f.Errorf("noted still are %v", got)
		}
		if got := f.noticed(now.Add(hour)); !slices.Equal(got, []audit.Type{store.Reminder}) {
			f.Errorf("noted for later are %v", got)
		}
		if got := f.due(now); !reflect.DeepEqual(got, []store.Notice{want}) {
			f.Errorf("messages are %+v, want %+v", got, want)
		}
		f.update(func(tx *store.Tx) error { return tx.Postpone(noticeID, now.Add(time.Minute), 3) })
		if got := f.due(now.Add(time.Minute - 1)); len(got) != 0 {
			f.Errorf("due too early are %+v", got)
		}
		f.update(func(tx *store.Tx) error { return tx.PostponeAll("anna", "mail", now.Add(hour)) })
		if got := f.due(now.Add(time.Minute)); len(got) != 0 {
			f.Errorf("due too early are %+v", got)
		}
		if got := f.due(now.Add(hour)); len(got) != 1 || got[0].Attempts != 3 {
			f.Errorf("messages are %+v", got)
		}
		f.update(func(tx *store.Tx) error { return errors.Join(tx.Forget(noticeID), tx.Forget(noticeID)) })
		if got := f.due(now.Add(hour)); len(got) != 0 {
			f.Errorf("messages still are %+v", got)
		}
	},
	"WhatIsWrittenBesideTheLogIsStoredThoughNothingElseIs": func(f *fixture) {
		one := store.Notice{ID: noticeID, Kind: "test", Recipient: "anna", Way: "mail"}
		f.update(func(tx *store.Tx) error { return tx.Send(one) })
		f.update(func(tx *store.Tx) error { return tx.Postpone(noticeID, time.UnixMilli(1), 1) }) // the mark stays
		f.reopen()
		if got := f.due(f.clock.Now()); len(got) != 1 || got[0].Attempts != 1 {
			f.Errorf("messages are %+v", got)
		}
	},
	"WhatSomebodyChoseIsKept": func(f *fixture) {
		now := f.clock.Now().Truncate(time.Millisecond)
		c := store.Contact{Contact: audit.Contact{Mail: true, Tells: []string{"change", "waiting"}, Webhook: "chat"}, Targets: []byte{0, 1, 255}, Tested: now.Add(-hour)}
		none := store.Contact{Contact: audit.Contact{Tells: []string{}}, Targets: []byte{2}}
		f.update(func(tx *store.Tx) error { return tx.SaveContact("anna", none, chosenBy(none)) })
		f.update(func(tx *store.Tx) error { return tx.SaveContact("anna", c, chosenBy(c)) })
		f.update(func(tx *store.Tx) error {
			return errors.Join(tx.MailAfter("anna", now), tx.Reached("anna", "no route"))
		})
		c.Mailed, c.Failure = now, "no route"
		f.reopen()
		f.view(func(r *store.Reader) error {
			got, known, err := r.Contact("anna")
			_, other, errTwo := r.Contact("bert")
			if !known || other || !reflect.DeepEqual(got, c) {
				f.Errorf("chosen is %+v, %v, want %+v; of bert %v", got, known, c, other)
			}
			return errors.Join(err, errTwo)
		})
	},
}
