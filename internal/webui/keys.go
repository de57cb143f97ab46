package webui

import (
	"encoding/pem"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// recordRoutes are the routes of keys, certificates and the audit log.
func recordRoutes() []*route {
	return []*route{
		{pattern: "GET /keys", serve: showKeys, crowd: lists},
		{pattern: "GET /keys/{key}", serve: showKey, crowd: lists},
		{pattern: "GET /keys/{key}/public.pem", serve: downloadPublicKey},
		{pattern: "POST /keys/{key}/disable", access: brake, serve: disableKey, fields: []string{"reason"}},
		{pattern: "GET /certificates", serve: showCertificates, crowd: lists},
		{pattern: "GET /certificates/{certificate}", serve: showCertificate},
		{pattern: "GET /certificates/{certificate}/chain.pem", serve: downloadChain},
		{pattern: "POST /certificates/{certificate}/revoke", access: brake, serve: revokeCertificate, fields: []string{"code", "reason"}},
		{pattern: "GET /audit", serve: showAudit, crowd: lists},
		{pattern: "GET /audit/{index}", serve: showEvent},
		{pattern: "POST /audit/verify", serve: verifyLog, crowd: exports},
		{pattern: "GET /audit/export.jsonl", serve: exportJSON, crowd: exports},
		{pattern: "GET /audit/export.csv", serve: exportCSV, crowd: exports},
	}
}

type keysPage struct {
	Now  time.Time
	Keys []keyItem
}

// keyItem is a key in the list.
type keyItem struct {
	law.Key
	Certificate *keyserver.Certificate // the current one; nil: there is none
	Ends        string                 // whether that is over or soon will be
}

func showKeys(s *server, c *call) (view, error) {
	all, err := s.Keyserver.Keys(c.Context(), c.Caller)
	if err != nil {
		return view{}, err
	}
	p := keysPage{Now: s.Now()}
	for _, k := range all {
		i := keyItem{Key: k}
		if i.Certificate, err = s.current(c, k.ID); err != nil {
			return view{}, err
		}
		if i.Certificate != nil {
			i.Ends = soon(i.Certificate.NotAfter, p.Now)
		}
		p.Keys = append(p.Keys, i)
	}
	return view{page: "keys", title: "Keys", section: "keys", data: p}, nil
}

// current returns the current certificate of a key that exists for the caller; nil if it has none.
func (s *server) current(c *call, key law.KeyID) (*keyserver.Certificate, error) {
	one, err := s.Keyserver.CurrentCertificate(c.Context(), c.Caller, key)
	if r, ok := refusal(err); ok && r.Kind == law.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &one, nil
}

// soon says of an end that it has come, or comes soon.
func soon(end, now time.Time) string {
	switch left := end.Sub(now); {
	case left <= 0:
		return "over"
	case left < expiryWarning:
		return "soon"
	}
	return ""
}

type keyPage struct {
	law.Key
	Now         time.Time
	PublicPEM   string
	Attributes  []attribute // of an HSM key
	DeviceLines []string    // of the profile of device certificates; none if it issues none
	Who         *law.WhoCan // nil: the caller may not ask
	Mine        []law.Role  // of the caller, that cover the key
	Certificate *certificateLine
	Chain       []chainLine
	Open        []item
	More        bool // there are more open operations than are shown
	Uses        template.HTML
	UsesSince   time.Time // earlier ones are not counted; zero: all are
	Disable     offer
	Fresh       bool
	Age         time.Duration
	Again       string
	Said        string
	Refused     string
}

// attribute is what a token says of a private key.
type attribute struct {
	Name, Means string
	Holds       bool
}

const usesDays = 30

func showKey(s *server, c *call) (view, error) { return s.keyView(c, nil) }

// keyView is the page of the key that the path names, after what was tried on it was refused, if it was.
func (s *server) keyView(c *call, refused error) (view, error) {
	k, err := s.Keyserver.Key(c.Context(), c.Caller, law.KeyID(c.PathValue("key")))
	if err != nil {
		return view{}, err
	}
	p := &keyPage{
		Key: k, Now: s.Now(), PublicPEM: publicPEM(k), Attributes: attributes(k.Attributes), DeviceLines: deviceLines(k.Devices),
		Fresh: s.fresh(c), Age: s.age(c), Again: signInAgain(c, true),
	}
	for _, fill := range []func(*call, *keyPage) error{s.fillWho, s.fillCertificate, s.fillOpen, s.fillKeyUses} {
		if err := fill(c, p); err != nil {
			return view{}, err
		}
	}
	_, err = c.facts.DisableKey(c.Caller.Subject, k.ID)
	p.Disable = offered("/keys/"+string(k.ID)+"/disable", err)
	p.Disable.Reason = s.typedBefore(c, "/keys/"+string(k.ID)+"/disable")
	if k.State != law.KeyActive {
		p.Disable = offer{}
	}
	if c.URL.Query().Get("did") == "disabled" && k.State == law.KeyDisabled {
		p.Said = "The key is disabled. Nothing is signed with it until it is enabled in an administration session."
	}
	v := view{page: "key", title: "Key " + string(k.ID), section: "keys", data: p}
	if refused != nil {
		t := s.Translate(refused)
		v.status, p.Refused = t.Kind().Status(), sentence(t.Detail)
		p.Disable.Reason = c.reason()
	}
	return v, nil
}

// fillWho says who can use the key, to those who may ask it, and to others what they themselves may do with it.
func (s *server) fillWho(c *call, p *keyPage) error {
	for _, r := range c.facts.Roles() {
		if slices.Contains(r.Members, c.Caller.Subject) && slices.Contains(r.Keys, p.ID) {
			p.Mine = append(p.Mine, r)
		}
	}
	if c.facts.ReadConfiguration(c.Caller.Subject) != nil {
		return nil
	}
	who, err := s.Keyserver.WhoCan(c.Context(), c.Caller, p.ID, nil, "")
	if err != nil {
		return err
	}
	p.Who = &who
	return nil
}

func (s *server) fillCertificate(c *call, p *keyPage) error {
	one, err := s.current(c, p.ID)
	if err != nil || one == nil {
		return err
	}
	p.Certificate = &certificateLine{*one, p.Now}
	p.Chain, err = chainOf(*one)
	return err
}

// fillOpen finds the newest open operations with the key.
func (s *server) fillOpen(c *call, p *keyPage) error {
	for _, state := range []law.State{law.Pending, law.Approved} {
		page, err := s.Keyserver.Operations(c.Context(), c.Caller, keyserver.OperationFilter{State: state, Key: p.ID, Page: keyserver.Page{Limit: listed}})
		if err != nil {
			return err
		}
		for _, o := range page.Operations {
			p.Open = append(p.Open, s.item(c, o))
		}
		p.More = p.More || page.Next != ""
	}
	slices.SortFunc(p.Open, func(a, b item) int { return b.Created.Compare(a.Created) })
	p.More = p.More || len(p.Open) > listed
	p.Open = p.Open[:min(len(p.Open), listed)]
	return nil
}

func (s *server) fillKeyUses(c *call, p *keyPage) error {
	if !p.InOperations() {
		return nil
	}
	first := p.Now.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-usesDays)
	uses, err := s.Keyserver.Uses(c.Context(), c.Caller, p.ID, first, usesDays)
	p.Uses, p.UsesSince = chart(uses.Days, first), uses.Since
	return err
}

func attributes(a *law.KeyAttributes) []attribute {
	if a == nil {
		return nil
	}
	return []attribute{
		{"Local", "it was made in the token", a.Local},
		{"Sensitive", "its value cannot be read in plain text", a.Sensitive},
		{"Always sensitive", "and never could be", a.AlwaysSensitive},
		{"Extractable", "it can be taken out of the token, encrypted or not", a.Extractable},
		{"Never extractable", "it never could be taken out", a.NeverExtractable},
	}
}

// SchemeNames lists the schemes that the key may make.
func (p *keyPage) SchemeNames() string { return joined(p.Schemes) }

func publicPEM(k law.Key) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.PublicKey}))
}

func downloadPublicKey(s *server, c *call) (view, error) {
	k, err := s.Keyserver.Key(c.Context(), c.Caller, law.KeyID(c.PathValue("key")))
	if err != nil {
		return view{}, err
	}
	return view{file: []byte(publicPEM(k)), media: mediaPEM, name: fileName(string(k.ID), fmt.Sprintf("v%d", k.Version), "public.pem")}, nil
}

const mediaPEM = "application/x-pem-file"

// fileName is a name of a file that needs no quoting anywhere.
func fileName(parts ...string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_') {
			return r
		}
		return '_'
	}, strings.Join(parts, "-"))
}

// disableKey disables a key in an emergency, without a session.
func disableKey(s *server, c *call) (view, error) {
	k, err := s.Keyserver.DisableKey(c.Context(), c.Caller, law.KeyID(c.PathValue("key")), c.reason())
	if r, ok := refusal(err); ok && r.Kind != law.NotFound {
		return s.keyView(c, err)
	}
	if err != nil {
		return view{}, err
	}
	return view{redirect: "/keys/" + string(k.ID) + "?did=disabled"}, nil
}
