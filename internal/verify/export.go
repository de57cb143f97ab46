package verify

import (
	"io"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// Options for a verification. The zero Options are good.
type Options struct {
	Remembered []audit.Checkpoint  // the log must begin with that of each
	Progress   func(entries int64) // told now and then how many entries have been read
}

// Report is what was verified.
type Report struct {
	audit.Report
	Operations int
	Open       int // of these, those that are pending or approved
	SignOrders int
	Signatures int // made under them
}

// Report says what the fold has read; of is what the log itself was found to be.
func (f *Fold) Report(of audit.Report) Report {
	r := Report{Report: of, Operations: len(f.operations), Open: len(f.open), SignOrders: len(f.orders)}
	for _, o := range f.orders {
		if o.state == law.OrderSigned {
			r.Signatures++
		}
	}
	return r
}

// Export verifies an export: that the log is intact ([audit.VerifyExport]) and that the law allows all that
// it tells of. v is the log's key; its name is the server id. The error is *[audit.Tampered] where the log
// is not what it was, also where that makes it tell of what may not be, *[Violation], or the reader's.
func Export(r io.Reader, v audit.Verifier, o Options) (Report, error) {
	f := NewFold(v.Name())
	var told error
	log, err := audit.VerifyExport(r, v, audit.ExportOptions{
		Remembered: o.Remembered, Progress: o.Progress,
		Each: func(e audit.Event) error {
			if told == nil {
				told = f.Add(e)
			}
			return nil // whether the log was tampered with is to be known first
		},
	})
	if err == nil {
		err = told
	}
	if err == nil {
		err = f.Finish()
	}
	if err != nil {
		return Report{}, err
	}
	return f.Report(log), nil
}
