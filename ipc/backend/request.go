package backend

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

// inlineBody is the largest body that travels in the same write as the head.
const inlineBody = 16 << 10

// message is a request ready to be written.
type message struct {
	origin origin
	wire   *[]byte       // the head, and the body when it was at hand
	body   io.ReadCloser // what is still to be copied, or nil
	length int64         // of body; -1 is chunked
	expect bool          // the backend is asked before the body is sent
}

// heads recycles the buffers of encode; those that grew past 64 KiB are dropped.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func (m *message) release() {
	if m.wire != nil && cap(*m.wire) <= 64<<10 {
		*m.wire = (*m.wire)[:0]
		heads.Put(m.wire)
	}
	m.wire = nil
}

// encode checks req and lays out its head before any connection is touched, so
// that a request which cannot be written whole is not written at all. Errors
// name fields, never their values.
func (m *message) encode(req *http.Request) error {
	var err error
	if m.origin, err = originOf(req.URL); err != nil {
		return err
	}
	if m.body, m.length, err = outgoing(req); err != nil {
		return err
	}
	m.wire = heads.Get().(*[]byte)
	if *m.wire, err = appendHead((*m.wire)[:0], req, m); err != nil {
		return err
	}
	if m.body != nil && !m.expect && atHand(req, m.length) {
		return m.inline()
	}
	return nil
}

// originOf is where u is served.
func originOf(u *url.URL) (origin, error) {
	if u == nil {
		return origin{}, errors.New("no URL")
	}
	o := origin{scheme: u.Scheme, host: u.Hostname(), port: u.Port()}
	switch {
	case o.host == "":
		return origin{}, errors.New("no host in the URL")
	case o.scheme == "http" && o.port == "":
		o.port = "80"
	case o.scheme == "https" && o.port == "":
		o.port = "443"
	case o.scheme != "http" && o.scheme != "https":
		return origin{}, errors.New("the scheme is neither http nor https")
	}
	return o, nil
}

// outgoing is the body that req has and its length. As in net/http, a length of 0
// with a body that is not http.NoBody is an unknown length.
func outgoing(req *http.Request) (io.ReadCloser, int64, error) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		if req.ContentLength > 0 {
			return nil, 0, errors.New("a Content-Length without a body")
		}
		return nil, 0, nil
	case req.ContentLength <= 0:
		return req.Body, -1, nil
	}
	return req.Body, req.ContentLength, nil
}

// atHand tells whether reading the body of req cannot block: its owner says how
// much is buffered, or net/http made it from memory.
func atHand(req *http.Request, length int64) bool {
	if length < 0 || length > inlineBody {
		return false
	}
	if b, ok := req.Body.(interface{ Buffered() int }); ok {
		return int64(b.Buffered()) >= length
	}
	return req.GetBody != nil
}

// inline puts the body behind the head.
func (m *message) inline() error {
	b := *m.wire
	start := len(b)
	b = append(b, make([]byte, m.length)...)
	*m.wire = b
	if _, err := io.ReadFull(m.body, b[start:]); err != nil {
		return fmt.Errorf("request body: %w", err)
	}
	m.body.Close()
	m.body = nil
	return nil
}

// appendHead appends request line and fields (RFC 9112 sections 3 and 5).
func appendHead(b []byte, req *http.Request, m *message) ([]byte, error) {
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	if !httpguts.ValidHeaderFieldName(method) {
		return b, errors.New("the method is not a token")
	}
	target := targetOf(req.URL)
	if !isTarget(target) {
		return b, errors.New("the target has blanks or control bytes")
	}
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	if !isHost(host) {
		return b, errors.New("the Host is not one")
	}
	b = append(append(append(append(b, method...), ' '), target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, host...), "\r\n"...)
	for name, values := range req.Header {
		if ownField(name) {
			continue
		}
		var err error
		if b, err = appendField(b, name, values); err != nil {
			return b, err
		}
	}
	b, err := appendFraming(b, req, method, m)
	return append(b, "\r\n"...), err
}

// appendFraming appends the fields that the transport owns.
func appendFraming(b []byte, req *http.Request, method string, m *message) ([]byte, error) {
	switch {
	case m.body != nil && m.length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		for name := range req.Trailer {
			if !httpguts.ValidHeaderFieldName(name) || framingField(name) {
				return b, fmt.Errorf("trailer %q cannot be sent", name)
			}
			b = append(append(append(b, "Trailer: "...), name...), "\r\n"...)
		}
	case m.body != nil:
		b = strconv.AppendInt(append(b, "Content-Length: "...), m.length, 10)
		b = append(b, "\r\n"...)
	case method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch:
		b = append(b, "Content-Length: 0\r\n"...) // RFC 9110 section 8.6
	}
	if m.body != nil {
		m.expect = hasToken(req.Header["Expect"], "100-continue")
	}
	if req.Close {
		b = append(b, "Connection: close\r\n"...)
	}
	if len(req.Header["Upgrade"]) > 0 {
		b = append(b, "Connection: Upgrade\r\n"...) // RFC 9110 section 7.8
	}
	if len(req.Header["Te"]) > 0 {
		b = append(b, "Connection: TE\r\n"...) // RFC 9110 section 10.1.4
	}
	return b, nil
}

// appendField appends one line for each value.
func appendField(b []byte, name string, values []string) ([]byte, error) {
	if err := checkField(name, values); err != nil {
		return b, err
	}
	for _, v := range values {
		b = append(append(b, name...), ": "...)
		b = append(append(b, v...), "\r\n"...)
	}
	return b, nil
}

// targetOf is the request-target. URL.RequestURI would put a scheme before an
// opaque "//"; here what the caller received goes on byte for byte.
func targetOf(u *url.URL) string {
	if !strings.HasPrefix(u.Opaque, "/") {
		return u.RequestURI()
	}
	if u.RawQuery != "" || u.ForceQuery {
		return u.Opaque + "?" + u.RawQuery
	}
	return u.Opaque
}

// ownField names the fields that follow from something else of the request.
func ownField(name string) bool {
	switch len(name) {
	case len("Host"):
		return strings.EqualFold(name, "Host")
	case len("Connection"):
		return strings.EqualFold(name, "Connection")
	}
	return framingField(name)
}

// framingField names the fields that say where a message ends; a trailer must not.
func framingField(name string) bool {
	switch len(name) {
	case len("Trailer"):
		return strings.EqualFold(name, "Trailer")
	case len("Content-Length"):
		return strings.EqualFold(name, "Content-Length")
	case len("Transfer-Encoding"):
		return strings.EqualFold(name, "Transfer-Encoding")
	}
	return false
}
