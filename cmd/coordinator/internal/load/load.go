// Package load is the one load generator: demo, drill, benchmarks and tests all
// measure with it, so that their figures mean the same.
//
// # Open loop
//
// With a Rate, requests have places in a schedule that the answers cannot change.
// A request whose time has come while every connection is busy waits for one, and
// its latency counts from the time it was meant to be sent. A generator that
// waits for an answer before it sends the next request would leave out exactly
// the requests that a stall hurts (coordinated omission). Result.Lag says how
// late the sending was, so a reader can tell a slow service from a generator that
// ran out of connections or of CPU.
//
// Without a Rate the loop is closed: every connection sends its next request when
// the last one is answered. That measures the highest throughput; its latencies
// say nothing about how users would fare.
//
// # Truth
//
// Nothing is sent twice, nothing is left out: Due = Sent + Dropped, and
// Sent = Done + the sum of Errors + Canceled + those still in flight.
//
// # Cost and limits
//
// The client is a lean HTTP/1.1 one on keep-alive connections, because a
// generator must use less CPU than what it measures. It speaks cleartext to
// loopback addresses only: it is no tool for loading other people's machines.
// Every run is bounded in time and in count.
package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Target is one request, sent over and over. Every "{n}" in its URL, header values
// and body becomes the number of the request: 16 decimal digits, from
// 0000000000000000, never used twice in a run.
type Target struct {
	Name   string      // for reports; the URL when empty
	Method string      // GET when empty
	URL    string      // http, host a loopback address or "localhost" (127.0.0.1)
	Header http.Header // "Host" overrides the URL's; Content-Length is computed
	Body   []byte
}

// Options are the settings of a run.
type Options struct {
	Target

	Rate    float64       // requests per second, at most 1,000,000; 0 is a closed loop
	Poisson bool          // exponential gaps of mean 1/Rate, as independent users make; else equal ones
	Seed    uint64        // of everything random; the same seed gives the same schedule
	For     time.Duration // how long requests fall due; required, at most an hour
	Count   int           // at most so many requests; 0 and the ceiling are 100 million
	Conns   int           // connections, at most 10,000; 0 is 64

	// Timeout is how long a request waits for a free connection, and again how
	// long it waits for its answer once it has one. 0 is 10 s. A run is over after
	// For + 2 x Timeout whatever the service does.
	Timeout time.Duration

	NewConnShare float64 // share of requests, 0 to 1, that close their connection and dial a new one first

	// Classify names the reason of an answer; "" is none. Nil reads what the
	// coordinator's own answers say about themselves. It costs a header map for
	// each answer. Called from many goroutines.
	Classify func(status int, header http.Header) string

	// Observe is told about every request that ended or was dropped, from many
	// goroutines; it delays the connection that it reports on.
	Observe func(Sample)
}

// Sample is one request that ended.
type Sample struct {
	Number  uint64        // what "{n}" stood for
	At      time.Duration // its place in the schedule, from the start of the run
	Latency time.Duration // from At to the last byte of the answer
	Status  int           // 0 when no answer arrived
	Bytes   int64         // of the whole answer's body
	Reason  string        // of the answer, see Options.Classify
	Err     string        // kind of failure (see Result.Errors), Dropped, Canceled or ""
}

// What Options may ask for at most; Conns and Count are numbers, Rate is per second.
const (
	MaxFor     = time.Hour
	MaxCount   = 100_000_000
	MaxConns   = 10_000
	MaxRate    = 1_000_000
	errorPause = 10 * time.Millisecond // of a closed loop, so that a dead service is not dialled in a spin
)

// ErrNotLoopback refuses a target on another machine.
var ErrNotLoopback = errors.New("load: the target is not on a loopback address")

func (o *Options) check() error {
	if o.Conns == 0 {
		o.Conns = 64
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Count == 0 {
		o.Count = MaxCount
	}
	switch {
	case o.For <= 0 || o.For > MaxFor:
		return fmt.Errorf("load: For is %v, want above 0 and at most %v", o.For, MaxFor)
	case math.IsNaN(o.Rate) || o.Rate < 0 || o.Rate > MaxRate:
		return fmt.Errorf("load: Rate is %v, want 0 to %d requests per second", o.Rate, MaxRate)
	case o.Count < 0 || o.Count > MaxCount:
		return fmt.Errorf("load: Count is %d, want 0 to %d", o.Count, MaxCount)
	case o.Conns < 0 || o.Conns > MaxConns:
		return fmt.Errorf("load: Conns is %d, want 0 to %d", o.Conns, MaxConns)
	case o.Timeout < 0 || o.Timeout > MaxFor:
		return fmt.Errorf("load: Timeout is %v, want 0 to %v", o.Timeout, MaxFor)
	case !(o.NewConnShare >= 0 && o.NewConnShare <= 1):
		return fmt.Errorf("load: NewConnShare is %v, want 0 to 1", o.NewConnShare)
	}
	return nil
}

// Run loads the target until the schedule is over or ctx ends, and reports. The
// error is about the options; what the service does is in the Result.
func Run(ctx context.Context, o Options) (*Result, error) {
	g, err := Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return g.Wait(), nil
}

// Generator is a run in progress. Its methods are safe for concurrent use.
type Generator struct {
	o       Options
	dial    dialer
	start   time.Time
	ctx     context.Context
	cancel  context.CancelFunc
	stopped atomic.Bool // ctx has ended; cheaper to ask than ctx
	due     chan place  // unset in a closed loop
	taken   atomic.Int64
	workers []*worker
	ended   chan struct{}

	mu     sync.Mutex
	phases []*Result
}

// place is one request's place in the schedule.
type place struct {
	n  uint64
	at time.Duration
}

// Start begins a run and returns at once. The caller must see it out with Wait or
// Stop.
func Start(ctx context.Context, o Options) (*Generator, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	tmpl, addr, err := render(o.Target)
	if err != nil {
		return nil, err
	}
	g := &Generator{o: o, dial: dialer{addr: addr}, ended: make(chan struct{})}
	for i := range o.Conns {
		g.workers = append(g.workers, &worker{
			gen:     g,
			request: tmpl.clone(),
			answer:  answer{head: tmpl.head, keepHeader: o.Classify != nil},
			rand:    rand.New(rand.NewPCG(o.Seed, uint64(i)+1)),
		})
	}
	var bell *alarm
	if o.Rate > 0 {
		g.due = make(chan place)
		if bell, err = newAlarm(); err != nil {
			return nil, fmt.Errorf("load: timer: %w", err)
		}
	}
	g.ctx, g.cancel = context.WithCancel(ctx)
	g.start = time.Now()
	g.phases = []*Result{newResult("", 0)}
	go g.run(bell)
	return g, nil
}

// run owns every goroutine of the run.
func (g *Generator) run(bell *alarm) {
	defer close(g.ended)
	defer g.cancel()
	var running sync.WaitGroup
	for _, w := range g.workers {
		running.Go(w.run)
	}
	if bell != nil {
		running.Go(func() { g.pace(bell) })
	}
	interrupted := make(chan struct{})
	unhook := context.AfterFunc(g.ctx, func() {
		defer close(interrupted)
		g.stopped.Store(true)
		if bell != nil {
			bell.cancel()
		}
		for _, w := range g.workers {
			w.interrupt()
		}
	})
	running.Wait()
	if !unhook() {
		<-interrupted
	}
	if bell != nil {
		bell.close()
	}
	g.mu.Lock()
	g.phases[len(g.phases)-1].To = g.now()
	g.mu.Unlock()
}

// now is the time since the start of the run.
func (g *Generator) now() time.Duration { return time.Since(g.start) }

// Wait returns the figures of the whole run when it is over.
func (g *Generator) Wait() *Result {
	<-g.ended
	return g.Snapshot()
}

// Stop ends the run early and returns its figures. Requests in flight are
// abandoned and count as Canceled.
func (g *Generator) Stop() *Result {
	g.cancel()
	return g.Wait()
}

// Cut ends the present phase and begins one called name. A request belongs to the
// phase in which it was meant to be sent, whenever its answer comes. Before the
// first Cut the phase is called "".
func (g *Generator) Cut(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// Under the lock, so that no request due after the cut can be recorded before
	// the new phase exists.
	now := g.now()
	g.phases[len(g.phases)-1].To = now
	g.phases = append(g.phases, newResult(name, now))
}

// Phases are the figures so far, one Result for each phase in order, which the
// caller owns.
func (g *Generator) Phases() []*Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	phases := make([]*Result, len(g.phases))
	for i, p := range g.phases {
		phases[i] = newResult(p.Name, p.From)
		phases[i].Merge(p)
	}
	if last := phases[len(phases)-1]; last.To == 0 {
		last.To = g.now()
	}
	return phases
}

// Snapshot is the figures so far of all phases together, under the target's name.
func (g *Generator) Snapshot() *Result {
	name := g.o.Name
	if name == "" {
		name = g.o.URL
	}
	all := newResult(name, 0)
	for _, p := range g.Phases() {
		all.Merge(p)
	}
	return all
}

// phase is the one that a request due at belongs to. The caller holds mu.
func (g *Generator) phase(at time.Duration) *Result {
	for i := len(g.phases) - 1; i > 0; i-- {
		if g.phases[i].From <= at {
			return g.phases[i]
		}
	}
	return g.phases[0]
}
