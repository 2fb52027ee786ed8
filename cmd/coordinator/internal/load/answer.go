package load

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
)

const (
	maxHead     = 64 << 10 // bytes of an answer's head
	maxInterim  = 16       // 1xx answers before the final one
	maxProblem  = 4 << 10  // bytes of a problem body that are kept
	unknownSize = -1
)

// answer reads answers one after the other, reusing its memory. It takes only
// what has one meaning: a generator that is lenient would hide what a front must
// never emit.
type answer struct {
	head       bool // requests are HEAD
	keepHeader bool

	begun  bool // a valid status line was read
	status int
	minor  byte // of HTTP/1.x
	close  bool // the connection ends with this answer
	header http.Header

	length      int64
	bytes       int64 // of the body, as it came
	chunked     bool
	isProblem   bool
	proxyStatus []byte
	problem     []byte

	reasons map[string]string // Proxy-Status value to reason
}

// read reads the next answer, its body included.
func (a *answer) read(r *bufio.Reader) error {
	a.begun, a.bytes = false, 0
	for range maxInterim {
		if err := a.readHead(r); err != nil {
			return err
		}
		if a.status == http.StatusSwitchingProtocols {
			return protocolError("101 to a request without Upgrade")
		}
		if a.status >= 200 {
			return a.readBody(r)
		}
	}
	return protocolError("too many interim answers")
}

func (a *answer) readHead(r *bufio.Reader) error {
	a.status, a.close = 0, false
	a.length, a.chunked, a.isProblem = unknownSize, false, false
	a.proxyStatus, a.problem = a.proxyStatus[:0], a.problem[:0]
	if a.keepHeader {
		a.header = make(http.Header)
	}
	line, err := readLine(r)
	if err != nil {
		return err
	}
	if err := a.statusLine(line); err != nil {
		return err
	}
	a.begun = true
	for size := len(line); ; {
		if line, err = readLine(r); err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		if size += len(line); size > maxHead {
			return protocolError("head too large")
		}
		if err := a.field(line); err != nil {
			return err
		}
	}
	if a.chunked && a.length != unknownSize {
		return protocolError("Content-Length with Transfer-Encoding")
	}
	return nil
}

// statusLine parses "HTTP/1.1 200 OK" (RFC 9112 section 4).
func (a *answer) statusLine(line []byte) error {
	const version = "HTTP/1."
	if len(line) < 12 || string(line[:len(version)]) != version || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return protocolError("not a status line")
	}
	a.minor = line[7] - '0'
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return protocolError("not a status")
		}
		a.status = 10*a.status + int(c-'0')
	}
	if a.minor > 1 || a.status < 100 {
		return protocolError("not a status line")
	}
	a.close = a.minor == 0
	return nil
}

func (a *answer) field(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || bytes.ContainsAny(line[:colon], " \t") {
		return protocolError("not a field line")
	}
	name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
	if a.keepHeader {
		a.header.Add(string(name), string(value))
	}
	switch {
	case is(name, "content-length"):
		n, err := strconv.ParseUint(string(value), 10, 63)
		if err != nil || a.length != unknownSize {
			return protocolError("bad Content-Length")
		}
		a.length = int64(n)
	case is(name, "transfer-encoding"):
		if a.chunked || !is(value, "chunked") {
			return protocolError("bad Transfer-Encoding")
		}
		a.chunked = true
	case is(name, "connection"):
		a.close = a.close || is(value, "close")
	case is(name, "content-type"):
		const problem = "application/problem+json"
		a.isProblem = len(value) >= len(problem) && is(value[:len(problem)], problem)
	case is(name, "proxy-status"):
		if len(a.proxyStatus) > 0 {
			a.proxyStatus = append(a.proxyStatus, ',') // RFC 9110 section 5.3
		}
		a.proxyStatus = append(a.proxyStatus, value...)
	}
	return nil
}

func is(b []byte, lower string) bool {
	return len(b) == len(lower) && bytes.EqualFold(b, []byte(lower))
}

// readBody reads to the end of the body (RFC 9112 section 6.3).
func (a *answer) readBody(r *bufio.Reader) error {
	switch {
	case a.head || a.status == http.StatusNoContent || a.status == http.StatusNotModified:
		return nil
	case a.chunked:
		return a.readChunks(r)
	case a.length != unknownSize:
		return a.take(r, a.length)
	}
	a.close = true
	n, err := io.Copy(io.Discard, r)
	a.bytes += n
	return err
}

func (a *answer) readChunks(r *bufio.Reader) error {
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimRight(size, " \t")), 16, 62)
		if err != nil {
			return protocolError("bad chunk size")
		}
		if n == 0 {
			return readTrailers(r)
		}
		if err := a.take(r, int64(n)); err != nil {
			return err
		}
		if line, err = readLine(r); err != nil {
			return err
		}
		if len(line) != 0 {
			return protocolError("chunk without an end")
		}
	}
}

func readTrailers(r *bufio.Reader) error {
	for size := 0; size <= maxHead; {
		line, err := readLine(r)
		if err != nil || len(line) == 0 {
			return err
		}
		size += len(line)
	}
	return protocolError("trailers too large")
}

// take reads n bytes of the body, and keeps the first of a problem.
func (a *answer) take(r *bufio.Reader, n int64) error {
	for n > 0 {
		b, err := r.Peek(int(min(n, int64(max(r.Buffered(), 1)))))
		if len(b) == 0 {
			return err
		}
		if a.isProblem {
			a.problem = append(a.problem, b[:min(len(b), maxProblem-len(a.problem))]...)
		}
		r.Discard(len(b)) // what was peeked at is there
		n -= int64(len(b))
		a.bytes += int64(len(b))
	}
	return nil
}

// readLine is the next line without its CRLF, valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return nil, protocolError("line too long")
	case err == io.EOF && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	case len(line) < 2 || line[len(line)-2] != '\r':
		return nil, protocolError("bare LF")
	}
	return line[:len(line)-2], nil
}
