package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/e2e/stand"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// subject is a key that is measured.
type subject struct {
	key       string
	algorithm law.Algorithm
	scheme    law.Scheme
}

// The keys of the stand that are measured.
var (
	p256    = subject{"fw-dev", law.P256, law.ECDSA}
	rsa3072 = subject{"fw-rsa", law.RSA3072, law.PSS}
)

// line is one line of the table of sign orders.
type line struct {
	setup     string
	algorithm law.Algorithm
	clients   int
	result
	cpu       time.Duration // of the servers, for one order
	others    time.Duration // of the HSM's workers and of PostgreSQL, for one order
	rss, peak float64       // of the largest server, in MiB
	commits   float64       // for one order
}

// measureOrders measures sign orders with each key and number of clients.
func (b *bench) measureOrders(ctx context.Context, s *stand.Stand, of setup) error {
	if b.noop == nil {
		if err := b.measureNoop(ctx, s); err != nil {
			return err
		}
		printHead()
	}
	for _, on := range of.subjects {
		raw, known := b.raw[rawRate{of.Keystore, on.algorithm}]
		for _, clients := range clientCounts {
			l, err := orders(ctx, s, on, clients, b.each)
			if err != nil {
				return err
			}
			l.setup, l.algorithm, l.clients = of.String(), on.algorithm, clients
			ofRaw := "-"
			if known {
				ofRaw = fmt.Sprintf("%.3f", l.rate/raw)
			}
			fmt.Printf("%-22s %-10s %7d %9.0f %8.2f %8.2f | %9.3f %9s %9.2f | %7.0f %7.0f %8.2f %8.0f %8.0f\n", l.setup, l.algorithm, clients, l.rate,
				ms(l.at(0.50)), ms(l.at(0.99)), l.rate/b.noop[clients], ofRaw, l.rate/b.syncs, us(l.cpu), us(l.others), l.commits, l.rss, l.peak)
			b.lines = append(b.lines, l)
		}
	}
	return nil
}

func printHead() {
	fmt.Printf("\n%-22s %-10s %7s %9s %8s %8s | %9s %9s %9s | %7s %7s %8s %8s %8s\n", "sign orders", "", "clients", "orders/s", "p50 ms", "p99 ms",
		"of no-op", "of keyst.", "of fsync", "CPU us", "others", "commits", "RSS MiB", "peak MiB")
}

func printFoot() {
	fmt.Println("CPU us, others and commits are for one order: the servers' time, that of PostgreSQL and the HSM's worker, and commits; no-op: without TLS, with as")
	fmt.Println("many clients; keyst.: the raw rate of that keystore; RSS and peak: of the largest server")
}

// orders measures sign orders of so many clients at the servers.
func orders(ctx context.Context, s *stand.Stand, on subject, clients int, each time.Duration) (line, error) {
	c, l, operation, err := ordering(ctx, s, on, clients, law.MaxUses)
	if err != nil {
		return line{}, err
	}
	servers := s.PIDs("keyserver")
	if err := resetPeak(servers); err != nil {
		return line{}, err
	}
	before, othersBefore, err := usages(s, servers)
	if err != nil {
		return line{}, err
	}
	r, err := l.run(ctx, each, 0)
	if err != nil {
		return line{}, err
	}
	after, othersAfter, err := usages(s, servers)
	if err != nil {
		return line{}, err
	}
	made := time.Duration(len(r.latencies))
	commits, err := commitsPerOrder(ctx, c, operation)
	return line{result: r, cpu: (after.cpu - before.cpu) / made, others: (othersAfter.cpu - othersBefore.cpu) / made, rss: after.rss, peak: after.peak, commits: commits}, err
}

// usages are what the servers have used, and what their workers and PostgreSQL have.
func usages(s *stand.Stand, servers []int) (of, others usage, err error) {
	parents := servers
	if s.Cluster != nil {
		postmaster, err := postmasterOf(s.Cluster)
		if err != nil {
			return of, others, err
		}
		parents = append(slices.Clone(servers), postmaster)
	}
	helpers, err := childrenOf(parents)
	if err != nil {
		return of, others, err
	}
	if of, err = usageOf(servers); err == nil {
		others, err = usageOf(helpers)
	}
	return of, others, err
}

// ordering creates an operation of so many uses, and returns the load of clients that place sign orders under it.
func ordering(ctx context.Context, s *stand.Stand, on subject, clients, uses int) (*client.Client, load, string, error) {
	token, err := s.MachineToken(ctx)
	if err != nil {
		return nil, load{}, "", err
	}
	c, err := client.New(s.Server, client.StaticToken(token), client.Options{})
	if err != nil {
		return nil, load{}, "", err
	}
	o, err := c.CreateOperation(ctx, fmt.Sprintf("bench-%d", time.Now().UnixNano()), api.NewOperation{
		KeyUsageRestrictions: []api.KeyUsageRestriction{{KeyID: on.key, MaxUsageCount: uses}},
		Description:          "benchmark", Context: "sign orders through the API", ValidMS: (24 * time.Hour).Milliseconds(),
	})
	if err != nil {
		return nil, load{}, "", err
	}
	var addresses []string
	for _, server := range s.Servers {
		addresses = append(addresses, strings.TrimPrefix(server, "http://"))
	}
	return c, load{
		addresses: addresses, clients: clients, status: http.StatusCreated,
		request: orderRequest(on, o.ID, token),
	}, o.ID, nil
}

// orderRequest is the text of a request for one signature under the operation. Each asks for another input.
func orderRequest(s subject, operation, token string) string {
	body := fmt.Sprintf(`{"keyid":"%s","hash":"%s","scheme":"%s","digest":"%s"}`, s.key, law.SHA256, s.scheme, strings.Repeat(number, 4))
	path := strings.Replace(api.PathSignOrders, "{operation}", operation, 1)
	return "POST " + path + " HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nContent-Type: " + api.MediaJSON +
		"\r\nAuthorization: Bearer " + token + "\r\n" + api.HeaderIdempotencyKey + ": bench-" + number +
		fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// counted is how many events of an operation [commitsPerOrder] looks at, at least.
const counted = 2000

// commitsPerOrder is how many commits were made for each sign order of the operation, as the audit log's entries
// tell: each names the transaction that wrote it.
func commitsPerOrder(ctx context.Context, c *client.Client, operation string) (float64, error) {
	batches := map[string]struct{}{}
	signed, seen := 0, 0
	for page := (client.Page{Limit: 200}); seen < counted; {
		events, err := c.Events(ctx, client.EventFilter{Operation: operation, Page: page})
		if err != nil {
			return 0, err
		}
		for _, leaf := range events.Events {
			e, err := audit.ParseLeaf(leaf)
			if err != nil {
				return 0, err
			}
			seen++
			switch e.Type {
			case audit.OrderAccepted:
				batches[e.Batch] = struct{}{}
			case audit.OrderSigned:
				batches[e.Batch] = struct{}{}
				signed++
			}
		}
		if page.Cursor = events.Next; page.Cursor == "" {
			break
		}
	}
	return float64(len(batches)) / float64(max(signed, 1)), nil
}
