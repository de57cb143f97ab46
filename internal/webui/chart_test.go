package webui

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestAChartSaysInTextWhatItShows(t *testing.T) {
	got := string(chart([]int{0, 4, 1}, time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)))
	for _, want := range []string{
		`viewBox="0 0 30 80"`, `<desc id="chart-desc">5 uses in 3 days; the most, 4, on 2026-11-30.</desc>`,
		`<rect class="zero" x="0" y="79" width="7" height="1"><title>2026-11-29: 0 uses</title>`,
		`<rect x="10" y="0" width="7" height="80"><title>2026-11-30: 4 uses</title>`,
		`<rect x="20" y="60" width="7" height="20"><title>2026-12-01: 1 use</title>`,
		`<th scope="row">2026-11-30</th><td>4</td>`, `<th scope="row">2026-12-01</th><td>1</td>`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the chart has no %s:\n%s", want, got)
		}
	}
	if strings.Contains(got, "2026-11-29</th>") || strings.Contains(got, "style=") {
		t.Errorf("the chart has a day without uses in its table, or a style:\n%s", got)
	}
}

func TestAChartIsWellFormedWhateverItShows(t *testing.T) {
	for _, days := range [][]int{nil, {0}, {1_000_000}, make([]int, 30), {1, 1_000_000}} {
		d := xml.NewDecoder(strings.NewReader("<div>" + string(chart(days, time.Unix(0, 0))) + "</div>"))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("the chart of %v: %v", days, err)
			}
		}
	}
}
