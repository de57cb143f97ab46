package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/testkit"
)

// exchange sends bytes as they are, and returns the first answer and what else came until the server closed
// the connection.
func exchange(k *testkit.Kit, request string) (status int, rest string) {
	k.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(k.URL, "http://"))
	if err != nil {
		k.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		k.Fatal(err)
	}
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		k.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		k.Fatal(err)
	}
	// The server may still want the rest of a body that was announced; its read timeout is not for here.
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil && !strings.Contains(err.Error(), "not connected") {
		k.Fatal(err)
	}
	after, err := io.ReadAll(r) // returns once the server has closed
	if err != nil && !strings.Contains(err.Error(), "reset") {
		k.Fatal(err)
	}
	return answer.StatusCode, string(after)
}

// IN-05
func TestIN05_AmbiguousFramingIsRefusedAndTheConnectionClosed(t *testing.T) {
	k := testkit.New(t)
	good := operationBody(oneKey)
	head := func(headers string) string {
		return "POST /api/operations HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\nIdempotency-Key: smuggled\r\n" +
			"Authorization: Bearer " + k.Token("olga") + "\r\n" + headers + "\r\n"
	}
	// What a reader that sees another end of the first request would take for a second one.
	second := head(fmt.Sprintf("Content-Length: %d\r\n", len(good))) + good
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(good), good)
	for name, request := range map[string]string{
		"TE and CL":                     head(fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", len(chunked))) + chunked + second,
		"CL and TE":                     head("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n") + chunked + second,
		"TE alone":                      head("Transfer-Encoding: chunked\r\n") + chunked + second,
		"TE with an unknown coding":     head("Transfer-Encoding: xchunked\r\n") + chunked + second,
		"two TEs":                       head("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n") + chunked + second,
		"bare LF in the chunk size":     head("Transfer-Encoding: chunked\r\n") + strings.Replace(chunked, "\r\n", "\n", 1) + second,
		"two CLs":                       head(fmt.Sprintf("Content-Length: %d\r\nContent-Length: 0\r\n", len(good))) + good + second,
		"CL with a sign":                head(fmt.Sprintf("Content-Length: +%d\r\n", len(good))) + good + second,
		"CL that is larger than 64 KiB": head("Content-Length: 65537\r\n") + good + second,
		"gzip":                          head(fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n", len(good))) + good + second,
		"space before the colon":        head(fmt.Sprintf("Content-Length : %d\r\n", len(good))) + good + second,
		"GET with a body":               "GET /api/keys HTTP/1.1\r\nHost: k\r\nAuthorization: Bearer " + k.Token("olga") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n", len(second)) + second,
	} {
		status, rest := exchange(k, request)
		if status < 400 || status > 499 && status != 501 {
			t.Errorf("%s: got %d", name, status)
		}
		if rest != "" {
			t.Errorf("%s: a second request was answered: %.80q", name, rest)
		}
	}
	if n := k.Count("", "operation-created"); n != 0 {
		t.Errorf("%d operations were created", n)
	}
	if status, rest := exchange(k, strings.Replace(second, "Host: k\r\n", "Host: k\r\nConnection: close\r\n", 1)); status != 201 {
		t.Errorf("a good request is refused with %d %s", status, rest)
	}
}

// IN-05
func TestIN05_BodiesOfOtherTypesAreRefused(t *testing.T) {
	k := testkit.New(t)
	good := operationBody(oneKey)
	for _, header := range [][2]string{
		{"Content-Type", "multipart/form-data; boundary=x"}, {"Content-Type", "application/x-www-form-urlencoded"}, {"Content-Type", "text/json"},
		{"Content-Type", "application/json; charset=utf-16"}, {"Content-Type", "application/json, text/plain"}, {"Content-Type", ""},
		{"Content-Encoding", "gzip"}, {"Content-Encoding", "deflate, br"}, {"Content-Encoding", "gzip, identity"},
	} {
		answer, p := send(k, "olga", "POST", api.PathOperations, good, header[0], header[1])
		expect(t, strings.Join(header[:], ": "), answer, p, api.UnsupportedMedia)
		if !answer.Close {
			t.Errorf("%s: the connection stays open", header)
		}
	}
	answer, p := send(k, "olga", "POST", api.PathOperations, good+strings.Repeat(" ", api.MaxBody))
	expect(t, "oversize", answer, p, api.TooLarge)
	if n := k.Count("", "operation-created"); n != 0 {
		t.Errorf("%d operations were created", n)
	}
	if answer, p := send(k, "olga", "POST", api.PathOperations, good, "Content-Type", "Application/JSON; charset=UTF-8"); answer.StatusCode != 201 {
		t.Errorf("a good request is refused: %+v", p)
	}
}
