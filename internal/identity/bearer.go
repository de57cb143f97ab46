package identity

import (
	"net/http"
	"strings"
)

// BearerToken returns the access token of a request (RFC 6750, section 2.1). The error is an [*Error].
func BearerToken(h http.Header) (string, error) {
	values := h.Values("Authorization")
	switch {
	case len(values) == 0:
		return "", reject(NoToken, "this needs an access token; send it in the header Authorization, after the word Bearer")
	case len(values) > 1:
		return "", reject(Malformed, "there are %d Authorization headers; send one", len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", reject(NoToken, "the Authorization header has no bearer token; send the word Bearer and an access token")
	}
	return token, nil
}
