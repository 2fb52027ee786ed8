package idempotency

import "strings"

// maxKey is the longest key, in bytes.
const maxKey = 255

// parseKey reads the one value of Idempotency-Key: a String of structured fields
// (RFC 9651 section 3.3.3), as the draft has it, or the bare text that most
// clients send. A key is the same in both. Parameters, of which the draft defines
// none, make it no key: to guess what they would change is not ours.
func parseKey(lines []string) (key string, ok bool) {
	if len(lines) != 1 {
		return "", false
	}
	key = strings.Trim(lines[0], " \t")
	if strings.HasPrefix(key, `"`) {
		key, ok = parseString(key)
	} else {
		ok = isBare(key)
	}
	return key, ok && key != "" && len(key) <= maxKey
}

func isBare(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == ',' || c == ';' {
			return false
		}
	}
	return true
}

// parseString is RFC 9651 section 4.2.5 for a string that ends where its input
// does.
func parseString(s string) (string, bool) {
	if len(s) < 2 || len(s) > 2*maxKey+2 || s[len(s)-1] != '"' {
		return "", false
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s, isUnescaped(s)
	}
	var b strings.Builder
	for {
		plain, escaped, found := strings.Cut(s, `\`)
		b.WriteString(plain)
		switch {
		case !isUnescaped(plain):
			return "", false
		case !found:
			return b.String(), true
		case escaped == "" || escaped[0] != '"' && escaped[0] != '\\':
			return "", false
		}
		b.WriteByte(escaped[0])
		s = escaped[1:]
	}
}

// isUnescaped is unescaped of RFC 9651 section 3.3.3, for text without a
// backslash.
func isUnescaped(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' {
			return false
		}
	}
	return true
}
