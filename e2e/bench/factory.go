package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/e2e/stand"
)

const (
	stations = 4   // that fill a lot
	atOnce   = 500 // certificates that a station asks for together
	sampled  = 50  // certificates of a lot that are kept to be looked up
)

// factory has device certificates issued.
type factory struct {
	*stand.Stand
	admin, machine *client.Client
	made           atomic.Int64 // certificates, of all lots
}

func newFactory(ctx context.Context, s *stand.Stand) (*factory, error) {
	if err := s.Factory(ctx); err != nil {
		return nil, err
	}
	f := &factory{Stand: s}
	if err := f.signIn(ctx); err != nil {
		return nil, err
	}
	operation, err := f.lot(ctx, 1)
	if err == nil {
		_, err = f.machine.OrderCertificate(ctx, operation, rand.Text(), api.NewCertificateOrder{KeyID: stand.FactoryKey, For: stand.StatusKey})
	}
	return f, err
}

// signIn gets new tokens: those of before may end while a large lot is filled.
func (f *factory) signIn(ctx context.Context) (err error) {
	if f.admin, err = f.As(ctx, "carol"); err == nil {
		f.machine, err = f.As(ctx, "ci-firmware")
	}
	return err
}

// lot creates an operation for so many device certificates.
func (f *factory) lot(ctx context.Context, uses int) (string, error) {
	o, err := f.machine.CreateOperation(ctx, rand.Text(), api.NewOperation{
		KeyUsageRestrictions: []api.KeyUsageRestriction{{KeyID: stand.FactoryKey, MaxUsageCount: uses}},
		Description:          "benchmark", Context: "device certificates through the API", ValidMS: (24 * time.Hour).Milliseconds(),
	})
	return o.ID, err
}

// fill has a lot of device certificates issued, and returns its operation and certificates spread over it.
func (f *factory) fill(ctx context.Context, size int) (operation string, sample []api.DeviceCertificate, err error) {
	if err := f.signIn(ctx); err != nil {
		return "", nil, err
	}
	if operation, err = f.lot(ctx, size); err != nil {
		return "", nil, err
	}
	var mu sync.Mutex
	var asked atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, stations)
	begun, apart := time.Now(), max(1, size/sampled)
	for i := range stations {
		group.Go(func() {
			for {
				from := int(asked.Add(atOnce)) - atOnce
				if from >= size || errs[i] != nil {
					return
				}
				var issued []api.DeviceCertificate
				if issued, errs[i] = f.batch(ctx, operation, min(atOnce, size-from)); errs[i] != nil {
					return
				}
				mu.Lock()
				for j, one := range issued {
					if (from+j)%apart == 0 {
						sample = append(sample, one)
					}
				}
				mu.Unlock()
				if from%20_000 == 0 {
					fmt.Fprintf(os.Stderr, "\rissuing: %d of %d device certificates, %.0f/s ", from, size, float64(from)/time.Since(begun).Seconds())
				}
			}
		})
	}
	group.Wait()
	fmt.Fprint(os.Stderr, "\r\033[K")
	return operation, sample, errors.Join(errs...)
}

func (f *factory) batch(ctx context.Context, operation string, size int) ([]api.DeviceCertificate, error) {
	in := api.NewDeviceBatch{Operation: operation, KeyID: stand.FactoryKey}
	for range size {
		request, err := f.request()
		if err != nil {
			return nil, err
		}
		in.Requests = append(in.Requests, api.NewDeviceRequest{IdempotencyKey: rand.Text(), CSR: request})
	}
	out, err := f.machine.IssueDeviceCertificates(ctx, in)
	var issued []api.DeviceCertificate
	for _, r := range out.Results {
		if r.Certificate == nil {
			return nil, r.Problem
		}
		issued = append(issued, *r.Certificate)
	}
	return issued, err
}

// request is the certificate request of a new device.
func (f *factory) request() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	name := pkix.Name{SerialNumber: fmt.Sprintf("SN-%09d", f.made.Add(1))}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: name}, key)
	return base64.StdEncoding.EncodeToString(der), err
}
