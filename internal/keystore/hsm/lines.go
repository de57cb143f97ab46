package hsm

import (
	"bytes"
	"log/slog"
)

// Bounds of what a worker may say in the log. What is more is dropped.
const (
	maxLines = 20
	maxLine  = 400 // bytes
)

// lines logs what a library prints, and what a worker that crashes has to say. It is written to by one.
type lines struct {
	log   *slog.Logger
	begun []byte // of a line that has no end yet
	n     int
}

// Write takes everything.
func (l *lines) Write(p []byte) (int, error) {
	for part := range bytes.Lines(p) {
		l.begun = append(l.begun, part[:min(len(part), maxLine)]...)
		if whole := part[len(part)-1] == '\n'; whole || len(l.begun) >= maxLine {
			l.say()
		}
	}
	return len(p), nil
}

func (l *lines) say() {
	if l.n++; l.n <= maxLines {
		l.log.Warn("keystore worker says", slog.String("line", string(bytes.TrimSpace(l.begun[:min(len(l.begun), maxLine)]))))
	}
	l.begun = l.begun[:0]
}
