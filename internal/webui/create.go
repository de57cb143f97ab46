package webui

import (
	"crypto/rand"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// createPage is the form of a new operation, with what was typed.
type createPage struct {
	Keys        []createKey
	Hashes      []law.Hash
	Description string
	Context     string
	Hours       string // of validity
	Artifacts   []createArtifact
	Clients     string
	Idempotency string
	Refused     string
	Preview     *preview
}

type createKey struct {
	law.Key
	Count string
}

type createArtifact struct{ Name, Size, Hash, Digest string }

// preview is what an approver will see of the operation, as the law would make it now.
type preview struct {
	item
	Context template.HTML
	Next    string
}

var createFields = []string{"description", "context", "hours", "key", "count", "artifact-name", "artifact-size", "artifact-hash", "artifact-digest", "clients", "idempotency", "do"}

// idempotency is what [rand.Text] writes: the form comes with one.
var idempotency = regexp.MustCompile(`^[A-Z2-7]{26,64}$`)

// spareArtifacts is how many empty lines for artifacts the form has, for browsers without the script.
const spareArtifacts = 3

func (s *server) newCreatePage(c *call) createPage {
	p := createPage{Hours: "24", Idempotency: rand.Text(), Hashes: law.Hashes()}
	for _, k := range orderable(c) {
		p.Keys = append(p.Keys, createKey{Key: k})
	}
	p.Artifacts = make([]createArtifact, spareArtifacts)
	return p
}

func showCreate(s *server, c *call) (view, error) {
	p := s.newCreatePage(c)
	if key := c.URL.Query().Get("key"); key != "" {
		for i := range p.Keys {
			if string(p.Keys[i].ID) == key {
				p.Keys[i].Count = "1"
			}
		}
	}
	return createView(p, 0), nil
}

func createView(p createPage, status int) view {
	return view{page: "create", title: "New operation", section: "operations", data: p, status: status}
}

// createOperation shows what approvers will see, or asks for the operation.
func createOperation(s *server, c *call) (view, error) {
	p := s.newCreatePage(c)
	ask, err := p.read(c)
	if err != nil {
		return s.createAgain(c, p, err)
	}
	if c.form.Get("do") != "create" {
		return s.previewView(c, p, ask)
	}
	o, err := s.Keyserver.CreateOperation(c.Context(), c.Caller, keyserver.CreateRequest{IdempotencyKey: p.Idempotency, Ask: ask})
	if err != nil {
		return s.createAgain(c, p, err)
	}
	return view{redirect: "/operations/" + string(o.ID) + "?did=created"}, nil
}

// createAgain shows the form again with why it was refused.
func (s *server) createAgain(c *call, p createPage, err error) (view, error) {
	t := s.Translate(err)
	if status := t.Kind().Status(); status == http.StatusInternalServerError || status == http.StatusServiceUnavailable || status == http.StatusNotFound {
		return view{}, err
	}
	p.Refused = sentence(t.Detail)
	return createView(p, t.Kind().Status()), nil
}

// previewView asks the law for the operation as it would be made now, and keeps nothing of it.
func (s *server) previewView(c *call, p createPage, ask law.Ask) (view, error) {
	ask.Server, ask.ID, ask.Nonce = s.Keyserver.ServerID(), "00000000-0000-7000-8000-000000000000", strings.Repeat("0", 64)
	now := s.Now().Truncate(time.Millisecond)
	out, err := law.Create(c.Caller.Caller, ask, c.facts, now)
	if r, ok := refusal(err); ok { // nothing was asked for yet, so nothing was refused: this is no audit event
		p.Refused = "It would be refused: " + r.Reason + "."
		return createView(p, 0), nil
	}
	if err != nil {
		return view{}, err
	}
	o := keyserver.Operation{
		Operation: out.Operation, State: out.Operation.State(c.facts, now), Digest: out.Operation.Digest(), Progress: out.Operation.Progress(c.facts),
		Obstacles: out.Operation.Obstacles(c.facts),
	}
	p.Preview = &preview{item: s.item(c, o), Context: markdown(o.Statement.Context, s.LinkHosts), Next: next(c, o)}
	return createView(p, 0), nil
}

// read takes the form apart. What is wrong with it is told in a sentence; whether it may be is for the law to say.
func (p *createPage) read(c *call) (law.Ask, error) {
	p.Description, p.Context, p.Hours = text(c.form.Get("description")), text(c.form.Get("context")), strings.TrimSpace(c.form.Get("hours"))
	p.Clients = strings.TrimSpace(c.form.Get("clients"))
	ask := law.Ask{Description: p.Description, Context: p.Context}
	if given := c.form.Get("idempotency"); given != "" {
		if !idempotency.MatchString(given) {
			return ask, &keyserver.Malformed{Sentence: "the form does not fit together; load the page again"}
		}
		p.Idempotency = given
	}
	var err error
	if ask.Keys, err = p.readKeys(c); err != nil {
		return ask, err
	}
	if ask.Artifacts, err = p.readArtifacts(c); err != nil {
		return ask, err
	}
	for _, id := range strings.FieldsFunc(p.Clients, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
		ask.Clients = append(ask.Clients, law.SubjectID(id))
	}
	hours, err := strconv.ParseInt(p.Hours, 10, 32)
	if err != nil || hours < 1 {
		return ask, &keyserver.Malformed{Sentence: "the validity must be a whole number of hours, at least 1"}
	}
	ask.Validity = time.Duration(hours) * time.Hour
	return ask, nil
}

func (p *createPage) readKeys(c *call) ([]law.KeyAsk, error) {
	keys, counts := c.form["key"], c.form["count"]
	if len(keys) != len(counts) {
		return nil, &keyserver.Malformed{Sentence: "the form does not fit together; load the page again"}
	}
	var asks []law.KeyAsk
	for i, id := range keys {
		count := strings.TrimSpace(counts[i])
		at := slices.IndexFunc(p.Keys, func(k createKey) bool { return string(k.ID) == id })
		if at >= 0 {
			p.Keys[at].Count = count
		}
		if count == "" || count == "0" {
			continue
		}
		n, err := strconv.ParseInt(count, 10, 32)
		if err != nil || n < 1 {
			return nil, &keyserver.Malformed{Sentence: "the uses of key " + shown(id) + " must be a whole number"}
		}
		asks = append(asks, law.KeyAsk{Key: law.KeyID(id), MaxUses: int(n)})
	}
	if len(asks) == 0 {
		return nil, &keyserver.Malformed{Sentence: "say of at least one key how many uses you need"}
	}
	return asks, nil
}

func (p *createPage) readArtifacts(c *call) ([]law.Artifact, error) {
	names, sizes, hashes, digests := c.form["artifact-name"], c.form["artifact-size"], c.form["artifact-hash"], c.form["artifact-digest"]
	if len(sizes) != len(names) || len(hashes) != len(names) || len(digests) != len(names) {
		return nil, &keyserver.Malformed{Sentence: "the form does not fit together; load the page again"}
	}
	p.Artifacts = nil
	var artifacts []law.Artifact
	for i := range names {
		a := createArtifact{strings.TrimSpace(names[i]), strings.TrimSpace(sizes[i]), hashes[i], strings.ToLower(strings.TrimSpace(digests[i]))}
		if a.Name == "" && a.Size == "" && a.Digest == "" {
			continue
		}
		p.Artifacts = append(p.Artifacts, a)
		n, err := strconv.ParseInt(a.Size, 10, 64)
		if err != nil || n < 0 {
			return nil, &keyserver.Malformed{Sentence: "the size of artifact " + shown(a.Name) + " must be a whole number of bytes"}
		}
		artifacts = append(artifacts, law.Artifact{Name: a.Name, Size: n, Hash: law.Hash(a.Hash), Digest: a.Digest})
	}
	p.Artifacts = append(p.Artifacts, make([]createArtifact, spareArtifacts)...)
	return artifacts, nil
}
