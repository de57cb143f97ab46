package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// An alert on a metric that there is not never rings.
func TestTheAlertsAreAboutMetricsThatThereAre(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join("..", "..", "docs", "operators", "files", "prometheus-rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	s.edit("keyserver.yaml", "url:", "metrics-listen: 127.0.0.2:0\nurl:")
	s.quickKeystore()
	s.must(s.init())
	v := s.serve()
	v.sign(v.order("fw-dev", "release"), "image")
	_, metrics := v.get(v.said["metrics"])
	names := regexp.MustCompile(`\b(keyserver_http|process|go)_\w+`).FindAllString(string(rules), -1)
	for _, name := range names {
		if !strings.Contains(metrics, "\n"+name+"{") && !strings.Contains(metrics, "\n"+name+" ") {
			t.Errorf("there is no metric %s", name)
		}
	}
	for _, label := range regexp.MustCompile(`(?:route|outcome)="[^"]*"`).FindAllString(string(rules), -1) {
		if label != `outcome="clock-held"` && !strings.Contains(metrics, label) { // which is counted when it happens
			t.Errorf("no metric has %s", label)
		}
	}
	if len(names) < 9 {
		t.Errorf("only %v are looked for", names)
	}
}
