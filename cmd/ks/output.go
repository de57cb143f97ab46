package main

import (
	"fmt"
	"strings"
	"time"
)

// lines collects output for people: fields and blocks of text. Whatever comes in is made visible.
type lines struct {
	items []item
}

type item struct {
	name, value string
	block       bool
}

// field adds a line "name: value", longer values on several lines.
func (l *lines) field(name, value string) { l.items = append(l.items, item{name: name, value: value}) }

// block adds text of several lines, each kept and marked as somebody's words.
func (l *lines) block(name, text string) {
	l.items = append(l.items, item{name: name, value: text, block: true})
}

// text returns everything, aligned. Only names stand at the left edge: whatever somebody wrote, it cannot
// look like a field of ours.
func (l *lines) text(width int) string {
	indent := 0
	for _, i := range l.items {
		if !i.block {
			indent = max(indent, len(i.name)+len(": "))
		}
	}
	var b strings.Builder
	for _, i := range l.items {
		if i.block {
			b.WriteString(i.name + ":\n" + block("  | ", i.value, width))
			continue
		}
		for n, part := range wrap(visible(i.value), width-indent) {
			head := ""
			if n == 0 {
				head = i.name + ":"
			}
			b.WriteString(strings.TrimRight(head+strings.Repeat(" ", indent-len(head))+part, " ") + "\n")
		}
	}
	return b.String()
}

// table returns rows in columns, under a heading. The last column takes what is left of the width; it is the
// place for what people wrote.
func table(heading []string, rows [][]string, width int) string {
	widths := make([]int, len(heading))
	last := len(heading) - 1
	const widest = 63 // of an id
	for c := range heading[:last] {
		widths[c] = columns(heading[c])
		for _, row := range rows {
			widths[c] = max(widths[c], min(columns(visible(row[c])), widest))
		}
		width -= widths[c] + 2
	}
	widths[last] = max(width, 20)
	var b strings.Builder
	for _, row := range append([][]string{heading}, rows...) {
		line := ""
		for c, text := range row {
			text = cell(text, widths[c])
			line += text
			if c < last {
				line += strings.Repeat(" ", max(widths[c]-columns(text), 0)+2)
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// date writes a time of the API for people.
func date(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05 UTC") }

// span writes how long it is, in the two largest units.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = d.Abs(); {
	case d >= 2*day:
		return fmt.Sprintf("%dd %dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
