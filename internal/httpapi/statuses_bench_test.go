package httpapi_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/pki"
	"example.org/keyserver/internal/testkit"
)

// BenchmarkCertificateStatuses asks for the status of b.N certificates, at most 900, each of which is signed (P-256), and then again,
// when each is kept: with POST, from eight at the same time. Who asks, server and database share the cores.
//
//	go test -run '^$' -bench CertificateStatuses -benchtime 900x ./internal/httpapi
func BenchmarkCertificateStatuses(b *testing.B) {
	k := testkit.NewWith(b, testkit.Options{File: true, World: testkit.Responding})
	k.CertifyResponders()
	o := k.Lot(1000)
	var requests [][]byte
	for len(requests) < min(b.N, 900) {
		i := len(requests)
		c, err := k.IssueDevice(o, fmt.Sprint(i), k.DeviceRequest(fmt.Sprintf("SN-%d", i), k.NewDeviceKey()))
		if err != nil {
			b.Fatal(err)
		}
		described, err := pki.Describe(c.TBS)
		if err != nil {
			b.Fatal(err)
		}
		requests = append(requests, k.StatusRequest(described.SerialNumber, c.Path[1]))
	}
	k.Keyserver.CertificateStatus(b.Context(), keyserver.Caller{}, requests[0]) // takes the leave
	raw := rawRate(b)
	for _, what := range []string{"signed/s", "kept/s"} {
		begun := time.Now()
		askAll(b, k, requests)
		rate := float64(len(requests)) / time.Since(begun).Seconds()
		b.ReportMetric(rate, what)
	}
	b.ReportMetric(raw, "rawsignatures/s")
	b.ReportMetric(0, "ns/op")
}

func askAll(b *testing.B, k *testkit.Kit, requests [][]byte) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	queue := make(chan []byte, len(requests))
	for _, r := range requests {
		queue <- r
	}
	close(queue)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for request := range queue {
				answer, err := client.Post(k.URL+api.PathStatuses, api.MediaStatusRequest, bytes.NewReader(request))
				if err != nil {
					b.Error(err)
					return
				}
				body, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if err != nil || answer.StatusCode != http.StatusOK || len(body) <= len(pki.StatusUnauthorized()) {
					b.Errorf("%d, %x: %v", answer.StatusCode, body, err)
				}
			}
		})
	}
	group.Wait()
}
