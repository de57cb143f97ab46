package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"example.org/keyserver/api"
)

// maxDepth is how deep the JSON of a body may be nested.
const maxDepth = 16

// checkFraming refuses, before anything is read or anybody is asked, a body that is not plainly one JSON
// document of a stated length. After each such refusal the connection is closed: where the body ends is in
// doubt.
func (s *server) checkFraming(c *call) error {
	c.close = true
	switch {
	case len(c.TransferEncoding) > 0:
		// Whoever puts Transfer-Encoding beside Content-Length wants two readers to see two requests
		// (RFC 9112 section 6.1); net/http hides the latter, so the former is refused altogether.
		return malformed("", "send the body with Content-Length, not with Transfer-Encoding")
	case !strings.EqualFold(cmp.Or(c.Header.Get("Content-Encoding"), "identity"), "identity"):
		return refuse(api.UnsupportedMedia, "send the body without Content-Encoding")
	case c.ContentLength > c.route.maxBody():
		return refuse(api.TooLarge, "the body is %d bytes long; %d are allowed", c.ContentLength, c.route.maxBody())
	case c.route.body == nil && c.route.operation != nil && hasBody(c.Request):
		return malformed("", "%s takes no body", c.route)
	}
	if c.route.body != nil {
		media, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
		charset, given := params["charset"]
		if err != nil || media != cmp.Or(c.route.media, api.MediaJSON) || given && !strings.EqualFold(charset, "utf-8") || len(c.Header.Values("Content-Type")) > 1 {
			return refuse(api.UnsupportedMedia, "send the body as Content-Type: %s", cmp.Or(c.route.media, api.MediaJSON))
		}
	}
	c.close = false
	return nil
}

// readBody reads the body and checks that it is strict JSON.
func (s *server) readBody(c *call) error {
	if c.route.body == nil && hasBody(c.Request) {
		return nil // net/http reads it after the answer, and must not wait for it for ever
	}
	if c.route.body != nil {
		var tooLarge *http.MaxBytesError
		most := c.maxBody()
		body, err := io.ReadAll(http.MaxBytesReader(c.out, c.Body, most))
		switch {
		case errors.As(err, &tooLarge):
			c.close = true
			return refuse(api.TooLarge, "the body is longer than %d bytes", most)
		case err != nil:
			c.close = true
			return malformed("", "the body could not be read to its end")
		}
		if c.route.media == "" {
			if err := checkJSON(body); err != nil {
				return err
			}
		}
		c.body = body
	}
	// The server's read deadline is for receiving the request. Left on the connection it would cancel the
	// context of a request that takes longer to answer, such as one that waits.
	if err := http.NewResponseController(c.out).SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("lifting the read deadline: %w", err)
	}
	return nil
}

// maxBody is how many bytes the body may have. A large policy is read from those alone whom the configuration is for.
func (c *call) maxBody() int64 {
	if c.route.policy && c.facts.ReadConfiguration(c.Caller.Subject) == nil {
		return api.MaxPolicyBody
	}
	if c.route.batch && c.facts.OrdersAnything(c.Caller.Subject) {
		return api.MaxBatchBody
	}
	if c.route.policy || c.route.batch {
		return api.MaxBody
	}
	return c.route.maxBody()
}

// checkJSON refuses what lenient readers would understand in different ways: names twice, more than one
// value, a byte order mark, invalid UTF-8, null, and numbers other than plain integers below 2^53.
func checkJSON(body []byte) error {
	if bytes.HasPrefix(body, []byte("\ufeff")) {
		return malformed("", "the body starts with a byte order mark; leave it out")
	}
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	for first := true; first || dec.StackDepth() > 0; first = false {
		token, err := dec.ReadToken()
		var syntax *jsontext.SyntacticError
		switch {
		case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
			return malformed(syntax.JSONPointer, "the body has this name twice")
		case err != nil:
			return malformed("", "the body is not valid JSON (RFC 8259) after byte %d", dec.InputOffset())
		case dec.StackDepth() > maxDepth:
			return malformed("", "the body is nested deeper than %d", maxDepth)
		case token.Kind() == 'n':
			return malformed(dec.StackPointer(), "null is not allowed; leave the member out")
		case token.Kind() == '0' && !plainInteger(token.String()):
			return malformed(dec.StackPointer(), "a number is a plain integer below 2^53, without fraction or exponent")
		}
	}
	if rest := body[dec.InputOffset():]; len(bytes.Trim(rest, " \t\r\n")) > 0 {
		return malformed("", "there is something after the JSON value")
	}
	return nil
}

func plainInteger(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == s && -1<<53 < n && n < 1<<53
}

// validate checks the request against the specification.
func (s *server) validate(c *call) error {
	if c.route.operation == nil {
		return nil
	}
	query, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return malformed("", "the query cannot be read; write it as name=value, percent-encoded, joined by &")
	}
	c.query = query
	for name := range query {
		if !slices.Contains(c.route.query, name) {
			return malformed("", "query parameter %.80q is unknown; the known ones are %q", name, c.route.query)
		}
	}
	for _, p := range c.route.parameters {
		if err := c.validateParameter(p.Value); err != nil {
			return err
		}
	}
	if c.route.body == nil || c.route.media != "" {
		return nil
	}
	var value any
	if err := json.Unmarshal(c.body, &value); err != nil {
		return fmt.Errorf("reading a body that was checked: %w", err)
	}
	if err := c.route.body.VisitJSON(value); err != nil {
		return explain(err)
	}
	return nil
}

func (c *call) validateParameter(p *openapi3.Parameter) error {
	var values []string
	switch p.In {
	case openapi3.ParameterInPath:
		values = []string{c.PathValue(p.Name)}
	case openapi3.ParameterInHeader:
		values = c.Header.Values(p.Name)
	case openapi3.ParameterInQuery:
		values = c.query[p.Name]
	}
	switch {
	case len(values) == 0 && !p.Required:
		return nil
	case len(values) == 0:
		return malformed("", "%s %s is missing", p.In, p.Name)
	case len(values) > 1:
		return malformed("", "%s %s is there %d times; send it once", p.In, p.Name, len(values))
	}
	var value any = values[0]
	switch {
	case p.Schema.Value.Type.Is(openapi3.TypeInteger) && plainInteger(values[0]):
		n, _ := strconv.ParseInt(values[0], 10, 64)
		value = float64(n) // exact: below 2^53
	case p.Schema.Value.Type.Is(openapi3.TypeBoolean) && (values[0] == "true" || values[0] == "false"):
		value = values[0] == "true"
	}
	if err := p.Schema.Value.VisitJSON(value); err != nil {
		return malformed("", "%s %s: %v", p.In, p.Name, explain(err))
	}
	return nil
}

// integer returns a checked integer of the query.
func (c *call) integer(name string, otherwise int64) int64 {
	n, err := strconv.ParseInt(c.query.Get(name), 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

// instant returns a time of the query, the zero time if it is not there.
func (c *call) instant(name string) time.Time {
	if !c.query.Has(name) {
		return time.Time{}
	}
	return time.UnixMilli(c.integer(name, 0))
}

// decode reads a checked body.
func decode[T any](c *call) (T, error) {
	var v T
	if err := json.Unmarshal(c.body, &v, json.RejectUnknownMembers(true)); err != nil {
		return v, malformed("", "the body cannot be read: %T", v)
	}
	return v, nil
}

// explain turns what the validator says into a problem. It never repeats a value, which may be a secret
// in the wrong place.
func explain(err error) error {
	var e *openapi3.SchemaError
	if !errors.As(err, &e) {
		return malformed("", "the request does not fit the specification")
	}
	var pointer jsontext.Pointer
	for _, token := range e.JSONPointer() {
		pointer = pointer.AppendToken(token)
	}
	switch schema := e.Schema; e.SchemaField {
	case "required":
		return malformed(pointer, "%q is missing", pointer.LastToken())
	case "properties":
		name := unknownName(e)
		return malformed(pointer.AppendToken(name), "%.80q is unknown here; names are written exactly as the specification has them", name)
	case "type":
		return malformed(pointer, "it must be of type %s", strings.Join(schema.Type.Slice(), " or "))
	case "enum":
		return malformed(pointer, "it must be one of %v", schema.Enum)
	case "pattern":
		if schema.Description != "" {
			return malformed(pointer, "%s: it must match the pattern %s", strings.TrimSuffix(schema.Description, "."), schema.Pattern)
		}
		return malformed(pointer, "it must match the pattern %s", schema.Pattern)
	case "minimum":
		return malformed(pointer, "it must be at least %.0f", *schema.Min)
	case "maximum":
		return malformed(pointer, "it must be at most %.0f", *schema.Max)
	case "minLength":
		return malformed(pointer, "it must be at least %d characters long", schema.MinLength)
	case "maxLength":
		return malformed(pointer, "it must be at most %d characters long", *schema.MaxLength)
	case "minItems":
		return malformed(pointer, "it must have at least %d entries", schema.MinItems)
	case "maxItems":
		return malformed(pointer, "it must have at most %d entries", *schema.MaxItems)
	case "uniqueItems":
		return malformed(pointer, "it has an entry twice")
	}
	return malformed(pointer, "it does not fit the specification")
}

// unknownName returns the first name of the object that its schema does not have.
func unknownName(e *openapi3.SchemaError) string {
	object, _ := e.Value.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if e.Schema.Properties[name] == nil {
			return name
		}
	}
	return ""
}
