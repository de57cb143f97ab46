package law_test

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// rule 1
func TestAnOperationIsCreatedPendingWithWhatWasAsked(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) {
		a.Clients = []law.SubjectID{"line"}
		a.Artifacts = []law.Artifact{artifact("image.bin", "firmware")}
	}, "fw-prod", "fw-dev")
	w.is(law.Pending)
	w.happened(law.DidCreate)
	if w.did[0].By != "olga" {
		t.Errorf("created by %q", w.did[0].By)
	}
	want := law.Statement{
		Server: "test", ID: "op-1", Nonce: "00ff", Orderer: olga.Principal, Clients: []law.SubjectID{"line"},
		Keys: []law.KeyGrant{
			{Key: "fw-prod", Fingerprint: "fingerprint-of-fw-prod", MaxUses: 1, Requirement: law.Require(2)},
			{Key: "fw-dev", Fingerprint: "fingerprint-of-fw-dev", MaxUses: 1, Requirement: law.Require(0)},
		},
		Description: "release 1.2", Context: "built from tag v1.2",
		Artifacts: []law.Artifact{artifact("image.bin", "firmware")}, Created: monday, Expires: monday.Add(time.Hour),
	}
	if !reflect.DeepEqual(w.op.Statement, want) {
		t.Errorf("created\n     %+v\nwant %+v", w.op.Statement, want)
	}
}

// rule 1
func TestCreationTimesAreWholeMillisecondsUTC(t *testing.T) {
	w := newWorld(t)
	w.now = monday.In(time.FixedZone("here", 3600)).Add(1999 * time.Microsecond)
	w.order("fw-dev")
	if want := monday.Add(time.Millisecond); w.op.Created != want || w.op.Expires != want.Add(time.Hour) {
		t.Errorf("created %v, expires %v", w.op.Created, w.op.Expires)
	}
}

// rule 1
func TestAnOrdererRoleOnEveryKeyIsNeeded(t *testing.T) {
	w := newWorld(t)
	w.addRole(law.Role{ID: "some", Kind: law.Orderer, Keys: []law.KeyID{"fw-dev"}, Members: []law.SubjectID{"zoe"}})
	zoe := law.Caller{Principal: law.Principal{Subject: "zoe", Issuer: people, Sub: "zoe-sub"}}
	w.notCreated(law.Forbidden)(w.create(zoe, nil, "fw-dev", "fw-test"))
	w.ok(w.create(zoe, nil, "fw-dev"))
	anna := law.Caller{Principal: law.Principal{Subject: "anna", Issuer: people, Sub: "anna-sub"}}
	w.notCreated(law.Forbidden)(w.create(anna, nil, "fw-test"))
}

// rule 1
func TestAnUnknownOrDisabledSubjectCreatesNothing(t *testing.T) {
	w := newWorld(t)
	w.notCreated(law.Forbidden)(w.create(law.Caller{Principal: law.Principal{Subject: "nobody", Issuer: people}}, nil, "fw-dev"))
	w.notCreated(law.Forbidden)(w.create(law.Caller{}, nil, "fw-dev"))
	w.enable("olga", false)
	w.notCreated(law.Forbidden)(w.create(olga, nil, "fw-dev"))
}

// rule 1
func TestTheZeroFactsRefuseEverything(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev")
	var none law.Facts
	_, err := law.Create(olga, law.Ask{Keys: []law.KeyAsk{{Key: "fw-dev", MaxUses: 1}}}, none, monday)
	wantRefusal(t, law.Forbidden, err)
	_, err = w.op.Approve("anna", w.op.Digest(), none, monday)
	wantRefusal(t, law.NotFound, err)
	_, err = w.op.Place(w.ask("olga", "fw-dev"), nil, none, monday)
	wantRefusal(t, law.NotFound, err)
	if s := w.op.State(none, monday); s != law.Revoked {
		t.Errorf("with keys nobody knows, the operation is %s", s)
	}
}

// rule 1
func TestAKeyThatCannotBeAskedForIsRefusedAsAWhole(t *testing.T) {
	for name, c := range map[string]struct {
		key   law.KeyID
		world func(*world)
		kind  law.RefusalKind
	}{
		"unknown":  {key: "nothing", kind: law.Forbidden},
		"ROOT":     {key: "root", kind: law.Impossible},
		"disabled": {key: "fw-test", world: func(w *world) { w.setState("fw-test", law.KeyDisabled) }, kind: law.Impossible},
		"revoked":  {key: "fw-test", world: func(w *world) { w.setState("fw-test", law.KeyRevoked) }, kind: law.Impossible},
		"twice":    {key: "fw-dev", kind: law.Impossible},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.world != nil {
				c.world(w)
			}
			w.notCreated(c.kind)(w.create(olga, nil, "fw-dev", c.key))
		})
	}
}

// rule 1
func TestAnOperationNamesOneToAHundredKeys(t *testing.T) {
	w := newWorld(t)
	w.notCreated(law.Impossible)(w.create(olga, nil))
	var many []law.KeyID
	for i := range law.MaxKeys + 1 {
		id := law.KeyID("k" + strings.Repeat("k", i%40) + string(rune('a'+i/40)))
		many = append(many, id)
		w.cfg.Keys = append(w.cfg.Keys, key(id, 0))
	}
	w.addRole(law.Role{ID: "many", Kind: law.Orderer, Keys: many, Members: []law.SubjectID{"olga"}})
	w.ok(w.create(olga, nil, many[:law.MaxKeys]...))
	w.notCreated(law.Impossible)(w.create(olga, nil, many...))
}

// rule 1
func TestTheLimitsOfAKeyCannotBeExceeded(t *testing.T) {
	w := newWorld(t)
	uses := func(n int) func(*law.Ask) { return func(a *law.Ask) { a.Keys[0].MaxUses = n } }
	valid := func(d time.Duration) func(*law.Ask) { return func(a *law.Ask) { a.Validity = d } }
	w.orderWith(uses(1), "fw-dev")
	w.orderWith(uses(10), "fw-dev")
	w.notCreated(law.Impossible)(w.create(olga, uses(0), "fw-dev"))
	w.notCreated(law.Impossible)(w.create(olga, uses(-1), "fw-dev"))
	w.notCreated(law.Impossible)(w.create(olga, uses(11), "fw-dev"))
	w.orderWith(valid(time.Millisecond), "fw-dev")
	w.orderWith(valid(24*time.Hour), "fw-dev")
	w.notCreated(law.Impossible)(w.create(olga, valid(0), "fw-dev"))
	w.notCreated(law.Impossible)(w.create(olga, valid(-time.Hour), "fw-dev"))
	w.notCreated(law.Impossible)(w.create(olga, valid(1500*time.Microsecond), "fw-dev"))
	w.notCreated(law.Impossible)(w.create(olga, valid(24*time.Hour+time.Millisecond), "fw-dev"))
	w.changeKey("fw-test", func(k *law.Key) { k.MaxValidity = time.Minute })
	w.notCreated(law.Impossible)(w.create(olga, nil, "fw-dev", "fw-test")) // the shortest limit binds
}

// rule 1
func TestARequirementThatNobodyCanMeetIsRefusedAtCreation(t *testing.T) {
	w := newWorld(t)
	// The orderer does not count: anna, bert and carl are left for fw-prod.
	w.require("fw-prod", 3)
	w.order("fw-prod")
	w.require("fw-prod", 4)
	w.notCreated(law.Impossible)(w.create(olga, nil, "fw-prod"))
	w.require("fw-prod", 3)
	w.notCreated(law.Impossible)(w.create(olga, func(a *law.Ask) { a.Clients = []law.SubjectID{"bert"} }, "fw-prod"))
	w.notCreated(law.Impossible)(w.create(ciJob, func(*law.Ask) { w.leave("approvers-prod", "olga") }, "fw-prod")) // carl is behind it
	w.enable("anna", false)
	w.notCreated(law.Impossible)(w.create(olga, nil, "fw-prod"))
}

// rule 1
func TestTextsMustBeThereAndReadable(t *testing.T) {
	w := newWorld(t)
	for _, bad := range []string{"", " \n", "a\u202eb"} {
		w.notCreated(law.Impossible)(w.create(olga, func(a *law.Ask) { a.Description = bad }, "fw-dev"))
		w.notCreated(law.Impossible)(w.create(olga, func(a *law.Ask) { a.Context = bad }, "fw-dev"))
		w.notCreated(law.Impossible)(w.create(olga, func(a *law.Ask) { a.Artifacts = []law.Artifact{artifact(bad, "x")} }, "fw-dev"))
	}
	w.orderWith(func(a *law.Ask) {
		a.Description, a.Context = strings.Repeat("d", law.MaxDescription), strings.Repeat("c", law.MaxContext)
	}, "fw-dev")
	w.notCreated(law.Impossible)(w.create(olga, func(a *law.Ask) { a.Description = strings.Repeat("d", law.MaxDescription+1) }, "fw-dev"))
	w.notCreated(law.Impossible)(w.create(olga, func(a *law.Ask) { a.Context = strings.Repeat("c", law.MaxContext+1) }, "fw-dev"))
}

// rule 1
func TestATokenThatCannotBeWrittenDownIsRefused(t *testing.T) {
	w := newWorld(t)
	bad := ciJob
	bad.Claims = []law.Claim{{Name: "repository", Present: true, Value: "\xff"}}
	w.notCreated(law.Impossible)(w.create(bad, nil, "fw-dev"))
	bad = olga
	bad.Sub = "\xff"
	w.notCreated(law.Impossible)(w.create(bad, nil, "fw-dev"))
}

// rule 1
func TestArtifactsAreWellFormed(t *testing.T) {
	good := artifact("image.bin", "firmware")
	for name, bad := range map[string]law.Artifact{
		"negative size":     with(good, func(a *law.Artifact) { a.Size = -1 }),
		"size beyond 2^53":  with(good, func(a *law.Artifact) { a.Size = 1 << 53 }),
		"unknown hash":      with(good, func(a *law.Artifact) { a.Hash = "SHA-1" }),
		"digest not hex":    with(good, func(a *law.Artifact) { a.Digest = strings.Repeat("zz", 32) }),
		"digest too short":  with(good, func(a *law.Artifact) { a.Digest = a.Digest[2:] }),
		"digest upper case": with(good, func(a *law.Artifact) { a.Digest = strings.Repeat("AB", 32) }),
		"digest of other":   with(good, func(a *law.Artifact) { a.Hash = law.SHA512 }),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.notCreated(law.Impossible)(w.create(olga, func(a *law.Ask) { a.Artifacts = []law.Artifact{bad} }, "ca"))
		})
	}
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Artifacts = []law.Artifact{good} }, "ca")
	w.notCreated(law.Impossible)(w.create(olga, func(a *law.Ask) {
		a.Artifacts = []law.Artifact{good, with(good, func(a *law.Artifact) { a.Name = "copy.bin" })}
	}, "ca"))
	many := func(n int) func(*law.Ask) {
		return func(a *law.Ask) {
			for i := range n {
				a.Artifacts = append(a.Artifacts, artifact("n", strconv.Itoa(i)))
			}
		}
	}
	w.orderWith(many(law.MaxArtifacts), "ca")
	w.notCreated(law.Impossible)(w.create(olga, many(law.MaxArtifacts+1), "ca"))
}

// rule 1
func TestAKeyMayDemandThatArtifactsAreNamed(t *testing.T) {
	w := newWorld(t)
	w.changeKey("fw-dev", func(k *law.Key) { k.ArtifactsNeeded = true })
	w.notCreated(law.Impossible)(w.create(olga, nil, "fw-dev"))
	w.orderWith(func(a *law.Ask) { a.Artifacts = []law.Artifact{artifact("image.bin", "firmware")} }, "fw-dev")
}

// rule 1
func TestArtifactsWithoutADigestThatTheKeySignsAreRefused(t *testing.T) {
	w := newWorld(t)
	named := func(a *law.Ask) { a.Artifacts = []law.Artifact{artifact("image.bin", "firmware")} }
	w.notCreated(law.Impossible)(w.create(olga, named, "ed")) // SHA-512
	w.orderWith(named, "ca")                                  // which signs no input
}

// rule 1
func TestClientsAreDistinctEnabledSubjects(t *testing.T) {
	w := newWorld(t)
	clients := func(c ...law.SubjectID) func(*law.Ask) { return func(a *law.Ask) { a.Clients = c } }
	w.orderWith(clients("line", "bert"), "fw-dev")
	w.notCreated(law.Impossible)(w.create(olga, clients("olga"), "fw-dev"))
	w.notCreated(law.Impossible)(w.create(olga, clients("line", "line"), "fw-dev"))
	w.notCreated(law.Impossible)(w.create(olga, clients("nobody"), "fw-dev"))
	w.enable("line", false)
	w.notCreated(law.Impossible)(w.create(olga, clients("line"), "fw-dev"))
	w.notCreated(law.Impossible)(w.create(olga, clients(slices.Repeat([]law.SubjectID{"bert"}, law.MaxClients+1)...), "fw-dev"))
}

// rule 1
func TestACITokenWithoutAKnownEnabledActorIsRefused(t *testing.T) {
	w := newWorld(t)
	w.ok(w.create(ciJob, nil, "fw-dev"))
	if w.op.Behind != "carl" || !slices.Equal(w.op.Claims, ciJob.Claims) {
		t.Errorf("behind it is %q, with claims %v", w.op.Behind, w.op.Claims)
	}
	absent, stranger := ciJob, ciJob
	absent.Actor, stranger.Actor = "", "mallory"
	w.notCreated(law.Forbidden)(w.create(absent, nil, "fw-dev"))
	w.notCreated(law.Forbidden)(w.create(stranger, nil, "fw-dev"))
	w.enable("carl", false)
	w.notCreated(law.Forbidden)(w.create(ciJob, nil, "fw-dev"))
	elsewhere := ciJob
	elsewhere.Issuer = "https://elsewhere.example"
	w.notCreated(law.Forbidden)(w.create(elsewhere, nil, "fw-dev"))
}

// rule 1
func TestAnIssuerMayBeConfiguredWithAnOptionalActor(t *testing.T) {
	w := newWorld(t)
	w.cfg.Issuers[1].ActorOptional = true
	stranger := ciJob
	stranger.Actor = "mallory"
	w.ok(w.create(stranger, nil, "fw-dev"))
	if w.op.Behind != "" {
		t.Errorf("behind it is %q", w.op.Behind)
	}
	w.enable("carl", false)
	w.ok(w.create(ciJob, nil, "fw-dev"))
	if w.op.Behind != "carl" {
		t.Errorf("a disabled person is behind it, but the operation says %q", w.op.Behind)
	}
}

// rule 1: asking again for the same is no second operation, and the key of one operation serves no other.
func TestACreationIsRepeatedOnlyByItsOrdererForTheSame(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod")
	kind := func(err error) law.RefusalKind {
		var r *law.Refusal
		if errors.As(err, &r) {
			return r.Kind
		}
		return ""
	}
	if err := w.op.CreateAgain("olga", true, w.facts()); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := w.op.CreateAgain("olga", false, w.facts()); kind(err) != law.KeyReused {
		t.Errorf("something else under the same key: %v", err)
	}
	if err := w.op.CreateAgain("zoe", true, w.facts()); kind(err) != law.NotFound {
		t.Errorf("somebody who does not see it: %v", err)
	}
}
