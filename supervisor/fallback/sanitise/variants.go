package sanitise

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What bounds looking through encodings. Each decoding makes a text shorter, but
// several can be tried on each.
const (
	maxVariants = 100
	maxNesting  = 6
	maxGrowth   = 8 << 20 // bytes of them all; the parts of a run overlap
)

// variants is s and what it says once decoded, in all ways that apply, also one
// after the other.
func variants(s string) []string {
	all := []string{s}
	from, size := 0, 0
	for range maxNesting {
		to := len(all)
		for _, text := range all[from:to] {
			for _, decode := range decoders {
				for _, decoded := range decode(text) {
					if decoded != "" && len(all) < maxVariants && size < maxGrowth && !slices.Contains(all, decoded) {
						all = append(all, decoded)
						size += len(decoded)
					}
				}
			}
		}
		from = to
	}
	return all
}

// decoders give what a text is in another encoding, and nothing where it is not.
var decoders = []func(string) []string{fold, percent, plus, entities, escapes, base64Runs, hexRuns}

// fold turns look-alikes into ASCII: full-width forms, digits of other scripts,
// all white space; and leaves out what has no width.
func fold(s string) []string {
	if !strings.ContainsFunc(s, func(c rune) bool { return c >= utf8.RuneSelf }) {
		return nil
	}
	return []string{strings.Map(func(c rune) rune {
		switch {
		case c < utf8.RuneSelf:
			return c
		case c >= '！' && c <= '～':
			return c - '！' + '!'
		case unicode.IsDigit(c):
			return digit(c)
		case unicode.IsSpace(c):
			return ' '
		case unicode.Is(unicode.Pd, c), c == '\u2212':
			return '-'
		case unicode.Is(unicode.Cf, c), unicode.Is(unicode.Mn, c):
			return -1
		}
		return c
	}, s)}
}

// digit is the ASCII digit of one of another script: ten stand together, in order.
func digit(c rune) rune {
	n := rune(0)
	for unicode.IsDigit(c - 1 - n) {
		n++
	}
	return '0' + n%10
}

var percentByte = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// percent decodes what is encoded and leaves all else, unlike url.PathUnescape,
// which one stray % would blind.
func percent(s string) []string {
	if !strings.Contains(s, "%") {
		return nil
	}
	decoded := percentByte.ReplaceAllStringFunc(s, func(code string) string {
		n, _ := strconv.ParseUint(code[1:], 16, 8) // two digits, as the expression has it
		return string([]byte{byte(n)})
	})
	return []string{strings.ToValidUTF8(decoded, "\ufffd")}
}

// plus is a text of a form, where + is a space.
func plus(s string) []string {
	if !strings.Contains(s, "+") {
		return nil
	}
	return []string{strings.ReplaceAll(s, "+", " ")}
}

func entities(s string) []string {
	if !strings.Contains(s, "&") {
		return nil
	}
	return []string{html.UnescapeString(s)}
}

var escape = regexp.MustCompile(`\\(?:u\{[0-9A-Fa-f]{1,6}\}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|["'/\\])`)

func escapes(s string) []string {
	if !strings.Contains(s, `\`) {
		return nil
	}
	return []string{escape.ReplaceAllStringFunc(s, func(code string) string {
		if len(code) == 2 {
			return code[1:]
		}
		n, _ := strconv.ParseUint(strings.Trim(code[2:], "{}"), 16, 32) // digits, as the expression has it
		return string(rune(n))
	})}
}

var base64Run = regexp.MustCompile(`[A-Za-z0-9+/_-]{8,}={0,2}`)

var urlToStandard = strings.NewReplacer("-", "+", "_", "/")

// base64Runs is what the runs that decode to readable text say, on a line each: one
// text, so that those at the end of a long one count as much as those before.
func base64Runs(s string) []string {
	var lines []string
	for _, run := range base64Run.FindAllString(s, -1) {
		for _, part := range parts(run) {
			decoded, err := base64.RawStdEncoding.DecodeString(urlToStandard.Replace(strings.TrimRight(part, "=")))
			if err == nil && readable(decoded) {
				lines = append(lines, string(decoded))
			}
		}
	}
	return asOne(lines)
}

func asOne(lines []string) []string {
	if lines == nil {
		return nil
	}
	return []string{strings.Join(lines, "\n")}
}

// parts is run, and what is left of it from each character on that may be of it or
// part it from what stands before, or to there.
func parts(run string) []string {
	const most = 16
	all := []string{run}
	for i := range run {
		if len(all) < most && strings.IndexByte("+/_-", run[i]) >= 0 {
			all = append(all, run[i+1:], run[:i])
		}
	}
	return slices.DeleteFunc(all, func(part string) bool { return len(part) < 8 })
}

var hexRun = regexp.MustCompile(`(?:[0-9A-Fa-f]{2}){6,}`)

func hexRuns(s string) []string {
	var lines []string
	for _, run := range hexRun.FindAllString(s, -1) {
		decoded, err := hex.DecodeString(run)
		if err == nil && readable(decoded) {
			lines = append(lines, string(decoded))
		}
	}
	return asOne(lines)
}

// readable tells text from what chance makes of a word that is not encoded.
func readable(b []byte) bool {
	return utf8.Valid(b) && !strings.ContainsFunc(string(b), func(c rune) bool { return unicode.IsControl(c) && !unicode.IsSpace(c) })
}
