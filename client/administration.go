package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"example.org/keyserver/api"
)

// SessionFilter selects administration sessions. Empty fields select all.
type SessionFilter struct {
	State api.SessionState
	Page  Page
}

// OpenSession opens an administration session. It is not asked for again by itself: when no answer came, look whether
// there is one now.
func (c *Client) OpenSession(ctx context.Context, s api.NewSession) (api.Session, error) {
	return do[api.Session](ctx, c, ask{method: http.MethodPost, path: api.PathSessions, body: s})
}

// Session returns one administration session, with the beginning of what its plan changes.
func (c *Client) Session(ctx context.Context, id string) (api.Session, error) {
	return do[api.Session](ctx, c, ask{method: http.MethodGet, path: api.PathSession, id: id, twice: true})
}

// Sessions returns one page of administration sessions, newest first.
func (c *Client) Sessions(ctx context.Context, f SessionFilter) (api.Sessions, error) {
	q := f.Page.query("state", string(f.State))
	return do[api.Sessions](ctx, c, ask{method: http.MethodGet, path: api.PathSessions, query: q, twice: true})
}

// SessionDifference returns a part of what the plan of an administration session changes: at most [api.MaxItems]
// items, from this index on.
func (c *Client) SessionDifference(ctx context.Context, id string, from int) (api.Difference, error) {
	q := url.Values{"from": {strconv.Itoa(from)}}
	return do[api.Difference](ctx, c, ask{method: http.MethodGet, path: api.PathDifference, id: id, query: q, twice: true})
}

// WholeDifference returns all that the plan of an administration session changes.
func (c *Client) WholeDifference(ctx context.Context, id string) ([]api.DifferenceItem, error) {
	var items []api.DifferenceItem
	for {
		d, err := c.SessionDifference(ctx, id, len(items))
		if err != nil {
			return nil, err
		}
		items = append(items, d.Items...)
		if len(d.Items) == 0 || len(items) >= d.Total {
			return items, nil
		}
	}
}

// AuthoriseSession authorises the administration session that has this digest, and so its plan. Take the digest from
// what the administrator was shown: [api.Session.ComputeDigest].
func (c *Client) AuthoriseSession(ctx context.Context, id, digest string) (api.Session, error) {
	return do[api.Session](ctx, c, ask{method: http.MethodPost, path: api.PathAuthorisation, id: id, body: api.NewAuthorisation{Digest: digest}})
}

// WithdrawAuthorisation takes the caller's authorisation back, while the session is inactive.
func (c *Client) WithdrawAuthorisation(ctx context.Context, id string) (api.Session, error) {
	return do[api.Session](ctx, c, ask{method: http.MethodDelete, path: api.PathAuthorisation, id: id})
}

// CloseSession ends an administration session. Closing what is closed changes nothing and is no error.
func (c *Client) CloseSession(ctx context.Context, id string) (api.Session, error) {
	return do[api.Session](ctx, c, ask{method: http.MethodPost, path: api.PathClosure, id: id, twice: true})
}

// ApplyPlan makes the changes of the session's plan, all of them or none, which closes the session. When no answer
// came, look at the session.
func (c *Client) ApplyPlan(ctx context.Context, id string) (api.Session, error) {
	return do[api.Session](ctx, c, ask{method: http.MethodPost, path: api.PathApplication, id: id})
}

// Change makes changes in an administration session without a plan, all of them or none. The fragment is a part of a
// policy. It returns the objects that were set, as they are now.
func (c *Client) Change(ctx context.Context, session, reason, fragment string) (api.Changed, error) {
	return do[api.Changed](ctx, c, ask{method: http.MethodPost, path: api.PathChanges, id: session, body: api.NewChange{Reason: reason, Fragment: fragment}})
}

// DisableKey disables a key at once, without an administration session. Disabling what is disabled changes nothing
// and is no error.
func (c *Client) DisableKey(ctx context.Context, keyid, reason string) (api.Key, error) {
	return do[api.Key](ctx, c, ask{method: http.MethodPost, path: api.PathDisableKey, id: keyid, body: api.Disabling{Reason: reason}, twice: true})
}

// DisableSubject disables a subject at once, without an administration session. Disabling what is disabled changes
// nothing and is no error.
func (c *Client) DisableSubject(ctx context.Context, subject, reason string) (api.Subject, error) {
	return do[api.Subject](ctx, c, ask{method: http.MethodPost, path: api.PathDisableSubject, id: subject, body: api.Disabling{Reason: reason}, twice: true})
}

// Policy returns the whole configuration as a policy, YAML.
func (c *Client) Policy(ctx context.Context) ([]byte, error) {
	return c.bytes(ctx, ask{method: http.MethodGet, path: api.PathPolicy, twice: true})
}

// Difference says what a policy would change, and what would be refused of it. It changes nothing.
func (c *Client) Difference(ctx context.Context, policy string) (api.PolicyDifference, error) {
	return do[api.PolicyDifference](ctx, c, ask{method: http.MethodPost, path: api.PathPolicyDifference, body: api.Policy{Policy: policy}, twice: true})
}

// WhoCan says who can obtain a signature with a key now, or after the plan of an administration session unless that is
// empty.
func (c *Client) WhoCan(ctx context.Context, keyid, session string) (api.WhoCan, error) {
	return do[api.WhoCan](ctx, c, ask{method: http.MethodGet, path: api.PathWhoCan, id: keyid, query: Page{}.query("session", session), twice: true})
}

// WhoCould says who could obtain a signature with a key by a policy.
func (c *Client) WhoCould(ctx context.Context, keyid, policy string) (api.WhoCan, error) {
	return do[api.WhoCan](ctx, c, ask{method: http.MethodPost, path: api.PathWhoCan, id: keyid, body: api.Policy{Policy: policy}, twice: true})
}

// Subjects lists all subjects.
func (c *Client) Subjects(ctx context.Context) ([]api.Subject, error) {
	out, err := do[api.Subjects](ctx, c, ask{method: http.MethodGet, path: api.PathSubjects, twice: true})
	return out.Subjects, err
}

// Roles lists all roles.
func (c *Client) Roles(ctx context.Context) ([]api.ConfiguredRole, error) {
	out, err := do[api.Roles](ctx, c, ask{method: http.MethodGet, path: api.PathRoles, twice: true})
	return out.Roles, err
}
