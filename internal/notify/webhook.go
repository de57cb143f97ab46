package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"code.dny.dev/ssrf"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"example.org/keyserver/internal/keyserver"
)

// maxAnswer is how many bytes of an answer are read, and thrown away.
const maxAnswer = 4 << 10

// newClient returns a client for webhooks. It connects to public addresses, and to those in the networks: what a name
// stands for is looked at when it is connected to, so that no name can lead elsewhere meanwhile. It follows no redirects
// and knows no proxy.
func newClient(networks []netip.Prefix, roots *x509.CertPool) *http.Client {
	var v4, v6 []netip.Prefix
	for _, n := range networks {
		if n.Addr().Is4() {
			v4 = append(v4, n)
		} else {
			v6 = append(v6, n)
		}
	}
	guard := ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))
	dialer := &net.Dialer{Timeout: patience, Control: guard.Safe}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post sends a message to a webhook. In the standard format it is signed as Standard Webhooks says.
func (s *Sender) post(ctx context.Context, m keyserver.Message, w keyserver.Webhook) error {
	n := m.Notices[0]
	body, err := s.payload(n, w.Format)
	if err != nil {
		return fmt.Errorf("writing a message: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return &fault{"the URL cannot be used", true, withoutURL(err)}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "keyserver")
	if w.Format == keyserver.FormatStandard {
		if err := s.sign(r, n.ID, body, w.Secret); err != nil {
			return err
		}
	}
	answer, err := s.web.Do(r)
	switch {
	case errors.Is(err, ssrf.ErrProhibitedIP) || errors.Is(err, ssrf.ErrProhibitedNetwork):
		return &fault{"the webhook's address is a private one, and messages are not sent there", false, withoutURL(err)}
	case err != nil:
		return &fault{"the webhook could not be reached", false, withoutURL(err)}
	}
	defer func() { _ = answer.Body.Close() }() // it was an answer, whatever follows
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	if answer.StatusCode/100 != 2 {
		return &fault{"the webhook answered " + strconv.Itoa(answer.StatusCode), answer.StatusCode == http.StatusGone, fmt.Errorf("status %d", answer.StatusCode)}
	}
	return nil
}

func (s *Sender) sign(r *http.Request, id string, body []byte, secret string) error {
	key, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return &fault{"the webhook's secret cannot be used", true, errors.New("reading the webhook's secret: it is not whsec_ and base64")}
	}
	now := s.Now()
	signature, err := key.Sign(id, now, body)
	if err != nil {
		return fmt.Errorf("signing a message: %w", err)
	}
	r.Header.Set(standardwebhooks.HeaderWebhookID, id)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return nil
}

// withoutURL is an error without the URL in it, which may be all that keeps others from posting there.
func withoutURL(err error) error {
	if u, is := errors.AsType[*url.Error](err); is {
		return u.Err
	}
	return err
}
