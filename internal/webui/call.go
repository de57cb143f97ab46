package webui

import (
	"net"
	"net/http"
	"net/url"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// call is one request on its way.
type call struct {
	*http.Request
	route  *route
	out    http.ResponseWriter
	status int // of the answer; 0: nothing was written yet
	Caller keyserver.Caller

	signIn  *signIn   // nil: nobody is signed in
	facts   law.Facts // that the caller was authenticated by
	form    url.Values
	member  law.SubjectID // who is counted in the route's crowd: a stream can outlive that the caller is that subject
	inside  bool          // somebody is
	entered bool          // takes room that others wait for
}

// address returns the client's network address. What a proxy says of it is not believed.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// operation returns the operation that the path names.
func (c *call) operation() law.OperationID { return law.OperationID(c.PathValue("operation")) }
