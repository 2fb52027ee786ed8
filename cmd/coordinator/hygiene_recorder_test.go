//go:build linux

package main_test

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A recorder is a backend that takes requests by the letter of RFC 9112 alone
// and writes down what it got: any request that two backends could read in two
// ways is a fault of the coordinator, whatever the client sent.
type recorder struct {
	origin string
	host   string // its own authority

	mu     sync.Mutex
	seen   []string // of each request in full: method, target, bytes of the body
	faults []string // what was wrong with a request
	cut    int      // requests that broke off, with their connection
	conns  int
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{}
	r.origin = rawBackend(t, r.talk)
	r.host = strings.TrimPrefix(r.origin, "http://")
	return r
}

func (r *recorder) talk(nc net.Conn, br *bufio.Reader) {
	r.mu.Lock()
	r.conns++
	r.mu.Unlock()
	for {
		m, err := r.read(nc, br)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, io.ErrUnexpectedEOF):
			r.mu.Lock()
			r.cut++
			r.mu.Unlock()
			return
		case err != nil:
			r.mu.Lock()
			r.faults = append(r.faults, fmt.Sprintf("%v in %s %s", err, m.method, m.target))
			r.mu.Unlock()
			return
		}
		name := fmt.Sprintf("%s %s %d", m.method, m.target, m.length)
		r.mu.Lock()
		r.seen = append(r.seen, name)
		r.mu.Unlock()
		body := name
		if m.method == "HEAD" {
			body = ""
		}
		fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nX-Seen: %s\r\nContent-Length: %d\r\n\r\n%s", name, len(name), body)
	}
}

// since is what came after the first n requests, and all faults so far.
func (r *recorder) since(n int) (seen, faults []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen[n:]), slices.Clone(r.faults)
}

// received is a request as the recorder reads it.
type received struct {
	method, target string
	fields         map[string][]string // by lower-case name
	length         int                 // of the body
}

// read reads one request. io.EOF is the end between two, io.ErrUnexpectedEOF
// the end within one.
func (r *recorder) read(nc net.Conn, br *bufio.Reader) (m received, err error) {
	line, err := strictLine(br)
	if err != nil {
		return m, err
	}
	parts := strings.Split(line, " ")
	if len(parts) != 3 || !isTokenOf(parts[0]) || parts[2] != "HTTP/1.1" {
		return m, fmt.Errorf("request line %q", line)
	}
	m.method, m.target = parts[0], parts[1]
	if err := strictTarget(m.method, m.target); err != nil {
		return m, err
	}
	if m.fields, err = strictFields(br); err != nil {
		return m, err
	}
	if err := r.judgeFields(&m); err != nil {
		return m, err
	}
	if len(m.fields["expect"]) > 0 {
		_, _ = io.WriteString(nc, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	return m, m.readBody(br)
}

// readBody reads the body by the one framing that the head has.
func (m *received) readBody(br *bufio.Reader) error {
	if length := m.fields["content-length"]; len(length) > 0 {
		size, err := strconv.ParseInt(length[0], 10, 64)
		if err != nil {
			return err
		}
		n, err := io.CopyN(io.Discard, br, size)
		m.length = int(n)
		return cutShort(err)
	}
	if len(m.fields["transfer-encoding"]) == 0 {
		return nil
	}
	for {
		line, err := strictLine(br)
		if err != nil {
			return cutShort(err)
		}
		if line == "" || strings.Trim(line, "0123456789abcdef") != "" || len(line) > 8 {
			return fmt.Errorf("chunk size %q", line)
		}
		size, err := strconv.ParseInt(line, 16, 64)
		if err != nil {
			return err
		}
		if size == 0 {
			trailer, err := strictFields(br)
			if err != nil {
				return cutShort(err)
			}
			return judgeTrailer(trailer)
		}
		n, err := io.CopyN(io.Discard, br, size)
		m.length += int(n)
		if err != nil {
			return cutShort(err)
		}
		if line, err := strictLine(br); err != nil || line != "" {
			return cmp.Or(cutShort(err), fmt.Errorf("%q behind a chunk", line))
		}
	}
}

// judgeFields wants one framing, one Host, only fields that may reach a backend,
// and the way of the request told by the coordinator alone.
func (r *recorder) judgeFields(m *received) error {
	length, coding := m.fields["content-length"], m.fields["transfer-encoding"]
	switch {
	case len(length)+len(coding) > 1:
		return fmt.Errorf("framing by Content-Length %q and Transfer-Encoding %q", length, coding)
	case len(length) == 1 && (length[0] == "" || strings.Trim(length[0], "0123456789") != "" || len(length[0]) > 9):
		return fmt.Errorf("Content-Length %q", length)
	case len(coding) == 1 && coding[0] != "chunked":
		return fmt.Errorf("Transfer-Encoding %q", coding)
	case len(m.fields["host"]) != 1 || m.fields["host"][0] != r.host && m.fields["host"][0] != hygieneRoutedHost:
		return fmt.Errorf("Host %q", m.fields["host"])
	}
	for _, name := range []string{"keep-alive", "proxy-connection", "proxy-authorization", "http2-settings"} {
		if v := m.fields[name]; v != nil {
			return fmt.Errorf("%s: %q", name, v)
		}
	}
	for _, option := range m.fields["connection"] {
		if option != "TE" && option != "Upgrade" {
			return fmt.Errorf("Connection: %q", option)
		}
	}
	if v := m.fields["upgrade"]; v != nil && !slices.Equal(v, []string{"websocket"}) {
		return fmt.Errorf("Upgrade: %q", v)
	}
	return judgeWay(m.fields)
}

// judgeWay wants nothing that the client, which nobody trusts, made up.
func judgeWay(fields map[string][]string) error {
	for name, want := range map[string]string{"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1", "x-forwarded-proto": "http"} {
		if v := fields[name]; len(v) != 1 || v[0] != want {
			return fmt.Errorf("%s: %q", name, v)
		}
	}
	for name, values := range fields {
		switch {
		case name == "x-forwarded-for", name == "x-forwarded-proto", name == "x-forwarded-host", name == "x-forwarded-port":
		case strings.HasPrefix(name, "x-forwarded-"):
			return fmt.Errorf("%s: %q", name, values)
		case strings.Contains(name, "_"):
			return fmt.Errorf("a field %s", name)
		}
	}
	if v := fields["forwarded"]; len(v) != 1 || !strings.HasPrefix(v[0], "for=127.0.0.1;") || strings.Contains(v[0], ",") {
		return fmt.Errorf("Forwarded: %q", v)
	}
	if v := fields["x-request-id"]; len(v) != 1 || v[0] == "" || strings.ContainsAny(v[0], " \t\",;") {
		return fmt.Errorf("X-Request-Id: %q", v)
	}
	return nil
}

// judgeTrailer wants nothing that a backend which merges trailers into the head
// would be misled by (RFC 9110 section 6.5.1).
func judgeTrailer(trailer map[string][]string) error {
	for name := range trailer {
		switch name {
		case "content-length", "transfer-encoding", "trailer", "host", "connection", "authorization", "cookie", "content-type", "expect", "forwarded", "x-real-ip", "x-request-id":
			return fmt.Errorf("a trailer %s", name)
		}
		if strings.HasPrefix(name, "x-forwarded-") || strings.Contains(name, "_") {
			return fmt.Errorf("a trailer %s", name)
		}
	}
	return nil
}

// plainEscape is an escape of an unreserved character (RFC 3986 section 2.3).
var plainEscape = regexp.MustCompile("%(2[de]|3[0-9]|[46][1-9a-f]|[57][0-9a]|5f|7e)")

// strictTarget wants a canonical path, or on the raw route one that stays below.
func strictTarget(method, target string) error {
	if target == "*" && method == "OPTIONS" {
		return nil
	}
	path, _, _ := strings.Cut(target, "?")
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("target %q", target)
	}
	if strings.HasPrefix(path, "/raw/") {
		return nil // TestHygieneRawRoute looks at those
	}
	lower := strings.ToLower(path)
	for _, bad := range []string{"//", "%2f", "%5c", "%00", `\`, "#"} {
		if strings.Contains(lower, bad) {
			return fmt.Errorf("target %q with %s", target, bad)
		}
	}
	if plainEscape.MatchString(lower) {
		return fmt.Errorf("target %q has a second spelling", target)
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
			return fmt.Errorf("target %q with a dot segment", target)
		}
	}
	return nil
}

// strictFields reads field lines to the empty one.
func strictFields(br *bufio.Reader) (map[string][]string, error) {
	fields := make(map[string][]string)
	for {
		line, err := strictLine(br)
		if err != nil {
			return nil, cutShort(err)
		}
		if line == "" {
			return fields, nil
		}
		name, value, found := strings.Cut(line, ":")
		if !found || !isTokenOf(name) || value != "" && value[0] != ' ' || textproto.TrimString(value) != strings.TrimPrefix(value, " ") {
			return nil, fmt.Errorf("field line %q", line)
		}
		name = strings.ToLower(name)
		fields[name] = append(fields[name], strings.TrimPrefix(value, " "))
	}
}

// strictLine reads a line that CRLF ends and that has no other control bytes
// than tabs.
func strictLine(br *bufio.Reader) (string, error) {
	line, err := br.ReadString('\n')
	if err != nil && line != "" {
		return "", io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", err
	}
	text, ended := strings.CutSuffix(line, "\r\n")
	if !ended || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return "", fmt.Errorf("line %q", line)
	}
	return text, nil
}

func isTokenOf(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

// cutShort makes the end of the connection one within a message.
func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
