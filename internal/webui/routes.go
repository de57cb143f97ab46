package webui

import (
	"net/http"
	"slices"

	"example.org/keyserver/internal/limits"
)

// access says what a route asks of the caller before the verb judges.
type access int

const (
	ordinary access = iota // a sign-in
	decision               // a sign-in younger than Options.DecisionAge
	brake                  // a decision that ends or takes back something, and is measured apart
	undo                   // a sign-in; takes back something, and is measured apart
	leave                  // a sign-in, also of somebody who may speak for no subject any more
	open                   // nothing
)

// route is one method of one path, and who serves it.
type route struct {
	pattern string
	access  access
	serve   func(*server, *call) (view, error)
	fields  []string                    // of its form, besides the token; any other is refused
	large   bool                        // the form can hold a policy
	crowd   func(*server) *limits.Crowd // nil: as many at the same time as the rate lets through
}

func lists(s *server) *limits.Crowd   { return s.lists }
func streams(s *server) *limits.Crowd { return s.streams }
func exports(s *server) *limits.Crowd { return s.exports }

func routes() []*route {
	return slices.Concat(adminRoutes(), recordRoutes(), []*route{
		{pattern: "GET /{$}", serve: showOverview, crowd: lists},
		{pattern: "GET /sign-in", access: open, serve: beginSignIn},
		{pattern: "GET /signed-in", access: open, serve: completeSignIn},
		{pattern: "GET /signed-out", access: open, serve: showSignedOut},
		{pattern: "POST /sign-out", access: leave, serve: signOut},
		{pattern: "GET /notifications", serve: showContact},
		{pattern: "POST /notifications", serve: setContact, fields: contactFields},
		{pattern: "GET /approvals", serve: showQueue, crowd: lists},
		{pattern: "GET /operations", serve: showOperations, crowd: lists},
		{pattern: "GET /operations/new", serve: showCreate},
		{pattern: "POST /operations", serve: createOperation, fields: createFields},
		{pattern: "GET /operations/{operation}", serve: showOperation},
		{pattern: "GET /operations/{operation}/certificates.csv", serve: saveLot, crowd: exports},
		{pattern: "GET /operations/{operation}/report.json", serve: saveLotReport, crowd: exports},
		{pattern: "POST /operations/{operation}/approve", access: decision, serve: approve, fields: []string{"digest"}},
		{pattern: "POST /operations/{operation}/withdraw", access: undo, serve: withdraw},
		{pattern: "POST /operations/{operation}/reject", access: brake, serve: reject, fields: []string{"reason"}},
		{pattern: "POST /operations/{operation}/revoke", access: brake, serve: revoke, fields: []string{"reason"}},
		{pattern: "GET /live/approvals", serve: watchQueue, crowd: streams},
		{pattern: "GET /live/operations/{operation}", serve: watchOperation, crowd: streams},
		{pattern: "GET /live/sessions/{session}", serve: watchSession, crowd: streams},
	})
}

func serveUnknown(*server, *call) (view, error) {
	return view{page: "problem", title: "Not found", status: http.StatusNotFound, data: problemPage{Sentence: "There is no page at this address."}}, nil
}
