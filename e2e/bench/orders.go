package main

import (
	"context"
	"fmt"
	"net/http"
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

var subjects = []subject{{"fw-dev", law.P256, law.ECDSA}, {"fw-rsa", law.RSA3072, law.PSS}}

// line is one line of the table of sign orders.
type line struct {
	result
	cpu       time.Duration // of the servers, for one order
	rss, peak float64       // of the largest server, in MiB
	commits   float64       // for one order
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
	before, err := usageOf(servers)
	if err != nil {
		return line{}, err
	}
	r, err := l.run(ctx, each, 0)
	if err != nil {
		return line{}, err
	}
	after, err := usageOf(servers)
	if err != nil {
		return line{}, err
	}
	commits, err := commitsPerOrder(ctx, c, operation)
	return line{r, (after.cpu - before.cpu) / time.Duration(len(r.latencies)), after.rss, after.peak, commits}, err
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
	return c, load{
		addresses: []string{strings.TrimPrefix(s.Server, "http://")}, clients: clients, status: http.StatusCreated,
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
