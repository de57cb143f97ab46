package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
)

// WriteExport writes an export: the leaves in order from entry 0, each on a line, an empty line, and the
// signed checkpoint that covers exactly these leaves. It ends at the first error of the leaves.
func WriteExport(w io.Writer, leaves iter.Seq2[[]byte, error], checkpoint []byte) error {
	out := bufio.NewWriter(w) // keeps its first error until Flush
	var index int64
	for leaf, err := range leaves {
		if err != nil {
			return fmt.Errorf("exporting audit entry %d: %w", index, err)
		}
		if len(leaf) == 0 || bytes.IndexByte(leaf, '\n') >= 0 {
			return fmt.Errorf("exporting audit entry %d: it is not one line", index)
		}
		_, _ = out.Write(leaf)
		if err := out.WriteByte('\n'); err != nil {
			return fmt.Errorf("exporting audit entry %d: %w", index, err)
		}
		index++
	}
	_ = out.WriteByte('\n')
	_, _ = out.Write(checkpoint)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("exporting audit log of size %d: %w", index, err)
	}
	return nil
}

// ExportOptions are what [VerifyExport] does besides. The zero ExportOptions do nothing.
type ExportOptions struct {
	Remembered []Checkpoint        // the export's log must begin with that of each; see [NewChecker]
	Each       func(Event) error   // gets every entry; see [NewChecker]
	Progress   func(entries int64) // told now and then how many entries have been checked
}

// VerifyExport checks an export as it reads it, never holding more than a small part. Its error is a
// *[Tampered], that of the reader, or that of Each.
func VerifyExport(r io.Reader, v Verifier, opt ExportOptions) (Report, error) {
	c, err := NewChecker(v.Name(), opt.Remembered, opt.Each)
	if err != nil {
		return Report{}, err
	}
	lines := lineReader{in: bufio.NewReader(r)}
	for more := true; more; {
		more, err = lines.next()
		if err != nil {
			return Report{}, fmt.Errorf("reading audit export: %w", err)
		}
		portion := lines.parse()
		for i := range portion {
			if err := c.add(&portion[i]); err != nil {
				return Report{}, err
			}
		}
		if opt.Progress != nil {
			opt.Progress(c.tree.size)
		}
	}
	signed, err := io.ReadAll(io.LimitReader(lines.in, MaxCheckpoint+1))
	if err != nil {
		return Report{}, fmt.Errorf("reading audit export: %w", err)
	}
	of, err := ParseCheckpoint(signed, v)
	if err != nil && c.suspect == nil {
		return Report{}, &Tampered{Index: -1, Proven: c.proven, What: err.Error()}
	}
	return c.Finish(of)
}

// lineReader reads the leaves of an export in portions, so that they can be parsed on all processors:
// parsing is nearly all the work.
type lineReader struct {
	in     *bufio.Reader
	buffer []byte
	lines  [][]byte // in buffer
	bad    error    // what is wrong with the line after them
	parsed []parsed
}

// A portion ends with the line that reaches one of these.
const (
	portionLines = 1024
	portionBytes = 1 << 20
)

// next reads a portion and says whether another follows. The error is the reader's.
func (l *lineReader) next() (more bool, err error) {
	l.buffer, l.lines = l.buffer[:0], l.lines[:0]
	for len(l.lines) < portionLines && len(l.buffer) < portionBytes {
		line, err := l.line()
		switch {
		case errors.Is(err, io.EOF):
			l.bad = errors.New("the export ends before its checkpoint")
			return false, nil
		case errors.Is(err, bufio.ErrBufferFull):
			l.bad = fmt.Errorf("reading audit entry: %w", errTooLong(len(line)))
			return false, nil
		case err != nil:
			return false, err
		case len(line) == 1:
			return false, nil // the empty line: the checkpoint follows
		}
		l.lines = append(l.lines, line[:len(line)-1])
	}
	return true, nil
}

// line reads a line with its end into buffer. The error is ErrBufferFull if it is longer than a leaf may be.
func (l *lineReader) line() ([]byte, error) {
	start := len(l.buffer)
	for {
		part, err := l.in.ReadSlice('\n')
		l.buffer = append(l.buffer, part...)
		line := l.buffer[start:]
		if len(line) > MaxLeaf+1 {
			return line, bufio.ErrBufferFull
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// parse parses the portion.
func (l *lineReader) parse() []parsed {
	l.parsed = append(l.parsed[:0], make([]parsed, len(l.lines))...)
	var wg sync.WaitGroup
	var taken atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var scratch []byte
			for i := taken.Add(1) - 1; i < int64(len(l.lines)); i = taken.Add(1) - 1 {
				scratch = l.parsed[i].parse(l.lines[i], scratch)
			}
		})
	}
	wg.Wait()
	if l.bad != nil {
		l.parsed = append(l.parsed, parsed{err: l.bad})
	}
	return l.parsed
}
