package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"example.org/keyserver/api"
)

// IssueDeviceCertificate has a CA key issue the certificate of a device under an approved operation. The same request under
// the same idempotency key, 1 to 128 visible ASCII characters, gives the same certificate and takes no second use.
func (c *Client) IssueDeviceCertificate(ctx context.Context, idempotencyKey string, n api.NewDeviceCertificate) (api.DeviceCertificate, error) {
	return do[api.DeviceCertificate](ctx, c, ask{method: http.MethodPost, path: api.PathDeviceCertificates, key: idempotencyKey, body: n, twice: true})
}

// IssueDeviceCertificates is IssueDeviceCertificate for up to [api.MaxDeviceBatch] devices, each with a result of its own.
func (c *Client) IssueDeviceCertificates(ctx context.Context, n api.NewDeviceBatch) (api.DeviceResults, error) {
	return do[api.DeviceResults](ctx, c, ask{method: http.MethodPost, path: api.PathDeviceBatch, body: n, twice: true})
}

// DeviceFilter selects device certificates: of an operation, or that a CA key has issued for a device or with a serial
// number.
type DeviceFilter struct {
	Operation string
	KeyID     string
	Device    string
	Serial    string // hex
}

// DeviceCertificates returns one page of device certificates, oldest first.
func (c *Client) DeviceCertificates(ctx context.Context, f DeviceFilter, p Page) (api.DeviceCertificates, error) {
	q := p.query("operation", f.Operation)
	for name, value := range map[string]string{"keyid": f.KeyID, "device": f.Device, "serial": f.Serial} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return do[api.DeviceCertificates](ctx, c, ask{method: http.MethodGet, path: api.PathDeviceCertificates, query: q, twice: true})
}

// DeviceCertificate returns one device certificate.
func (c *Client) DeviceCertificate(ctx context.Context, id string) (api.DeviceCertificate, error) {
	return do[api.DeviceCertificate](ctx, c, ask{method: http.MethodGet, path: api.PathDeviceCertificate, id: id, twice: true})
}

// RevokeDeviceCertificate revokes a device certificate. Revoking what is revoked changes nothing and is no error.
func (c *Client) RevokeDeviceCertificate(ctx context.Context, id string, r api.NewCertificateRevocation) (api.DeviceCertificate, error) {
	return do[api.DeviceCertificate](ctx, c, ask{method: http.MethodPost, path: api.PathRevokeDeviceCertificate, id: id, body: r, twice: true})
}

// RevokeDeviceCertificates revokes all device certificates of an operation and says how many it has revoked.
func (c *Client) RevokeDeviceCertificates(ctx context.Context, operation string, r api.NewCertificateRevocation) (int, error) {
	n, err := do[api.RevokedCount](ctx, c, ask{method: http.MethodPost, path: api.PathRevokeDeviceCertificates, id: operation, body: r, twice: true})
	return n.Revoked, err
}

// Lots says what became of the device certificates of an operation.
func (c *Client) Lots(ctx context.Context, operation string) (api.Lots, error) {
	return do[api.Lots](ctx, c, ask{method: http.MethodGet, path: api.PathLots, id: operation, twice: true})
}

// LotReport returns the signed report on the device certificates of an operation that has ended: a JSON Web Signature (RFC
// 7515) by the log key.
func (c *Client) LotReport(ctx context.Context, operation string) ([]byte, error) {
	return c.bytes(ctx, ask{method: http.MethodGet, path: api.PathLotReport, id: operation, twice: true})
}

// LotCertificates writes the device certificates that were issued under an operation to w, CSV (RFC 4180), as of a time, ms
// since 1970 UTC; 0: now. After an error that came in the middle, what was written is not the whole list.
func (c *Client) LotCertificates(ctx context.Context, operation string, at int64, w io.Writer) error {
	q := url.Values{}
	if at != 0 {
		q.Set("at", strconv.FormatInt(at, 10))
	}
	return c.try(ctx, ask{method: http.MethodGet, path: api.PathLotCertificates, id: operation, query: q}, func(r *http.Response) error {
		_, err := io.Copy(w, r.Body)
		return err
	})
}
