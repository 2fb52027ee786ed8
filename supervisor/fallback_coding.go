package supervisor

import (
	"strconv"
	"strings"
)

// acceptsCodings reports whether a client that sent these Accept-Encoding fields
// takes an answer with these content codings. Without the field RFC 9110 section
// 12.5.3 lets a server choose any; but servers that compress and say no Vary are
// common, and what they sent to a browser must not go to who never asked for it.
func acceptsCodings(accept, codings []string) bool {
	for _, field := range codings {
		for coding := range strings.SplitSeq(field, ",") {
			if coding = trimSpace(coding); coding != "" && !asciiEqualFold(coding, "identity") && !acceptsCoding(accept, coding) {
				return false
			}
		}
	}
	return true
}

// acceptsCoding goes by the member that names the coding, or else by "*".
func acceptsCoding(accept []string, coding string) bool {
	rest := false
	for _, field := range accept {
		for member := range strings.SplitSeq(field, ",") {
			name, weight, _ := strings.Cut(member, ";")
			name = trimSpace(name)
			switch {
			case sameCoding(name, coding):
				return weighs(weight)
			case name == "*":
				rest = weighs(weight)
			}
		}
	}
	return rest
}

// sameCoding knows the two other names that RFC 9110 section 8.4.1 has.
func sameCoding(a, b string) bool {
	canonical := func(s string) string {
		if len(s) > 2 && asciiEqualFold(s[:2], "x-") {
			return s[2:]
		}
		return s
	}
	return asciiEqualFold(canonical(a), canonical(b))
}

// weighs reports whether a weight is above 0; none is 1.
func weighs(weight string) bool {
	name, value, found := strings.Cut(trimSpace(weight), "=")
	if !found || !asciiEqualFold(trimSpace(name), "q") {
		return true
	}
	q, err := strconv.ParseFloat(trimSpace(value), 64)
	return err == nil && q > 0
}
