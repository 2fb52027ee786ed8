package backend

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// ask is a request ready to be put into frames.
type ask struct {
	req       *http.Request
	method    string
	authority string
	path      string
	length    int64         // of the body; -1: unknown
	body      io.ReadCloser // what is to be copied, or nil
	inline    []byte        // or the body, at hand
	trailer   http.Header   // filled when the body is at its end
	expect    bool          // the backend is asked before the body is sent
	size      uint64        // of the field section: RFC 9113 section 6.5.2
}

// prepare checks a request before any connection is touched. Errors name fields,
// never their values.
func (a *ask) prepare(req *http.Request) error {
	var err error
	if a.body, a.length, err = outgoing(req); err != nil {
		return err
	}
	a.req, a.trailer, a.method = req, req.Trailer, req.Method
	if a.method == "" {
		a.method = http.MethodGet
	}
	if a.authority = req.Host; a.authority == "" {
		a.authority = req.URL.Host
	}
	a.path = targetOf(req.URL)
	switch {
	case !httpguts.ValidHeaderFieldName(a.method):
		return errors.New("the method is not a token")
	case !isTarget(a.path):
		return errors.New("the target has blanks or control bytes")
	case !isHost(a.authority):
		return errors.New("the Host is not one")
	}
	if a.body != nil {
		a.expect = hasToken(req.Header["Expect"], "100-continue")
		if err := checkTrailer(req.Trailer); err != nil {
			return err
		}
	}
	for name, values := range req.Header {
		if err := checkField(name, values); err != nil {
			return err
		}
	}
	a.fields(strings.ToLower, func(name, value string) { a.size += uint64(len(name) + len(value) + 32) })
	return nil
}

// take reads a body that is at hand. It is left alone until it is known that it
// goes over HTTP/2.
func (a *ask) take() error {
	if a.body == nil || a.expect || len(a.trailer) > 0 || !atHand(a.req, a.length) {
		return nil
	}
	a.inline = make([]byte, a.length)
	if _, err := io.ReadFull(a.body, a.inline); err != nil {
		return fmt.Errorf("request body: %w", err)
	}
	a.body.Close()
	a.body = nil
	return nil
}

// bodyRoom is how much of a body must be free to go for a connection to suit it,
// in bytes: what a frame holds, and a quarter of what a peer that says nothing
// takes (RFC 9113 section 6.9.2).
const bodyRoom = 16 << 10

// room is how much of the connection's window the request is to find.
func (a *ask) room() int64 {
	switch {
	case a.body == nil && a.inline == nil:
		return 0
	case a.length < 0:
		return bodyRoom
	}
	return min(a.length, bodyRoom)
}

// spill makes a body at hand one to be copied: there is no room to send it with
// the head.
func (a *ask) spill() {
	a.body, a.inline = io.NopCloser(bytes.NewReader(a.inline)), nil
}

// appendFields is the block of the head, as the connection compresses it.
func (a *ask) appendFields(m *mux) []byte {
	m.block.Reset()
	a.fields(m.lower, m.field)
	return m.block.Bytes()
}

// fields gives each field of the head in its order: those of HTTP/2 first (RFC
// 9113 section 8.3.1), none that concerns a connection (section 8.2.2).
func (a *ask) fields(lower func(string) string, field func(name, value string)) {
	field(":method", a.method)
	field(":scheme", a.req.URL.Scheme)
	field(":authority", a.authority)
	field(":path", a.path)
	for name, values := range a.req.Header {
		if ownField(name) || connectionField(name) {
			continue
		}
		if strings.EqualFold(name, "TE") {
			if hasToken(values, "trailers") {
				field("te", "trailers")
			}
			continue
		}
		low := lower(name)
		for _, v := range values {
			field(low, trimBlanks(v))
		}
	}
	switch {
	case a.length >= 0 && (a.body != nil || a.inline != nil):
		field("content-length", strconv.FormatInt(a.length, 10))
	case a.length >= 0 && (a.method == http.MethodPost || a.method == http.MethodPut || a.method == http.MethodPatch):
		field("content-length", "0") // RFC 9110 section 8.6
	}
	if a.body != nil {
		for name := range a.req.Trailer {
			field("trailer", lower(name))
		}
	}
}

// connectionField names the fields that HTTP/2 has no use for and forbids, beside
// those of ownField.
func connectionField(name string) bool {
	switch len(name) {
	case len("Upgrade"):
		return strings.EqualFold(name, "Upgrade")
	case len("Keep-Alive"):
		return strings.EqualFold(name, "Keep-Alive")
	case len("Proxy-Connection"):
		return strings.EqualFold(name, "Proxy-Connection")
	}
	return false
}

// checkField refuses what could not be written.
func checkField(name string, values []string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("field name %q is not a token", name)
	}
	for _, v := range values {
		if !httpguts.ValidHeaderFieldValue(v) {
			return fmt.Errorf("field %s has control bytes", name)
		}
	}
	return nil
}

// statusOf is the status of an answer.
func statusOf(list []hpack.HeaderField) (int, error) {
	for _, f := range list {
		if f.Name != ":status" {
			continue
		}
		code := 0
		for _, d := range []byte(f.Value) {
			if d < '0' || d > '9' {
				return 0, malformed("a status that is not a number")
			}
			code = 10*code + int(d-'0')
		}
		if code < 100 {
			return 0, malformed("a status below 100")
		}
		return code, nil
	}
	return 0, malformed("no status")
}

// fieldsOf is a field section as a map. What belongs to a connection makes it
// malformed (RFC 9113 section 8.2.2); the framer has checked names and values.
func fieldsOf(list []hpack.HeaderField) (http.Header, error) {
	if len(list) > maxFields {
		return nil, malformed("too many fields")
	}
	fields := make(http.Header, len(list))
	values := make([]string, len(list))
	for _, f := range list {
		if f.IsPseudo() {
			continue
		}
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		if name == "Connection" || name == "Transfer-Encoding" || connectionField(name) {
			return nil, malformed("a field of HTTP/1.1 connections")
		}
		value := trimBlanks(f.Value)
		if old, found := fields[name]; found {
			fields[name] = append(old, value)
			continue
		}
		values[0] = value
		fields[name], values = values[:1:1], values[1:]
	}
	return fields, nil
}
