package supervisor

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/breaker"
)

// relayBuffer is also how much of an answer may wait for a slow reader after
// its slot went back: what is read whole into it no longer holds the bulkhead.
const relayBuffer = 64 << 10

var relayBuffers = sync.Pool{New: func() any { return new([relayBuffer]byte) }}

// relay hands the answer to the client as it comes: what is at hand goes out
// before it waits for more.
func (c *call) relay(resp *http.Response) {
	body, _ := resp.Body.(*ipc.Body)
	if body == nil { // written by hand, on a hijacked connection
		c.relayRaw(resp)
		return
	}
	if hasOwnPace(resp.Header) {
		c.ownPace.Store(true)
	}
	c.writeHead(resp)
	if body.Complete() {
		c.complete(resp.StatusCode)
		c.deliver()
		return
	}
	if !body.AtHand() && !c.flushHead() && !c.outlives() {
		return
	}
	buf := relayBuffers.Get().(*[relayBuffer]byte)
	defer relayBuffers.Put(buf)
	for {
		n, err := body.Read(buf[:])
		c.note(buf[:n])
		if err == io.EOF {
			c.noteTrailer(resp.Trailer)
			c.complete(resp.StatusCode)
		}
		if !c.pass(buf[:n], err == nil) {
			return
		}
		switch err {
		case nil:
		case io.EOF:
			copyTrailers(c.w.Header(), resp.Trailer)
			if body.Uploading() {
				_ = http.NewResponseController(c.w).Flush() // Close may take a moment
			}
			c.deliver()
			return
		default:
			c.broken(err)
			return
		}
	}
}

// pass hands a piece of the answer to the client, if it is still there, and reports
// whether there is any use in the next.
func (c *call) pass(p []byte, flush bool) bool {
	if c.keyed.alone {
		c.unheard.Add(int64(len(p)))
		return c.wanted.Load()
	}
	return len(p) == 0 || c.write(p, flush) || c.outlives()
}

// flushHead sends a head whose body takes its time: a client may wait for it
// before it says more. It reports false when the client is gone.
func (c *call) flushHead() bool {
	c.writing.Store(1)
	err := http.NewResponseController(c.w).Flush()
	c.writing.Store(0)
	if err != nil {
		c.broken(c.lost(err))
	}
	return err == nil
}

// write reports false when the client is gone.
func (c *call) write(p []byte, flush bool) bool {
	c.noteLeft()
	c.writing.Store(int64(len(p)))
	_, err := c.w.Write(p)
	if err == nil && flush {
		err = http.NewResponseController(c.w).Flush()
	}
	c.writing.Store(0)
	c.moved.Add(int64(len(p)))
	if err != nil {
		c.broken(c.lost(err))
	}
	return err == nil
}

// lost is why an answer cannot be written: the watch has ended it, or the client
// has gone.
func (c *call) lost(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch { // HTTP/2 says that the stream is closed
	case exchange.FaultOf(c.cause) == exchange.ClientTimeout:
		return c.cause
	case c.tooSlow:
		return &exchange.Error{Fault: exchange.ClientTimeout, Err: err}
	case c.r.Context().Err() != nil:
		err = nil // it had left: that the write ended by its deadline is letGo
	}
	return &exchange.Error{Fault: exchange.ClientGone, Err: err}
}

// broken records an answer that did not reach its end.
func (c *call) broken(err error) {
	if e, ok := errors.AsType[*exchange.Error](err); ok && c.leased {
		c.suspect(e)
	}
	if c.reason == "" {
		reason := c.reasonOf(err)
		c.noteFailure(reason, err)
		c.problem(reason, "")
	}
}

// writeHead copies the head. Content-Type stays absent where the backend sent
// none, and a body of unknown length stays one.
func (c *call) writeHead(resp *http.Response) {
	h := c.w.Header()
	StripHopByHop(resp.Header)
	c.remember(resp)
	c.recordFirst(resp)
	for name, values := range resp.Header {
		h[name] = values
	}
	if id := c.r.Header["X-Request-Id"]; id != nil {
		h["X-Request-Id"] = id
	}
	switch {
	case resp.ContentLength > 0 && h["Content-Length"] == nil:
		h["Content-Length"] = []string{strconv.FormatInt(resp.ContentLength, 10)}
	case resp.ContentLength < 0 && c.r.ProtoMajor == 1:
		h["Transfer-Encoding"] = chunked
	}
	for name := range resp.Trailer {
		h["Trailer"] = append(h["Trailer"], name)
	}
	c.body.beforeHead(c)
	c.status, c.told, c.written = resp.StatusCode, resp.StatusCode, true
	c.w.WriteHeader(resp.StatusCode)
}

var chunked = []string{"chunked"}

// copyTrailers sets announced trailers under their name, and the others with
// the prefix by which net/http knows them.
func copyTrailers(h, trailer http.Header) {
	announced := make(map[string]bool, len(h["Trailer"]))
	for _, name := range h["Trailer"] {
		announced[name] = true
	}
	for name, values := range trailer {
		if !announced[name] {
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

// complete gives back what the exchange held: the worker has handed over the
// last byte, and how fast the client takes it concerns nobody else.
func (c *call) complete(status int) {
	now := time.Now()
	c.progress.Complete, c.completed = true, now
	c.bulkhead.poison.absolve(c.r, now)
	c.keep(now, true)
	c.endClaim(OutcomeUndelivered, now) // what the client makes of it comes later
	if c.trial != nil {
		c.trial.whole = true
	}
	c.judge(status, now)
	c.giveBack()
}

// settle tells breaker and limit of a call without an answer; after judge it does
// nothing.
func (c *call) settle(now time.Time) {
	outcome := breaker.Ignored
	if c.reason != "" && c.reason.CountsAgainstBackend() {
		outcome = breaker.Failure
		c.visit.Failed()
	}
	c.ticket.Done(now, outcome)
	c.sample.End(now, resultWithout(c.reason))
}

// judge tells breaker and limit of an answer. A second time it does nothing.
func (c *call) judge(status int, now time.Time) {
	outcome := breaker.Success
	if c.set.failed[status] {
		outcome = breaker.Failure
		c.visit.Failed()
	}
	c.ticket.Done(now, outcome)
	c.sample.End(now, resultOf(status))
}

// giveBack returns slot and lease. It may be called twice.
func (c *call) giveBack() {
	if c.leased {
		c.leased = false
		c.lease.Release()
	}
	if c.slot != nil {
		c.releaseSlot()
	}
}

// relayRaw relays the answer of a handler that hijacked and did not switch
// protocols.
func (c *call) relayRaw(resp *http.Response) {
	c.writeHead(resp)
	buf := relayBuffers.Get().(*[relayBuffer]byte)
	defer relayBuffers.Put(buf)
	for {
		n, err := resp.Body.Read(buf[:])
		if n > 0 && !c.write(buf[:n], err == nil) {
			return
		}
		if err == io.EOF {
			c.complete(resp.StatusCode)
			c.deliver()
			return
		}
		if err != nil {
			c.broken(&exchange.Error{Fault: exchange.BackendReset, Err: err})
			return
		}
	}
}

// end records the call. It runs also when a panic passes, which is how an
// answer is cut.
func (c *call) end() {
	b := c.bulkhead
	b.watch.remove(c)
	now := time.Now()
	c.settle(now)
	c.keep(now, false)
	c.endClaim(c.progress.Outcome(), now)
	if c.trial != nil {
		c.trial.done()
	}
	c.giveBack()
	c.body.leave(c)
	b.stats.record(c, now)
	c.recordEnd(now)
	c.tell(now)
	c.endTrace(now)
	if c.set.backed != nil {
		b.lapse.note(c, now)
	}
	if c.upgraded != nil {
		b.hijacked.Add(-1)
	}
	if c.abort {
		c.cut()
	}
}
