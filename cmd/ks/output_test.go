package main

import (
	"strings"
	"testing"
	"time"

	"example.org/keyserver/api"
)

func TestASpanOfTimeIsWrittenInItsTwoLargestUnits(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m 1s", 60 * time.Minute: "1h 0m", 24 * time.Hour: "24h 0m",
		49*time.Hour + 59*time.Minute: "2d 1h", 366 * 24 * time.Hour: "366d 0h", -90 * time.Second: "1m 30s",
	} {
		if got := span(in); got != want {
			t.Errorf("span(%v) = %s, want %s", in, got, want)
		}
	}
}

func TestOnlyOurOwnNamesStandAtTheLeftEdge(t *testing.T) {
	var l lines
	l.field("state", "pending")
	l.field("description", strings.Repeat("x", 50)+"\nstate: approved "+strings.Repeat("y ", 30))
	l.block("context", strings.Repeat("z", 50)+"\nstate: approved\n\nstate: approved")
	l.field("empty", "")
	for line := range strings.SplitSeq(strings.TrimSuffix(l.text(40), "\n"), "\n") {
		if columns(line) > 40 {
			t.Errorf("%q is wider than 40 columns", line)
		}
		ours := false
		for _, name := range []string{"state:       pending", "description: x", "context:", "empty:", "   "} {
			ours = ours || strings.HasPrefix(line, name)
		}
		if !ours && !strings.HasPrefix(line, "  | ") {
			t.Errorf("%q stands at the left edge", line)
		}
	}
}

func TestATableKeepsItsColumns(t *testing.T) {
	got := table([]string{"KEY", "WHAT"}, [][]string{{"a\nb", "one\ttwo"}, {"東京", strings.Repeat("long ", 20)}}, 40)
	want := "KEY         WHAT\n" +
		"a<U+000A>b  one<U+0009>two\n" +
		"東京        long long long long long lo…\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestAnOperationIsDescribedInFull(t *testing.T) {
	now := time.UnixMilli(1_795_435_200_000)
	p := &program{now: func() time.Time { return now }}
	o := api.Operation{
		ID: "0192f0c1-0000-7000-8000-000000000001", Digest: "3f2a90c177de04b8" + strings.Repeat("0", 48), State: api.Approved,
		Orderer: api.Principal{Subject: "ci", Issuer: "https://login.example.org", Sub: "repo:example/firmware"}, Behind: "dora", Clients: []string{"factory"},
		Keys: []api.OperationKey{
			{KeyID: "fw-prod", MaxUsageCount: 2, Needed: 2, ApprovedBy: []string{"ada", "bob"}, Taken: 1, Signed: 1},
			{KeyID: "fw-old", MaxUsageCount: 1, Needed: -1},
		},
		Description: "Release 4.2", Context: "Built from tag v4.2.\nAll tests passed.\n",
		Artifacts: []api.Artifact{{Name: "fw.bin", Size: 9, Hash: "SHA-256", Digest: "ab"}},
		Claims:    []api.Claim{{Name: "ref", Present: true, Value: "refs/tags/v4.2"}, {Name: "actor"}},
		Created:   now.UnixMilli(), Expires: now.Add(24 * time.Hour).UnixMilli(),
		Approvals: []api.Approval{{By: "eve", Covers: []string{"fw-prod"}, At: now.UnixMilli(), Withdrawn: now.UnixMilli()}, {By: "ada", Covers: []string{"fw-prod"}, At: now.UnixMilli()}},
		Obstacles: []string{"key fw-old is disabled"}, CountsFor: []string{"fw-prod"},
	}
	want := `operation:    0192f0c1-0000-7000-8000-000000000001
state:        approved
digest:       3f2a90c177de04b8000000000000000000000000000000000000000000000000
short form:   3f2a-90c1-77de-04b8
orderer:      ci
orderer's id: repo:example/firmware
at issuer:    https://login.example.org
behind it:    dora
clients:      factory
key:          fw-prod, 1 of 2 uses taken, 2 approvals, 2 needed
key:          fw-old, 0 of 1 uses taken, its requirement cannot be met any more
description:  Release 4.2
context:
  | Built from tag v4.2.
  | All tests passed.
artifact:     9 bytes, fw.bin
its digest:   SHA-256 ab
claim:        ref = refs/tags/v4.2
claim:        actor is absent
created:      2026-11-23 12:00:00 UTC
expires:      2026-11-24 12:00:00 UTC (in 24h 0m)
approval:     eve at 2026-11-23 12:00:00 UTC, for fw-prod, withdrawn at 2026-11-23 12:00:00 UTC
approval:     ada at 2026-11-23 12:00:00 UTC, for fw-prod
obstacle:     key fw-old is disabled
you:          your approval counts for fw-prod
`
	if got := p.describe(o, nil, 100); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	o.State, o.Ended = api.Revoked, &api.Ended{At: now.UnixMilli(), By: "bob", Reason: "wrong tag"}
	o.Expires = now.UnixMilli()
	got := p.describe(o, nil, 100)
	for _, line := range []string{"expires:      2026-11-23 12:00:00 UTC\n", "ended:        2026-11-23 12:00:00 UTC by bob\n", "reason:       wrong tag\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("%q is not in\n%s", line, got)
		}
	}
	if strings.Contains(got, "you:") {
		t.Error("an approval is said to count although the operation has ended")
	}
}
