package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/e2e/stand"
)

var (
	whole      = client.Page{Limit: 200} // the largest page
	revocation = api.NewCertificateRevocation{Code: "keyCompromise", Reason: "benchmark"}
)

// measureDevices measures what is done with device certificates when one CA key has issued many: in one lot as many as
// the command line says, and before that two smaller ones, which are revoked as a whole in between. All are issued through
// the API, so the database is as a server makes it.
func (b *bench) measureDevices(ctx context.Context, s *stand.Stand, of setup) error {
	f, err := newFactory(ctx, s)
	if err != nil {
		return err
	}
	d := devices{factory: f}
	var smaller []string
	for _, size := range []int{b.devices / 1000, b.devices / 10} {
		operation, _, err := f.fill(ctx, max(size, 1))
		if err != nil {
			return err
		}
		smaller = append(smaller, operation)
	}
	if d.operation, d.sample, err = f.fill(ctx, b.devices); err != nil {
		return err
	}
	if d.spare, err = f.lot(ctx, 100_000); err != nil {
		return err
	}
	fmt.Printf("\n%-62s %8s %10s %10s %10s\n", "device certificates ("+of.String()+")", "", "p50 ms", "most ms", "peak MiB")
	for i := 0; ; i++ {
		if err := d.measure(ctx); err != nil || i == len(smaller) {
			return err
		}
		begun := time.Now()
		n, err := d.admin.RevokeDeviceCertificates(ctx, smaller[i], revocation)
		if err != nil {
			return err
		}
		took := time.Since(begun)
		fmt.Printf("revoking a lot of %d: %.1f s, %.0f/s\n", n, took.Seconds(), float64(n)/took.Seconds())
	}
}

// devices are device certificates that are measured.
type devices struct {
	*factory
	operation string // that has issued most
	spare     string // one under which more can be issued
	sample    []api.DeviceCertificate
	next      int // of the sample
}

// measure measures all once and prints a line for each.
func (d *devices) measure(ctx context.Context) error {
	if err := d.signIn(ctx); err != nil {
		return err
	}
	if err := d.revokeAndList(ctx); err != nil { // the list is the newest then
		return err
	}
	der, err := d.admin.RevocationList(ctx, stand.FactoryKey)
	if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	fmt.Printf("%d issued, %d revoked, in a list of %d KiB\n", d.made.Load(), len(list.RevokedCertificateEntries), len(der)>>10)
	servers := d.PIDs("keyserver")
	for _, m := range d.measures() {
		if err := resetPeak(servers); err != nil {
			return err
		}
		times, err := m.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		used, err := usageOf(servers)
		if err != nil {
			return err
		}
		slices.Sort(times)
		fmt.Printf("  %-60s %8d %10.1f %10.1f %10.0f\n", m.name, len(times), ms(times[len(times)/2]), ms(times[len(times)-1]), used.peak)
	}
	return nil
}

// measured is something that is measured some times.
type measured struct {
	name string
	run  func(context.Context) ([]time.Duration, error)
}

func (d *devices) measures() []measured {
	one := func(do func(context.Context, api.DeviceCertificate) error) func(context.Context) ([]time.Duration, error) {
		return times(50, func(ctx context.Context) error { return do(ctx, d.another()) })
	}
	find := func(filter func(api.DeviceCertificate) client.DeviceFilter) func(context.Context) ([]time.Duration, error) {
		return one(func(ctx context.Context, c api.DeviceCertificate) error {
			page, err := d.admin.DeviceCertificates(ctx, filter(c), client.Page{})
			if err == nil && len(page.Certificates) == 0 {
				err = errors.New("nothing was found")
			}
			return err
		})
	}
	return []measured{
		{"one by its id", one(func(ctx context.Context, c api.DeviceCertificate) error {
			_, err := d.admin.DeviceCertificate(ctx, c.ID)
			return err
		})},
		{"one by its serial number", find(func(c api.DeviceCertificate) client.DeviceFilter {
			return client.DeviceFilter{KeyID: c.KeyID, Serial: c.Serial}
		})},
		{"those of a device", find(func(c api.DeviceCertificate) client.DeviceFilter {
			return client.DeviceFilter{KeyID: c.KeyID, Device: c.Device}
		})},
		{"the status of one, signed (OCSP)", one(d.status)},
		{"the same, kept", one(d.status)},
		{"every page of the operation, 200 on each", d.pages},
		{"the lot of the operation", times(5, func(ctx context.Context) error { _, err := d.admin.Lots(ctx, d.operation); return err })},
		{"the list of the lot (CSV)", times(2, func(ctx context.Context) error { return d.machine.LotCertificates(ctx, d.operation, 0, io.Discard) })},
		{"the signed report on the lot", times(2, func(ctx context.Context) error { _, err := d.machine.LotReport(ctx, d.operation); return err })},
		{"issuing one", times(50, d.issue)},
		{"issuing one while one is revoked again and again", d.issueMeanwhile},
		{"revoking one", one(d.revoke)},
		{"from a revocation to a list that names it", times(5, d.revokeAndList)},
		{"the newest list", times(20, func(ctx context.Context) error { _, err := d.admin.RevocationList(ctx, stand.FactoryKey); return err })},
	}
}

func times(n int, do func(context.Context) error) func(context.Context) ([]time.Duration, error) {
	return func(ctx context.Context) ([]time.Duration, error) {
		var all []time.Duration
		for range n {
			begun := time.Now()
			if err := do(ctx); err != nil {
				return nil, err
			}
			all = append(all, time.Since(begun))
		}
		return all, nil
	}
}

// another is one of the sample, the next time another one.
func (d *devices) another() api.DeviceCertificate {
	d.next++
	return d.sample[d.next%len(d.sample)]
}

// pages reads the operation's certificates from the first page to the last.
func (d *devices) pages(ctx context.Context) ([]time.Duration, error) {
	var all []time.Duration
	for page := whole; ; {
		begun := time.Now()
		some, err := d.admin.DeviceCertificates(ctx, client.DeviceFilter{Operation: d.operation}, page)
		if err != nil {
			return nil, err
		}
		all = append(all, time.Since(begun))
		if page.Cursor = some.Next; page.Cursor == "" {
			return all, nil
		}
	}
}

// status asks for the status of a certificate as those do who meet the device.
func (d *devices) status(ctx context.Context, c api.DeviceCertificate) error {
	var path []*x509.Certificate
	for rest := []byte(c.Chain); len(path) < 2; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return errors.New("a certificate has no issuer")
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		path = append(path, one)
	}
	request, err := ocsp.CreateRequest(path[0], path[1], nil)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.Server+api.PathStatuses, bytes.NewReader(request))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", api.MediaStatusRequest)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil {
		_, err = ocsp.ParseResponse(body, path[1])
	}
	return err
}

func (d *devices) issue(ctx context.Context) error {
	_, err := d.issued(ctx)
	return err
}

func (d *devices) issued(ctx context.Context) (api.DeviceCertificate, error) {
	request, err := d.request()
	if err != nil {
		return api.DeviceCertificate{}, err
	}
	return d.machine.IssueDeviceCertificate(ctx, rand.Text(), api.NewDeviceCertificate{Operation: d.spare, KeyID: stand.FactoryKey, CSR: request})
}

func (d *devices) revoke(ctx context.Context, c api.DeviceCertificate) error {
	_, err := d.admin.RevokeDeviceCertificate(ctx, c.ID, revocation)
	return err
}

// issueMeanwhile issues certificates while the list is due all the time.
func (d *devices) issueMeanwhile(ctx context.Context) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var err error
		for tick := time.NewTicker(500 * time.Millisecond); err == nil; {
			var one api.DeviceCertificate
			if one, err = d.issued(ctx); err == nil {
				err = d.revoke(ctx, one)
			}
			select {
			case <-ctx.Done():
				tick.Stop()
				done <- nil
				return
			case <-tick.C:
			}
		}
		done <- err
	}()
	var all []time.Duration
	for ctx.Err() == nil {
		begun := time.Now()
		if err := d.issue(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
		all = append(all, time.Since(begun))
	}
	return all, <-done
}

// revokeAndList revokes a new certificate and waits until the newest list names it.
func (d *devices) revokeAndList(ctx context.Context) error {
	one, err := d.issued(ctx)
	if err == nil {
		err = d.revoke(ctx, one)
	}
	if err != nil {
		return err
	}
	serial, _ := new(big.Int).SetString(one.Serial, 16)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := d.admin.RevocationList(ctx, stand.FactoryKey)
		none, _ := errors.AsType[*api.Problem](err) // not even a first one
		if bytes.Contains(list, serial.Bytes()) || err != nil && (none == nil || none.Kind() != api.NotFound) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
