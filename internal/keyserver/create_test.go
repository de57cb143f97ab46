package keyserver_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func create(k *testkit.Kit, who law.SubjectID, idempotencyKey string, ask law.Ask) (keyserver.Operation, error) {
	return k.Keyserver.CreateOperation(k.Context(), k.Caller(who), keyserver.CreateRequest{IdempotencyKey: idempotencyKey, Ask: ask})
}

func TestTheSameCreationIsTheSameOperation(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-one", "fw-dev")
	ask.Clients = []law.SubjectID{"ci"}
	first, err := create(k, "olga", "1", ask)
	if err != nil {
		t.Fatal(err)
	}
	k.Approve(first, "alice")
	k.Clock.Step(testkit.Day / 2)
	again, err := create(k, "olga", "1", ask)
	if err != nil || again.ID != first.ID || again.Digest != first.Digest || again.State != law.Approved || !again.Expires.Equal(first.Expires) {
		t.Errorf("the same request gave %s (%s, %v)", again.ID, again.State, err)
	}
	if n := k.Count("", audit.OperationCreated); n != 1 {
		t.Errorf("%d operations were created", n)
	}
	for what, change := range map[string]func(*law.Ask){
		"another description": func(a *law.Ask) { a.Description += "." }, "another context": func(a *law.Ask) { a.Context += "." },
		"another validity": func(a *law.Ask) { a.Validity /= 2 }, "no client": func(a *law.Ask) { a.Clients = nil },
		"another count": func(a *law.Ask) { a.Keys = []law.KeyAsk{{Key: "fw-one", MaxUses: 2}, a.Keys[1]} },
		"one key":       func(a *law.Ask) { a.Keys = a.Keys[:1] },
		"an artifact": func(a *law.Ask) {
			a.Artifacts = []law.Artifact{{Name: "a", Hash: law.SHA256, Digest: string(first.Digest)}}
		},
	} {
		other := ask
		change(&other)
		_, err := create(k, "olga", "1", other)
		testkit.Refused(t, what, err, law.KeyReused)
	}
	if n := k.Count("", audit.OperationRefused); n != 7 {
		t.Errorf("%d refusals are events", n)
	}
	// The key is scoped to the subject.
	if other, err := create(k, "peter", "1", testkit.Ask("fw-one")); err != nil || other.ID == first.ID {
		t.Errorf("peter got %s (%v)", other.ID, err)
	}
	k.Enable("olga", false) // after she signed in
	if _, err = create(k, "olga", "1", ask); err == nil {
		t.Error("a disabled subject was answered")
	}
	_, err = create(k, "olga", "2", ask)
	testkit.Refused(t, "a disabled subject", err, law.Forbidden)
}

func TestARefusedCreationLeavesNoTraceButItsEvent(t *testing.T) {
	k := testkit.New(t)
	n := 0
	for what, c := range map[string]struct {
		who    law.SubjectID
		change func(*law.Ask)
		want   law.RefusalKind
	}{
		"an unknown key":     {"olga", func(a *law.Ask) { a.Keys[0].Key = "fw-none" }, law.Forbidden},
		"a key of others":    {"olga", func(a *law.Ask) { a.Keys[0].Key = "fw-other" }, law.Forbidden},
		"one key of two":     {"ci", func(a *law.Ask) { a.Keys = append(a.Keys, law.KeyAsk{Key: "fw-ed", MaxUses: 1}) }, law.Forbidden},
		"no role at all":     {"eve", func(*law.Ask) {}, law.Forbidden},
		"an approver":        {"alice", func(*law.Ask) {}, law.Forbidden},
		"an unknown subject": {"nobody", func(*law.Ask) {}, law.Forbidden},
		"too many uses":      {"olga", func(a *law.Ask) { a.Keys[0].MaxUses = 1001 }, law.Impossible},
		"the same key twice": {"olga", func(a *law.Ask) { a.Keys = append(a.Keys, a.Keys[0]) }, law.Impossible},
		"no key":             {"olga", func(a *law.Ask) { a.Keys = nil }, law.Impossible},
		"hidden text":        {"olga", func(a *law.Ask) { a.Description = "release\u202e1.2.3" }, law.Impossible},
		"an unknown client":  {"olga", func(a *law.Ask) { a.Clients = []law.SubjectID{"nobody"} }, law.Impossible},
		"approvers as clients": {"olga", func(a *law.Ask) {
			a.Keys[0].Key, a.Clients = "fw-one", []law.SubjectID{"alice", "bob", "dave", "peter"}
		}, law.Impossible},
	} {
		ask := testkit.Ask("fw-dev")
		c.change(&ask)
		o, err := create(k, c.who, "1", ask)
		testkit.Refused(t, what, err, c.want)
		if o.ID != "" || o.State != "" || o.Digest != "" {
			t.Errorf("%s: with the refusal came %+v", what, o)
		}
		n++
		e := k.EventsOf("", audit.OperationRefused)
		if last := e[len(e)-1]; len(e) != n || last.Refusal != c.want || last.Actor.Subject != c.who || last.Reason == "" || last.Route == "" {
			t.Errorf("%s: the last of %d events is %+v", what, len(e), last)
		}
	}
	if _, err := create(k, "olga", "1", testkit.Ask("fw-dev")); err != nil {
		t.Errorf("the idempotency key of what was refused is taken: %v", err)
	}
	for what, ask := range map[string]func(*law.Ask){
		"description": func(a *law.Ask) { a.Description = "\xff" }, "context": func(a *law.Ask) { a.Context = "\xff" },
	} {
		bad := testkit.Ask("fw-dev")
		ask(&bad)
		_, err := create(k, "olga", uuid.NewString(), bad)
		if _, is := errors.AsType[*keyserver.Malformed](err); !is {
			t.Errorf("a %s that is not UTF-8: %v", what, err)
		}
	}
}

func TestPendingOperationsAreLimitedByOrderer(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Limits: keyserver.Limits{PendingOperations: 3}})
	mine := []keyserver.Operation{k.Create(testkit.Ask("fw-one")), k.Create(testkit.Ask("fw-one")), k.Create(testkit.Ask("fw-one"))}
	tooMany := func() {
		t.Helper()
		size := k.LogSize()
		_, err := k.CreateAs(k.Caller("olga"), testkit.Ask("fw-one"))
		if many, is := errors.AsType[*keyserver.TooMany](err); !is || many.Sentence == "" || many.RetryAfter <= 0 {
			t.Errorf("the 4th pending operation: %v", err)
		}
		if n := k.LogSize() - size; n != 0 {
			t.Errorf("a 429 left %d events", n)
		}
	}
	tooMany()
	if _, err := k.CreateAs(k.Caller("peter"), testkit.Ask("fw-one")); err != nil {
		t.Errorf("the limit is not each orderer's own: %v", err)
	}
	k.Approve(mine[0], "alice") // is pending no more
	k.Create(testkit.Ask("fw-one"))
	tooMany()
	if _, err := k.Keyserver.Revoke(k.Context(), k.Caller("olga"), mine[1].ID, "not needed"); err != nil {
		t.Fatal(err)
	}
	k.Create(testkit.Ask("fw-one"))
	tooMany()
	k.Clock.Step(testkit.Day) // they have expired, though nobody has written it down
	k.Create(testkit.Ask("fw-one"))
	errs := make([]error, 20)
	testkit.Race(20, func(i int) { _, errs[i] = k.CreateAs(k.Caller("olga"), testkit.Ask("fw-one")) })
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		}
	}
	if made != 2 {
		t.Errorf("%d more operations were created at the same time, of 2", made)
	}
}
