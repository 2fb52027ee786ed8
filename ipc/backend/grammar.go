package backend

import "strings"

// isTarget keeps out of a target (RFC 9112 section 3.2) whatever could end a line or
// a word early. It accepts bytes outside ASCII: some clients send them, some backends
// expect them.
func isTarget(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return s != ""
}

func isHost(s string) bool {
	return isTarget(s) && !strings.ContainsAny(s, `/\?#@,"<>`)
}

// hasToken tells whether a comma-separated field lists word, in any case.
func hasToken(values []string, word string) bool {
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(trimBlanks(item), word) {
				return true
			}
		}
	}
	return false
}

// trimBlanks removes the optional white space around a value.
func trimBlanks(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
