package webui

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/audit"
)

// pieces writes an answer piece by piece: nothing before the first one, so that what is refused before is answered as
// everything else is. A browser that does not take a piece in time is cut off, so that it cannot hold on to what the
// pieces are read from.
type pieces struct {
	s     *server
	c     *call
	media string
	name  string // under which it is saved; empty: it is shown
}

// Write sends one piece.
func (p *pieces) Write(b []byte) (int, error) {
	conn := http.NewResponseController(p.c.out)
	if p.c.status == 0 {
		if err := conn.SetWriteDeadline(time.Time{}); err != nil { // instead of the server's, which is for whole answers
			return 0, err
		}
		disposition := "inline"
		if p.name != "" {
			disposition = `attachment; filename="` + p.name + `"`
		}
		p.s.start(p.c, http.StatusOK, p.media, "Content-Disposition", disposition)
	}
	cut := time.AfterFunc(stall, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer cut.Stop()
	n, err := p.c.out.Write(b)
	if err != nil {
		return n, err
	}
	return n, conn.Flush()
}

// exportJSON sends the audit log as it is exported.
func exportJSON(s *server, c *call) (view, error) {
	return view{}, s.Keyserver.Export(c.Context(), c.Caller, &pieces{s, c, "application/jsonl", "audit.jsonl"})
}

// exportCSV sends what a table can hold of the audit log. It proves nothing: the other export does.
func exportCSV(s *server, c *call) (view, error) {
	t := newTable(&pieces{s, c, "text/csv; charset=utf-8; header=present", "audit.csv"})
	if err := s.Keyserver.Export(c.Context(), c.Caller, &exportReader{leaf: t.add}); err != nil {
		return view{}, err
	}
	return view{}, t.end()
}

// saveLot sends the device certificates of an operation, as they are now.
func saveLot(s *server, c *call) (view, error) {
	return view{}, s.Keyserver.WriteLot(c.Context(), c.Caller, c.operation(), time.Time{}, &pieces{s, c, api.MediaCSV, "certificates.csv"})
}

func saveLotReport(s *server, c *call) (view, error) {
	report, err := s.Keyserver.LotReport(c.Context(), c.Caller, c.operation())
	return view{file: report, media: api.MediaJOSE, name: "report.json"}, err
}

// exportReader takes an export to pieces as it is written to it.
type exportReader struct {
	leaf       func([]byte) error // gets each leaf
	leaves     int64              // so many there were
	checkpoint []byte             // behind the leaves
	rest       []byte             // of a line that is not complete yet
	behind     bool               // the leaves are over
}

// Write takes the next part of the export.
func (e *exportReader) Write(b []byte) (int, error) {
	e.rest = append(e.rest, b...)
	for !e.behind {
		line, rest, whole := bytes.Cut(e.rest, []byte("\n"))
		if !whole {
			if len(line) > audit.MaxLeaf {
				return 0, fmt.Errorf("audit entry %d is too long", e.leaves)
			}
			return len(b), nil
		}
		e.rest = rest
		if e.behind = len(line) == 0; e.behind {
			break
		}
		if err := e.leaf(line); err != nil {
			return 0, err
		}
		e.leaves++
	}
	e.checkpoint, e.rest = append(e.checkpoint, e.rest...), nil
	return len(b), nil
}

// table writes audit events as comma-separated values (RFC 4180).
type table struct {
	buffer *bytes.Buffer
	csv    *csv.Writer
	out    io.Writer
	begun  bool
}

const tablePiece = 32 << 10 // bytes that are sent together

func newTable(out io.Writer) *table {
	t := &table{buffer: &bytes.Buffer{}, out: out}
	t.csv = csv.NewWriter(t.buffer)
	t.csv.UseCRLF = true
	return t
}

func (t *table) add(leaf []byte) error {
	e, err := audit.ParseLeaf(leaf)
	if err != nil {
		return err
	}
	if !t.begun {
		t.begun = true
		if err := t.csv.Write([]string{"index", "time", "type", "subject", "address", "operation", "key", "order", "reason"}); err != nil {
			return err
		}
	}
	var who audit.Actor
	if e.Actor != nil {
		who = *e.Actor
	}
	row := []string{
		strconv.FormatInt(e.Index, 10), time.UnixMilli(e.Time).UTC().Format("2006-01-02T15:04:05.000Z"), string(e.Type), string(who.Subject), who.Address,
		string(e.Operation), string(e.Key), string(e.Order), e.Reason,
	}
	for i := range row {
		row[i] = inert(row[i])
	}
	if err := t.csv.Write(row); err != nil {
		return err
	}
	t.csv.Flush()
	if t.buffer.Len() >= tablePiece {
		return t.send()
	}
	return t.csv.Error()
}

func (t *table) end() error {
	t.csv.Flush()
	if err := t.csv.Error(); err != nil {
		return err
	}
	return t.send()
}

func (t *table) send() error {
	_, err := t.out.Write(t.buffer.Bytes())
	t.buffer.Reset()
	return err
}

// inert keeps a spreadsheet from taking a cell for a formula.
func inert(cell string) string {
	if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r\n") {
		return "'" + cell
	}
	return cell
}
