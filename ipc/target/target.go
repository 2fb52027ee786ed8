package target

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"commerce.example/coordinator/ipc/backend"
)

// A Target is a backend to call. It is safe for concurrent use; Close ends its
// connections.
type Target struct {
	*backend.Transport

	scheme, host string
	base         string // path before every other, without a slash at its end
	strip        string // without a slash at its end
	preserveHost bool
}

// Strip is the escaped path of a client's request without StripPrefix. It is
// empty if nothing else is there.
func (t *Target) Strip(path string) string {
	if rest, ok := strings.CutPrefix(path, t.strip); ok && (rest == "" || rest[0] == '/') {
		return rest
	}
	return path
}

// At is an escaped path of the backend, below the path of its URL.
func (t *Target) At(path string) string {
	if path = t.base + path; path == "" {
		return "/"
	}
	return path
}

// Request is r for the backend, under ctx: the same method, fields and body, with
// another request-target, whose bytes are not touched, and the Host that the
// backend shall see. It shares all else with r. What concerns only the connection
// of r is the caller's to remove.
func (t *Target) Request(ctx context.Context, r *http.Request, requestTarget string) *http.Request {
	out := r.WithContext(ctx)
	out.URL = &url.URL{Scheme: t.scheme, Host: t.host, Opaque: requestTarget}
	out.RequestURI = ""
	out.Close = false
	if !t.preserveHost {
		out.Host = t.host
	}
	return out
}

// hopByHop are the fields that concern one connection (RFC 9110 section 7.6.1),
// and two that were never standard.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// HasHopByHop reports whether StripHopByHop would find anything in h.
func HasHopByHop(h http.Header) bool {
	for _, name := range hopByHop {
		if _, found := h[name]; found {
			return true
		}
	}
	return false
}

// StripHopByHop deletes from h the fields that concern one connection (RFC 9110
// section 7.6.1) and those that Connection names.
func StripHopByHop(h http.Header) {
	for _, list := range h["Connection"] {
		for item := range strings.SplitSeq(list, ",") {
			delete(h, textproto.CanonicalMIMEHeaderKey(textproto.TrimString(item)))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}
