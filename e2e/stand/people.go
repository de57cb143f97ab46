package stand

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"net/url"

	"example.org/keyserver/client"
)

// As is a client of the first server that has signed in as a person of the development identity provider, or as the
// machine ci-firmware.
func (s *Stand) As(ctx context.Context, who string) (*client.Client, error) {
	token, err := s.token(ctx, who)
	if err != nil {
		return nil, fmt.Errorf("signing in %s: %w", who, err)
	}
	return client.New(s.Server, client.StaticToken(token), client.Options{})
}

// token plays a program and the browser of its person (RFC 8628).
func (s *Stand) token(ctx context.Context, who string) (string, error) {
	if who == "ci-firmware" {
		return s.MachineToken(ctx)
	}
	var device struct {
		Code string `json:"device_code"`
		User string `json:"user_code"`
	}
	body, err := s.post(ctx, s.Issuer+"/device_authorization", url.Values{"client_id": {"ks"}, "scope": {"openid"}})
	if err == nil {
		err = json.Unmarshal(body, &device)
	}
	if err == nil {
		err = s.Allow(ctx, who, device.User)
	}
	if err != nil {
		return "", err
	}
	var token struct {
		Access string `json:"access_token"`
	}
	body, err = s.post(ctx, s.Issuer+"/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {device.Code}, "client_id": {"ks"},
	})
	if err == nil {
		err = json.Unmarshal(body, &token)
	}
	return token.Access, err
}
