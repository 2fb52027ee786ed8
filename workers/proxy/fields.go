package proxy

import (
	"net/http"
	"net/textproto"
	"strings"
)

// hopByHop are the fields that concern one connection (RFC 9110 section 7.6.1),
// and two that were never standard.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// endToEnd is h without its hop-by-hop fields, h itself if it has none. "TE:
// trailers" is kept, for trailers are passed on; so is an upgrade to WebSocket.
func endToEnd(h http.Header) http.Header {
	if !isHopByHop(h) {
		return h
	}
	websocket := upgradesToWebSocket(h)
	trailers := lists(h["Te"], "trailers")
	out := make(http.Header, len(h))
	for name, values := range h {
		out[name] = values
	}
	strip(out)
	if websocket {
		out["Connection"] = []string{"Upgrade"}
		out["Upgrade"] = []string{"websocket"}
	}
	if trailers {
		out["Te"] = []string{"trailers"}
	}
	return out
}

func isHopByHop(h http.Header) bool {
	for _, name := range hopByHop {
		if _, found := h[name]; found {
			return true
		}
	}
	return false
}

// strip deletes the hop-by-hop fields and those that Connection names.
func strip(h http.Header) {
	for _, list := range h["Connection"] {
		for item := range strings.SplitSeq(list, ",") {
			delete(h, textproto.CanonicalMIMEHeaderKey(textproto.TrimString(item)))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

func upgradesToWebSocket(h http.Header) bool {
	return lists(h["Connection"], "upgrade") && lists(h["Upgrade"], "websocket")
}

// lists tells whether a comma-separated field has word in it, in any case.
func lists(values []string, word string) bool {
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			item, _, _ = strings.Cut(item, ";")
			if strings.EqualFold(textproto.TrimString(item), word) {
				return true
			}
		}
	}
	return false
}

// copyFields moves the backend's fields to dst. A Content-Type that the backend
// did not send must not be guessed by the server.
func copyFields(dst, src http.Header) {
	strip(src)
	for name, values := range src {
		dst[name] = values
	}
	if _, found := src["Content-Type"]; !found {
		dst["Content-Type"] = nil
	}
}

// announce names the trailers that will come.
func announce(dst, trailer http.Header) {
	for name := range trailer {
		dst.Add("Trailer", name)
	}
}

// copyTrailers sets what came behind the body; net/http wants a prefix on names
// that were not announced.
func copyTrailers(dst, trailer http.Header, announced int) {
	prefix := ""
	if len(trailer) > announced {
		prefix = http.TrailerPrefix
	}
	for name, values := range trailer {
		dst[prefix+name] = values
	}
}
