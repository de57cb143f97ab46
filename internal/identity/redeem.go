package identity

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// redeem exchanges the code for an ID token (RFC 6749, section 4.1.3). The access token that comes with it is not even
// read. No error holds a part of the answer.
func (s *SignIns) redeem(ctx context.Context, tokenURL, code, verifier string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	request, err := s.tokenRequest(ctx, tokenURL, code, verifier)
	if err != nil {
		return "", s.unavailable(err)
	}
	status, body, err := s.auth.fetcher.answer(request)
	if err != nil {
		return "", s.unavailable(fmt.Errorf("redeeming a code at %s: %w", tokenURL, err))
	}
	var answer struct {
		IDToken string `json:"id_token"`
		Error   string `json:"error"`
	}
	notJSON := json.Unmarshal(body, &answer) != nil // the reason may quote a token
	if status == http.StatusBadRequest && !notJSON && answer.Error == "invalid_grant" {
		return "", reject(BadCode, "issuer %s does not take the code that the browser brought: it has expired or was used already; sign in again", s.options.Issuer)
	}
	switch {
	case status != http.StatusOK:
		return "", s.unavailable(fmt.Errorf("redeeming a code at %s: the answer is %d %s%s", tokenURL, status, http.StatusText(status), knownError(answer.Error)))
	case notJSON:
		return "", s.unavailable(fmt.Errorf("redeeming a code at %s: the answer is not a JSON object as RFC 6749 has it", tokenURL))
	case answer.IDToken == "":
		return "", s.unavailable(fmt.Errorf("redeeming a code at %s: there is no ID token in the answer", tokenURL))
	}
	return answer.IDToken, nil
}

// tokenRequest is the request, which authenticates the client if it has a secret (RFC 6749, section 2.3.1).
func (s *SignIns) tokenRequest(ctx context.Context, tokenURL, code, verifier string) (*http.Request, error) {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {s.options.RedirectURL}, "code_verifier": {verifier},
	}
	var secret []byte
	if s.options.ClientSecret == nil {
		form.Set("client_id", s.options.ClientID)
	} else {
		var err error
		if secret, err = s.options.ClientSecret(); err != nil {
			return nil, fmt.Errorf("client secret: %w", err)
		}
		defer clear(secret)
		if len(secret) == 0 {
			return nil, errors.New("client secret: it is empty")
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("redeeming a code at %s: it is not an address", tokenURL)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	if secret != nil {
		request.SetBasicAuth(url.QueryEscape(s.options.ClientID), url.QueryEscape(string(secret)))
	}
	return request, nil
}

// knownError returns an error code of RFC 6749, section 5.2. Anything else could be anything.
func knownError(code string) string {
	switch code {
	case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope":
		return " (" + code + ")"
	}
	return ""
}

func (s *SignIns) unavailable(cause error) error {
	return &Error{Kind: Unavailable, Reason: ProviderUnavailable, cause: cause, Sentence: fmt.Sprintf(
		"issuer %s cannot confirm your sign-in to this server at the moment; try again later, and if it stays so tell who runs this server", s.options.Issuer)}
}
