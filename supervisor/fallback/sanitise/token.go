package sanitise

import (
	"math"
	"regexp"
	"strings"
	"unicode"
)

// shortestSecret is how long a value is under a name such as password that is
// taken for one, in bytes.
const shortestSecret = 4

var secretNames = regexp.MustCompile(`(?:pass(?:word|wd|phrase)|secret|apikey|accesskey|privatekey|(?:access|refresh|id|auth|api|bearer|session|csrf)token|` +
	`sessionid|authorization|cookie|credentials?|signature)s?$|^(?:token|pwd|auth|session|bearer|cvv|cvc|csrf)$`)

// isSecretName reports whether secrets stand under such a name, however its words
// are parted.
func isSecretName(name string) bool {
	return secretNames.MatchString(strings.Map(func(c rune) rune {
		if !unicode.IsLetter(c) {
			return -1
		}
		return unicode.ToLower(c)
	}, name))
}

// Keys whose makers marked them, and assignments to names of secrets.
var marked = regexp.MustCompile(
	`\b(?:sk|pk|rk)_(?:live|test)_[0-9A-Za-z]{8,}` + // Stripe
		`|\bgh[pousr]_[0-9A-Za-z]{16,}|\bgithub_pat_\w{16,}|\bglpat-[\w-]{16,}` + // GitHub, GitLab
		`|\b(?:AKIA|ASIA)[0-9A-Z]{12,}|\bAIza[\w-]{20,}|\bya29\.[\w-]{10,}` + // AWS, Google
		`|\bxox[abeoprs]-[\w-]{8,}|\bSG\.[\w-]{10,}\.[\w-]{10,}|\bnpm_\w{20,}|\bhvs\.\w{10,}` + // Slack, SendGrid, npm, Vault
		`|-----BEGIN [A-Z ]*PRIVATE KEY` +
		`|(?i:(?:password|passwd|secret|api[_-]?key|access[_-]?token|refresh[_-]?token|session[_-]?id|authorization|csrf[a-z]*)["']?\s*[:=]\s*["']?[^\s"'&;,]{4,})` +
		`|://[^/\s:@]+:[^/\s@]+@`) // user and password in a URL

// A scheme with what it is given (RFC 9110 section 11.4), which a word of prose is
// not: "Basic understanding".
var scheme = regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+([A-Za-z0-9+/_.~-]{8,}=*)`)

var (
	word     = regexp.MustCompile(`[A-Za-z0-9_-]{16,}`)
	longWord = regexp.MustCompile(`[A-Za-z0-9+/_-]{40,}`)
	hexWord  = regexp.MustCompile(`\b[0-9A-Fa-f]{32,}\b`)
	uuid     = regexp.MustCompile(`(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b`)
)

func hasToken(s string) bool {
	if marked.MatchString(s) {
		return true
	}
	for _, given := range scheme.FindAllStringSubmatch(s, -1) {
		first, _, _ := strings.Cut(given[1], ".") // a full stop may be that of a sentence
		if mixed(given[1]) || strings.HasSuffix(given[1], "=") || len(first) >= 8 && turns(first) >= 0.15 {
			return true
		}
	}
	s = uuid.ReplaceAllString(s, "|") // what most things are named by
	for _, w := range hexWord.FindAllString(s, -1) {
		if mixed(w) {
			return true
		}
	}
	for _, w := range word.FindAllString(s, -1) {
		if mixed(w) && (turns(w) >= turnsWanted(len(w)) || len(w) >= 40 && entropy(w) >= 4.4) {
			return true
		}
	}
	for _, w := range longWord.FindAllString(s, -1) {
		if mixed(w) && turns(w) >= 0.25 && entropy(w) >= 4.4 {
			return true
		}
	}
	return false
}

// mixed reports whether w has letters and digits.
func mixed(w string) bool {
	return strings.ContainsFunc(w, unicode.IsDigit) && strings.ContainsFunc(w, unicode.IsLetter)
}

// turnsWanted is the share of turns from which a word is random: of random letters
// and digits 40 to 47 in 100 neighbours are one, of names and slugs hardly 15. In
// a long word chance strays less.
func turnsWanted(length int) float64 {
	if length < 32 {
		return 0.28
	}
	return 0.18
}

// turns is the share of neighbours in w of which one is a small letter, a capital
// or a digit and the other is of another of these kinds. A capital before a small
// letter is none: CamelCase would else look random.
func turns(w string) float64 {
	kind := func(c byte) int {
		switch {
		case c >= 'a' && c <= 'z':
			return 1
		case c >= 'A' && c <= 'Z':
			return 2
		case c >= '0' && c <= '9':
			return 3
		}
		return 0
	}
	n := 0
	for i := 1; i < len(w); i++ {
		a, b := kind(w[i-1]), kind(w[i])
		if a != b && a != 0 && b != 0 && (a != 2 || b != 1) {
			n++
		}
	}
	return float64(n) / float64(len(w)-1)
}

// entropy is Shannon's, in bits a character: random text of 40 characters in
// base64 has near 5, words have near 4.
func entropy(w string) float64 {
	var count [256]float64
	for i := range len(w) {
		count[w[i]]++
	}
	sum := 0.0
	for _, n := range count {
		if n > 0 {
			p := n / float64(len(w))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}
