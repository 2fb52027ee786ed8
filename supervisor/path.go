package supervisor

import (
	"net/http"
	"net/url"
	"strings"
)

// Refusal is what front hygiene has against a request. Refusals are constants of
// the package: making one costs nothing, and none repeats what the client sent.
type Refusal struct {
	Reason Reason
	Status int
	Detail string
}

func badRequest(detail string) *Refusal {
	return &Refusal{ReasonBadRequest, http.StatusBadRequest, detail}
}

var (
	refuseTargetForm     = badRequest("The request target is not a path, an http URL or, for OPTIONS, an asterisk.")
	refuseTargetByte     = badRequest("The request target has a control byte, a space or, in its path, a number sign.")
	refuseEscape         = badRequest("The path has a percent sign that two hexadecimal digits do not follow.")
	refuseNUL            = badRequest("The path has an escaped NUL.")
	refuseDotSegment     = badRequest("The path has a dot segment.")
	refuseEmptySegment   = badRequest("The path has an empty segment.")
	refuseEscapedSlash   = badRequest("The path has an escaped slash.")
	refuseBackslash      = badRequest("The path has a backslash.")
	refuseOutsideOfRoute = badRequest("The path may lead out of the route that it begins in.")
)

// Target is the request-target of a request, taken apart (RFC 9112 section 3.2).
// The query is carried byte for byte: nothing here looks at its parameters.
type Target struct {
	// Path is the one path of the request, escaped: the router decides by it
	// and For hands it on. Escapes of unreserved characters are undone (RFC
	// 3986 section 6.2.2.2), so that a segment has one spelling; all else is as
	// it was sent. "*" for the asterisk form.
	Path  string
	Query string // with its "?", or empty

	odd *Refusal // why only a raw route may take Path, which is then as it was sent
}

// ParseTarget takes the request-target of r apart, and refuses those that no
// route may take. It allocates only when it must undo an escape.
//
// An absolute target must name the host of the Host field. net/http drops that
// field in favour of the target's host, so whoever reads the head first has to
// leave it in r.Header["Host"] for the comparison, or compare with SameHost.
func ParseTarget(r *http.Request) (Target, *Refusal) {
	target := r.RequestURI
	if target == "*" && r.Method == http.MethodOptions {
		return Target{Path: "*"}, nil
	}
	if !strings.HasPrefix(target, "/") {
		scheme, authority, rest, ok := splitAbsolute(target)
		if !ok || r.ProtoMajor >= 2 { // RFC 9113 section 8.3.1 knows no absolute form
			return Target{}, refuseTargetForm
		}
		if refusal := checkAuthority(r, scheme, authority); refusal != nil {
			return Target{}, refusal
		}
		target = rest
	}
	scan := scanPath(target)
	t := Target{Path: target[:scan.end], Query: target[scan.end:], odd: scan.odd}
	if scan.bad != nil {
		return Target{}, scan.bad
	}
	for i := range len(t.Query) {
		if c := t.Query[i]; c <= ' ' || c == 0x7f {
			return Target{}, refuseTargetByte
		}
	}
	switch {
	case t.Path == "":
		t.Path = "/" // RFC 9110 section 4.2.3
	case scan.plainEscapes && scan.odd == nil:
		t.Path = undoPlainEscapes(t.Path)
	}
	return t, nil
}

// For is the path to forward on a route that Match found for t.Path: t.Path
// itself, or a refusal when it is not canonical and the route is not raw. A raw
// route takes it as it was sent, provided that it stays below the route's prefix
// whichever of its escapes, empty segments and path parameters a backend obeys.
func (t *Target) For(route *RouteTo) (string, *Refusal) {
	switch {
	case t.odd == nil:
		return t.Path, nil
	case route == nil || !route.Raw:
		return "", t.odd
	case !staysBelow(t.Path[len(strings.TrimSuffix(route.Prefix, "/")):]):
		return "", refuseOutsideOfRoute
	}
	return t.Path, nil
}

// Apply makes path, and the query of t, the origin-form target of r, wherever r
// keeps it. RequestURI has the exact bytes; URL only promises the same meaning.
func (t *Target) Apply(r *http.Request, path string) {
	r.URL.Scheme, r.URL.Host = "", ""
	if t.Path == path && len(path)+len(t.Query) == len(r.RequestURI) && strings.HasPrefix(r.RequestURI, path) {
		return
	}
	r.RequestURI = path + t.Query
	if decoded, err := url.PathUnescape(path); err == nil {
		r.URL.Path, r.URL.RawPath = decoded, path
	}
}

// pathScan is what one pass over a path finds.
type pathScan struct {
	end          int  // where the query begins
	plainEscapes bool // some unreserved character is escaped
	odd          *Refusal
	bad          *Refusal // no route may take it
}

func scanPath(target string) pathScan {
	var (
		s   pathScan
		seg segment
		i   int
		odd = func(why *Refusal) { // the first one is reported
			if s.odd == nil {
				s.odd = why
			}
		}
	)
	for i = 0; i < len(target) && target[i] != '?'; i++ {
		c := target[i]
		switch {
		case c == '/':
			if i > 0 && seg.length == 0 {
				odd(refuseEmptySegment)
			}
			if seg.isDots() {
				odd(refuseDotSegment)
			}
			seg = segment{}
			continue
		case c <= ' ' || c == 0x7f || c == '#':
			s.bad = refuseTargetByte
			return s
		case c == '\\':
			odd(refuseBackslash)
		case c == '%':
			b, ok := unhex(target[i+1:])
			switch {
			case !ok:
				s.bad = refuseEscape
				return s
			case b == 0:
				s.bad = refuseNUL
				return s
			case b == '/':
				odd(refuseEscapedSlash)
			case b == '\\':
				odd(refuseBackslash)
			case unreserved(b):
				s.plainEscapes = true
				c = b
			}
			i += 2
		}
		seg.add(c)
	}
	if seg.isDots() {
		odd(refuseDotSegment)
	}
	s.end = i
	return s
}

// segment follows the bytes of one path segment, to tell the dot segments. Path
// parameters do not count: to a servlet container "..;v=1" is "..".
type segment struct {
	length int // in all
	named  int // before the first semicolon
	dots   int // of these
	params bool
}

func (s *segment) add(c byte) {
	s.length++
	if c == ';' {
		s.params = true
	}
	if s.params {
		return
	}
	s.named++
	if c == '.' {
		s.dots++
	}
}

func (s *segment) isDots() bool { return s.isUp() || s.named == 1 && s.dots == 1 }
func (s *segment) isUp() bool   { return s.named == 2 && s.dots == 2 }

// staysBelow reports whether no reading of rest, the path below a prefix, climbs
// above the prefix. It takes the worst reading of each segment: a ".." climbs
// even when its slashes are escaped, and only a segment that is one plain name in
// every reading descends. rest has been scanned: its escapes are whole.
func staysBelow(rest string) bool {
	depth, ups, names, splits := 0, 0, 0, 0
	var seg segment
	closeName := func() {
		if seg.isUp() {
			ups++
		} else if seg.named > 0 && !seg.isDots() {
			names++
		}
		seg = segment{}
	}
	for i := 0; i <= len(rest); i++ {
		if i == len(rest) || rest[i] == '/' {
			closeName()
			if depth -= ups; depth < 0 {
				return false
			}
			if splits == 0 {
				depth += names
			}
			ups, names, splits = 0, 0, 0
			continue
		}
		c := rest[i]
		if c == '%' {
			c, _ = unhex(rest[i+1:])
			i += 2
		}
		if c == '/' || c == '\\' {
			closeName()
			splits++
			continue
		}
		seg.add(c)
	}
	return true
}

// undoPlainEscapes undoes the escapes of unreserved characters in path.
func undoPlainEscapes(path string) string {
	var b strings.Builder
	b.Grow(len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' {
			if c, ok := unhex(path[i+1:]); ok && unreserved(c) {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// unhex is the byte that the two digits at the start of s spell.
func unhex(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	high, ok1 := hexDigit(s[0])
	low, ok2 := hexDigit(s[1])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// unreserved is the set of RFC 3986 section 2.3.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
