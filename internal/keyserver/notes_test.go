package keyserver

import (
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// asked is an operation of an orderer, valid for an hour, with so many uses of each key.
func asked(id law.OperationID, who law.SubjectID, uses int, keys ...law.KeyID) law.Operation {
	var o law.Operation
	o.ID, o.Orderer = id, law.Principal{Subject: who, Issuer: "https://idp.test", Sub: string(who)}
	o.Created = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	o.Expires = o.Created.Add(time.Hour)
	o.Artifacts = []law.Artifact{{Name: "image"}}
	for _, key := range keys {
		o.Keys = append(o.Keys, law.KeyGrant{Key: key, MaxUses: uses})
	}
	return o
}

func with(o law.Operation, change func(*law.Operation)) law.Operation {
	change(&o)
	return o
}

func on(key law.KeyID, all ...law.Operation) former {
	f := former{key: key, whole: true, open: true, limit: 200}
	for _, o := range all {
		f.all = append(f.all, formerOperation{o, true})
	}
	return f
}

func firmware(id law.KeyID) bool { return !strings.HasPrefix(string(id), "ca") }

// wantNotes checks which notes there are, each as its kind, its key and its sentence.
func wantNotes(t *testing.T, o law.Operation, before []former, want ...string) {
	t.Helper()
	var got []string
	for _, n := range notesOn(o, before, firmware) {
		got = append(got, n.Kind+" "+string(n.Key)+": "+n.Sentence)
	}
	if !slices.Equal(got, want) {
		t.Errorf("noticed is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNothingIsNoticedAboutTheSameAgain(t *testing.T) {
	before := asked("1", "dana", 2, "fw")
	wantNotes(t, asked("2", "dana", 2, "fw"), []former{on("fw", before)})
	wantNotes(t, asked("2", "dana", 1, "fw"), []former{on("fw", before)})
}

func TestWhoAsksForAKeyForTheFirstTimeIsNoticed(t *testing.T) {
	wantNotes(t, asked("1", "dana", 2, "fw"), []former{on("fw")}, "first-time fw: dana has not asked for key fw before")
	f := on("fw", asked("1", "otto", 2, "fw"))
	wantNotes(t, asked("2", "dana", 2, "fw"), []former{f}, "first-time fw: dana has not asked for key fw before")
	f.whole = false
	wantNotes(t, asked("2", "dana", 2, "fw"), []former{f},
		"first-time fw: dana has not asked for key fw in the newest 200 operations on it before this one")
	f.open = false
	wantNotes(t, asked("2", "dana", 2, "fw"), []former{f},
		"first-time fw: dana has not asked for key fw in those of the newest 200 operations on it before this one that you may see")
	wantNotes(t, asked("2", "dana", 2, "fw", "fw-two"), []former{on("fw", asked("1", "dana", 2, "fw")), on("fw-two")},
		"first-time fw-two: dana has not asked for key fw-two before")
}

func TestACountAboveTheUsualIsNoticed(t *testing.T) {
	f := on("fw", asked("3", "dana", 2, "fw"), asked("2", "otto", 4, "fw"), asked("1", "dana", 1, "fw"))
	wantNotes(t, asked("4", "dana", 4, "fw"), []former{f})
	wantNotes(t, asked("4", "dana", 5, "fw"), []former{f},
		"count fw: 5 uses of key fw are asked for, which is more than in the 3 earlier operations on it that were approved: there it was 4 at most")
	f.all[1].approved = false // what was refused makes nothing usual
	f.whole = false
	wantNotes(t, asked("4", "dana", 3, "fw"), []former{f},
		"count fw: 3 uses of key fw are asked for, which is more than in the 2 operations on it that were approved, of the newest 200 operations: there it was 2 at most")
	f.all[0].approved, f.open = false, false
	wantNotes(t, asked("4", "dana", 2, "fw"), []former{f},
		"count fw: 2 uses of key fw are asked for, which is more than in the 1 operation on it that was approved, of those of the newest 200 operations that you may see: there it was 1 at most")
	f.all[2].approved = false
	wantNotes(t, asked("4", "dana", 9, "fw"), []former{f})
}

func TestClaimsThatDifferFromTheLastTimeAreNoticed(t *testing.T) {
	claims := func(all ...law.Claim) func(*law.Operation) { return func(o *law.Operation) { o.Claims = all } }
	before := with(asked("1", "dana", 1, "fw"), claims(law.Claim{Name: "repository", Present: true, Value: "firmware"},
		law.Claim{Name: "ref", Present: true, Value: "main"}, law.Claim{Name: "actor"}, law.Claim{Name: "old", Present: true, Value: ""}))
	now := with(asked("2", "dana", 1, "fw"), claims(law.Claim{Name: "repository", Present: true, Value: "firmware"},
		law.Claim{Name: "ref"}, law.Claim{Name: "actor", Present: true, Value: "ma\u202ein"}))
	last := " in operation 1, the last one of dana looked at"
	wantNotes(t, now, []former{on("fw", before)},
		`claim : claim ref is absent, and was "main"`+last, `claim : claim actor is "ma\u202ein", and was absent`+last, `claim : claim old is not captured, and was ""`+last)
	wantNotes(t, now, []former{on("fw", with(asked("1", "otto", 1, "fw"), claims()), before)}, // of somebody else
		`claim : claim ref is absent, and was "main"`+last, `claim : claim actor is "ma\u202ein", and was absent`+last, `claim : claim old is not captured, and was ""`+last)
}

func TestTheLastTimeIsTheOneOnTheSameKeys(t *testing.T) {
	from := func(sub string) func(*law.Operation) { return func(o *law.Operation) { o.Orderer.Sub = sub } }
	same := with(asked("1", "dana", 1, "fw-two", "fw"), from("same"))
	newer, newest := with(asked("2", "dana", 1, "fw"), from("newer")), with(asked("3", "dana", 1, "fw-two"), from("newest"))
	now := asked("4", "dana", 1, "fw", "fw-two")
	wantNotes(t, now, []former{on("fw", newer, same), on("fw-two", newest, same)},
		`identity : dana came as "dana" of "https://idp.test", and in operation 1 as "same" of "https://idp.test"`)
	wantNotes(t, now, []former{on("fw", newer), on("fw-two", newest)},
		`identity : dana came as "dana" of "https://idp.test", and in operation 3 as "newest" of "https://idp.test"`)
}

func TestSignaturesOfWhatIsNotSaidAreNoticed(t *testing.T) {
	without := func(o law.Operation) law.Operation { o.Artifacts = nil; return o }
	before := []former{on("fw", asked("1", "dana", 9, "fw", "ca")), on("ca", asked("1", "dana", 9, "fw", "ca"))}
	wantNotes(t, without(asked("2", "dana", 3, "fw", "ca")), before, "no-artifacts : 3 signatures are wanted, and no artifact is named: what is signed is not fixed")
	wantNotes(t, without(asked("2", "dana", 1, "fw")), before[:1], "no-artifacts : 1 signature is wanted, and no artifact is named: what is signed is not fixed")
	wantNotes(t, without(asked("2", "dana", 3, "ca")), before[1:])
}

func TestALongValidityIsNoticed(t *testing.T) {
	valid := func(o law.Operation, d time.Duration) law.Operation { o.Expires = o.Created.Add(d); return o }
	f := on("fw", valid(asked("2", "dana", 1, "fw"), 3*time.Hour), asked("1", "otto", 1, "fw"))
	wantNotes(t, valid(asked("3", "dana", 1, "fw"), 3*time.Hour), []former{f})
	wantNotes(t, valid(asked("3", "dana", 1, "fw"), 4*time.Hour), []former{f},
		"validity : it is valid for 4h0m0s, which is longer than 2 earlier operations looked at that had been approved: the longest was 3h0m0s")
	f.all[0].approved = false
	wantNotes(t, valid(asked("3", "dana", 1, "fw"), 2*time.Hour), []former{f},
		"validity : it is valid for 2h0m0s, which is longer than 1 earlier operation looked at that had been approved: the longest was 1h0m0s")
	f.all[1].approved = false
	wantNotes(t, valid(asked("3", "dana", 1, "fw"), 9*time.Hour), []former{f})
}

func TestOthersWhoMayUseItAreNoticed(t *testing.T) {
	o := with(asked("2", "dana", 1, "fw"), func(o *law.Operation) { o.Clients = []law.SubjectID{"ci", "factory"} })
	wantNotes(t, o, []former{on("fw", asked("1", "dana", 1, "fw"))}, "clients : besides dana, it may be used by ci, factory")
}
