package main

import (
	"fmt"
	"math"

	"example.org/keyserver/e2e/stand"
	"example.org/keyserver/internal/law"
)

// goal is what the server is to reach, as a ratio or a bound, and what it did in this run.
type goal struct {
	name    string
	most    bool    // what is wanted is not to be exceeded; else it is to be reached
	wanted  float64 // in the unit
	reached float64 // NaN: this run did not measure it
	unit    string
}

// most is the number of clients that the goals are for.
const most = 32

func (b *bench) goals() []goal {
	software, hsm := stand.Software, stand.SoftHSM
	sqlite := b.at(stand.SQLite, software, 1, law.P256, most)
	rsa := b.at(stand.SQLite, software, 1, law.RSA3072, most)
	postgres, three := b.at(stand.Postgres, software, 1, law.P256, most), b.at(stand.Postgres, software, 3, law.P256, most)
	goals := []goal{
		{"P-256, 32 clients, of the no-op handler", false, 0.25, sqlite.rate / b.noop[most], ""},
		{"P-256, 32 clients, p99", true, 15, sqlite.p99(), " ms"},
		{"P-256, 1 client, commits for an order", true, 2, b.at(stand.SQLite, software, 1, law.P256, 1).commits, ""},
		{"RSA-3072, 32 clients, of crypto/rsa on all cores", false, 0.95, rsa.rate / b.rawOf(software, law.RSA3072), ""},
		{"SoftHSM2 P-256, 32 clients, of raw PKCS#11", false, 0.8, b.at(stand.SQLite, hsm, 1, law.P256, most).rate / b.rawOf(hsm, law.P256), ""},
		{"PostgreSQL, of SQLite", false, 0.9, postgres.rate / sqlite.rate, ""},
		{"3 servers, of 1 server on PostgreSQL", false, 1, three.rate / postgres.rate, ""},
		{"memory under that load, at its peak", true, 60, sqlite.peak, " MiB"},
		{"verification of an exported log", false, 200_000, b.log, " events/s"},
	}
	if b.past != nil {
		goals = append(goals,
			goal{fmt.Sprintf("latency, 1 client, %d stored orders, of %d", b.past.many, fewOrders), true, 1.1, b.past.slower, ""},
			goal{fmt.Sprintf("start with %d events", b.past.events), true, 1, b.past.start.Seconds(), " s"})
	}
	return goals
}

// at is a line of the table. One that was not measured has nothing but NaN.
func (b *bench) at(database, keystore string, servers int, a law.Algorithm, clients int) line {
	name := setup{Options: stand.Options{Database: database, Keystore: keystore, Servers: servers}}.String()
	for _, l := range b.lines {
		if l.setup == name && l.algorithm == a && l.clients == clients {
			return l
		}
	}
	none := math.NaN()
	return line{result: result{rate: none}, commits: none, peak: none}
}

// p99 is in milliseconds.
func (l line) p99() float64 {
	if len(l.latencies) == 0 {
		return math.NaN()
	}
	return ms(l.at(0.99))
}

func (b *bench) rawOf(keystore string, a law.Algorithm) float64 {
	if rate, known := b.raw[rawRate{keystore, a}]; known {
		return rate
	}
	return math.NaN()
}

func (b *bench) printGoals() {
	fmt.Printf("\n%-52s %18s %18s\n", "goals", "goal", "reached")
	for _, g := range b.goals() {
		if math.IsNaN(g.reached) {
			continue
		}
		sign, mark := "≥", ""
		if g.most {
			sign = "≤"
		}
		if g.missed() {
			mark = "  missed"
		}
		fmt.Printf("%-52s %18s %18s%s\n", g.name, sign+" "+g.text(g.wanted), g.text(g.reached), mark)
	}
}

// missed judges what is printed: a hundredth is not what a goal is about.
func (g goal) missed() bool {
	reached := math.Round(g.reached*100) / 100
	if g.most {
		return reached > g.wanted
	}
	return reached < g.wanted
}

// text is an amount, with as many places as tell something.
func (g goal) text(amount float64) string {
	if g.wanted >= 10 {
		return fmt.Sprintf("%.0f%s", amount, g.unit)
	}
	return fmt.Sprintf("%.2f%s", amount, g.unit)
}
