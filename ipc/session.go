package ipc

import (
	"net"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/wire"
)

// session is one data connection inside a worker, with the goroutine that reads
// its requests and runs their handlers one after the other.
type session struct {
	plane *plane
	nc    *net.UnixConn
	fd    int // for the sweeper; valid until nc is closed
	in    *stream
	cell  uint32

	// Of the sweeper, and under its lock.
	current *inbound
	place   int
	events  int16     // what else than its full close is a sign that the peer left
	halved  bool      // our half of a hijacked connection is over
	until   time.Time // when an upgrade of which both halves are over has lingered; zero: they are not

	head []byte // the encoded head of the answer under way
	out  []byte // the Data frame under way

	writing sync.Mutex // an answer and a Continue may be written at once
	two     [2][]byte
}

func newSession(p *plane, nc *net.UnixConn) (*session, error) {
	in, err := newStream(nc)
	if err != nil {
		return nil, err
	}
	s := &session{plane: p, nc: nc, in: in, out: make([]byte, 0, wire.HeaderLen+writeBuffer)}
	err = in.raw.Control(func(fd uintptr) { s.fd = int(fd) })
	return s, err
}

// serve ends when the supervisor closes the connection, on the first byte that
// breaks the protocol, or when a handler took the connection over.
func (s *session) serve() (hijacked bool) {
	t, payload, err := s.in.frame()
	if err != nil || t != wire.Hello {
		return false
	}
	if s.cell, err = wire.ParseHello(payload); err != nil || s.cell >= s.plane.board.Cells() {
		return false
	}
	for {
		t, payload, err := s.in.frame()
		if err != nil {
			return false
		}
		switch t {
		case wire.Request:
			switch s.exchange(payload) {
			case broken:
				return false
			case taken:
				return true
			}
			s.rest()
		case wire.Probe:
			if s.write(wire.AppendEmpty(nil, wire.Alive)) != nil {
				return false
			}
		default:
			return false
		}
	}
}

// rest gives back what only a large exchange needed.
func (s *session) rest() {
	s.in.rest()
	if cap(s.out) > wire.HeaderLen+writeBuffer {
		s.out = make([]byte, 0, wire.HeaderLen+writeBuffer)
	}
	if cap(s.head) > writeBuffer {
		s.head = nil
	}
}

func (s *session) write(b []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	_, err := s.nc.Write(b)
	return err
}

func (s *session) writeTwo(a, b []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.two = [2][]byte{a, b}
	buffers := net.Buffers(s.two[:])
	_, err := buffers.WriteTo(s.nc)
	s.two = [2][]byte{}
	return err
}
