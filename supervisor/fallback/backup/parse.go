package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Mistake is something in a folder that keeps it from being loaded.
type Mistake struct {
	File    string // its path
	Line    int    // from 1; 0: the file as a whole
	Message string // what is wrong, and what is accepted
}

func (m Mistake) Error() string {
	if m.Line == 0 {
		return m.File + ": " + m.Message
	}
	return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Message)
}

// Mistakes are all of a folder, one on each line.
type Mistakes []Mistake

func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, one := range m {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// A parser reads one file and goes on after a mistake.
type parser struct {
	path     string
	line     int
	entry    Entry
	seen     map[string]int // line of each setting
	mistakes Mistakes
}

func (p *parser) fail(line int, format string, args ...any) {
	p.mistakes = append(p.mistakes, Mistake{p.path, line, fmt.Sprintf(format, args...)})
}

// parse reads the text of the file at path.
func parse(path, name string, text []byte) (Entry, Mistakes) {
	p := &parser{path: path, entry: Entry{File: name, Header: http.Header{}}, seen: map[string]int{}}
	head, body, parted := bytes.Cut(text, []byte("\n\n"))
	if !parted {
		p.fail(0, "no empty line; want the head, an empty line, and the body")
		head = bytes.TrimSuffix(text, []byte("\n"))
	}
	if bytes.ContainsRune(head, '\r') {
		p.fail(0, "a carriage return in the head; want lines that end with LF alone")
		return p.entry, p.mistakes
	}
	for line := range strings.SplitSeq(string(head), "\n") {
		p.line++
		p.readLine(line)
	}
	for _, want := range []string{"GET", "made", "status"} {
		if p.seen[want] == 0 {
			p.fail(0, "no line that begins with %s; want GET PATTERN, made TIME and status CODE", want)
		}
	}
	if parted {
		p.readBody(body)
	}
	return p.entry, p.mistakes
}

func (p *parser) readLine(line string) {
	if !utf8.ValidString(line) {
		p.fail(p.line, "not UTF-8")
		return
	}
	word, rest, _ := strings.Cut(line, " ")
	if strings.HasSuffix(word, ":") {
		p.readField(strings.TrimSuffix(word, ":"), strings.TrimSpace(rest))
		return
	}
	if before := p.seen[word]; before != 0 {
		p.fail(p.line, "%s again, after line %d; want it once", word, before)
		return
	}
	var err error
	switch word {
	case "GET":
		p.entry.Pattern, err = ParsePattern(rest)
	case "made":
		if err = p.entry.Made.UnmarshalText([]byte(rest)); err != nil {
			err = fmt.Errorf("made %q; want a time such as 2026-11-21T05:20:00Z", rest)
		}
	case "status":
		if p.entry.Status, err = strconv.Atoi(rest); err != nil || !slices.Contains(Statuses(), p.entry.Status) {
			err = fmt.Errorf("status %q; want one of %v", rest, Statuses())
		}
	case http.MethodHead:
		err = errors.New("HEAD; want GET: HEAD is answered from it")
	default:
		p.fail(p.line, "%q; want GET PATTERN, made TIME, status CODE, or NAME: VALUE of a field", clip(line))
		return
	}
	p.seen[word] = p.line
	if err != nil {
		p.fail(p.line, "%s", err)
	}
}

// clip keeps a message short, whatever the line is.
func clip(line string) string {
	const most = 60
	if len(line) <= most {
		return line
	}
	return strings.ToValidUTF8(line[:most], "") + "…"
}

func (p *parser) readField(name, value string) {
	if err := checkField(name, value); err != nil {
		p.fail(p.line, "%s", err)
		return
	}
	p.entry.Header.Add(name, value)
}

// checkField is nil for a field that can be written and kept.
func checkField(name, value string) error {
	switch {
	case name == "" || strings.Trim(name, tokenChars) != "":
		return fmt.Errorf("the field name %q; want letters, digits and -", clip(name))
	case strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
		return fmt.Errorf("a control character in the value of %s", name)
	}
	return Storable(name)
}

// tokenChars are those of a field name (RFC 9110 section 5.6.2).
const tokenChars = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func (p *parser) readBody(body []byte) {
	at := p.line + 2
	switch {
	case p.entry.Status == http.StatusNoContent && len(body) > 0:
		p.fail(at, "a body; want none with status 204")
	case len(body) == 0:
	case p.entry.Header.Get("Content-Type") == "":
		p.fail(0, "a body without Content-Type; want the field")
	case !utf8.Valid(body):
		p.fail(at, "the body is not UTF-8; want text that can be reviewed")
	case IsJSON(p.entry.Header.Get("Content-Type")):
		p.readJSON(at, body)
	default:
		p.entry.Body = body
	}
}

func (p *parser) readJSON(at int, body []byte) {
	var whole json.RawMessage
	err := json.Unmarshal(body, &whole) // Compact would not say where
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at += bytes.Count(body[:min(int(syntax.Offset), len(body))], []byte("\n"))
	}
	if err != nil {
		p.fail(at, "the body is no JSON: %s", err)
		return
	}
	var b bytes.Buffer
	if err := json.Compact(&b, whole); err != nil {
		p.fail(at, "the body is no JSON: %s", err)
	}
	p.entry.Body = b.Bytes()
}
