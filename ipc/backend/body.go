package backend

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"
)

// maxSizeLine bounds the line before a chunk: 15 digits and its extensions.
const maxSizeLine = 4 << 10

var errBodyClosed = errors.New("backend: read after Close of the body")

// chunkPart is where in the chunked coding a reader stands.
type chunkPart uint8

const (
	atSize chunkPart = iota
	inData
	afterData
	atTrailer
	atEnd
)

// answerBody is the body of an answer. One goroutine reads; any may close.
type answerBody struct {
	x       *trip
	framing framing
	part    chunkPart
	remain  int64 // of the body, or of the chunk
	err     error // of the last Read, kept: the connection is no longer ours
	closed  atomic.Bool
}

// Read gives what has arrived, waiting only when nothing has, and io.EOF with the
// last bytes. An answer that was cut short ends in an error that wraps
// io.ErrUnexpectedEOF.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.closed.Load() {
		return 0, errBodyClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, end, err := b.read(p)
	switch {
	case err != nil && b.closed.Load():
		b.err = errBodyClosed // our own doing, not the backend's
	case err != nil:
		b.err = b.x.fail(faultOf(err), unexpected(err))
	case end:
		b.err = io.EOF
		b.x.end(b.x.keep)
	}
	return n, b.err
}

// Buffered is how many bytes Read would give without a system call. It belongs
// to the goroutine that reads.
func (b *answerBody) Buffered() int {
	if b.err != nil || b.closed.Load() {
		return 0
	}
	n := len(b.x.c.buffered())
	if b.framing != untilClose {
		n = int(min(int64(n), b.remain))
	}
	return n
}

// Close ends the exchange. An answer that is not read to its end costs the
// connection.
func (b *answerBody) Close() error {
	b.closed.Store(true)
	b.x.end(false)
	return nil
}

func (b *answerBody) read(p []byte) (n int, end bool, err error) {
	switch b.framing {
	case exactly:
		n, err = b.data(p)
		if b.remain == 0 && err != nil {
			b.x.keep, err = false, nil
		}
		return n, b.remain == 0, err
	case chunked:
		return b.chunks(p)
	}
	n, err = b.x.c.read(p)
	if err == io.EOF && !b.x.c.truncated() {
		return n, true, nil
	}
	return n, false, err
}

// data reads from the part of the body that lies ahead.
func (b *answerBody) data(p []byte) (int, error) {
	n, err := b.x.c.read(p[:min(int64(len(p)), b.remain)])
	b.remain -= int64(n)
	return n, err
}

// chunks fills p from as many chunks as are buffered, and waits only for the
// first byte. It looks past the last byte it gives, so that the end comes with
// it if it is there.
func (b *answerBody) chunks(p []byte) (n int, end bool, err error) {
	for {
		if err := b.advance(n == 0); err != nil {
			return n, false, err
		}
		switch {
		case b.part == atEnd:
			return n, true, nil
		case b.part != inData, n == len(p), n > 0 && len(b.x.c.buffered()) == 0:
			return n, false, nil
		}
		m, err := b.data(p[n:])
		n += m
		if b.remain == 0 {
			b.part = afterData
		}
		if err != nil {
			return n, false, err
		}
	}
}

// advance goes through the coding (RFC 9112 section 7.1) up to data or to the
// end; without wait only as far as the buffer reaches.
func (b *answerBody) advance(wait bool) error {
	for b.part != inData && b.part != atEnd {
		moved, err := b.step()
		if err != nil {
			return err
		}
		if moved {
			continue
		}
		if !wait {
			return nil
		}
		limit := maxSizeLine
		if b.part == atTrailer {
			limit = b.x.t.maxHead()
		}
		if err := b.x.c.fill(limit); err != nil {
			return err
		}
	}
	return nil
}

// step consumes one part if it is buffered whole.
func (b *answerBody) step() (moved bool, err error) {
	c := b.x.c
	ahead := c.buffered()
	switch b.part {
	case atSize:
		end := bytes.IndexByte(ahead, '\n')
		if end < 0 {
			return false, nil
		}
		if b.remain, err = chunkSize(ahead[:end]); err != nil {
			return false, err
		}
		c.r += end + 1
		b.part = inData
		if b.remain == 0 {
			b.part = atTrailer
		}
	case afterData:
		if len(ahead) > 0 && ahead[0] != '\r' || len(ahead) > 1 && ahead[1] != '\n' {
			return false, malformed("a chunk that does not end where it said")
		}
		if len(ahead) < 2 {
			return false, nil
		}
		c.r += 2
		b.part = atSize
	case atTrailer:
		end, _, err := sectionEnd(ahead, 0)
		if err != nil || end == 0 {
			return false, err
		}
		c.r += end
		b.part = atEnd
		return true, b.trailer(string(ahead[:end]))
	}
	return true, nil
}

// chunkSize parses the line before a chunk, without its LF. Extensions are
// ignored, but must not hide control bytes.
func chunkSize(line []byte) (int64, error) {
	line, ok := bytes.CutSuffix(line, []byte("\r"))
	if !ok || len(line) > maxSizeLine {
		return 0, malformed("a chunk size line without its end")
	}
	digits, extension, _ := bytes.Cut(line, []byte(";"))
	digits = bytes.TrimRight(digits, " \t") // before an extension: RFC 9112 section 7.1.1
	if len(digits) == 0 || len(digits) > 15 || !httpguts.ValidHeaderFieldValue(string(extension)) {
		return 0, malformed("a chunk size that is not a number")
	}
	var n int64
	for _, d := range digits {
		switch {
		case '0' <= d && d <= '9':
			n = n<<4 | int64(d-'0')
		case 'a' <= d|0x20 && d|0x20 <= 'f':
			n = n<<4 | int64(d|0x20-'a'+10)
		default:
			return 0, malformed("a chunk size that is not a number")
		}
	}
	return n, nil
}

// trailer adds what came behind the last chunk to the trailer of the response.
func (b *answerBody) trailer(s string) error {
	fields, err := parseFields(s)
	if err != nil || len(fields) == 0 {
		return err
	}
	return b.x.addTrailer(fields)
}

func (x *trip) addTrailer(fields http.Header) error {
	for name := range fields {
		if framingField(name) {
			return malformed("a trailer that changes the framing")
		}
	}
	resp := &x.resp
	if resp.Trailer == nil {
		resp.Trailer = make(http.Header, len(fields))
	}
	for name, values := range fields {
		resp.Trailer[name] = values
	}
	return nil
}
