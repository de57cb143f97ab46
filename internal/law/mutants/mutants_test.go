package main

import (
	"os"
	"strings"
	"testing"
)

// A fault whose text is not in the law any more seeds nothing, and would be found out only when all are tried.
func TestTheTextOfEveryFaultIsInTheLawOnce(t *testing.T) {
	for _, m := range mutants() {
		text, err := os.ReadFile("../" + m.file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Errorf("%s: its text is in %s %d times", m.name, m.file, n)
		}
	}
}
