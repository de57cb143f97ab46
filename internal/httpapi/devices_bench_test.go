package httpapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// BenchmarkDeviceCertificates has stations get certificates through the API, one by one and a hundred at a time, from an
// ECDSA P-256 CA key in the software keystore: durable (SQLite, synchronous=FULL), audited, linted and with the token
// checked. Beside it stands how many P-256 signatures the same cores make when they do nothing else. Stations, server and
// database share the cores.
//
//	go test -run '^$' -bench DeviceCertificates -benchtime 3000x ./internal/httpapi
func BenchmarkDeviceCertificates(b *testing.B) {
	raw := rawRate(b)
	for _, stations := range []int{1, 8, 32} {
		for _, size := range []int{1, 100} {
			b.Run(fmt.Sprintf("stations=%d/batch=%d", stations, size), func(b *testing.B) {
				rate := provision(b, stations, size)
				b.ReportMetric(rate, "certificates/s")
				b.ReportMetric(raw, "rawsignatures/s")
				b.ReportMetric(rate/raw, "ratio")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// rawRate is how many signatures all cores make in a second.
func rawRate(b *testing.B) float64 {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("certificate"))
	var n atomic.Int64
	var group sync.WaitGroup
	begun := time.Now()
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for time.Since(begun) < time.Second {
				if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
					b.Error(err)
				}
				n.Add(1)
			}
		})
	}
	group.Wait()
	return float64(n.Load()) / time.Since(begun).Seconds()
}

// provision has stations get b.N certificates, and returns how many it is in a second.
func provision(b *testing.B, stations, size int) float64 {
	k := testkit.NewWith(b, testkit.Options{File: true, World: func(c *law.Configuration) {
		testkit.Factory(law.DuplicatesRefused)(c)
		for i := range c.Keys {
			c.Keys[i].MaxUses = 1_000_000
		}
	}})
	k.Certify("root")
	k.Certify("ca-dev")
	o := k.Lot(1_000_000)
	bodies := make(chan string, b.N/size+1)
	var made atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := made.Add(1); i <= int64((b.N+size-1)/size); i = made.Add(1) {
				bodies <- body(k, o, int(i), size)
			}
		})
	}
	group.Wait()
	close(bodies)
	path := api.PathDeviceCertificates
	if size > 1 {
		path = api.PathDeviceBatch
	}
	var issued atomic.Int64
	token, client := k.Token("olga"), &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: stations}}
	defer client.CloseIdleConnections()
	b.ResetTimer()
	begun := time.Now()
	for range stations {
		group.Go(func() {
			for text := range bodies {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, k.URL+path, strings.NewReader(text))
				if err != nil {
					b.Error(err)
					return
				}
				r.Header.Set("Authorization", "Bearer "+token)
				r.Header.Set("Content-Type", "application/json")
				if size == 1 {
					r.Header.Set("Idempotency-Key", fmt.Sprintf("%x", sha256.Sum256([]byte(text))))
				}
				answer, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				all, err := io.ReadAll(answer.Body)
				err = errors.Join(err, answer.Body.Close())
				if err != nil || answer.StatusCode/100 != 2 || strings.Contains(string(all), `"problem"`) {
					b.Errorf("%d %.300s %v", answer.StatusCode, all, err)
				}
				issued.Add(int64(size))
			}
		})
	}
	group.Wait()
	rate := float64(issued.Load()) / time.Since(begun).Seconds()
	b.StopTimer()
	return rate
}

// body asks for the certificates of so many new devices.
func body(k *testkit.Kit, o keyserver.Operation, number, size int) string {
	csr := func(i int) string {
		return base64.StdEncoding.EncodeToString(k.DeviceRequest(fmt.Sprintf("SN-%d-%d", number, i), k.NewDeviceKey()))
	}
	ask := map[string]any{"operation": o.ID, "keyid": "ca-dev"}
	if size == 1 {
		ask["csr"] = csr(0)
	} else {
		var all []map[string]string
		for i := range size {
			all = append(all, map[string]string{"idempotencykey": fmt.Sprintf("%d-%d", number, i), "csr": csr(i)})
		}
		ask["requests"] = all
	}
	text, err := json.Marshal(ask)
	if err != nil {
		k.Fatal(err)
	}
	return string(text)
}
