package backend

import (
	"errors"
	"time"

	"golang.org/x/net/http2"

	"commerce.example/coordinator/ipc/exchange"
)

// read is the goroutine that takes in frames until the connection ends.
func (m *mux) read() {
	defer m.t.conns.end()
	for {
		f, err := m.fr.ReadFrame()
		m.heard.Store(int64(time.Since(m.born)))
		if bad, ok := errors.AsType[http2.StreamError](err); ok {
			err = malformed("a malformed frame: " + reasonOf(bad))
			if m.settled {
				m.badStream(bad.StreamID, err)
				continue
			}
		}
		if err == nil {
			err = m.take(f)
		}
		if err != nil {
			m.fail(m.verdictOn(err))
			return
		}
	}
}

// verdictOn says what the end of the reader means for those who wait.
func (m *mux) verdictOn(err error) *verdict {
	code, protocol := http2.ErrCodeProtocol, false
	if ce, ok := errors.AsType[http2.ConnectionError](err); ok {
		code, protocol = http2.ErrCode(ce), true
		err = malformed("a malformed frame: " + code.String())
	}
	if errors.Is(err, http2.ErrFrameTooLarge) {
		code, protocol = http2.ErrCodeFrameSize, true
		err = malformed("a frame beyond what was allowed, or not HTTP/2")
	}
	if _, ok := errors.AsType[malformed](err); ok {
		protocol = true
	}
	m.mu.Lock()
	lost := m.lost
	m.mu.Unlock()
	switch {
	case lost != nil:
		return &verdict{fault: exchange.BackendTimeout, err: lost}
	case protocol:
		m.complain(code)
		return &verdict{fault: exchange.BackendProtocol, err: err}
	case !m.settled:
		return &verdict{fault: headFaultOf(err), err: unexpected(err)}
	}
	return &verdict{fault: exchange.BackendReset, err: unexpected(err)}
}

// complain tells the peer what it did, if that does not have to wait.
func (m *mux) complain(code http2.ErrCode) {
	if !m.wmu.tryLock() {
		return
	}
	defer m.wmu.unlock()
	m.fr.WriteGoAway(0, code, nil)
	m.bw.Flush()
}

func reasonOf(e http2.StreamError) string {
	if e.Cause != nil {
		return e.Cause.Error() // names fields, never their values
	}
	return e.Code.String()
}

// take handles one frame. An error ends the connection. The first frame must be
// SETTINGS (RFC 9113 section 3.4).
func (m *mux) take(f http2.Frame) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.control) > maxControl {
		return malformed("a flood of frames to be answered")
	}
	if s, ok := f.(*http2.SettingsFrame); !m.settled && (!ok || s.IsAck()) {
		return malformed("no SETTINGS first: not HTTP/2")
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return m.head(f)
	case *http2.DataFrame:
		return m.data(f)
	case *http2.SettingsFrame:
		return m.settings(f)
	case *http2.WindowUpdateFrame:
		return m.moreRoom(f)
	case *http2.RSTStreamFrame:
		return m.peerReset(f)
	case *http2.GoAwayFrame:
		m.goAway(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			m.enqueue(control{frame: http2.FramePing, ack: true, data: f.Data})
		}
	case *http2.PushPromiseFrame:
		return malformed("a PUSH_PROMISE, which is switched off")
	}
	return nil // others mean nothing to a client: RFC 9113 section 5.5
}

// settings applies what the peer says of itself (RFC 9113 section 6.5).
func (m *mux) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	table := uint32(4096)
	if v, ok := f.Value(http2.SettingHeaderTableSize); ok {
		table = v
	} else if m.settled {
		table = m.table
	}
	m.table = table
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingMaxConcurrentStreams:
			m.peer.streams = s.Val
		case http2.SettingMaxFrameSize:
			m.peer.frame = s.Val
		case http2.SettingMaxHeaderListSize:
			m.peer.list = uint64(s.Val)
		case http2.SettingInitialWindowSize:
			return m.shiftWindows(int64(s.Val))
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.home.queue.wakeFirst() // there may be more places
	m.enqueue(control{frame: http2.FrameSettings, ack: true, value: m.table})
	if !m.settled {
		m.settled = true
		close(m.ready)
	}
	return nil
}

// shiftWindows changes what each stream may send, which may make it less than
// nothing (RFC 9113 section 6.9.2).
func (m *mux) shiftWindows(initial int64) error {
	by := initial - m.peer.window
	m.peer.window = initial
	for _, s := range m.streams {
		if s.window += by; s.window > maxStreamID {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		signal(s.room)
	}
	return nil
}

// moreRoom is a WINDOW_UPDATE.
func (m *mux) moreRoom(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if m.window += int64(f.Increment); m.window > maxStreamID {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		for _, s := range m.streams {
			signal(s.room)
		}
		m.home.queue.wakeAll()
		return nil
	}
	s, err := m.streamOf(f.StreamID)
	if s == nil {
		return err
	}
	if s.window += int64(f.Increment); s.window > maxStreamID {
		m.spoil(s, malformed("a window beyond its bounds"))
	}
	signal(s.room)
	return nil
}

// streamOf is the stream of a frame; nil without an error: one that is over. A
// frame for a stream that we never began is an error of the connection.
func (m *mux) streamOf(id uint32) (*stream, error) {
	s := m.streams[id]
	if s != nil && s.opened {
		return s, nil
	}
	if s != nil || id == 0 || id%2 == 0 || id >= m.next {
		return nil, malformed("a frame for a stream that was never begun")
	}
	return nil, nil
}

// spoil ends s because of what its peer sent.
func (m *mux) spoil(s *stream, err error) {
	s.spoil(&verdict{fault: exchange.BackendProtocol, err: err})
	m.reset(s, http2.ErrCodeProtocol)
}

func (m *mux) badStream(id uint32, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.streams[id]; s != nil {
		m.spoil(s, err)
	}
}

// head is a HEADERS frame with all its CONTINUATIONs: an informational answer,
// the final one, or trailers.
func (m *mux) head(f *http2.MetaHeadersFrame) error {
	s, err := m.streamOf(f.StreamID)
	if s == nil {
		return err
	}
	switch {
	case s.ended:
		err = malformed("fields behind the end of an answer")
	case f.Truncated:
		err = errTooLarge
	default:
		err = s.takeHead(f)
	}
	if err != nil {
		m.spoil(s, err)
		return nil
	}
	m.settle(s)
	return nil
}

// data is a DATA frame. The connection's window is given back at once: what
// holds a sender up is the stream's.
func (m *mux) data(f *http2.DataFrame) error {
	n := int(f.Length)
	if m.received += n; m.received > connWindow {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	if m.received >= connWindow/4 {
		m.enqueue(control{frame: http2.FrameWindowUpdate, value: uint32(m.received)})
		m.received = 0
	}
	s, err := m.streamOf(f.StreamID)
	if s == nil {
		return err
	}
	s.credit -= n
	switch data := f.Data(); {
	case s.ended:
		err = malformed("data behind the end of an answer")
	case s.final == nil:
		err = malformed("data before the head of an answer")
	case s.credit < 0:
		err = malformed("more data than the window allows")
	case s.bodiless && len(data) > 0:
		err = malformed("data for an answer that cannot have any")
	default:
		s.takeData(data, n-len(data), f.StreamEnded())
	}
	if err != nil {
		m.spoil(s, err)
		return nil
	}
	m.settle(s)
	return nil
}

// settle wakes who reads s. A stream that has ended both ways leaves its place.
func (m *mux) settle(s *stream) {
	signal(s.wake)
	if s.ended && s.localEnd {
		m.forget(s)
	}
}

// peerReset is a RST_STREAM. REFUSED_STREAM proves that nothing was done (RFC
// 9113 section 8.7). Behind a whole answer it only says that the rest of the
// request is not wanted (section 8.1).
func (m *mux) peerReset(f *http2.RSTStreamFrame) error {
	s, err := m.streamOf(f.StreamID)
	if s == nil {
		return err
	}
	v := &verdict{fault: exchange.BackendReset, err: &cutShort{errors.New("the backend reset the stream: " + f.ErrCode.String())}}
	switch f.ErrCode {
	case http2.ErrCodeRefusedStream:
		v.unseen = s.untouched()
	case http2.ErrCodeHTTP11Required:
		v.fault = exchange.BackendProtocol
	}
	if s.ended {
		s.over = true
		signal(s.room)
	} else {
		s.spoil(v)
	}
	m.forget(s)
	return nil
}

// goAway ends the taking of new streams; those above the last one were not taken
// up, and will not be (RFC 9113 section 6.8).
func (m *mux) goAway(f *http2.GoAwayFrame) {
	m.drain()
	for id, s := range m.streams {
		if id > f.LastStreamID {
			s.spoil(&verdict{
				fault: exchange.BackendReset, unseen: s.untouched(),
				err: &cutShort{errors.New("the backend took no more streams: " + f.ErrCode.String())},
			})
			m.forget(s)
		}
	}
}
