package webui

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

const (
	maxForm  = 256 << 10 // bytes
	maxLarge = 8 << 20   // bytes, of a form that holds a policy: encoded it can be twice as long
)

// readForm reads the form of a request that changes something, and refuses one that is not from a page that this
// sign-in was shown.
func (s *server) readForm(c *call) error {
	if c.Method != http.MethodPost {
		return nil
	}
	if err := s.foreign.Check(c.Request); err != nil {
		return s.forbid(c, "this was sent by a page of another site; open the page here and decide there")
	}
	most := int64(maxForm)
	if c.route.large {
		most = maxLarge
	}
	c.Body = http.MaxBytesReader(c.out, c.Body, most)
	if err := c.ParseForm(); err != nil {
		return &keyserver.Malformed{Sentence: fmt.Sprintf("the form cannot be read, or is longer than %d bytes", most)}
	}
	for name, values := range c.PostForm {
		if name != "token" && !slices.Contains(c.route.fields, name) {
			return &keyserver.Malformed{Sentence: fmt.Sprintf("the form has a field %q, which is unknown; load the page again", shown(name))}
		}
		if len(values) != 1 && !slices.Contains(repeated, name) {
			return &keyserver.Malformed{Sentence: fmt.Sprintf("the form has the field %q %d times; load the page again", name, len(values))}
		}
	}
	want := s.sealer.token(c.signIn.ID, c.URL.Path)
	if subtle.ConstantTimeCompare([]byte(c.PostForm.Get("token")), []byte(want)) != 1 {
		return s.forbid(c, "the form is not one that was made for your sign-in; load the page again")
	}
	c.form = c.PostForm
	return nil
}

// repeated are the fields that a form may have several times.
var repeated = []string{"tells", "key", "count", "artifact-name", "artifact-size", "artifact-hash", "artifact-digest"}

// forbid refuses what no verb has refused, after it was audited as a verb's refusals are.
func (s *server) forbid(c *call, sentence string) error {
	return s.Keyserver.Refused(c.Context(), c.Caller, &law.Refusal{Kind: law.Forbidden, Reason: sentence})
}

// refusal returns the law's no, if that is what an error is.
func refusal(err error) (*law.Refusal, bool) { return errors.AsType[*law.Refusal](err) }
