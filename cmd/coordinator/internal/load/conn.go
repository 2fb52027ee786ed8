package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// conn is a keep-alive connection.
type conn struct {
	*net.TCPConn
	r    *bufio.Reader
	raw  syscall.RawConn
	look func(fd uintptr) bool // kept, so that spent allocates nothing
	seen bool                  // by look: bytes, the end or an error
}

type dialer struct{ addr string }

func (d dialer) dial(ctx context.Context, deadline time.Time) (*conn, error) {
	// No happy eyeballs, no keep-alive probes: the address is one, and local.
	nd := net.Dialer{Deadline: deadline, KeepAlive: -1, FallbackDelay: -1}
	nc, err := nd.DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, err
	}
	tcp := nc.(*net.TCPConn)
	raw, err := tcp.SyscallConn()
	if err != nil {
		tcp.Close()
		return nil, err
	}
	c := &conn{TCPConn: tcp, r: bufio.NewReaderSize(tcp, 16<<10), raw: raw}
	c.look = func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		c.seen = err != syscall.EAGAIN && err != syscall.EINTR
		return true
	}
	return c, nil
}

// spent says that an idle connection must not be used again: the service has
// closed it, or has sent what nobody asked for. Clients look before they send, and
// so must a generator, or every idle time-out of a service would count as an error.
func (c *conn) spent() bool {
	c.seen = false
	return c.raw.Read(c.look) != nil || c.seen
}

func dialFailure(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case isTimeout(err):
		return Timeout
	}
	return Dial
}

// protocolError is an answer that breaks HTTP/1 framing.
type protocolError string

func (e protocolError) Error() string { return fmt.Sprintf("load: answer: %s", string(e)) }

// failure is the kind of an error after the connect.
func failure(err error, begun, reused bool) string {
	if _, ok := errors.AsType[protocolError](err); ok {
		return Protocol
	}
	switch {
	case isTimeout(err):
		return Timeout
	case begun, errors.Is(err, io.ErrUnexpectedEOF): // or ended within the status line
		return Truncated
	case reused:
		return Stale
	case errors.Is(err, io.EOF):
		return Closed
	}
	return Reset
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}
