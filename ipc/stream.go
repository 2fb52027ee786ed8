package ipc

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"commerce.example/coordinator/ipc/wire"
)

// readBuffer holds most heads with a small body behind them, so that a small
// exchange costs one read at each end. A larger head makes it grow, for that
// connection's exchange only.
const readBuffer = 8 << 10

// stream reads frames from a data connection, at either end. It is not safe for
// concurrent use.
type stream struct {
	nc   *net.UnixConn
	raw  syscall.RawConn
	buf  []byte
	r, w int // buf[r:w] is unread
	left int // bytes of the current Data frame still to come

	tryBuf []byte // of the non-blocking read under way; fields, so that it allocates nothing
	tryN   int
	tryErr error
	tryFn  func(fd uintptr) bool
}

func newStream(nc *net.UnixConn) (*stream, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &stream{nc: nc, raw: raw, buf: make([]byte, readBuffer)}
	s.tryFn = func(fd uintptr) bool {
		s.tryN, s.tryErr = unix.Read(int(fd), s.tryBuf)
		return true
	}
	return s, nil
}

// recv reads into p once. Without wait it returns 0, nil when nothing is there.
func (s *stream) recv(p []byte, wait bool) (int, error) {
	if wait {
		n, err := s.nc.Read(p)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	s.tryBuf = p
	err := s.raw.Read(s.tryFn)
	s.tryBuf = nil
	switch {
	case err != nil:
		return 0, err
	case errors.Is(s.tryErr, unix.EAGAIN), errors.Is(s.tryErr, unix.EINTR):
		return 0, nil
	case s.tryErr != nil:
		return 0, s.tryErr
	case s.tryN == 0:
		return 0, io.ErrUnexpectedEOF
	}
	return s.tryN, nil
}

// more buffers what comes next. It reports false when nothing came.
func (s *stream) more(wait bool) (bool, error) {
	if s.r == s.w {
		s.r, s.w = 0, 0
	} else if s.w == len(s.buf) {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	n, err := s.recv(s.buf[s.w:], wait)
	s.w += n
	return n > 0, err
}

// need blocks until n bytes are buffered.
func (s *stream) need(n int) error {
	if n > len(s.buf) {
		grown := make([]byte, n)
		s.w = copy(grown, s.buf[s.r:s.w])
		s.r, s.buf = 0, grown
	}
	for s.w-s.r < n {
		if s.r+n > len(s.buf) {
			s.w = copy(s.buf, s.buf[s.r:s.w])
			s.r = 0
		}
		if _, err := s.more(true); err != nil {
			return err
		}
	}
	return nil
}

// frame blocks for the next frame. The payload is valid until the next call; a
// Data frame's is left for readBody.
func (s *stream) frame() (wire.Type, []byte, error) {
	if err := s.need(wire.HeaderLen); err != nil {
		return 0, nil, err
	}
	t, n, err := wire.ParseHeader(s.buf[s.r:])
	if err != nil {
		return 0, nil, err
	}
	if t == wire.Data {
		s.r += wire.HeaderLen
		s.left = n
		return t, nil, nil
	}
	if err := s.need(wire.HeaderLen + n); err != nil {
		return 0, nil, err
	}
	p := s.buf[s.r+wire.HeaderLen : s.r+wire.HeaderLen+n]
	s.r += wire.HeaderLen + n
	return t, p, nil
}

// readBody fills p with the payload of Data frames. It blocks only for the
// first byte: it returns when p is full, when nothing more is at hand, or at
// another frame, whose type and payload it then returns with the last bytes.
func (s *stream) readBody(p []byte) (n int, t wire.Type, payload []byte, err error) {
	for {
		if s.left == 0 {
			at, whole, err := s.peek()
			if err != nil {
				return n, 0, nil, err
			}
			if whole && at != wire.Data {
				t, payload, err = s.frame()
				return n, t, payload, err
			}
			if whole {
				if _, _, err = s.frame(); err != nil {
					return n, 0, nil, err
				}
				continue
			}
		}
		if n == len(p) {
			return n, wire.Data, nil, nil
		}
		if s.left > 0 && s.r < s.w {
			m := copy(p[n:min(len(p), n+s.left)], s.buf[s.r:s.w])
			n, s.r, s.left = n+m, s.r+m, s.left-m
			continue
		}
		came, err := s.bodyMore(p, &n)
		if err != nil || !came {
			return n, wire.Data, nil, err
		}
	}
}

// bodyMore reads on, straight into p when a large piece is due.
func (s *stream) bodyMore(p []byte, n *int) (came bool, err error) {
	wait := *n == 0
	direct := min(s.left, len(p)-*n)
	if direct < len(s.buf) || s.r != s.w {
		if s.left == 0 && s.w-s.r > 0 {
			return s.moreOfFrame(wait)
		}
		return s.more(wait)
	}
	m, err := s.recv(p[*n:*n+direct], wait)
	*n += m
	s.left -= m
	return m > 0, err
}

// moreOfFrame reads on within a frame of which a part is buffered, making room
// for the whole of it when its length is known.
func (s *stream) moreOfFrame(wait bool) (bool, error) {
	if s.w-s.r >= wire.HeaderLen {
		_, size, err := wire.ParseHeader(s.buf[s.r:])
		if err != nil {
			return false, err
		}
		if size += wire.HeaderLen; size > len(s.buf) {
			grown := make([]byte, size)
			s.w = copy(grown, s.buf[s.r:s.w])
			s.r, s.buf = 0, grown
		}
	}
	return s.more(wait)
}

// peek looks at the next frame without blocking: its type, and whether all of
// it (for Data: its header) is buffered.
func (s *stream) peek() (t wire.Type, whole bool, err error) {
	if s.w-s.r < wire.HeaderLen {
		return 0, false, nil
	}
	t, n, err := wire.ParseHeader(s.buf[s.r:])
	if err != nil || t == wire.Data {
		return t, err == nil, err
	}
	return t, s.w-s.r >= wire.HeaderLen+n, nil
}

// ahead is how many bytes readBody gives without a system call, at least.
func (s *stream) ahead() int {
	if s.left > 0 {
		return min(s.left, s.w-s.r)
	}
	if t, whole, err := s.peek(); err != nil || !whole || t != wire.Data {
		return 0
	}
	_, n, _ := wire.ParseHeader(s.buf[s.r:])
	return min(n, s.w-s.r-wire.HeaderLen)
}

// buffered returns what was read ahead and forgets it; for a connection that
// leaves the protocol.
func (s *stream) buffered() []byte {
	b := s.buf[s.r:s.w]
	s.r, s.w = 0, 0
	return b
}

// empty reports whether all that was read has been taken.
func (s *stream) empty() bool { return s.r == s.w && s.left == 0 }

// rest prepares for the next exchange: a buffer that grew is let go.
func (s *stream) rest() {
	if len(s.buf) > readBuffer && s.r == s.w {
		s.buf, s.r, s.w = make([]byte, readBuffer), 0, 0
	}
}
