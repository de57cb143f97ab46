package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// An alert on a metric that there is not never rings, nor does one on the increase of a counter that is not
// there before the first event.
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
	v.get(v.said["api"] + "/api/ready")
	_, before := v.get(v.said["metrics"])
	v.sign(v.order("fw-dev", "release"), "image")
	_, after := v.get(v.said["metrics"])

	selectors := regexp.MustCompile(`\b((?:keyserver_(?:http|ready)|process|go)\w*)(?:\{([^}]*)\})?`).FindAllStringSubmatch(string(rules), -1)
	counters := 0
	for _, selector := range selectors {
		metrics := after
		if strings.HasSuffix(selector[1], "_total") {
			counters++
			metrics = before
		}
		labels := regexp.MustCompile(`\w+="[^"]*"`).FindAllString(strings.ReplaceAll(selector[2], `job="keyserver"`, ""), -1) // the job is Prometheus's
		if !hasSeries(metrics, selector[1], labels) {
			t.Errorf("there is no metric %s", selector[0])
		}
	}
	if len(selectors) < 10 || counters < 6 {
		t.Errorf("only %d are looked for, %d of them counters: %v", len(selectors), counters, selectors)
	}
}

// hasSeries says whether there is a metric with this name and all these labels.
func hasSeries(metrics, name string, labels []string) bool {
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		all := true
		for _, label := range labels {
			all = all && strings.Contains(line, label)
		}
		if all {
			return true
		}
	}
	return false
}
