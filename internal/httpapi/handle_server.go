package httpapi

import (
	"encoding/pem"
	"net/http"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
)

// version is the version of the specification.
const version = "1"

func getOpenAPI(*server, *call) (answer, error) { return asText(api.MediaYAML, api.OpenAPI()) }

func getHealth(*server, *call) (answer, error) { return asJSON(api.Health{Status: "ok"}) }

func getReady(s *server, c *call) (answer, error) {
	out := api.Readiness{Ready: true}
	for _, check := range s.Keyserver.Ready(c.Context()) {
		out.Checks = append(out.Checks, api.Check{Name: check.Name, OK: check.Err == nil})
		s.metrics.checked(check.Name, check.Err == nil)
		if check.Err != nil {
			out.Ready = false
			s.Log.Warn("not ready", "request", c.Caller.Request, "check", check.Name, "error", check.Err)
		}
	}
	if !out.Ready {
		return answer{status: http.StatusServiceUnavailable, value: out}, nil
	}
	return asJSON(out)
}

func getVersion(s *server, _ *call) (answer, error) {
	return asJSON(api.Version{
		Software: s.Software, API: version, Server: s.Keyserver.ServerID(), Mode: s.Mode, LogKey: s.Keyserver.LogKey(),
	})
}

func getWhoAmI(s *server, c *call) (answer, error) {
	self, err := s.Keyserver.WhoAmI(c.Context(), c.Caller)
	if err != nil {
		return answer{}, err
	}
	out := api.Self{Subject: string(self.Subject.ID), Kind: string(self.Subject.Kind), Name: self.Subject.Name}
	for _, r := range self.Roles {
		out.Roles = append(out.Roles, api.Role{Role: string(r.ID), Kind: string(r.Kind), Keys: texts(r.Keys)})
	}
	return asJSON(out)
}

func listKeys(s *server, c *call) (answer, error) {
	keys, err := s.Keyserver.Keys(c.Context(), c.Caller)
	if err != nil {
		return answer{}, err
	}
	var out api.Keys
	for _, k := range keys {
		out.Keys = append(out.Keys, keyOut(k))
	}
	return asJSON(out)
}

func getKey(s *server, c *call) (answer, error) {
	k, err := s.Keyserver.Key(c.Context(), c.Caller, law.KeyID(c.PathValue("keyid")))
	if err != nil {
		return answer{}, err
	}
	return asJSON(keyOut(k))
}

func getPublicKey(s *server, c *call) (answer, error) {
	k, err := s.Keyserver.Key(c.Context(), c.Caller, law.KeyID(c.PathValue("keyid")))
	if err != nil {
		return answer{}, err
	}
	return asText(api.MediaPEM, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.PublicKey})))
}
