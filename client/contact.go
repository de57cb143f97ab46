package client

import (
	"context"
	"net/http"

	"example.org/keyserver/api"
)

// Contact returns what the caller has chosen to be told, and by what.
func (c *Client) Contact(ctx context.Context) (api.Contact, error) {
	return do[api.Contact](ctx, c, ask{method: http.MethodGet, path: api.PathContact, twice: true})
}

// SetContact replaces what the caller has chosen to be told. The secret of a new webhook is in the answer alone, so it is
// not asked for again by itself.
func (c *Client) SetContact(ctx context.Context, n api.NewContact) (api.Contact, error) {
	return do[api.Contact](ctx, c, ask{method: http.MethodPut, path: api.PathContact, body: n})
}
