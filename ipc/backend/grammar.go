package backend

import "strings"

// The character classes of RFC 9110 section 5.6.2 (token), section 5.5 (field
// value) and RFC 9112 section 3.2 (target), as far as they can hurt: whatever
// could end a line or a word early is outside.

func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// isFieldValue accepts blanks, visible bytes and obs-text.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isTarget accepts bytes outside ASCII: some clients send them, some backends
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
