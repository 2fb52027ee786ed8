package process

import (
	"io"
	"strings"
	"sync"
)

// MaxHandshake is the longest handshake line, in bytes, without its newline.
// go-plugin's longest carries a certificate of about 1 KiB.
const MaxHandshake = 4 << 10

// handshake is the first line of stdout, known once ready is closed.
type handshake struct {
	once  sync.Once
	ready chan struct{}
	line  *strings.Reader
	why   string // why there is none
}

func newHandshake() *handshake { return &handshake{ready: make(chan struct{})} }

// settle decides what the line is. Only the first call counts; it reports
// whether it was this one.
func (h *handshake) settle(line, why string) (first bool) {
	h.once.Do(func() {
		h.line, h.why = strings.NewReader(line), why
		close(h.ready)
		first = true
	})
	return first
}

// offer reports whether the handshake takes this line of stdout.
func (h *handshake) offer(line []byte, cut bool) bool {
	select {
	case <-h.ready:
		return false
	default:
	}
	if cut || len(line) > MaxHandshake {
		h.settle("", "the first line of its stdout is too long for a handshake")
		return false
	}
	return h.settle(clean(line)+"\n", "")
}

// missing is why there is no line, "" when there is one or nothing is known yet.
func (h *handshake) missing() string {
	select {
	case <-h.ready:
		return h.why
	default:
		return ""
	}
}

func (h *handshake) Read(b []byte) (int, error) {
	<-h.ready
	return h.line.Read(b)
}

func (h *handshake) Close() error {
	h.settle("", "its stdout was closed by the reader")
	return nil
}

var _ io.ReadCloser = (*handshake)(nil)
