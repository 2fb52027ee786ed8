package proxy

import (
	"net/http"
	"net/textproto"
	"strings"

	"commerce.example/coordinator/ipc/target"
)

// endToEnd is h without its hop-by-hop fields, h itself if it has none. "TE:
// trailers" is kept, for trailers are passed on; so is an upgrade to WebSocket.
func endToEnd(h http.Header) http.Header {
	if !target.HasHopByHop(h) {
		return h
	}
	websocket := upgradesToWebSocket(h)
	trailers := lists(h["Te"], "trailers")
	out := make(http.Header, len(h))
	for name, values := range h {
		out[name] = values
	}
	target.StripHopByHop(out)
	if websocket {
		out["Connection"] = []string{"Upgrade"}
		out["Upgrade"] = []string{"websocket"}
	}
	if trailers {
		out["Te"] = []string{"trailers"}
	}
	return out
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
	target.StripHopByHop(src)
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
