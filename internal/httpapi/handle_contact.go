package httpapi

import (
	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
)

func getContact(s *server, c *call) (answer, error) {
	return asContact(s.Keyserver.Contact(c.Context(), c.Caller))
}

func setContact(s *server, c *call) (answer, error) {
	in, err := decode[api.NewContact](c)
	if err != nil {
		return answer{}, err
	}
	want := keyserver.Contact{Mail: in.Mail}
	for _, t := range in.Tells {
		want.Tells = append(want.Tells, keyserver.Kind(t))
	}
	if w := in.Webhook; w != nil {
		want.Webhook = keyserver.Webhook{URL: w.URL, Format: keyserver.Format(w.Format)}
	}
	return asContact(s.Keyserver.SetContact(c.Context(), c.Caller, want, in.NewSecret))
}

func asContact(c keyserver.Contact, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	out := api.Contact{Tells: texts(c.Tells), Mail: c.Mail, Failure: c.Failure}
	if c.Webhook.URL != "" {
		out.Webhook = &api.Webhook{URL: c.Webhook.URL, Format: string(c.Webhook.Format), Secret: c.Webhook.Secret}
	}
	return asJSON(out)
}
