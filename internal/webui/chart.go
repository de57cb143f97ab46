package webui

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

const (
	chartStep   = 10 // from one bar to the next
	chartBar    = 7  // width of a bar
	chartHeight = 80
)

// chart draws how often something was used on each of the days from first on, as a picture with the same figures in
// text for whoever does not see it.
func chart(days []int, first time.Time) template.HTML {
	sum, most, busiest := 0, 0, 0
	for i, n := range days {
		sum += n
		if n > most {
			most, busiest = n, i
		}
	}
	date := func(i int) string { return first.UTC().AddDate(0, 0, i).Format(time.DateOnly) }
	what := fmt.Sprintf("%s in %s", count(sum, "use"), count(len(days), "day"))
	if sum > 0 {
		what += fmt.Sprintf("; the most, %d, on %s", most, date(busiest))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<figure class="days"><svg class="chart" viewBox="0 0 %d %d" preserveAspectRatio="none" role="img" aria-labelledby="chart-title chart-desc">`, max(1, len(days))*chartStep, chartHeight)
	fmt.Fprintf(&b, `<title id="chart-title">Uses by day</title><desc id="chart-desc">%s.</desc>`, what)
	for i, n := range days {
		height, class := 1, ` class="zero"`
		if n > 0 {
			height, class = max(2, n*chartHeight/most), ""
		}
		fmt.Fprintf(&b, `<rect%s x="%d" y="%d" width="%d" height="%d"><title>%s: %s</title></rect>`,
			class, i*chartStep, chartHeight-height, chartBar, height, date(i), count(n, "use"))
	}
	b.WriteString(`</svg>`)
	if len(days) > 0 {
		fmt.Fprintf(&b, `<figcaption><span>%s</span><span class="what">%s</span><span>%s</span></figcaption>`, date(0), what, date(len(days)-1))
	}
	b.WriteString(`</figure>`)
	if sum > 0 {
		b.WriteString(`<div class="hidden"><table><caption>Days with uses</caption><thead><tr><th scope="col">Day</th><th scope="col">Uses</th></tr></thead><tbody>`)
		for i, n := range days {
			if n > 0 {
				fmt.Fprintf(&b, `<tr><th scope="row">%s</th><td>%d</td></tr>`, date(i), n)
			}
		}
		b.WriteString(`</tbody></table></div>`)
	}
	return template.HTML(b.String())
}
