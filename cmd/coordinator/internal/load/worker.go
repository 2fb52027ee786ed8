package load

import (
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"
)

// worker is one connection's worth of load: one request at a time.
type worker struct {
	gen     *Generator
	request *request
	answer  answer
	rand    *rand.Rand

	conn *conn
	live atomic.Pointer[net.TCPConn] // conn's, for interrupt
}

func (w *worker) run() {
	defer w.hangUp()
	if w.gen.due == nil {
		w.closedLoop()
		return
	}
	for p := range w.gen.due {
		g := w.gen
		if now := g.now(); g.stopped.Load() || now-p.at > g.o.Timeout {
			g.dropped(p)
			continue
		}
		w.serve(p)
	}
}

func (w *worker) closedLoop() {
	g := w.gen
	for !g.stopped.Load() {
		n := g.taken.Add(1) - 1
		at := g.now()
		if n >= int64(g.o.Count) || at >= g.o.For {
			return
		}
		if s := w.serve(place{n: uint64(n), at: at}); s.Err != "" {
			pause := time.NewTimer(errorPause)
			select {
			case <-pause.C:
			case <-g.ctx.Done():
			}
			pause.Stop()
		}
	}
}

// serve sends the request of p and records how it ended.
func (w *worker) serve(p place) Sample {
	g := w.gen
	began := g.now()
	g.sent(p, began)
	kind := w.exchange(p, g.start.Add(began+g.o.Timeout))
	s := Sample{Number: p.n, At: p.at, Latency: g.now() - p.at, Err: kind}
	if kind == "" {
		s.Status, s.Reason, s.Bytes = w.answer.status, w.reason(), w.answer.bytes
	} else {
		w.hangUp()
		if g.stopped.Load() || g.ctx.Err() != nil { // a dial fails with ctx, before stopped is set
			s.Err = Canceled
		}
	}
	g.record(s)
	return s
}

// exchange sends one request and reads its answer; it returns the kind of failure.
func (w *worker) exchange(p place, deadline time.Time) string {
	share := w.gen.o.NewConnShare
	if w.conn != nil && (share > 0 && w.rand.Float64() < share || w.conn.spent()) {
		w.hangUp()
	}
	reused := w.conn != nil
	if !reused {
		c, err := w.gen.dial.dial(w.gen.ctx, deadline)
		if err != nil {
			return dialFailure(err)
		}
		w.conn = c
		w.live.Store(c.TCPConn)
	}
	w.conn.SetDeadline(deadline)
	if w.gen.stopped.Load() { // after SetDeadline, or it could undo interrupt's
		return Canceled
	}
	_, writeErr := w.conn.Write(w.request.numbered(p.n))
	// A service may answer and close before it has read the whole request: its
	// answer counts, not the failed write.
	err := w.answer.read(w.conn.r)
	if err != nil {
		if writeErr != nil && !w.answer.begun {
			err = writeErr
		}
		return failure(err, w.answer.begun, reused)
	}
	if w.conn.r.Buffered() > 0 {
		return Protocol
	}
	if w.answer.close || writeErr != nil {
		w.hangUp()
	}
	return ""
}

func (w *worker) reason() string {
	if classify := w.gen.o.Classify; classify != nil {
		return classify(w.answer.status, w.answer.header)
	}
	return w.answer.reason()
}

func (w *worker) hangUp() {
	if w.conn != nil {
		w.live.Store(nil)
		w.conn.Close()
		w.conn = nil
	}
}

// interrupt ends what the worker waits for. The generator has set stopped before.
func (w *worker) interrupt() {
	if c := w.live.Load(); c != nil {
		c.SetDeadline(time.Unix(1, 0))
	}
}
