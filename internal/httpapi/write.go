package httpapi

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// answer is what a handler returns: a value for JSON, or text of another media type. The zero answer says
// that the handler has streamed what there was to say.
type answer struct {
	status   int // 0: 200
	value    any
	text     string
	data     []byte // instead of text
	media    string // of text or data
	location string // of what was made
	cache    string // who may keep it, and how long (RFC 9111); empty: nobody
}

func asJSON(v any) (answer, error)           { return answer{value: v}, nil }
func asText(media, s string) (answer, error) { return answer{media: media, text: s}, nil }

// refuse makes an error of the API itself.
func refuse(k api.Kind, sentence string, args ...any) error {
	return &api.Problem{Type: k.Type(), Detail: fmt.Sprintf(sentence, args...)}
}

// malformed makes the error of a request that is not as the specification says. The pointer names the bad
// member of the body.
func malformed(at jsontext.Pointer, sentence string, args ...any) error {
	return &api.Problem{Type: api.Malformed.Type(), Detail: fmt.Sprintf(sentence, args...), Pointer: string(at)}
}

// Translate is the one table from errors to problems. An error that it does not know is a fault of ours.
func Translate(err error) *api.Problem {
	problem := func(k api.Kind, detail string, again time.Duration) *api.Problem {
		return &api.Problem{Type: k.Type(), Detail: detail, RetryAfter: again}
	}
	if p, ok := errors.AsType[*api.Problem](err); ok {
		return p
	}
	if e, ok := errors.AsType[*keyserver.Unavailable](err); ok { // before the refusal that it may wrap
		p := problem(unavailable(e.Kind), e.Sentence, max(e.RetryAfter, time.Second))
		p.Order = string(e.Order)
		return p
	}
	if e, ok := errors.AsType[*law.Refusal](err); ok {
		return problem(refusal(e.Kind), e.Reason, retry(e.Kind))
	}
	if e, ok := errors.AsType[*identity.Error](err); ok {
		switch e.Kind {
		case identity.Rejected:
			return problem(api.Unauthenticated, e.Sentence, 0)
		case identity.NotAllowed:
			return problem(api.Forbidden, e.Sentence, 0)
		case identity.Unavailable:
			return problem(api.Unavailable, e.Sentence, 5*time.Second)
		}
	}
	if e, ok := errors.AsType[*keyserver.TooMany](err); ok {
		return problem(api.TooMany, e.Sentence, max(e.RetryAfter, time.Second))
	}
	if e, ok := errors.AsType[*keyserver.Malformed](err); ok {
		return problem(api.Malformed, e.Sentence, 0)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return problem(api.Unavailable, "the request was not answered in time; ask again", time.Second)
	}
	return problem(api.Internal, errPanic.Error(), 0)
}

// refusal translates the law's kinds of refusal.
func refusal(k law.RefusalKind) api.Kind {
	switch k {
	case law.Forbidden:
		return api.Forbidden
	case law.NotFound:
		return api.NotFound
	case law.WrongState:
		return api.WrongState
	case law.NotCovered:
		return api.NotCovered
	case law.Duplicate:
		return api.Duplicate
	case law.WrongDigest:
		return api.WrongDigest
	case law.Impossible:
		return api.Impossible
	case law.InputMisfit:
		return api.InputMisfit
	case law.KeyReused:
		return api.KeyReused
	case law.Held:
		return api.ClockHeld
	case law.Superseded:
		return api.Running
	}
	return api.Internal
}

// retry is when to ask again after a refusal that is the server's matter.
func retry(k law.RefusalKind) time.Duration {
	switch k {
	case law.Held:
		return time.Minute
	case law.Superseded:
		return time.Second
	}
	return 0
}

// unavailable translates the keyserver's kinds of what is not to be had.
func unavailable(kind string) api.Kind {
	switch kind {
	case "clock":
		return api.ClockHeld
	case "running":
		return api.Running
	}
	return api.Unavailable
}

// write is the only place where an answer leaves.
func (s *server) write(c *call, a answer, err error) {
	if c.out.status != 0 { // a stream has begun
		if err != nil {
			s.Log.Error("stream cut off", "request", c.Caller.Request, "route", c.route.String(), "error", err)
			panic(http.ErrAbortHandler) // a cut-off answer must not look like a whole one
		}
		return
	}
	media, body := a.media, a.data
	if body == nil {
		body = []byte(a.text)
	}
	status := max(a.status, http.StatusOK)
	if err == nil && a.value != nil {
		media = api.MediaJSON
		body, err = json.Marshal(a.value)
	}
	if err != nil {
		media = api.MediaProblem
		status, body = s.problem(c, err)
	}
	if a.location != "" && err == nil {
		c.out.Header().Set("Location", a.location)
	}
	if a.cache != "" && err == nil {
		c.out.Header().Set("Cache-Control", a.cache)
	}
	c.out.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.start(status, media)
	c.out.Write(body) // an error is the client's going away
}

// start writes the head of the answer.
func (c *call) start(status int, media string) {
	h := c.out.Header()
	h.Set("Content-Type", media)
	h.Set(api.HeaderRequestID, c.Caller.Request)
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	if c.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	if c.close {
		h.Set("Connection", "close")
	}
	c.out.WriteHeader(status)
}

// maxDetail is the most that is told of a problem, in bytes: a policy can have many faults.
const maxDetail = 8000

// complete is what err means for the caller. What only operators should know goes to the log.
func (s *server) complete(c *call, err error) *api.Problem {
	p := *Translate(err)
	kind := p.Kind()
	p.Status, p.Title, p.Instance = kind.Status(), kind.Title(), "urn:uuid:"+c.Caller.Request
	if len(p.Pointer) > 1000 {
		p.Pointer = ""
	}
	if len(p.Detail) > maxDetail {
		p.Detail = strings.ToValidUTF8(p.Detail[:maxDetail], "")
	}
	switch {
	case err == errPanic: // in the log already
	case kind == api.Internal:
		s.Log.Error("request failed", "request", c.Caller.Request, "route", c.route.String(), "error", err)
	case p.Status == http.StatusServiceUnavailable:
		s.Log.Warn("request not answered", "request", c.Caller.Request, "route", c.route.String(), "error", err, "cause", errors.Unwrap(err))
	}
	return &p
}

// problem renders what err means for the caller.
func (s *server) problem(c *call, err error) (int, []byte) {
	p := s.complete(c, err)
	kind := p.Kind()
	h := c.out.Header()
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	if kind == api.Unauthenticated {
		challenge := `Bearer realm="keyserver"`
		var e *identity.Error
		if errors.As(err, &e) && e.Reason != identity.NoToken {
			challenge += `, error="invalid_token"` // RFC 6750 section 3.1
		}
		h.Set("WWW-Authenticate", challenge)
	}
	body, err := json.Marshal(p)
	if err != nil { // only invalid UTF-8 from elsewhere can do this
		p.Detail, p.Pointer = "the reason cannot be shown; the log has it under the request id", ""
		body, _ = json.Marshal(p)
	}
	return p.Status, bytes.TrimSpace(body)
}
