package main

import (
	"math"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

func goalsOf(lines ...line) map[string]goal {
	b := bench{lines: lines}
	b.noop = map[int]float64{32: 1000}
	b.raw = map[rawRate]float64{{"software", law.RSA3072}: 100, {"softhsm", law.P256}: 400}
	b.log = 300_000
	named := map[string]goal{}
	for _, g := range b.goals() {
		named[g.name] = g
	}
	return named
}

func TestEachGoalIsJudgedByTheLineThatItIsFor(t *testing.T) {
	at := func(setup string, a law.Algorithm, clients int, rate float64) line {
		return line{setup: setup, algorithm: a, clients: clients, result: result{rate: rate, latencies: []time.Duration{20 * time.Millisecond}}, commits: 2.001, peak: 61}
	}
	goals := goalsOf(
		at("sqlite, software", law.P256, 1, 7), at("sqlite, software", law.P256, 8, 8), at("sqlite, software", law.P256, 32, 200), at("sqlite, software", law.RSA3072, 32, 96),
		at("postgres, software", law.P256, 32, 190), at("postgres ×3, software", law.P256, 32, 95), at("sqlite, softhsm", law.P256, 32, 300),
	)
	for name, want := range map[string]struct {
		reached float64
		missed  bool
	}{
		"P-256, 32 clients, of the no-op handler":          {0.2, true},
		"P-256, 32 clients, p99":                           {20, true},
		"P-256, 1 client, commits for an order":            {2.001, false},
		"RSA-3072, 32 clients, of crypto/rsa on all cores": {0.96, false},
		"SoftHSM2 P-256, 32 clients, of raw PKCS#11":       {0.75, true},
		"PostgreSQL, of SQLite":                            {0.95, false},
		"3 servers, of 1 server on PostgreSQL":             {0.5, true},
		"memory under that load, at its peak":              {61, true},
		"verification of an exported log":                  {300_000, false},
	} {
		if g, there := goals[name]; !there || math.Abs(g.reached-want.reached) > 1e-9 || g.missed() != want.missed {
			t.Errorf("%s: reached %v, missed %v; it is %v, %v", name, g.reached, g.missed(), want.reached, want.missed)
		}
	}
}

func TestAGoalThatWasNotMeasuredIsNotJudged(t *testing.T) {
	for name, g := range goalsOf() {
		if name != "verification of an exported log" && !math.IsNaN(g.reached) {
			t.Errorf("%s: reached %v, and nothing was measured", name, g.reached)
		}
	}
}
