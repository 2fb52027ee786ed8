package backend

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/net/http2"

	"commerce.example/coordinator/ipc/exchange"
)

// upload starts the copy of the request's body. The goroutine is counted by the
// Transport; it ends with the body or with the stream.
func (s *stream) upload() {
	if !s.x.t.conns.begin() {
		s.Cancel()
		return
	}
	s.uploading = true
	go func() {
		defer s.x.t.conns.end()
		buf := uploadBuffers.Get().(*[uploadBuffer]byte)
		defer uploadBuffers.Put(buf)
		if err := s.copy(buf[:]); err != nil {
			s.bodyFailed(err)
		}
	}()
}

// copy writes each piece of the body as it comes. The error is that of the body.
// It is closed before its last piece is written, so that nothing touches it when
// the backend has all of it.
func (s *stream) copy(buf []byte) error {
	body, left, open := s.ask.body, s.ask.length, true
	defer func() {
		if open {
			body.Close()
		}
	}()
	for {
		room := buf
		if left >= 0 && left < int64(len(room)) {
			room = room[:left]
		}
		n, err := body.Read(room)
		last := left < 0 && err == io.EOF
		if left >= 0 {
			left -= int64(n)
			last = left == 0
		}
		if err != nil && !last {
			return err
		}
		var trailer http.Header
		if last {
			if trailer = s.ask.trailer; len(trailer) > 0 {
				if err := checkTrailer(trailer); err != nil {
					return err
				}
			}
			body.Close()
			open = false
		}
		if !s.write(room[:n], last, trailer) || last {
			return nil
		}
	}
}

// bodyFailed ends an exchange whose body cannot be had: the backend must not take
// what it got for the whole.
func (s *stream) bodyFailed(err error) {
	if errors.Is(err, io.EOF) {
		err = &exchange.Error{Fault: exchange.BadRequest, Err: io.ErrUnexpectedEOF}
	}
	fault := cmp.Or(exchange.FaultOf(err), exchange.ClientGone)
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.spoil(&verdict{fault: fault, err: fmt.Errorf("request body: %w", err)})
	s.m.reset(s, http2.ErrCodeCancel)
}

// write sends data as the windows allow (RFC 9113 section 5.2). It reports false
// when the stream is over.
func (s *stream) write(data []byte, last bool, trailer http.Header) bool {
	for {
		if len(data) > 0 && !s.awaitRoom() {
			return false
		}
		n, ok := s.writeSome(data, last, trailer)
		if !ok {
			return false
		}
		if data = data[n:]; len(data) == 0 {
			return true
		}
	}
}

// awaitRoom waits until something may be sent.
func (s *stream) awaitRoom() bool {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for !s.over && (s.window <= 0 || m.window <= 0) {
		m.mu.Unlock()
		<-s.room
		m.mu.Lock()
	}
	return !s.over
}

// isOver reports that nothing more is to be sent.
func (s *stream) isOver() bool {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return s.over
}

// writeSome writes one frame of data, and with the last of it the trailers.
func (s *stream) writeSome(data []byte, last bool, trailer http.Header) (n int, ok bool) {
	m := s.m
	if !m.wmu.lockUnless(s.room, s.isOver) {
		return 0, false
	}
	defer m.wmu.unlock()
	m.mu.Lock()
	ok = !s.over && m.streams[s.id] == s
	n = int(max(0, min(int64(len(data)), s.window, m.window, int64(m.peer.frame))))
	end := last && n == len(data)
	if ok {
		s.window -= int64(n)
		m.window -= int64(n)
		if s.localEnd = end; end && s.ended {
			m.forget(s)
		}
	}
	m.mu.Unlock()
	if !ok {
		return 0, false
	}
	if bare := end && len(trailer) == 0; bare || n > 0 {
		m.fr.WriteData(s.id, bare, data[:n])
	}
	if end && len(trailer) > 0 {
		m.block.Reset()
		for name, values := range trailer {
			for _, v := range values {
				m.field(m.lower(name), trimBlanks(v))
			}
		}
		m.writeHead(s.id, m.block.Bytes(), true)
	}
	m.flush()
	return n, true
}

// checkTrailer refuses trailers that cannot be sent.
func checkTrailer(trailer http.Header) error {
	for name, values := range trailer {
		if err := checkField(name, values); err != nil || framingField(name) {
			return &exchange.Error{Fault: exchange.BadRequest, Err: cmp.Or(err, fmt.Errorf("trailer %s", name))}
		}
	}
	return nil
}
