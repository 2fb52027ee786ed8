package backend

import (
	"bufio"
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"commerce.example/coordinator/ipc/exchange"
)

const (
	// streamWindow is how much of one answer may wait for a slow reader, in bytes.
	streamWindow = 256 << 10
	// maxStreams is how many streams a connection has at most, whatever the peer
	// would allow.
	maxStreams = 100
	// connWindow is more than all streams can hold: a reader that is slow never
	// takes the connection's window from the others (RFC 9113 section 5.2.1).
	connWindow = maxStreams * streamWindow
	// maxControl bounds the frames that wait to be written because the peer asked
	// for them: one that floods does not read.
	maxControl = 4 << 10

	writeTimeout = 5 * time.Second // for a write that makes no progress
	lastWords    = time.Second     // to read after a write has failed
	maxStreamID  = 1<<31 - 1
)

var (
	errLost     = errors.New("the connection does not answer a ping")
	errUnusable = errors.New("the connection takes no new stream")
)

// mux is one HTTP/2 connection (RFC 9113). Two goroutines belong to it: one
// reads; the other writes what nobody else waits for, and keeps the time. Heads
// and bodies are written by the exchanges themselves.
type mux struct {
	t     *Transport
	c     *conn
	home  *home
	born  time.Time
	heard atomic.Int64  // when the last frame came, in ns after born
	kick  chan struct{} // there is something for the writer
	ready chan struct{} // closed when the peer's first SETTINGS are in
	gone  chan struct{} // closed when the reader has ended

	wmu   turn // of everything that writes; taken before mu
	bw    *bufio.Writer
	fr    *http2.Framer
	henc  *hpack.Encoder
	block bytes.Buffer
	names map[string]string // field names in lower case

	mu        sync.Mutex
	streams   map[uint32]*stream
	held      int // streams, and places promised to some
	next      uint32
	settled   bool
	peer      peerSettings
	window    int64 // what may be sent on all streams together
	received  int   // bytes since our last WINDOW_UPDATE for the connection
	control   []control
	draining  bool      // no new streams
	end       *verdict  // why it ended; nil: it lives
	idleSince time.Time // of a connection without streams
	pinged    time.Time // when we asked for a sign of life; zero: not
	lost      error     // that none came
	table     uint32    // the peer's header table, in bytes
}

// peerSettings are those of RFC 9113 section 6.5.2 that bind us.
type peerSettings struct {
	streams uint32
	window  int64
	frame   uint32
	list    uint64
}

// control is a frame for the writer.
type control struct {
	frame  http2.FrameType
	ack    bool
	stream uint32
	value  uint32 // increment, error code, or the peer's header table
	data   [8]byte
}

// newMux speaks first on c, which is connected. The preface goes out with our
// settings; whether the peer speaks HTTP/2 at all is known when ready is closed,
// and nothing of a request is written before.
func newMux(c *conn, h *home) (*mux, error) {
	m := &mux{
		t: c.t, c: c, home: h, wmu: newTurn(), next: 1, window: 65535,
		kick: make(chan struct{}, 1), ready: make(chan struct{}), gone: make(chan struct{}),
		names: make(map[string]string), streams: make(map[uint32]*stream),
		peer: peerSettings{streams: maxStreams, window: 65535, frame: 16 << 10, list: 1<<64 - 1},
	}
	m.bw = bufio.NewWriterSize(&timedWriter{c}, 32<<10)
	m.fr = http2.NewFramer(m.bw, bufio.NewReaderSize(c.nc, 32<<10))
	m.fr.SetReuseFrames()
	m.fr.SetMaxReadFrameSize(16 << 10) // RFC 9113 section 6.5.2: what a peer may expect
	m.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	m.fr.MaxHeaderListSize = uint32(c.t.maxHead())
	m.henc = hpack.NewEncoder(&m.block)
	m.henc.SetMaxDynamicTableSizeLimit(4096)
	c.buf = nil // the framer has its own
	m.bw.WriteString(http2.ClientPreface)
	m.fr.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.t.maxHead())},
	)
	m.fr.WriteWindowUpdate(0, connWindow-65535)
	m.flush() // the reader says why, if it failed
	m.born = time.Now()
	m.idleSince = m.born
	for _, run := range []func(){m.read, m.write} {
		if !c.t.conns.begin() {
			c.Cancel()
			return nil, errClosed
		}
		go run()
	}
	return m, nil
}

// fit is how well a connection suits a request: the higher the better.
type fit uint8

const (
	unfit  fit = iota // no place
	narrow            // a place, and too little room for the body
	aged              // past its age
	good
)

// fits tells how m suits a request whose body wants so much room, and how much may
// be sent on all its streams together.
func (m *mux) fits(now time.Time, room int64) (how fit, window int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.vacant():
		return unfit, m.window
	case m.window < room:
		return narrow, m.window
	case m.old(now):
		return aged, m.window
	}
	return good, m.window
}

// vacant is called under mu.
func (m *mux) vacant() bool {
	return m.usable() && m.held < int(min(m.peer.streams, maxStreams))
}

// reserve promises a place to s, and reports whether there is one. Only a
// connection that is narrow need have no room when s is begun.
func (m *mux) reserve(s *stream, how fit) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.vacant() {
		return false
	}
	m.held++
	s.wants = s.ask.room()
	if how == narrow {
		s.wants = 0
	}
	return true
}

// old reports a connection past its age. Each may serve one stream at least. It
// is called under mu.
func (m *mux) old(now time.Time) bool {
	return now.After(m.c.retireAt) && (m.next > 1 || m.held > 0)
}

// outlived reports a connection that is old and takes streams.
func (m *mux) outlived(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.usable() && m.old(now)
}

// retire is drain without mu.
func (m *mux) retire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drain()
}

// stillborn reports a connection that went before it had a stream.
func (m *mux) stillborn() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.usable() && m.next == 1 && m.held == 0
}

// alive reports whether m may have a place later on.
func (m *mux) alive() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.usable()
}

// usable is called under mu.
func (m *mux) usable() bool { return !m.draining && m.end == nil }

// drain lets in no more streams; with the last one the connection goes. It is
// called under mu.
func (m *mux) drain() {
	m.draining = true
	if m.held == 0 {
		m.wakeWriter()
	}
}

// refuse gives back a place that was promised and is not taken.
func (m *mux) refuse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vacate()
}

// vacate gives a place back. It is called under mu.
func (m *mux) vacate() {
	defer m.home.queue.wakeFirst()
	if m.held--; m.held == 0 {
		m.idleSince = time.Now()
		if m.draining {
			m.wakeWriter()
		}
	}
}

// idle drains m if it has nothing to do.
func (m *mux) idle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == 0 {
		m.drain()
	}
}

// forget takes s off the connection. It is called under mu.
func (m *mux) forget(s *stream) {
	if m.streams[s.id] == s {
		delete(m.streams, s.id)
		m.vacate()
	}
}

// reset ends s towards the peer, if it was begun and has not ended both ways. It
// is called under mu.
func (m *mux) reset(s *stream, code http2.ErrCode) {
	if m.streams[s.id] != s {
		return
	}
	if s.opened && m.end == nil {
		m.enqueue(control{frame: http2.FrameRSTStream, stream: s.id, value: uint32(code)})
	}
	m.forget(s)
}

// enqueue hands a frame to the writer. It is called under mu.
func (m *mux) enqueue(f control) {
	m.control = append(m.control, f)
	m.wakeWriter()
}

func (m *mux) wakeWriter() { signal(m.kick) }

// signal wakes who waits on ch, or will.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// fail ends the connection for good: every stream on it learns why. Only the
// reader calls it, at its end.
func (m *mux) fail(v *verdict) {
	m.mu.Lock()
	m.end = v
	m.draining = true
	for _, s := range m.streams {
		s.spoil(v)
		m.forget(s)
	}
	m.mu.Unlock()
	m.t.muxes.remove(m)
	close(m.gone)
	m.c.close()
}

// verdict is how a stream, or a whole connection, ended before its time.
type verdict struct {
	fault  exchange.Fault
	unseen bool // proof that the backend did not take the request up
	err    error
}
