package keyserver_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/testkit"
)

const gather = 5 * time.Minute

func notifying() *keyserver.Notifications {
	return &keyserver.Notifications{Reminder: time.Hour, Gather: gather, MailDomains: []string{"example.com"}, Webhooks: true}
}

func newTelling(t *testing.T) *testkit.Kit {
	return testkit.NewWith(t, testkit.Options{Notifications: notifying()})
}

// choose has somebody choose, and takes the test messages.
func choose(k *testkit.Kit, who law.SubjectID, c keyserver.Contact) {
	k.Helper()
	if _, err := k.Keyserver.SetContact(k.Context(), k.Caller(who), c, false); err != nil {
		k.Fatal(err)
	}
	takeAll(k)
	k.Clock.Step(gather)
}

func mailTo(who law.SubjectID, tells ...keyserver.Kind) keyserver.Contact {
	return keyserver.Contact{Tells: tells, Mail: string(who) + "@example.com"}
}

func hook(tells ...keyserver.Kind) keyserver.Contact {
	return keyserver.Contact{Tells: tells, Webhook: keyserver.Webhook{URL: "https://hooks.example.com/x", Format: keyserver.FormatStandard}}
}

func take(k *testkit.Kit) []keyserver.Message {
	k.Helper()
	all, err := k.Keyserver.TakeMessages(k.Context(), 100, nil)
	if err != nil {
		k.Fatal(err)
	}
	return all
}

func sent(k *testkit.Kit, all ...keyserver.Message) {
	k.Helper()
	for _, m := range all {
		if err := k.Keyserver.MessageSent(k.Context(), m); err != nil {
			k.Fatal(err)
		}
	}
}

// said is what messages say, a line each: to whom, of what kind, what has happened and which operation, by its description.
func said(k *testkit.Kit, all []keyserver.Message) []string {
	var lines []string
	for _, m := range all {
		for _, n := range m.Notices {
			lines = append(lines, fmt.Sprintf("%s %s %s %s", m.Name, m.Way, n.Kind, n.Event))
		}
	}
	slices.Sort(lines)
	return lines
}

// takeAll takes all messages there are, and has them sent. To one webhook they go a second apart.
func takeAll(k *testkit.Kit) []keyserver.Message {
	k.Helper()
	var all []keyserver.Message
	for {
		some := take(k)
		sent(k, some...)
		all = append(all, some...)
		soon, err := store.View(k.Context(), k.DB, func(r *store.Reader) ([]store.Notice, error) { return r.Notices(r.Now().Add(time.Second), 1) })
		if err != nil {
			k.Fatal(err)
		}
		if len(soon) == 0 {
			return all
		}
		k.Clock.Step(time.Second)
	}
}

// wantSaid takes all messages there are, and has them sent.
func wantSaid(k *testkit.Kit, want ...string) {
	k.Helper()
	all := takeAll(k)
	slices.Sort(want)
	if got := said(k, all); !slices.Equal(got, want) {
		k.Errorf("said is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestThoseAreToldWhoseApprovalIsLackingAndTheOrdererOfEveryChange(t *testing.T) {
	k := newTelling(t)
	for _, who := range []law.SubjectID{"alice", "bob"} {
		choose(k, who, mailTo(who, keyserver.KindWaiting))
	}
	choose(k, "carol", hook(keyserver.KindWaiting, keyserver.KindExpiring))
	choose(k, "olga", hook(keyserver.KindChange))
	choose(k, "eve", hook(keyserver.KindChange, keyserver.KindWaiting, keyserver.KindExpiring))
	o := k.Create(testkit.Ask("fw-prod"))
	wantSaid(k, "The alice mail waiting operation-created", "The bob mail waiting operation-created", "The carol webhook waiting operation-created")
	wantSaid(k)
	k.Approve(o, "alice")
	wantSaid(k, "The olga webhook change operation-approved")
	k.Approve(o, "bob")
	wantSaid(k, "The olga webhook change operation-approved", "The olga webhook change operation-became-approved")
	k.Clock.Step(gather)
	if _, err := k.Keyserver.Withdraw(k.Context(), k.Caller("alice"), o.ID); err != nil {
		t.Fatal(err)
	}
	wantSaid(k, "The olga webhook change operation-withdrawn", "The olga webhook change operation-lapsed",
		"The alice mail waiting operation-lapsed", "The carol webhook waiting operation-lapsed")
	if _, err := k.Keyserver.Revoke(k.Context(), k.Caller("olga"), o.ID, "no"); err != nil {
		t.Fatal(err)
	}
	wantSaid(k, "The olga webhook change operation-revoked")
}

func TestApproversAreRemindedBeforeAnOperationExpires(t *testing.T) {
	k := newTelling(t)
	choose(k, "alice", mailTo("alice", keyserver.KindExpiring))
	choose(k, "carol", hook(keyserver.KindExpiring))
	ask := testkit.Ask("fw-prod")
	ask.Validity = 4 * time.Hour
	k.Create(ask)
	short := ask
	short.Validity = 30 * time.Minute
	k.Create(short)
	wantSaid(k)
	k.Clock.Step(15*time.Minute - 1)
	wantSaid(k)
	k.Clock.Step(1) // half of its validity
	wantSaid(k, "The alice mail expiring reminder", "The carol webhook expiring reminder")
	k.Clock.Step(165*time.Minute - 1)
	k.Beat()
	wantSaid(k)
	k.Clock.Step(1)
	wantSaid(k, "The alice mail expiring reminder", "The carol webhook expiring reminder")
}

func TestWhatNobodyCanActOnAnyMoreIsNotTold(t *testing.T) {
	k := newTelling(t)
	choose(k, "alice", mailTo("alice", keyserver.KindWaiting))
	choose(k, "bob", mailTo("bob", keyserver.KindWaiting))
	choose(k, "olga", hook(keyserver.KindChange))
	gone, over := k.Create(testkit.Ask("fw-prod")), k.Create(testkit.Ask("fw-one"))
	all := take(k)
	for _, m := range all {
		if err := k.Keyserver.MessageFailed(k.Context(), m, "no route", false); err != nil {
			t.Fatal(err)
		}
	}
	if got := said(k, all); len(got) != 4 {
		t.Fatalf("taken are %q", got)
	}
	k.Approve(over, "alice") // nothing is lacking any more
	k.Approve(gone, "alice") // she is not, bob is
	k.Clock.Step(time.Minute)
	wantSaid(k, "The bob mail waiting operation-created", "The olga webhook change operation-approved",
		"The olga webhook change operation-approved", "The olga webhook change operation-became-approved")
	k.Approve(gone, "bob")
	k.Enable("olga", false)
	wantSaid(k)
}

func TestEMailsToOnePersonAreGathered(t *testing.T) {
	k := newTelling(t)
	choose(k, "alice", mailTo("alice", keyserver.KindWaiting))
	k.Create(testkit.Ask("fw-one"))
	wantSaid(k, "The alice mail waiting operation-created") // the first at once
	k.Create(testkit.Ask("fw-one"))
	k.Create(testkit.Ask("fw-prod"))
	wantSaid(k)
	k.Clock.Step(gather - time.Millisecond)
	if early := take(k); len(early) != 0 {
		t.Errorf("taken too early are %+v", early)
	}
	k.Clock.Step(time.Millisecond)
	all := take(k)
	if len(all) != 1 || len(all[0].Notices) != 2 || all[0].Mail != "alice@example.com" {
		t.Fatalf("taken are %+v", all)
	}
	if more := take(k); len(more) != 0 {
		t.Errorf("taken again are %+v", more)
	}
	sent(k, all...)
}

func TestAMessageThatWasNotSentIsSentAgainLaterAndAtLastGivenUp(t *testing.T) {
	k := newTelling(t)
	choose(k, "carol", hook(keyserver.KindWaiting))
	ask := testkit.Ask("fw-prod")
	ask.Validity = 24 * time.Hour
	k.Create(ask)
	first := take(k)
	if len(first) != 1 || len(take(k)) != 0 {
		t.Fatalf("taken are %+v", first)
	}
	k.Clock.Step(2 * time.Minute) // the server was gone while it sent it
	again := take(k)
	if len(again) != 1 || again[0].ID != first[0].ID {
		t.Fatalf("taken again are %+v, first %+v", again, first)
	}
	attempts := 0
	for wait := 20 * time.Second; wait <= time.Hour; wait = min(2*wait, time.Hour) {
		if err := k.Keyserver.MessageFailed(k.Context(), again[0], "refused to connect", false); err != nil {
			t.Fatal(err)
		}
		chosen, err := k.Keyserver.Contact(k.Context(), k.Caller("carol"))
		if err != nil || chosen.Failure != "refused to connect" {
			t.Fatalf("contact %+v, %v", chosen, err)
		}
		k.Clock.Step(wait - 1)
		if early := take(k); len(early) != 0 {
			t.Fatalf("attempt %d is made too early: %+v", attempts+2, early)
		}
		k.Clock.Step(1)
		if again = take(k); len(again) != 1 || again[0].ID != first[0].ID {
			t.Fatalf("attempt %d takes %+v", attempts+2, again)
		}
		if attempts++; wait == time.Hour && attempts > 10 {
			break
		}
	}
	if err := k.Keyserver.MessageFailed(k.Context(), again[0], "gone", true); err != nil {
		t.Fatal(err)
	}
	k.Clock.Step(2 * time.Hour)
	wantSaid(k)
}

func TestWhatIsToBeToldOutlivesTheServer(t *testing.T) {
	k := newTelling(t)
	choose(k, "carol", hook(keyserver.KindWaiting))
	k.Create(testkit.Ask("fw-prod"))
	k.Restart()
	wantSaid(k, "The carol webhook waiting operation-created")
}

func TestAChannelIsToldOfAllOperationsThatWait(t *testing.T) {
	n := notifying()
	n.Channels = []keyserver.Channel{{Name: "releases", Tells: []keyserver.Kind{keyserver.KindWaiting, keyserver.KindChange}}}
	k := testkit.NewWith(t, testkit.Options{Notifications: n})
	o := k.Create(testkit.Ask("fw-one"))
	k.Create(testkit.Ask("fw-dev")) // waits for nobody
	wantSaid(k, "releases channel waiting operation-created", "releases channel change operation-became-approved")
	k.Approve(o, "alice")
	wantSaid(k, "releases channel change operation-approved", "releases channel change operation-became-approved")
}

func TestAMessageHoldsNothingThatTheOrdererWrote(t *testing.T) {
	k := newTelling(t)
	choose(k, "alice", mailTo("alice", keyserver.KindWaiting))
	ask := testkit.Ask("fw-one")
	ask.Description, ask.Context = "see https://evil.example", "ring the vendor at once"
	k.Create(ask)
	all := take(k)
	if text := fmt.Sprintf("%+v", all); len(all) != 1 || strings.Contains(text, "evil.example") || strings.Contains(text, "vendor") {
		t.Errorf("messages are %s", text)
	}
	sent(k, all...)
}

func TestAServerThatSendsNoMessagesKeepsNothingToBeTold(t *testing.T) {
	k := testkit.New(t)
	k.Create(testkit.Ask("fw-one"))
	if all := take(k); len(all) != 0 {
		t.Errorf("messages are %+v", all)
	}
}

func TestTwoServersSendEachMessageOnce(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Notifications: notifying(), Shared: true})
	people := []law.SubjectID{"alice", "bob", "carol", "peter"}
	for _, who := range people {
		choose(k, who, hook(keyserver.KindWaiting))
	}
	other := k.Another()
	k.Create(testkit.Ask("fw-prod"))
	messages := make(chan keyserver.Message, 100)
	testkit.Race(8, func(i int) {
		server := k
		if i%2 == 1 {
			server = other
		}
		all, err := server.Keyserver.TakeMessages(k.Context(), 2, nil)
		if err != nil {
			t.Error(err)
		}
		for _, m := range all {
			messages <- m
		}
	})
	close(messages)
	ids := map[string]int{}
	for m := range messages {
		ids[m.ID]++
		sent(k, m)
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("message %s was taken %d times", id, n)
		}
	}
	if len(ids) != len(people) {
		t.Errorf("%d messages were taken, not %d", len(ids), len(people))
	}
}

func TestAWebhookThatIsSlowHoldsNobodyElseUp(t *testing.T) {
	k := newTelling(t)
	for _, who := range []law.SubjectID{"alice", "carol"} {
		choose(k, who, hook(keyserver.KindWaiting))
	}
	for range 90 {
		k.Create(testkit.Ask("fw-one")) // for alice alone
	}
	k.Create(testkit.Ask("fw-prod"))
	first := take(k)
	if len(first) != 1 || first[0].Target() != "webhook alice" {
		t.Fatalf("taken are %+v", first)
	}
	busy := map[string]bool{first[0].Target(): true}
	var got []string
	for range 5 {
		k.Clock.Step(time.Second)
		some, err := k.Keyserver.TakeMessages(k.Context(), 100, busy)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, said(k, some)...)
		sent(k, some...)
	}
	if !slices.Equal(got, []string{"The carol webhook waiting operation-created"}) {
		t.Errorf("taken are %q", got)
	}
}

func TestWhatTheConfigurationDoesNotAllowAnyMoreIsNotSent(t *testing.T) {
	for name, change := range map[string]func(*keyserver.Notifications){
		"domain":   func(n *keyserver.Notifications) { n.MailDomains = []string{"other.example"} },
		"mail":     func(n *keyserver.Notifications) { n.MailDomains = nil },
		"webhooks": func(n *keyserver.Notifications) { n.Webhooks = false },
	} {
		k := newTelling(t)
		if choose(k, "alice", hook(keyserver.KindWaiting)); name != "webhooks" {
			choose(k, "alice", mailTo("alice", keyserver.KindWaiting))
		}
		change(k.Keyserver.Notifications())
		k.Create(testkit.Ask("fw-one"))
		if got := takeAll(k); len(got) != 0 {
			t.Errorf("%s: said is %q", name, said(k, got))
		}
		if c, err := k.Keyserver.Contact(k.Context(), k.Caller("alice")); err != nil || c.Failure == "" {
			t.Errorf("%s: contact %+v, %v", name, c, err)
		}
	}
}

func TestWhatSomebodyDoesNotWantToBeToldAnyMoreIsNotSent(t *testing.T) {
	k := newTelling(t)
	choose(k, "olga", mailTo("olga", keyserver.KindChange))
	o := k.Create(testkit.Ask("fw-prod"))
	k.Approve(o, "alice")
	for _, m := range take(k) {
		if err := k.Keyserver.MessageFailed(k.Context(), m, "no route", false); err != nil {
			t.Fatal(err)
		}
	}
	choose(k, "olga", mailTo("olga", keyserver.KindWaiting))
	k.Clock.Step(time.Minute)
	wantSaid(k)
}

func TestWhatSomebodyChoseIsAnEventWithoutWhereMessagesGo(t *testing.T) {
	k := newTelling(t)
	if _, err := k.Keyserver.SetContact(k.Context(), k.Caller("alice"), keyserver.Contact{
		Tells: []keyserver.Kind{keyserver.KindWaiting, keyserver.KindChange}, Mail: "alice.a@example.com",
		Webhook: keyserver.Webhook{URL: "https://hooks.example.com/secret", Format: keyserver.FormatChat},
	}, false); err != nil {
		t.Fatal(err)
	}
	events := k.EventsOf("", audit.ContactChanged)
	if len(events) != 1 {
		t.Fatalf("events are %+v", events)
	}
	leaf, err := events[0].Leaf()
	if err != nil || !strings.Contains(string(leaf), `"contact":{"mail":true,"tells":["change","waiting"],"webhook":"chat"}`) ||
		strings.Contains(string(leaf), "example.com") {
		t.Errorf("leaf is %s, %v", leaf, err)
	}
}

func TestMessagesThatWaitAreBoundedAndUselessOnesHoldUpNothing(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Notifications: notifying(), Limits: keyserver.Limits{PendingOperations: 1 << 20}})
	choose(k, "carol", hook(keyserver.KindWaiting))
	var last keyserver.Operation
	for range 200 {
		if last.ID != "" {
			if _, err := k.Keyserver.Revoke(k.Context(), k.Caller("olga"), last.ID, "no"); err != nil {
				t.Fatal(err)
			}
		}
		last = k.Create(testkit.Ask("fw-prod"))
	}
	var got []keyserver.Message
	for range 5 { // the outbox is addressed at once, and 199 that wait for nobody are looked at 64 at a time
		got = append(got, take(k)...)
	}
	if len(got) != 1 || got[0].Notices[0].Operation.ID != last.ID {
		t.Errorf("taken are %+v", got)
	}
	sent(k, got...)
	choose(k, "olga", hook(keyserver.KindChange))
	for range 600 {
		o := k.Create(testkit.Ask("fw-one"))
		if _, err := k.Keyserver.Revoke(k.Context(), k.Caller("olga"), o.ID, "no"); err != nil {
			t.Fatal(err)
		}
		k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
	}
	for range 3 {
		take(k)
		k.Clock.Step(time.Second)
	}
	waiting, err := store.View(k.Context(), k.DB, func(r *store.Reader) ([]store.Notice, error) { return r.Notices(r.Now().Add(time.Hour), 5000) })
	if err != nil || len(waiting) > 1000 || len(waiting) < 900 {
		t.Errorf("%d messages wait, %v", len(waiting), err)
	}
}
