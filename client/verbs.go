package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"example.org/keyserver/api"
)

// OperationFilter selects operations. Empty fields select all.
type OperationFilter struct {
	State   api.State
	KeyID   string
	Orderer string
	Queue   bool      // those that wait for the caller
	Text    string    // in the description, whether in capitals or not, or at the beginning of the id
	From    time.Time // created at this time or after, in whole milliseconds
	Until   time.Time // created before this time, likewise
	Page    Page
}

// EventFilter selects audit events. Empty fields select all.
type EventFilter struct {
	Type      string
	Operation string
	Subject   string // of the actor
	KeyID     string
	Session   string // administration session
	Page      Page
}

// Page asks for one page of a list.
type Page struct {
	Limit  int    // 0: as the server likes
	Cursor string // Next of the page before; empty: from the start
}

// OpenAPI returns the specification of the server's API. It needs no token.
func (c *Client) OpenAPI(ctx context.Context) ([]byte, error) {
	return c.bytes(ctx, ask{method: http.MethodGet, path: api.PathOpenAPI, open: true, twice: true})
}

// Health says whether the server is alive. It needs no token.
func (c *Client) Health(ctx context.Context) (api.Health, error) {
	return do[api.Health](ctx, c, ask{method: http.MethodGet, path: api.PathHealth, open: true})
}

// Ready returns nil if the server has all it needs. It needs no token.
func (c *Client) Ready(ctx context.Context) error {
	_, err := do[api.Readiness](ctx, c, ask{method: http.MethodGet, path: api.PathReady, open: true})
	return err
}

// Version says which server this is. It needs no token.
func (c *Client) Version(ctx context.Context) (api.Version, error) {
	return do[api.Version](ctx, c, ask{method: http.MethodGet, path: api.PathVersion, open: true, twice: true})
}

// WhoAmI says who the caller is to the server.
func (c *Client) WhoAmI(ctx context.Context) (api.Self, error) {
	return do[api.Self](ctx, c, ask{method: http.MethodGet, path: api.PathWhoAmI, twice: true})
}

// Keys lists the keys that the caller may see.
func (c *Client) Keys(ctx context.Context) ([]api.Key, error) {
	out, err := do[api.Keys](ctx, c, ask{method: http.MethodGet, path: api.PathKeys, twice: true})
	return out.Keys, err
}

// Key returns one key.
func (c *Client) Key(ctx context.Context, keyid string) (api.Key, error) {
	return do[api.Key](ctx, c, ask{method: http.MethodGet, path: api.PathKey, id: keyid, twice: true})
}

// PublicKey returns the public key of a key, PEM.
func (c *Client) PublicKey(ctx context.Context, keyid string) ([]byte, error) {
	return c.bytes(ctx, ask{method: http.MethodGet, path: api.PathPublicKey, id: keyid, twice: true})
}

// Certificate returns the certificate of a key, PEM.
func (c *Client) Certificate(ctx context.Context, keyid string) ([]byte, error) {
	return c.bytes(ctx, ask{method: http.MethodGet, path: api.PathCertificate, id: keyid, twice: true})
}

// CreateOperation asks for an operation. The same request under the same idempotency key, 1 to 128 visible
// ASCII characters, gives the same operation.
func (c *Client) CreateOperation(ctx context.Context, idempotencyKey string, o api.NewOperation) (api.Operation, error) {
	return do[api.Operation](ctx, c, ask{method: http.MethodPost, path: api.PathOperations, key: idempotencyKey, body: o, twice: true})
}

// Operation returns one operation.
func (c *Client) Operation(ctx context.Context, id string) (api.Operation, error) {
	return do[api.Operation](ctx, c, ask{method: http.MethodGet, path: api.PathOperation, id: id, twice: true})
}

// Operations returns one page of operations, newest first.
func (c *Client) Operations(ctx context.Context, f OperationFilter) (api.Operations, error) {
	q := f.Page.query("state", string(f.State), "keyid", f.KeyID, "orderer", f.Orderer, "text", f.Text)
	if f.Queue {
		q.Set("queue", "true")
	}
	for name, at := range map[string]time.Time{"from": f.From, "until": f.Until} {
		if !at.IsZero() {
			q.Set(name, strconv.FormatInt(at.UnixMilli(), 10))
		}
	}
	return do[api.Operations](ctx, c, ask{method: http.MethodGet, path: api.PathOperations, query: q, twice: true})
}

// WaitChange returns the operation as soon as its revision is higher than the one given, or as it is after
// the given time, at most a minute.
func (c *Client) WaitChange(ctx context.Context, id string, revision int64, wait time.Duration) (api.Operation, error) {
	q := url.Values{"revision": {strconv.FormatInt(revision, 10)}, "waitms": {strconv.FormatInt(wait.Milliseconds(), 10)}}
	return do[api.Operation](ctx, c, ask{method: http.MethodGet, path: api.PathWait, id: id, query: q, twice: true})
}

// WaitOperation waits until the operation is as wanted, or can never be because it has ended, or the context
// ends. It returns the operation as last seen, also with an error.
func (c *Client) WaitOperation(ctx context.Context, id string, wanted func(api.Operation) bool) (api.Operation, error) {
	o, err := c.Operation(ctx, id)
	for err == nil && !wanted(o) && !o.State.Final() {
		var next api.Operation
		if next, err = c.WaitChange(ctx, id, o.Revision, api.DefaultWait*time.Millisecond); err == nil {
			o = next
		}
	}
	return o, err
}

// Approve approves the operation that has this digest. Take the digest from what the approver was shown:
// [api.Operation.ComputeDigest].
func (c *Client) Approve(ctx context.Context, id, digest string) (api.Operation, error) {
	return do[api.Operation](ctx, c, ask{method: http.MethodPost, path: api.PathApproval, id: id, body: api.NewApproval{Digest: digest}})
}

// Withdraw takes the caller's approval back.
func (c *Client) Withdraw(ctx context.Context, id string) (api.Operation, error) {
	return do[api.Operation](ctx, c, ask{method: http.MethodDelete, path: api.PathApproval, id: id})
}

// Reject ends the operation by the caller's no.
func (c *Client) Reject(ctx context.Context, id, reason string) (api.Operation, error) {
	return do[api.Operation](ctx, c, ask{method: http.MethodPost, path: api.PathRejection, id: id, body: api.Ending{Reason: reason}})
}

// Revoke ends the operation. Revoking what is revoked changes nothing and is no error.
func (c *Client) Revoke(ctx context.Context, id, reason string) (api.Operation, error) {
	return do[api.Operation](ctx, c, ask{method: http.MethodPost, path: api.PathRevocation, id: id, body: api.Ending{Reason: reason}, twice: true})
}

// PlaceSignOrder has one input signed under an approved operation. The same input under the same idempotency
// key, 1 to 128 visible ASCII characters, is the same sign order and takes no second use.
func (c *Client) PlaceSignOrder(ctx context.Context, operation, idempotencyKey string, o api.NewSignOrder) (api.SignOrder, error) {
	return do[api.SignOrder](ctx, c, ask{method: http.MethodPost, path: api.PathSignOrders, id: operation, key: idempotencyKey, body: o, twice: true})
}

// SignOrder returns one sign order, with the signature in the form asked for, or the usual one if that is
// empty.
func (c *Client) SignOrder(ctx context.Context, id string, f api.Format) (api.SignOrder, error) {
	return do[api.SignOrder](ctx, c, ask{method: http.MethodGet, path: api.PathSignOrder, id: id, query: Page{}.query("format", string(f)), twice: true})
}

// SignOrders returns one page of the sign orders of an operation, oldest first.
func (c *Client) SignOrders(ctx context.Context, operation string, p Page) (api.SignOrders, error) {
	return do[api.SignOrders](ctx, c, ask{method: http.MethodGet, path: api.PathSignOrders, id: operation, query: p.query(), twice: true})
}

// Events returns one page of audit events, oldest first.
func (c *Client) Events(ctx context.Context, f EventFilter) (api.Events, error) {
	q := f.Page.query("type", f.Type, "operation", f.Operation, "subject", f.Subject, "keyid", f.KeyID, "session", f.Session)
	return do[api.Events](ctx, c, ask{method: http.MethodGet, path: api.PathEvents, query: q, twice: true})
}

// Checkpoint returns the newest checkpoint of the audit log, a signed note.
func (c *Client) Checkpoint(ctx context.Context) (string, error) {
	out, err := c.bytes(ctx, ask{method: http.MethodGet, path: api.PathCheckpoint, twice: true})
	return string(out), err
}

// InclusionProof returns the proof that a leaf is in the log of this size.
func (c *Client) InclusionProof(ctx context.Context, index, size int64) (api.InclusionProof, error) {
	q := url.Values{"index": {strconv.FormatInt(index, 10)}, "size": {strconv.FormatInt(size, 10)}}
	return do[api.InclusionProof](ctx, c, ask{method: http.MethodGet, path: api.PathInclusionProof, query: q, twice: true})
}

// ConsistencyProof returns the proof that the log of the size from is a prefix of the one of the size to.
func (c *Client) ConsistencyProof(ctx context.Context, from, to int64) (api.ConsistencyProof, error) {
	q := url.Values{"from": {strconv.FormatInt(from, 10)}, "to": {strconv.FormatInt(to, 10)}}
	return do[api.ConsistencyProof](ctx, c, ask{method: http.MethodGet, path: api.PathConsistencyProof, query: q, twice: true})
}

// Export writes the whole audit log with its checkpoint to w. It is not bounded in size, and is not asked
// for again by itself. After an error that came in the middle, what was written is not a whole log.
func (c *Client) Export(ctx context.Context, w io.Writer) error {
	return c.try(ctx, ask{method: http.MethodGet, path: api.PathExport}, func(r *http.Response) error {
		_, err := io.Copy(w, r.Body)
		return err
	})
}

// query makes a query of the page and of names and values; empty values are left out.
func (p Page) query(more ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] != "" {
			q.Set(more[i], more[i+1])
		}
	}
	if p.Limit != 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	if p.Cursor != "" {
		q.Set("cursor", p.Cursor)
	}
	return q
}
