package webui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
	"time"
)

// verifyPage is the page of a verification, which is sent in pieces: what is before the marker, the progress, the
// result, and what is behind the marker.
type verifyPage struct {
	Size   int64 // of the log when it began
	Marker template.HTML
}

// verifyMarker stands where the progress goes. Comments in templates are not sent.
const verifyMarker = "<!-- progress -->"

const progressTime = 2 * time.Second // between two lines of progress

// verifyLog verifies the whole audit log as it is exported, and says how far it is.
func verifyLog(s *server, c *call) (view, error) {
	checkpoint, _, err := s.newest(c)
	if err != nil {
		return view{}, err
	}
	ctx, stop := context.WithCancel(c.Context())
	defer stop()
	export := s.startExport(ctx, c)
	defer export.Close()
	if err := <-export.begun; err != nil { // refused, as a page of its own
		return view{}, err
	}
	var page bytes.Buffer
	v := view{page: "verify", title: "Verify the audit log", section: "audit", data: verifyPage{checkpoint.Size, verifyMarker}}
	if err := s.pages[v.page].Execute(&page, s.shell(c, v)); err != nil {
		return view{}, err
	}
	head, tail, _ := bytes.Cut(page.Bytes(), []byte(verifyMarker))
	out := &pieces{s: s, c: c, media: "text/html; charset=utf-8"}
	if _, err := out.Write(head); err != nil {
		return view{}, err
	}
	start := s.Now()
	last := start
	fault := s.Verify(ctx, export.PipeReader, func(done int64) {
		if now := s.Now(); now.Sub(last) >= progressTime {
			last = now
			_, _ = fmt.Fprintf(out, "<p class=\"fine\">%d of %d entries verified…</p>\n", done, checkpoint.Size) // who does not listen is found out below
		}
	})
	if c.Context().Err() != nil {
		return view{}, c.Context().Err()
	}
	_ = export.Close() // if it was not read to its end
	said := s.verdict(export.read, fault, s.Now().Sub(start))
	if err := <-export.ended; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		said = s.brokenOff(c, err)
	}
	_, err = out.Write(append(said, tail...))
	return view{}, err
}

// running is an export that is under way.
type running struct {
	*io.PipeReader
	begun chan error    // tells whether there is one, or why not
	ended chan error    // tells how it ended
	read  *exportReader // what has been exported
}

// startExport exports the log for somebody who reads it as it comes.
func (s *server) startExport(ctx context.Context, c *call) *running {
	return s.runExport(c, func(w io.Writer) error { return s.Keyserver.Export(ctx, c.Caller, w) })
}

func (s *server) runExport(c *call, export func(io.Writer) error) *running {
	from, to := io.Pipe()
	r := &running{from, make(chan error, 1), make(chan error, 1), &exportReader{leaf: func([]byte) error { return nil }}}
	var once sync.Once
	write := writerFunc(func(b []byte) (int, error) {
		once.Do(func() { r.begun <- nil })
		if n, err := r.read.Write(b); err != nil {
			return n, err
		}
		return to.Write(b)
	})
	go func() {
		err := s.safely(c, func() error { return export(write) })
		once.Do(func() { r.begun <- err })
		_ = to.CloseWithError(err) // never fails
		r.ended <- err
	}()
	return r
}

// brokenOff says why there is no verdict.
func (s *server) brokenOff(c *call, err error) []byte {
	if !errors.Is(err, errFault) { // which the log tells of already
		s.Log.Error("verification broken off", "request", c.Caller.Request, "route", c.route.pattern, "error", err)
	}
	return fmt.Appendf(nil, `<p class="refused" role="alert">The verification was broken off, and says nothing of the audit log: %s. The request was <code>%s</code>.</p>`,
		template.HTMLEscapeString(strings.TrimSuffix(shown(s.Translate(err).Detail), ".")), template.HTMLEscapeString(c.Caller.Request))
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }

// verdict says how the verification ended.
func (s *server) verdict(counted *exportReader, fault error, took time.Duration) []byte {
	if fault != nil {
		return fmt.Appendf(nil, `<p class="refused" role="alert">The audit log does not verify: %s</p>`, template.HTMLEscapeString(shown(sentence(fault.Error()))))
	}
	checkpoint, err := s.readCheckpoint(counted.checkpoint)
	if err != nil {
		return fmt.Appendf(nil, `<p class="refused" role="alert">The checkpoint of the export cannot be read: %s</p>`, template.HTMLEscapeString(shown(sentence(err.Error()))))
	}
	return fmt.Appendf(nil, `<div class="said" role="status"><p>The audit log is intact, and the law allows all that it tells of: %s, in %s.</p></div>
<h2>Its checkpoint</h2><pre>%s</pre>`, count(checkpoint.Size, "entry", "entries"), length(max(took, time.Millisecond).Truncate(time.Millisecond)), template.HTMLEscapeString(shown(string(counted.checkpoint))))
}
