package stale

import (
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// absent is a duration that a Cache-Control does not name.
const absent = time.Duration(-1)

// maxSeconds is what greater delta-seconds mean (RFC 9111 section 1.2.2).
const maxSeconds = 1 << 31

// directives are what a Cache-Control field says, as far as it matters here (RFC
// 9111 section 5.2, RFC 5861 section 4). Others are ignored, as are arguments
// where none belong.
type directives struct {
	noStore, noCache, private, public bool
	revalidate                        bool // must-revalidate or proxy-revalidate
	mustUnderstand                    bool
	maxAge, sMaxAge, staleIfError     time.Duration
	fields                            []string // named by no-cache="..." and private="...", as sent
}

// parseDirectives reads all lines of a Cache-Control field. What is malformed is
// read as the stricter of what it can mean.
func parseDirectives(lines []string) directives {
	d := directives{maxAge: absent, sMaxAge: absent, staleIfError: absent}
	for _, line := range lines {
		for line != "" {
			var one directive
			one, line = nextDirective(line)
			d.add(one)
		}
	}
	return d
}

func (d *directives) add(one directive) {
	switch {
	case one.is("no-store"):
		d.noStore = true
	case one.is("no-cache"):
		d.noCache = !d.addFields(one) || d.noCache
	case one.is("private"):
		d.private = !d.addFields(one) || d.private
	case one.is("public"):
		d.public = true
	case one.is("must-revalidate"), one.is("proxy-revalidate"):
		d.revalidate = true
	case one.is("must-understand"):
		d.mustUnderstand = true
	case one.is("max-age"):
		d.maxAge = lifetime(d.maxAge, one.argument)
	case one.is("s-maxage"):
		d.sMaxAge = lifetime(d.sMaxAge, one.argument)
	case one.is("stale-if-error"):
		if t, ok := parseSeconds(one.argument); ok && (d.staleIfError == absent || t < d.staleIfError) {
			d.staleIfError = t
		}
	}
}

// addFields takes the qualified form of no-cache and private: a quoted list of
// field names. It reports false for anything else, which counts as unqualified.
func (d *directives) addFields(one directive) bool {
	if !one.quoted {
		return false
	}
	names := strings.Split(one.argument, ",")
	for i, name := range names {
		if names[i] = trimOWS(name); !httpguts.ValidHeaderFieldName(names[i]) {
			return false
		}
	}
	d.fields = append(d.fields, names...)
	return true
}

// lifetime is a freshness lifetime with another value for it: what is no number
// makes the answer stale, and of several the smallest counts (section 4.2.1).
func lifetime(before time.Duration, argument string) time.Duration {
	t, _ := parseSeconds(argument)
	if before == absent {
		return t
	}
	return min(before, t)
}

func parseSeconds(s string) (time.Duration, bool) {
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), maxSeconds)
	}
	return time.Duration(n) * time.Second, s != ""
}

type directive struct {
	name     string
	argument string // without its quotes; escapes are left, as no valid argument has any
	quoted   bool
}

func (d *directive) is(name string) bool {
	return len(d.name) == len(name) && strings.EqualFold(d.name, name)
}

// nextDirective takes the first directive off a list, and the comma behind it.
// What stands between its end and the comma is ignored.
func nextDirective(s string) (d directive, rest string) {
	end := 0
	for end < len(s) && s[end] != ',' && s[end] != '=' {
		end++
	}
	if end == len(s) {
		return directive{name: trimOWS(s)}, ""
	}
	d.name = trimOWS(s[:end])
	if s[end] == ',' {
		return d, s[end+1:]
	}
	s = trimOWS(s[end+1:])
	if !strings.HasPrefix(s, `"`) {
		d.argument, rest, _ = strings.Cut(s, ",")
		d.argument = trimOWS(d.argument)
		return d, rest
	}
	s = s[1:]
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			d.argument, d.quoted = s[:i], true
			_, rest, _ = strings.Cut(s[i+1:], ",")
			return d, rest
		}
	}
	// The quote is never closed, so nobody knows where the directive ends: its
	// argument is void, and what follows is read as directives of their own.
	_, rest, _ = strings.Cut(s, ",")
	return d, rest
}

// trimOWS takes optional white space (RFC 9110 section 5.6.3) off both ends.
func trimOWS(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
