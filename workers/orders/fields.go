package orders

import (
	"net/http"
	"strings"
)

// A representation of ours is negotiated with us, not with the backend, whose
// validators, ranges and codings are those of other bytes (RFC 9110 sections 8, 12,
// 13 and 14).
var (
	// notAsked are the fields of a request that the backend does not get.
	notAsked = set("Accept", "Accept-Charset", "Accept-Encoding", "If-Match", "If-None-Match", "If-Modified-Since",
		"If-Unmodified-Since", "If-Range", "Range", "Expect", "Want-Content-Digest", "Want-Repr-Digest", "Want-Digest")
	// notOurs are the fields of an answer that are not those of the page made of it.
	notOurs = set("Etag", "Last-Modified", "Accept-Ranges", "Digest", "Repr-Digest", "Allow")
	// namesBackend are the fields that would lead a client to the backend.
	namesBackend = set("Location", "Link", "Refresh", "Alt-Svc")
)

func set(names ...string) map[string]bool {
	s := make(map[string]bool, len(names))
	for _, name := range names {
		s[name] = true
	}
	return s
}

// question is the header with which the backend is asked for a page. Content-* is
// about a body, and none is sent.
func question(h http.Header) http.Header {
	out := make(http.Header, len(h)+1)
	for name, values := range h {
		if !notAsked[name] && !strings.HasPrefix(name, "Content-") {
			out[name] = values
		}
	}
	out["Accept"] = []string{"application/json"}
	return out
}

// copyAnswer copies what the backend's answer says of the page made of it.
func copyAnswer(dst, src http.Header) {
	for name, values := range src {
		if !notOurs[name] && !namesBackend[name] && !strings.HasPrefix(name, "Content-") {
			dst[name] = values
		}
	}
}
