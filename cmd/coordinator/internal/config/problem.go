package config

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Problem is one mistake, or one thing worth a warning.
type Problem struct {
	Variable string `json:"variable,omitempty"` // empty: the file as a whole, or a line without a name
	Value    string `json:"value,omitempty"`    // as given; "***" where it is or may be a secret
	From     string `json:"from,omitempty"`     // "file:line", "environment", "default"; empty: nothing set it
	Message  string `json:"message"`            // what is wrong and what is accepted

	line int // of the file; 0: not from there
}

// Error is the problem on one line: from: VARIABLE="value": message.
func (p Problem) Error() string {
	var b strings.Builder
	if p.From != "" {
		b.WriteString(p.From + ": ")
	}
	if p.Variable != "" {
		if isEnvName(p.Variable) {
			b.WriteString(p.Variable)
		} else {
			b.WriteString(strconv.Quote(p.Variable)) // an environment may hold any bytes
		}
		switch p.Value {
		case "":
		case masked:
			b.WriteString("=" + masked)
		default:
			b.WriteString("=" + strconv.Quote(shorten(p.Value)))
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Errors is every mistake of a configuration, never empty when it is an error.
type Errors []Problem

// Error lists the problems, one on each line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// byLine puts the problems of the file first, in its order; the others stay in
// the order in which they were found.
func (e Errors) byLine() {
	slices.SortStableFunc(e, func(a, b Problem) int {
		if a.line == 0 || b.line == 0 {
			return cmp.Compare(b.line, a.line)
		}
		return cmp.Compare(a.line, b.line)
	})
}

// masked stands for a value that must not be shown.
const masked = "***"

// shown is value as it may be printed for the variable of that key (its name
// without COORDINATOR_, BULKHEAD_X_ or OTEL_).
func shown(key, value string) string {
	if value == "" {
		return ""
	}
	name, isEnv := strings.CutPrefix(key, envPrefix)
	switch {
	case isEnv && !strings.HasSuffix(name, fileSuffix):
		return masked
	case isEnv && !strings.ContainsRune("/.", rune(value[0])), slices.Contains(secretFiles, key) && !looksLikeFile(value):
		return masked // not a path: perhaps the secret itself, put into the wrong variable
	case strings.HasPrefix(key, "EXPORTER_OTLP_") && strings.HasSuffix(key, "_HEADERS"), // they hold credentials
		strings.HasSuffix(key, "_TOKEN"), strings.HasSuffix(key, "_SECRET"), strings.HasSuffix(key, "_PASSWORD"):
		return masked
	}
	return withoutUserinfo(value)
}

// secretFiles are the keys of variables that name a file with a secret in it.
var secretFiles = []string{"TLS_KEY", "BACKEND_KEY", "JOURNAL_KEY_FILE"}

// looksLikeFile tells a file's name from a key in PEM, base64 or hexadecimal: it
// begins with / or . or has a dot in it, on one line.
func looksLikeFile(value string) bool {
	key, err := base64.StdEncoding.DecodeString(value) // which may begin with / too
	isKey := err == nil && len(key) == 32
	return !isKey && !strings.ContainsAny(value, "\r\n") && (value[0] == '/' || strings.ContainsRune(value, '.'))
}

// withoutUserinfo masks what stands between "//" and "@": the password of a URL
// that may not even parse.
func withoutUserinfo(value string) string {
	head, rest, ok := strings.Cut(value, "//")
	at := strings.LastIndexByte(rest, '@')
	if !ok || at < 0 {
		return value
	}
	return head + "//" + masked + rest[at:]
}

// shorten keeps a line readable when a whole file was pasted into a variable.
func shorten(value string) string {
	const most = 100
	if len(value) <= most {
		return value
	}
	return fmt.Sprintf("%s... (%d bytes)", value[:most], len(value))
}
