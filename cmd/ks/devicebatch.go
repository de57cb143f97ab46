package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
)

// batchSize is how many certificates are asked for at once. When the power is cut, so many at most were issued and are not
// here yet; the same command gets them.
const batchSize = 100

// maxRequest is how many bytes of a file are taken for a certificate request.
const maxRequest = 16 << 10

func (p *program) batchCommand() *cobra.Command {
	var b batch
	cmd := &cobra.Command{
		Use:   "batch DIR|CSV --operation ID --key KEYID --output DIR",
		Short: "Get the certificates of many devices, and go on where it was cut off",
		Long: "Get the certificates of many devices under one approved operation. DIR holds a certificate request for each, *.csr,\n" +
			"*.pem or *.der; or a CSV file (RFC 4180) names them: a line each with a name and a file. The certificate of NAME and\n" +
			"those above it are written to NAME.pem, whole or not at all.\n\n" +
			"The same command again goes on: who has a certificate there is left out, and a request that was sent before gives\n" +
			"the same certificate and takes no second use. What is refused is written to refused.csv with the reason.",
		Example: "  ks device batch requests --operation 0192f0c1-… --key ca-devices --output certificates",
		Args:    cobra.ExactArgs(1),
	}
	deviceFlags(cmd, &b.operation, &b.key)
	cmd.Flags().StringVarP(&b.output, "output", "o", "", "`DIR` for the certificates")
	cmd.Flags().IntVar(&b.parallel, "parallel", 2, "so many batches of 100 at the same time, 1 to 16")
	_ = cmd.MarkFlagRequired("output") // fails for a flag that is not there
	return p.command(cmd, func(ctx context.Context, args []string) error { return p.batch(ctx, args[0], b) })
}

// batch is what `ks device batch` was told.
type batch struct {
	operation, key, output string
	parallel               int
}

// deviceRequest is a certificate request on this machine.
type deviceRequest struct {
	name string
	der  []byte
}

// readRequest reads a certificate request, PEM or DER. What it says is for the server to judge.
func readRequest(name, file string) (deviceRequest, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return deviceRequest{}, fmt.Errorf("reading a certificate request: %w", err)
	}
	if len(data) == 0 || len(data) > maxRequest {
		return deviceRequest{}, fmt.Errorf("%s is %d bytes long; a certificate request has 1 to %d", file, len(data), maxRequest)
	}
	if block, rest := pem.Decode(data); block != nil && len(bytes.TrimSpace(rest)) == 0 && bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN ")) {
		data = block.Bytes
	}
	return deviceRequest{name, data}, nil
}

// idempotencyKey is the same whenever the same request is sent, however it is written.
func (r deviceRequest) idempotencyKey() string {
	sum := sha256.Sum256(r.der)
	return "csr-" + hex.EncodeToString(sum[:])
}

func (r deviceRequest) csr() string { return base64.StdEncoding.EncodeToString(r.der) }

// fits says whether a certificate, PEM with those above it, is of the request's public key.
func (r deviceRequest) fits(chain []byte) bool {
	block, _ := pem.Decode(chain)
	if block == nil {
		return false
	}
	c, err := x509.ParseCertificate(block.Bytes)
	asked, err2 := x509.ParseCertificateRequest(r.der)
	return err == nil && err2 == nil && bytes.Equal(c.RawSubjectPublicKeyInfo, asked.RawSubjectPublicKeyInfo)
}

// requests are those of a folder, or those that a CSV file names, by name.
func requests(from string) ([]deviceRequest, error) {
	info, err := os.Stat(from)
	if err != nil {
		return nil, fmt.Errorf("reading certificate requests: %w", err)
	}
	files := map[string]string{}
	add := func(name, file string) error {
		if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
			return fmt.Errorf("%q is no name for a file", name)
		}
		if _, twice := files[name]; twice {
			return fmt.Errorf("there are two requests of the name %q", name)
		}
		files[name] = file
		return nil
	}
	if info.IsDir() {
		err = inFolder(from, add)
	} else {
		err = inCSV(from, add)
	}
	if err != nil {
		return nil, fmt.Errorf("reading certificate requests from %s: %w", from, err)
	}
	var all []deviceRequest
	for name, file := range files {
		r, err := readRequest(name, file)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b deviceRequest) int { return strings.Compare(a.name, b.name) })
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no certificate requests; they end with .csr, .pem or .der", from)
	}
	return all, nil
}

func inFolder(folder string, add func(name, file string) error) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		ending := filepath.Ext(e.Name())
		if e.IsDir() || !slices.Contains([]string{".csr", ".pem", ".der"}, ending) {
			continue
		}
		if err := add(strings.TrimSuffix(e.Name(), ending), filepath.Join(folder, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func inCSV(file string, add func(name, file string) error) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord = 2
	rows, err := r.ReadAll()
	if err != nil {
		return err
	}
	for i, row := range rows {
		if i == 0 && row[0] == "name" && row[1] == "file" {
			continue
		}
		where := row[1]
		if !filepath.IsAbs(where) {
			where = filepath.Join(filepath.Dir(file), where)
		}
		if err := add(row[0], where); err != nil {
			return err
		}
	}
	return nil
}

// batchResult is what became of a batch.
type batchResult struct {
	Issued  int        `json:"issued"`
	There   int        `json:"there"` // already
	Refused []noDevice `json:"refused"`
}

type noDevice struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

func (p *program) batch(ctx context.Context, from string, b batch) error {
	if b.parallel < 1 || b.parallel > 16 {
		return usage("", "--parallel must be between 1 and 16")
	}
	all, err := requests(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.output, 0o755); err != nil {
		return fmt.Errorf("making the folder for the certificates: %w", err)
	}
	s, err := p.connect()
	if err != nil {
		return err
	}
	out := batchResult{Refused: []noDevice{}}
	var left []deviceRequest
	first := map[string]string{} // name of the request with the idempotency key
	for _, r := range all {
		same, twice := first[r.idempotencyKey()]
		if !twice {
			first[r.idempotencyKey()] = r.name
		}
		switch there, err := os.ReadFile(b.file(r)); {
		case twice:
			out.Refused = append(out.Refused, noDevice{r.name, fmt.Sprintf("it is the certificate request of %s too; make a key and a request in each device", same)})
		case errors.Is(err, fs.ErrNotExist):
			left = append(left, r)
		case err != nil:
			return fmt.Errorf("looking for the certificate of %s: %w", r.name, err)
		case !r.fits(there):
			return &failure{code: exitOther, what: fmt.Sprintf("%s is there already, and is no certificate for the request of %s", b.file(r), r.name), hint: "move it away, or choose another folder with --output"}
		default:
			out.There++
		}
	}
	failed := p.sendAll(ctx, s, b, left, &out)
	if err := p.reportBatch(b, out); err != nil {
		return err
	}
	switch {
	case failed != nil:
		return failed
	case len(out.Refused) > 0:
		return &failure{code: exitRefused, what: fmt.Sprintf("%d of %d requests were refused", len(out.Refused), len(all)), hint: "the reasons are in " + filepath.Join(b.output, "refused.csv")}
	}
	return nil
}

func (b batch) file(r deviceRequest) string { return filepath.Join(b.output, r.name+".pem") }

// sendAll sends the requests, so many batches at the same time, and stops at the first that gets no answer.
func (p *program) sendAll(ctx context.Context, s session, b batch, left []deviceRequest, out *batchResult) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	bar := p.count(len(left), "certificates")
	var mu sync.Mutex
	var group sync.WaitGroup
	chunks := make(chan []deviceRequest)
	for range b.parallel {
		group.Go(func() {
			for some := range chunks {
				issued, refused, err := p.send(ctx, s, b, some)
				mu.Lock()
				out.Issued += issued
				out.Refused = append(out.Refused, refused...)
				if bar != nil {
					_ = bar.Add(len(some)) // what is shown while it lasts
				}
				mu.Unlock()
				if err != nil {
					stop(err)
				}
			}
		})
	}
	for some := range slices.Chunk(left, batchSize) {
		select {
		case chunks <- some:
		case <-ctx.Done():
		}
	}
	close(chunks)
	group.Wait()
	if bar != nil {
		_ = bar.Finish()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// send sends one batch, and writes its certificates.
func (p *program) send(ctx context.Context, s session, b batch, some []deviceRequest) (issued int, refused []noDevice, err error) {
	ask := api.NewDeviceBatch{Operation: b.operation, KeyID: b.key}
	for _, r := range some {
		ask.Requests = append(ask.Requests, api.NewDeviceRequest{IdempotencyKey: r.idempotencyKey(), CSR: r.csr()})
	}
	answer, err := s.IssueDeviceCertificates(ctx, ask)
	if err != nil {
		return 0, nil, err
	}
	if len(answer.Results) != len(some) {
		return 0, nil, fmt.Errorf("the server answered with %d results to %d requests", len(answer.Results), len(some))
	}
	var again *api.Problem
	for i, result := range answer.Results {
		switch {
		case result.Certificate != nil && some[i].fits([]byte(result.Certificate.Chain)):
			if err := writeWhole(b.file(some[i]), []byte(result.Certificate.Chain), 0o644); err != nil {
				return issued, refused, err
			}
			issued++
		case result.Problem != nil && result.Problem.Status == api.Unavailable.Status():
			again = result.Problem
		case result.Problem != nil:
			refused = append(refused, noDevice{some[i].name, result.Problem.Detail})
		default:
			return issued, refused, &failure{code: exitTampered, what: fmt.Sprintf("the certificate for %s is not of the device's key", some[i].name)}
		}
	}
	if again != nil { // the use is kept: the same command gets it
		return issued, refused, again
	}
	return issued, refused, p.keep(ctx, s, api.SignOrder{Checkpoint: answer.Checkpoint})
}

// reportBatch says what became of a batch, and writes down what was refused.
func (p *program) reportBatch(b batch, out batchResult) error {
	slices.SortFunc(out.Refused, func(a, b noDevice) int { return strings.Compare(a.Name, b.Name) })
	refused := filepath.Join(b.output, "refused.csv")
	if err := os.Remove(refused); err != nil && !errors.Is(err, fs.ErrNotExist) { // of the time before
		return err
	}
	if len(out.Refused) > 0 {
		var text bytes.Buffer
		rows := [][]string{{"name", "reason"}}
		for _, r := range out.Refused {
			rows = append(rows, []string{r.Name, r.Reason})
		}
		if err := csv.NewWriter(&text).WriteAll(rows); err != nil {
			return err
		}
		if err := writeWhole(refused, text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if p.global.json {
		return p.printJSON(out)
	}
	var l lines
	l.field("issued", fmt.Sprint(out.Issued))
	l.field("there already", fmt.Sprint(out.There))
	l.field("refused", fmt.Sprint(len(out.Refused)))
	return p.print(l.text(width(p.stdout)))
}
