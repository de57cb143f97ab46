package httpapi

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/limits"
)

// call is one request on its way.
type call struct {
	*http.Request
	route  *route
	out    *recorder
	Caller keyserver.Caller // who asks: complete after authentication

	token   string
	facts   law.Facts // that the caller was authenticated by
	recent  bool      // facts may not be those of now
	unknown error     // why the token is nobody's by these facts

	query   url.Values    // checked
	body    []byte        // checked
	close   bool          // the connection cannot be used again
	inside  *limits.Crowd // that counts it until the answer is written; nil: none
	entered bool          // it takes room that others wait for
}

// page returns the page that the query asks for.
func (c *call) page() keyserver.Page {
	return keyserver.Page{Limit: int(c.integer("limit", api.DefaultPage)), Cursor: c.query.Get("cursor")}
}

// stream returns where an answer of this media type is written piece by piece. The status is 200 from the
// first piece on.
func (c *call) stream(media string) io.Writer { return &stream{c: c, media: media} }

// address returns the client's network address. What a proxy says of it is not believed.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// recorder remembers what was written.
type recorder struct {
	http.ResponseWriter
	status int // 0: nothing yet
}

// WriteHeader writes the status.
func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] at the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// stall is how long a client may take to receive one piece of a stream.
const stall = 30 * time.Second

type stream struct {
	c     *call
	media string
}

// Write sends one piece. A client that does not take it in time is cut off, so that it cannot hold on to
// what the stream is read from.
func (s *stream) Write(p []byte) (int, error) {
	conn := http.NewResponseController(s.c.out)
	if s.c.out.status == 0 {
		if err := conn.SetWriteDeadline(time.Time{}); err != nil { // instead of the server's, which is for whole answers
			return 0, err
		}
		s.c.start(http.StatusOK, s.media)
	}
	cut := time.AfterFunc(stall, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer cut.Stop()
	return s.c.out.Write(p)
}
