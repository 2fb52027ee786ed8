package backend

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxFields bounds the lines of a head or trailer section: the byte cap alone
// would let a map of a quarter million entries be made.
const maxFields = 1024

// head is the status line and the fields of an answer, as far as they have come:
// reading goes on where it stopped, so a wait may end without losing anything.
type head struct {
	line   int // where the line starts that is not complete yet; 0: the status line
	code   int
	minor  int
	status string // "200 OK"
	fields http.Header
	broken bool // the request could not be written whole
}

// read reads one head from the connection of x. The status line counts as soon as
// it is complete.
func (h *head) read(x *trip) error {
	c := x.c
	for {
		b := c.buffered()
		if h.line == 0 {
			if err := h.readStatus(b); err != nil {
				return err
			}
			if h.code >= 200 {
				x.answered()
			}
		}
		if h.line > 0 {
			end, line, err := sectionEnd(b, h.line)
			if err != nil {
				return err
			}
			if end > x.t.maxHead() {
				return errTooLarge
			}
			if end > 0 {
				c.r += end
				return h.parse(string(b[:end]))
			}
			h.line = line
		}
		if err := c.fill(x.t.maxHead()); err != nil {
			return err
		}
	}
}

const protocol = "HTTP/1."

// readStatus reads the status line (RFC 9112 section 4) if it is complete, and
// refuses what cannot become one at its first wrong byte.
func (h *head) readStatus(b []byte) error {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if n := min(len(b), len(protocol)); string(b[:n]) != protocol[:n] {
			return malformed("not an HTTP/1 status line")
		}
		return nil
	}
	line, ok := bytes.CutSuffix(b[:end], []byte("\r"))
	if !ok || len(line) < len("HTTP/1.1 200") || string(line[:len(protocol)]) != protocol {
		return malformed("not an HTTP/1 status line")
	}
	minor, blank, digits, rest := line[7], line[8], line[9:12], line[12:]
	if minor != '0' && minor != '1' || blank != ' ' || len(rest) > 0 && rest[0] != ' ' {
		return malformed("not an HTTP/1 status line")
	}
	code := 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return malformed("a status that is not a number")
		}
		code = 10*code + int(d-'0')
	}
	if code < 100 {
		return malformed("a status below 100")
	}
	if !httpguts.ValidHeaderFieldValue(string(rest)) {
		return malformed("control bytes in the status line")
	}
	h.code, h.minor, h.line = code, int(minor-'0'), end+1
	return nil
}

// sectionEnd looks for the empty line that ends a section of fields, from the
// line that starts at from. It gives the end, or where to go on: the start of
// the first line that is not complete. Every line must end in CR LF.
func sectionEnd(b []byte, from int) (end, next int, err error) {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		switch {
		case i < 0:
			return 0, from, nil
		case i == 0 || b[from+i-1] != '\r':
			return 0, 0, malformed("a bare line feed")
		case i == 1:
			return from + 2, 0, nil
		}
		from += i + 1
	}
}

// parse takes a complete head apart. Every string of it shares the memory of s.
func (h *head) parse(s string) error {
	i := strings.IndexByte(s, '\n')
	h.status = s[len("HTTP/1.1 ") : i-1]
	var err error
	h.fields, err = parseFields(s[i+1:])
	return err
}

// parseFields parses lines up to and with an empty one (RFC 9112 section 5).
// Folded lines and blanks before the colon are refused, as are control bytes.
func parseFields(s string) (http.Header, error) {
	n := strings.Count(s, "\n") - 1
	if n > maxFields {
		return nil, malformed("too many fields")
	}
	fields := make(http.Header, n)
	values := make([]string, n)
	for {
		line, rest, _ := strings.Cut(s, "\r\n")
		if line == "" {
			return fields, nil
		}
		s = rest
		name, value, ok := strings.Cut(line, ":")
		if !ok || !httpguts.ValidHeaderFieldName(name) {
			return nil, malformed("a field without a proper name")
		}
		value = trimBlanks(value)
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, malformed("control bytes in a field")
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if old, found := fields[name]; found {
			fields[name] = append(old, value)
			continue
		}
		values[0] = value
		fields[name], values = values[:1:1], values[1:]
	}
}

// framing is how the end of an answer's body is found.
type framing uint8

const (
	none framing = iota
	exactly
	chunked
	untilClose
)

// framing follows RFC 9112 section 6.3, without its tolerance: what two readers
// might understand differently is refused, even where a status says that no body
// comes. The length is that of Content-Length, -1 without one.
func (h *head) framing(method string) (framing, int64, error) {
	length := int64(-1)
	codings, lengths := h.fields["Transfer-Encoding"], h.fields["Content-Length"]
	switch {
	case len(codings) > 0 && len(lengths) > 0:
		return none, 0, malformed("Content-Length and Transfer-Encoding")
	case len(lengths) > 1:
		return none, 0, malformed("more than one Content-Length")
	case len(codings) > 0 && (len(codings) > 1 || !strings.EqualFold(codings[0], "chunked")):
		return none, 0, malformed("a Transfer-Encoding other than chunked")
	case len(codings) > 0 && h.minor == 0:
		return none, 0, malformed("Transfer-Encoding in HTTP/1.0")
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil {
			return none, 0, malformed("a Content-Length that is not a number")
		}
		length = int64(n)
	}
	switch {
	case method == http.MethodHead:
		return none, length, nil
	case h.code == http.StatusNoContent && len(codings) > 0:
		return none, length, nil // and the connection is not used again
	case h.code == http.StatusNoContent:
		return none, max(length, 0), nil
	case h.code == http.StatusNotModified:
		return none, max(length, 0), nil
	case len(codings) > 0:
		return chunked, -1, nil
	case length == 0:
		return none, 0, nil
	case length > 0:
		return exactly, length, nil
	}
	return untilClose, -1, nil
}

// persistent is what the backend says about the connection (RFC 9112 section 9.3).
func (h *head) persistent() bool {
	connection := h.fields["Connection"]
	if hasToken(connection, "close") {
		return false
	}
	return h.minor == 1 || hasToken(connection, "keep-alive")
}

// announced is the Trailer field as a map of names without values, or nil.
func announced(fields http.Header) (http.Header, error) {
	var trailer http.Header
	for _, list := range fields["Trailer"] {
		for item := range strings.SplitSeq(list, ",") {
			name := trimBlanks(item)
			if name == "" {
				continue
			}
			if !httpguts.ValidHeaderFieldName(name) || framingField(name) {
				return nil, malformed("a Trailer that cannot be one")
			}
			if trailer == nil {
				trailer = make(http.Header)
			}
			trailer[textproto.CanonicalMIMEHeaderKey(name)] = nil
		}
	}
	return trailer, nil
}
