package stale

import (
	"net/http"
	"slices"
	"strings"

	"commerce.example/coordinator/ipc/credential"
)

// leftOut are the fields that are never kept.
func leftOut(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authorization", // RFC 9111 section 3.1
		"Authentication-Info", "Proxy-Authentication-Info", // of one exchange (RFC 9110 section 11.6.3)
		"Clear-Site-Data", // would act a second time
		"Age", "Date",     // said anew by whoever gives the answer
		"X-Request-Id": // each answer has its own
		return true
	}
	return credential.IsIssued(name) // once is enough
}

// exclusions are further fields that are not kept, as the answer names them:
// section 5.2.2.4 and 5.2.2.7 of RFC 9111, and Connection.
type exclusions []string

func (x exclusions) keep(name string) bool {
	return !leftOut(name) &&
		(len(x) == 0 || !slices.ContainsFunc(x, func(s string) bool { return strings.EqualFold(s, name) }))
}

// sameFields reports whether the kept fields are those that h would leave.
func sameFields(kept, h http.Header, without exclusions) bool {
	n := 0
	for name, values := range h {
		if !without.keep(name) {
			continue
		}
		if n++; !slices.Equal(kept[name], values) {
			return false
		}
	}
	return n == len(kept)
}

// copyFields copies what is kept of h into memory of its own: the values that a
// connection hands out may be parts of a far larger head.
func copyFields(h http.Header, without exclusions) http.Header {
	size := measure(h, without)
	kept := make(http.Header, size.fields)
	array := make([]string, 0, size.values)
	var text strings.Builder
	text.Grow(size.bytes)
	own := func(s string) string {
		begin := text.Len()
		text.WriteString(s)
		return text.String()[begin:]
	}
	for name, vs := range h {
		if !without.keep(name) {
			continue
		}
		begin := len(array)
		for _, value := range vs {
			array = append(array, own(value))
		}
		kept[own(name)] = array[begin:len(array):len(array)]
	}
	return kept
}

// headSize is what copyFields copies: fields, values, and the bytes of both.
type headSize struct{ fields, values, bytes int }

func measure(h http.Header, without exclusions) (n headSize) {
	for name, vs := range h {
		if !without.keep(name) {
			continue
		}
		n.fields++
		n.values += len(vs)
		n.bytes += len(name)
		for _, value := range vs {
			n.bytes += len(value)
		}
	}
	return n
}

// renewed are the kept fields with those of a 304 put in their place: all but the
// ones that describe the body (RFC 9111 section 3.2).
func renewed(kept, h http.Header) http.Header {
	merged := make(http.Header, len(kept)+2)
	for name, values := range kept {
		merged[name] = values
	}
	for name, values := range h {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Type", "Content-Range":
		default:
			merged[name] = values
		}
	}
	return merged
}

// validates reports whether a 304 with h is about the answer with kept (section
// 4.3.4): by the entity tag, or by Last-Modified where neither has one.
func validates(kept, h http.Header) bool {
	if len(kept["Etag"])+len(h["Etag"]) > 0 {
		return slices.Equal(kept["Etag"], h["Etag"])
	}
	return len(kept["Last-Modified"]) > 0 && slices.Equal(kept["Last-Modified"], h["Last-Modified"])
}
