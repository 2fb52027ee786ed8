package backend

import (
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/ipc/exchange"
)

// timedWriter gives every write to a connection a deadline.
type timedWriter struct{ c *conn }

func (w *timedWriter) Write(p []byte) (int, error) {
	if err := w.c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return w.c.nc.Write(p)
}

// write is the goroutine of frames that nobody waits for: answers to the peer's
// PING and SETTINGS, window updates, resets. The reader must not write: a peer
// that writes and does not read would make both sides wait for ever.
func (m *mux) write() {
	defer m.t.conns.end()
	tick := time.NewTicker(m.t.watchEvery())
	defer tick.Stop()
	for {
		select {
		case <-m.gone:
			return
		case <-m.kick:
		case now := <-tick.C:
			m.watch(now)
		}
		m.writeControl()
		if m.finished() {
			m.farewell()
			<-m.gone
			return
		}
	}
}

// writeControl writes what is queued.
func (m *mux) writeControl() {
	m.wmu.lock()
	defer m.wmu.unlock()
	m.writeQueue()
}

// writeQueue is writeControl under wmu.
func (m *mux) writeQueue() {
	m.mu.Lock()
	queue := m.control
	m.control = nil
	m.mu.Unlock()
	if len(queue) == 0 {
		return
	}
	for _, f := range queue {
		switch f.frame {
		case http2.FrameSettings:
			// What we were told holds from the acknowledgement on.
			m.henc.SetMaxDynamicTableSize(f.value)
			m.fr.WriteSettingsAck()
		case http2.FramePing:
			m.fr.WritePing(f.ack, f.data)
		case http2.FrameWindowUpdate:
			m.fr.WriteWindowUpdate(f.stream, f.value)
		case http2.FrameRSTStream:
			m.fr.WriteRSTStream(f.stream, http2.ErrCode(f.value))
		}
	}
	m.flush()
}

// flush sends what was written. It is called under wmu. A failure is no verdict:
// the peer may have said why before it stopped reading (RFC 9113 section 5.4.1),
// so the reader gets a moment, and says what it was.
func (m *mux) flush() {
	if m.bw.Flush() == nil {
		return
	}
	m.mu.Lock()
	m.draining = true
	m.mu.Unlock()
	m.c.nc.SetReadDeadline(time.Now().Add(lastWords))
}

// finished reports a connection that is to be closed: it drains and is empty.
func (m *mux) finished() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.end == nil && m.draining && m.held == 0
}

// farewell closes a connection without streams.
func (m *mux) farewell() {
	m.wmu.lock()
	m.fr.WriteGoAway(0, http2.ErrCodeNo, nil)
	m.bw.Flush()
	m.wmu.unlock()
	m.c.retire()
}

// watch closes the connection when it has been idle for too long, and asks for a
// sign of life while streams wait and nothing comes.
func (m *mux) watch(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	heard := m.born.Add(time.Duration(m.heard.Load()))
	switch {
	case m.held == 0:
		m.pinged = time.Time{}
		if now.Sub(m.idleSince) >= m.t.muxIdleTimeout() {
			m.draining = true
		}
	case heard.After(m.pinged) && now.Sub(heard) < m.t.readIdleTimeout():
		m.pinged = time.Time{}
	case m.pinged.IsZero() || heard.After(m.pinged):
		m.pinged = now
		m.enqueue(control{frame: http2.FramePing, data: [8]byte{'a', 'l', 'i', 'v', 'e'}})
	case now.Sub(m.pinged) >= m.t.pingTimeout():
		m.draining = true
		if m.lost == nil {
			m.lost = errLost
		}
		m.c.Cancel() // the reader says the rest
	}
}

// open begins s: it has a place. Nothing is written unless the stage is noted
// first, and nothing of it at all when it returns an error. A failed write is
// none: whether the peer got the head is the reader's to find out.
//
// The place may be that of a stream which was reset. What is queued goes ahead, or
// the peer would count one stream too many and refuse this one.
//
// The turn to write may be with somebody who writes to a peer that does not read.
// Who is cancelled meanwhile has sent nothing.
func (m *mux) open(s *stream) error {
	if !m.wmu.lockUnless(s.wake, s.gone.Load) {
		m.refuse()
		return errCancelled
	}
	defer m.wmu.unlock()
	m.writeQueue()
	if err := m.enter(s); err != nil {
		return err
	}
	rep := s.x.rep
	sent := rep == nil || rep.Sent()
	if sent {
		s.x.stage = exchange.Sent
	}
	if !sent || !m.start(s) {
		s.unsent(m)
		if !sent || s.gone.Load() {
			return errCancelled
		}
		return errUnusable
	}
	m.writeHead(s.id, s.ask.appendFields(m), s.localEnd && len(s.ask.inline) == 0)
	if len(s.ask.inline) > 0 {
		m.fr.WriteData(s.id, true, s.ask.inline)
	}
	m.flush()
	return nil
}

// enter numbers s. Numbers are used in the order of the heads, so wmu is held.
func (m *mux) enter(s *stream) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.end != nil || m.draining, s.wants > m.window:
		m.vacate()
		return errUnusable
	case s.ask.size > m.peer.list:
		// Some end the whole connection for it, and with it what others asked for.
		m.vacate()
		return errTooManyFields
	}
	s.m, s.id = m, m.next
	s.on.Store(m)
	s.broken, s.over = nil, false
	if m.next += 2; m.next >= maxStreamID {
		m.draining = true
	}
	s.window = m.peer.window
	s.credit = streamWindow
	m.streams[s.id] = s
	return nil
}

// start marks s as begun, unless something ended it meanwhile. A body at hand
// goes with the head if the windows have room for it.
func (m *mux) start(s *stream) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.gone.Load() || s.broken != nil {
		return false
	}
	s.opened = true
	if n := int64(len(s.ask.inline)); n > 0 {
		if n > s.window || n > m.window || n > int64(m.peer.frame) {
			s.ask.spill()
		} else {
			s.window -= n
			m.window -= n
		}
	}
	s.localEnd = s.ask.body == nil
	return true
}

// writeHead writes HEADERS and as many CONTINUATION frames as it takes, under
// wmu. The block is in m.block.
func (m *mux) writeHead(id uint32, block []byte, end bool) {
	m.mu.Lock()
	limit := int(m.peer.frame)
	m.mu.Unlock()
	for first := true; first || len(block) > 0; first = false {
		part := block[:min(len(block), limit)]
		block = block[len(part):]
		if first {
			m.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID: id, BlockFragment: part, EndStream: end, EndHeaders: len(block) == 0,
			})
			continue
		}
		m.fr.WriteContinuation(id, len(block) == 0, part)
	}
}

// field adds one field to the block that is being made, under wmu. Compression
// state is shared by the requests of many users: what authenticates one of them
// stays out of it (RFC 7541 section 7.1.3).
func (m *mux) field(name, value string) {
	m.henc.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: credential.IsSecret(name)})
}

const (
	maxLowerNames = 256 // these bound the memory for names in lower case: clients choose them
	maxLowerName  = 64  // bytes
)

// lower is a field's name as HTTP/2 has it. Names repeat, so they are kept; it is
// called under wmu.
func (m *mux) lower(name string) string {
	if known, found := m.names[name]; found {
		return known
	}
	low := strings.ToLower(name)
	if len(m.names) < maxLowerNames && len(name) <= maxLowerName {
		m.names[strings.Clone(name)] = low
	}
	return low
}
