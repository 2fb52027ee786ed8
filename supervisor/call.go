package supervisor

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/fallback/stale"
	"commerce.example/coordinator/supervisor/limit"
	"commerce.example/coordinator/supervisor/pool"
	"commerce.example/coordinator/supervisor/sizing"
	"commerce.example/coordinator/supervisor/tracing"
)

// call is one request in a bulkhead, from its arrival to its record. It belongs
// to the request's goroutine; the watch reads what is marked so.
type call struct {
	bulkhead *Bulkhead
	set      *settings
	w        http.ResponseWriter
	r        *http.Request
	begun    time.Time

	body     *clientBody    // nil: the request has none
	slot     *limit.Limiter // whose slot is held; nil: none
	admitted time.Time      // when that was taken
	visit    sizing.Ticket  // of the limiter's slot
	ticket   breaker.Ticket
	sample   adaptive.Call // zero: the limit is fixed, or it does not count
	lease    pool.Lease
	handed   time.Time // to the worker of this attempt
	headAt   time.Time // the head of the answer came; zero: none did
	progress Progress
	leased   bool
	written  bool   // the head of an answer went to the client
	left     bool   // the client had, when the last of the answer so far went out; see noteLeft
	abort    bool   // the answer is cut: the client must see that
	deadly   bool   // it was in flight at the deaths of too many workers
	reason   Reason // "": none
	status   int    // of the answer; 0: none was made
	told     int    // status of the head that went to the client; 0: none did

	queues   bool // it came as far as the queue
	attempts int  // workers that were given it
	trace    *tracing.Trace
	span     *tracing.Exchange // of the attempt under way, or the one that was answered

	completed time.Time // when the answer had arrived to its last byte
	journaled journaled
	keyed     keyed

	sent      stale.Mark       // when it was
	recording *stale.Recording // of the answer, to stand in later; nil: it will not
	stoodIn   fallback.Kind    // that was given instead of an answer; "": none
	rehearsed bool             // stoodIn was given for a drill alone
	trial     *trial           // that a drill makes of it; nil: none

	// For the watch.
	place     int       // in its list; -1: not in it
	deadline  time.Time // of the answer's head
	slowAt    time.Time // for the watch once charged is set
	reportAt  time.Time // to the slow log; zero: never
	ends      time.Time // by MAX_DURATION; zero: never
	headed    atomic.Bool
	charged   atomic.Bool  // the backend has it, and SLOW_CALL has not passed yet
	ownPace   atomic.Bool  // see hasOwnPace
	writing   atomic.Int64 // bytes that wait for the client to read; 0: none do
	moved     atomic.Int64 // bytes of the answer so far
	wanted    atomic.Bool  // the answer is of use without the client: for a repeat
	unheard   atomic.Int64 // bytes that moved, but to no client: of an answer that came when it was gone, and to a backend after an upgrade
	gathered  atomic.Int64 // bytes of the body that is read to be kept
	gathering atomic.Bool  // and it is being read
	pace      pace
	seen      int64 // moved plus uploaded, when the watch last saw progress
	seenAt    time.Time
	overAt    time.Time // when it was first seen over and its client not reading; zero: not yet
	leftAt    time.Time // when its client was first seen gone, and its answer wanted; zero: not yet

	mu         sync.Mutex
	exchange   *ipc.Call   // the attempt under way; nil: none
	holder     *ipc.Worker // of it
	holderSlot int
	upgraded   net.Conn // the client's, once it left HTTP
	cause      error    // why the watch ended it
	tooSlow    bool     // the watch gave up its client alone
}

func (b *Bulkhead) begin(w http.ResponseWriter, r *http.Request) *call {
	set := b.settings.Load()
	now := time.Now()
	c := &call{bulkhead: b, set: set, w: w, r: r, begun: now, place: -1, deadline: now.Add(set.Timeout), seenAt: now}
	if set.MaxDuration > 0 {
		c.ends = now.Add(set.MaxDuration)
	}
	if set.SlowLog > 0 {
		c.reportAt = now.Add(set.SlowLog)
	}
	c.takeBody()
	return c
}

// send hands the request to a worker; to another one when the first had no part
// in it, or died and a repeat is harmless.
func (c *call) send() (*http.Response, error) {
	c.bulkhead.watch.add(c)
	c.body.duplex(c)
	if err := c.gather(); err != nil {
		return nil, err
	}
	c.mark()
	c.handed = time.Now()
	sentAt := c.handed
	var failed error // the attempt before
	for attempt := 1; ; attempt++ {
		lease, err := c.bulkhead.leaseWorker(c.lease)
		if err != nil {
			return nil, cmp.Or(failed, err)
		}
		c.lease, c.leased = lease, true
		if attempt == 1 {
			if err := c.intend(); err != nil {
				return nil, err
			}
			sentAt = c.handed
			c.charge()
		}
		x := &ipc.Call{Request: c.r, Deadline: c.deadline, Inform: c.inform, StopBody: c.stopBody}
		if cause := c.attach(x, lease); cause != nil {
			return nil, cause
		}
		c.span = c.trace.Exchange(c.handed, lease.Slot())
		resp, err := lease.Worker().Do(x)
		if err == nil {
			lease.Served()
			c.answered(sentAt)
			c.span.Backend(c.handed, c.headAt, resp.StatusCode)
			return resp, nil
		}
		failure, _ := errors.AsType[*exchange.Error](err)
		c.progress = Progress{Dispatched: true, Stage: failure.Stage}
		c.attempted(failure)
		c.traceFailed(failure)
		c.blame(failure)
		c.clock(failure)
		c.suspect(failure)
		if !c.again(x, failure, attempt) {
			return nil, err
		}
		failed, c.leased = err, false
		lease.Release()
		if ipc.Told(failure) {
			c.lease = pool.Lease{} // it was not the worker's fault: the same one will do
		}
		c.handed = time.Now()
	}
}

// charge starts the clocks by which the backend is judged. What the client took for a
// body that is kept, and the disk for the intent, is not its doing.
func (c *call) charge() {
	from := c.admitted
	if c.journaled.entry != nil {
		from = c.handed
		c.ticket.Sent(from)
		c.sample.Sent(from)
	}
	if slow := c.set.Breaker.SlowCall; slow > 0 {
		c.slowAt = from.Add(slow)
		c.charged.Store(true)
	}
}

// leaseWorker leases from the pool of now: a reload may replace it between the
// look and the lease.
func (b *Bulkhead) leaseWorker(not pool.Lease) (pool.Lease, error) {
	for {
		p := b.pool.Load()
		lease, err := p.Lease(not)
		if !errors.Is(err, pool.ErrStopped) || p == b.pool.Load() {
			return lease, err
		}
	}
}

// attach makes x the attempt that the watch cancels, unless it already would
// have. A replay that ends here is never_sent, not refused: it stands in the place
// of the first request already, and what is kept of it is all that there is.
func (c *call) attach(x *ipc.Call, lease pool.Lease) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cause == nil:
		c.exchange, c.holder, c.holderSlot = x, lease.Worker(), lease.Slot()
		c.attempts++
	case c.journaled.replay != nil && c.attempts == 0:
		c.progress = Progress{Dispatched: true}
	}
	return c.cause
}

func (c *call) current() *ipc.Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exchange
}

// cancel ends the call, from the watch. The first cause stays.
func (c *call) cancel(fault exchange.Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	c.cause = &exchange.Error{Fault: fault}
	if c.exchange != nil {
		c.exchange.Cancel(c.cause)
	} else if c.gathering.Load() {
		c.stopBody()
	}
	if c.upgraded != nil {
		bare(c.upgraded).Close()
	}
}

// whyOver is why the watch has ended the call; nil: it has not.
func (c *call) whyOver() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

func (c *call) answered(sentAt time.Time) {
	now := time.Now()
	c.headAt = now
	c.headed.Store(true)
	c.ticket.Answered(now)
	c.progress = Progress{Dispatched: true, Stage: exchange.Answered, Begun: true}
	observe(c.bulkhead.stats.metrics.backendDuration, now.Sub(sentAt), c.trace.Exemplar())
}

// blame tells the pool of a worker that cannot be reached or breaks off.
func (c *call) blame(e *exchange.Error) {
	switch {
	case outOfDescriptors(e): // which says nothing about the worker
	case errors.Is(e, ipc.ErrUnreachable):
		if !timedOut(e) {
			c.lease.Unreachable(e)
		}
	case ipc.Told(e): // it did its duty
	case e.Fault == exchange.WorkerDied, e.Fault == exchange.WorkerProtocol:
		c.lease.Broken(e)
	}
}

// timedOut reports that a worker was not reached in time, on a machine that may be
// short of it for everybody. It is for the probes to tell whether that worker
// lives.
func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// lateBy is when the supervisor was too late itself to judge a worker by time.
const lateBy = 500 * time.Millisecond

// clock tells the pool of a request whose time ran out before its worker had
// sent it, which is what a handler that is stuck looks like. It says nothing of
// the worker when most of the time had gone by before (in the queue, with another
// worker), when the client was waited for, or when the supervisor was not there
// to see an answer.
func (c *call) clock(e *exchange.Error) {
	told := ipc.Told(e)
	if e.Fault != exchange.Deadline || e.Stage >= exchange.Sent {
		if told || e.Stage >= exchange.Sent {
			c.lease.Served()
		}
		return
	}
	now := time.Now()
	waited := told && c.body != nil && !c.body.ended.Load()
	if now.Sub(c.handed) >= c.set.Timeout/2 && now.Sub(c.deadline) < lateBy && !waited {
		c.lease.Overran()
	}
}

// outOfDescriptors reports a shortage of the supervisor's own.
func outOfDescriptors(err error) bool {
	return errors.Is(err, ipc.ErrNoConnection) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// inform hands on an informational answer. HTTP/1.0 knows none (RFC 9110 section
// 15.2): its client would take one for the answer, and the answer for that of its
// next request.
func (c *call) inform(status int, h http.Header) {
	if !c.r.ProtoAtLeast(1, 1) {
		return
	}
	StripHopByHop(h)
	out := c.w.Header()
	for name, values := range h {
		out[name] = values
	}
	c.writing.Store(1) // it is sent at once
	c.w.WriteHeader(status)
	c.writing.Store(0)
	for name := range h {
		delete(out, name)
	}
}

func requestID(r *http.Request) string {
	if id := r.Header["X-Request-Id"]; len(id) > 0 {
		return id[0]
	}
	return ""
}
