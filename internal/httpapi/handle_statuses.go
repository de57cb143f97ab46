package httpapi

import (
	"encoding/base64"
	"fmt"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
)

// askStatus answers a request for the status of a certificate in the body (RFC 6960 appendix A.1).
func askStatus(s *server, c *call) (answer, error) {
	return asStatus(s.Keyserver.CertificateStatus(c.Context(), c.Caller, c.body), false)
}

// getStatus answers one in the path. Unlike the other it can be kept by whoever is in between (RFC 5019 section 5).
func getStatus(s *server, c *call) (answer, error) {
	request, err := base64.StdEncoding.DecodeString(c.PathValue("request"))
	if err != nil {
		return answer{}, malformed("", "the path ends with the request in Base64 (RFC 4648 section 4), percent-encoded")
	}
	return asStatus(s.Keyserver.CertificateStatus(c.Context(), c.Caller, request), true)
}

func asStatus(status keyserver.CertificateStatus, kept bool) (answer, error) {
	out := answer{media: api.MediaStatus, data: status.DER}
	if kept && status.For > 0 {
		out.cache = fmt.Sprintf("public, max-age=%d", int(status.For.Seconds()))
	}
	return out, nil
}
