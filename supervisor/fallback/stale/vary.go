package stale

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"commerce.example/coordinator/ipc/credential"
)

// Bounds of what Vary may ask for. Beyond them an answer is not kept.
const (
	maxVariants    = 8       // of one URL and one identity; the oldest goes
	maxVaryFields  = 16      // that are compared
	maxVariantSize = 2 << 10 // bytes of their values
)

// varies reads Vary (RFC 9110 section 12.5.5): the request fields by which the
// variants of a URL differ, in canonical form and one order, without those that
// the identity of a request with the fields h covers. It reports false for what
// cannot be kept.
func varies(lines []string, h http.Header, set *Settings) ([]string, bool) {
	var names []string
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = trimOWS(name); name == "" {
				continue
			}
			if !httpguts.ValidHeaderFieldName(name) || name == "*" {
				return nil, false
			}
			if name = http.CanonicalHeaderKey(name); !set.distinguishes(name, h) {
				names = append(names, strings.Clone(name))
			}
			if len(names) > maxVaryFields {
				return nil, false
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

// distinguishes reports whether requests with the same identity as one with the
// fields h have the same in field, as far as it matters. A field of which one cookie
// is listed says more of those that come without that cookie: a cart, for one.
func (s *Settings) distinguishes(field string, h http.Header) bool {
	return slices.ContainsFunc(s.PerCredential, func(c credential.Name) bool {
		return c.Field == field && (c.Cookie == "" || len(appendCookie(nil, h[field], c.Cookie)) > 0)
	})
}

// appendVariant writes what h says in the fields names: two requests select the
// same answer if they write the same (RFC 9111 section 4.1). Lines of one field
// are combined, white space around them does not count, and a field that is
// absent differs from an empty one. No value can contain the bytes 0 and 1.
func appendVariant(b []byte, h http.Header, names []string) []byte {
	for _, name := range names {
		values, ok := h[name]
		if !ok || len(values) == 0 {
			b = append(b, 0)
			continue
		}
		for i, v := range values {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, trimOWS(v)...)
		}
		b = append(b, 1)
	}
	return b
}

// selects reports whether an answer that varies by names is for h.
func selects(h http.Header, names []string, variant string) bool {
	if len(names) == 0 {
		return true
	}
	var space [256]byte
	return string(appendVariant(space[:0], h, names)) == variant
}
