package backup

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// A Pattern is the requests that one answer is for. The zero Pattern matches
// none. It never changes.
type Pattern struct {
	text  string
	path  []segment
	rest  bool // anything may follow path, after a slash
	query []parameter
	open  bool // parameters that are not in query may be there
}

// A segment is a part of the path: a text, which is empty at the end of a path
// that ends with a slash, or any that is not empty.
type segment struct {
	text string
	any  bool
}

// A parameter is what a pattern wants of one of the query.
type parameter struct {
	name     string
	value    string
	any      bool
	optional bool
}

// maxTarget bounds a pattern, in bytes: what the front takes of a request line.
const maxTarget = 16 << 10

// ParsePattern reads a path with its query, as the package comment has them.
func ParsePattern(text string) (Pattern, error) {
	p := Pattern{text: text}
	path, query, hasQuery := strings.Cut(text, "?")
	switch {
	case len(text) > maxTarget:
		return Pattern{}, fmt.Errorf("%d bytes; want at most %d", len(text), maxTarget)
	case strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		return Pattern{}, errors.New("a space or control character; want it percent-encoded")
	case !strings.HasPrefix(path, "/"):
		return Pattern{}, errors.New("want a path that begins with /")
	case strings.Contains(text, "#"):
		return Pattern{}, errors.New("a fragment, which never reaches a server; want # written as %23")
	}
	if err := p.parsePath(path[1:]); err != nil {
		return Pattern{}, err
	}
	if hasQuery {
		if err := p.parseQuery(query); err != nil {
			return Pattern{}, err
		}
	}
	return p, nil
}

func (p *Pattern) parsePath(path string) error {
	for part := range strings.SplitSeq(path, "/") {
		if p.rest {
			return errors.New("{...} before the end of the path; want it last")
		}
		name, wild, err := wildcard(part)
		if err != nil {
			return err
		}
		if wild && strings.HasSuffix(name, "...") {
			p.rest = true
			continue
		}
		text, err := url.PathUnescape(part)
		if err != nil {
			return fmt.Errorf("the segment %q: want %% followed by two hexadecimal digits", part)
		}
		if wild {
			text = ""
		}
		p.path = append(p.path, segment{text, wild})
	}
	return nil
}

// wildcard is the name within braces, if part is such.
func wildcard(part string) (name string, wild bool, err error) {
	name, begins := strings.CutPrefix(part, "{")
	name, ends := strings.CutSuffix(name, "}")
	switch {
	case begins && ends && !strings.ContainsAny(name, "{}"):
		return name, true, nil
	case strings.ContainsAny(part, "{}"):
		return "", false, fmt.Errorf("%q: want {name} to be all of it, and a brace that is meant as one as %%7B or %%7D", part)
	}
	return "", false, nil
}

func (p *Pattern) parseQuery(query string) error {
	for part := range strings.SplitSeq(query, "&") {
		if part == "{...}" {
			p.open = true
			continue
		}
		q, err := parseParameter(part)
		if err != nil {
			return err
		}
		for _, other := range p.query {
			if other.name == q.name {
				return fmt.Errorf("the parameter %q twice; want it once", q.name)
			}
		}
		p.query = append(p.query, q)
	}
	return nil
}

func parseParameter(part string) (parameter, error) {
	inner, begins := strings.CutPrefix(part, "[")
	inner, ends := strings.CutSuffix(inner, "]")
	name, value, _ := strings.Cut(inner, "=")
	switch {
	case part == "":
		return parameter{}, errors.New("an empty parameter; want name=value, name={}, [name=value], [name={}] or {...} between two &")
	case begins != ends, strings.ContainsAny(inner, "[]"):
		return parameter{}, fmt.Errorf("the parameter %q: want [ and ] around all of it, and one that is meant as such as %%5B or %%5D", part)
	case strings.ContainsAny(name, "{}"):
		return parameter{}, fmt.Errorf("the parameter %q: want its name without braces", part)
	}
	q := parameter{optional: begins}
	var err error
	if _, q.any, err = wildcard(value); err != nil {
		return parameter{}, err
	}
	if q.name, err = url.QueryUnescape(name); err == nil && !q.any {
		q.value, err = url.QueryUnescape(value)
	}
	if err != nil {
		return parameter{}, fmt.Errorf("the parameter %q: want %% followed by two hexadecimal digits", part)
	}
	return q, nil
}

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Captures is what in u stands where p has a wildcard, decoded: of the path, the
// query, and the parameters that p does not mention. ok is false when p does not
// match u.
func (p Pattern) Captures(u *url.URL) (values []string, ok bool) {
	path, ok := segments(u)
	if !ok || !p.matchPath(path) {
		return nil, false
	}
	var buffer [few]pair
	query, ok := pairs(buffer[:0], u.RawQuery)
	if !ok || !p.matchQuery(query) {
		return nil, false
	}
	for i, part := range path {
		if i >= len(p.path) || p.path[i].any {
			values = append(values, part)
		}
	}
	for _, have := range query {
		if q := p.parameter(have.name); q == nil || q.any {
			values = append(values, have.value)
		}
	}
	return values, true
}

// parameter is what p wants of the one of that name, or nil.
func (p Pattern) parameter(name string) *parameter {
	for i := range p.query {
		if p.query[i].name == name {
			return &p.query[i]
		}
	}
	return nil
}
