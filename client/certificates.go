package client

import (
	"context"
	"net/http"

	"example.org/keyserver/api"
)

// IssueCertificate has a ROOT key issue the certificate of a key in an administration session. It is not asked for again
// by itself: each answer is another certificate.
func (c *Client) IssueCertificate(ctx context.Context, session string, n api.NewCertificate) (api.Certificate, error) {
	return do[api.Certificate](ctx, c, ask{method: http.MethodPost, path: api.PathSessionCertificates, id: session, body: n})
}

// OrderCertificate has a CA key issue the certificate of an FW key under an approved operation. The same request under
// the same idempotency key, 1 to 128 visible ASCII characters, gives the same certificate and takes no second use.
func (c *Client) OrderCertificate(ctx context.Context, operation, idempotencyKey string, n api.NewCertificateOrder) (api.Certificate, error) {
	return do[api.Certificate](ctx, c, ask{
		method: http.MethodPost, path: api.PathOperationCertificates, id: operation, key: idempotencyKey, body: n, twice: true,
	})
}

// RequestCertificate has a key sign a request for its certificate (RFC 2986) in an administration session, PEM.
func (c *Client) RequestCertificate(ctx context.Context, session, keyid string) ([]byte, error) {
	return c.bytes(ctx, ask{method: http.MethodPost, path: api.PathCertificateRequests, id: session, body: api.OfKey{KeyID: keyid}})
}

// ImportCertificate takes over a certificate that was issued elsewhere, in an administration session.
func (c *Client) ImportCertificate(ctx context.Context, session string, n api.NewImport) (api.Certificate, error) {
	return do[api.Certificate](ctx, c, ask{method: http.MethodPost, path: api.PathImportedCertificates, id: session, body: n})
}

// MakeRevocationList has a ROOT key sign its next revocation list in an administration session.
func (c *Client) MakeRevocationList(ctx context.Context, session, keyid string) (api.RevocationList, error) {
	return do[api.RevocationList](ctx, c, ask{method: http.MethodPost, path: api.PathRevocationLists, id: session, body: api.OfKey{KeyID: keyid}})
}

// Certificates returns one page of the certificates of the keys that the caller may see, or of one of them, oldest first.
func (c *Client) Certificates(ctx context.Context, keyid string, p Page) (api.Certificates, error) {
	return do[api.Certificates](ctx, c, ask{method: http.MethodGet, path: api.PathCertificates, query: p.query("keyid", keyid), twice: true})
}

// CertificateByID returns one certificate.
func (c *Client) CertificateByID(ctx context.Context, id string) (api.Certificate, error) {
	return do[api.Certificate](ctx, c, ask{method: http.MethodGet, path: api.PathCertificateByID, id: id, twice: true})
}

// RevokeCertificate revokes a certificate. Revoking what is revoked changes nothing and is no error.
func (c *Client) RevokeCertificate(ctx context.Context, id string, r api.NewCertificateRevocation) (api.Certificate, error) {
	return do[api.Certificate](ctx, c, ask{method: http.MethodPost, path: api.PathRevokeCertificate, id: id, body: r, twice: true})
}

// RevocationList returns the newest revocation list of a key, DER. It needs no token.
func (c *Client) RevocationList(ctx context.Context, keyid string) ([]byte, error) {
	return c.bytes(ctx, ask{method: http.MethodGet, path: api.PathRevocationList, id: keyid + ".crl", open: true, twice: true})
}
