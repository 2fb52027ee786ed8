package backup

import (
	"net/url"
	"strings"
)

// few is how many parameters of a request are held without allocating.
const few = 8

// A pair is a parameter of a request, decoded.
type pair struct{ name, value string }

// pairs appends the parameters of query to to. It is false for one that no
// pattern can match: not properly encoded.
func pairs(to []pair, query string) ([]pair, bool) {
	for query != "" {
		var part string
		part, query, _ = strings.Cut(query, "&")
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, ok := decode(name)
		if !ok {
			return nil, false
		}
		if value, ok = decode(value); !ok {
			return nil, false
		}
		to = append(to, pair{name, value})
	}
	return to, true
}

// decode is url.QueryUnescape, which looks at every byte, without that for the
// many values that need none.
func decode(s string) (string, bool) {
	if !strings.ContainsAny(s, "%+") {
		return s, true
	}
	s, err := url.QueryUnescape(s)
	return s, err == nil
}

// matchQuery reports whether a request with these parameters is one of p's.
func (p Pattern) matchQuery(have []pair) bool {
	found := 0
	for i := range p.query {
		q, times := &p.query[i], 0
		for _, h := range have {
			if h.name != q.name {
				continue
			}
			if times++; times > 1 || !q.any && h.value != q.value {
				return false
			}
		}
		if times == 0 && !q.optional {
			return false
		}
		found += times
	}
	return p.open || found == len(have)
}

// segments is the path of u, decoded part by part: an encoded slash does not
// part. It is false for what is no path.
func segments(u *url.URL) ([]string, bool) {
	path, ok := strings.CutPrefix(u.EscapedPath(), "/")
	if !ok {
		return nil, false
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		var err error
		if parts[i], err = url.PathUnescape(part); err != nil {
			return nil, false
		}
	}
	return parts, true
}

func (p Pattern) matchPath(have []string) bool {
	if len(have) < len(p.path) || len(have) == len(p.path) && p.rest || len(have) > len(p.path) && !p.rest {
		return false
	}
	for i, s := range p.path {
		if s.any && have[i] == "" || !s.any && have[i] != s.text {
			return false
		}
	}
	return len(p.path) > 0 || p.rest
}
