package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"
)

// The file holds one NAME=VALUE a line:
//
//	# a comment; blank lines are fine
//	COORDINATOR_BULKHEADS=orders,catalog
//	export BULKHEAD_ORDERS_LIMIT=32        # a comment after white space
//	BULKHEAD_ORDERS_OWNER='Team "Orders"'  # single quotes: taken as it stands
//	BULKHEAD_ORDERS_ENV_NOTE="a\tb \"c\""  # double quotes: \n \r \t \" \\ \$
//
// A value ends with its line, and $ is an ordinary character: nothing is
// expanded, so a password means what it says. A name twice is an error, since
// one of the two values would be ignored without a word.

// maxEnvFile bounds what is read, in bytes.
const maxEnvFile = 1 << 20

// An assignment is one NAME=VALUE of a file.
type assignment struct {
	name, value string
	line        int // from 1
}

// readEnvFile reads and parses a file. All good lines are returned, also when
// others have problems.
func readEnvFile(path string) ([]assignment, Errors) {
	text, err := readBounded(path)
	if err != nil {
		return nil, Errors{{From: path, Message: "cannot be read: " + cause(err)}}
	}
	return parseEnvFile(path, text)
}

func readBounded(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err == nil && len(text) > maxEnvFile {
		err = fmt.Errorf("longer than %d bytes", maxEnvFile)
	}
	return string(text), err
}

// cause is err without the path, which the line names already or must not name.
func cause(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return err.Error()
}

func parseEnvFile(path, text string) ([]assignment, Errors) {
	var (
		found    []assignment
		problems Errors
		first    = map[string]int{}
	)
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		name, value, err := parseLine(strings.TrimRight(line, "\r\n"))
		switch from := fmt.Sprintf("%s:%d", path, number); {
		case err != nil:
			problems = append(problems, Problem{Variable: name, From: from, Message: err.Error(), line: number})
		case name == "":
		case first[name] > 0:
			problems = append(problems, Problem{Variable: name, From: from, line: number,
				Message: fmt.Sprintf("set already on line %d; want one of the two", first[name])})
		default:
			first[name] = number
			found = append(found, assignment{name, value, number})
		}
	}
	return found, problems
}

// parseLine is the assignment of one line; an empty name is a line without one.
// Errors never hold the value: it may be a secret.
func parseLine(line string) (name, value string, err error) {
	if !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
		return "", "", errors.New("not text; want UTF-8 without NUL")
	}
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", nil
	}
	if rest, ok := strings.CutPrefix(line, "export"); ok && strings.TrimLeft(rest, " \t") != rest {
		line = strings.TrimLeft(rest, " \t")
	}
	name, value, ok := strings.Cut(line, "=")
	if !ok {
		return "", "", errors.New("want NAME=VALUE")
	}
	if !isEnvName(name) {
		if isEnvName(strings.TrimSpace(name)) {
			return strings.TrimSpace(name), "", errors.New("want no white space before the =")
		}
		return "", "", errors.New("want NAME=VALUE, the name of letters, digits and _")
	}
	if strings.TrimLeft(value, " \t") != value && !startsComment(value) {
		return name, "", errors.New("want no white space after the =, or the value in quotes")
	}
	value, err = parseValue(value)
	return name, value, err
}

func parseValue(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	var value, rest string
	switch text[0] {
	case '\'':
		quoted, after, ok := strings.Cut(text[1:], "'")
		if !ok {
			return "", errors.New("want a closing ' on the same line")
		}
		value, rest = quoted, after
	case '"':
		unquoted, after, err := unquote(text[1:])
		if err != nil {
			return "", err
		}
		value, rest = unquoted, after
	default:
		return beforeComment(text), nil
	}
	if strings.TrimSpace(rest) != "" && !startsComment(rest) {
		return "", errors.New("want nothing but a comment after the closing quote")
	}
	return value, nil
}

// unquote reads up to the closing double quote and returns what follows it.
func unquote(text string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:], nil
		case '\\':
			i++
			escape := map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', '"': '"', '\\': '\\', '$': '$'}
			if i == len(text) || escape[text[i]] == 0 {
				return "", "", errors.New(`want \n, \r, \t, \", \\ or \$ after a backslash in double quotes`)
			}
			b.WriteByte(escape[text[i]])
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", errors.New(`want a closing " on the same line`)
}

// beforeComment cuts an unquoted value at the first # that follows white space:
// "http://host/#a" is whole.
func beforeComment(text string) string {
	for i := 1; i < len(text); i++ {
		if text[i] == '#' && (text[i-1] == ' ' || text[i-1] == '\t') {
			return strings.TrimSpace(text[:i])
		}
	}
	return strings.TrimSpace(text)
}

// startsComment reports whether text is white space and then a comment.
func startsComment(text string) bool {
	trimmed := strings.TrimLeft(text, " \t")
	return trimmed != text && strings.HasPrefix(trimmed, "#")
}

// isEnvName reports whether name is one that every shell can set.
func isEnvName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
