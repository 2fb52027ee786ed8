package load

import (
	"time"

	"commerce.example/coordinator/supervisor/hdr"
)

// Kinds of failure in Result.Errors and Sample.Err: no whole answer arrived.
const (
	Refused   = "refused"   // the connect was refused
	Dial      = "dial"      // the connect failed otherwise
	Stale     = "stale"     // a reused connection ended before a byte of the answer: the keep-alive race, which a browser resends
	Reset     = "reset"     // a fresh connection was reset before a byte of the answer
	Closed    = "closed"    // a fresh connection was closed before a byte of the answer
	Truncated = "truncated" // the answer began and did not finish
	Timeout   = "timeout"   // Options.Timeout passed
	Protocol  = "protocol"  // the answer is not HTTP/1, ambiguous, or followed by bytes nobody asked for
)

// The words for requests without an outcome, in Sample.Err only.
const (
	Dropped  = "dropped"
	Canceled = "canceled"
)

// Result is the figures of a run or of one of its phases.
type Result struct {
	Name     string
	From, To time.Duration // since the start of the run

	Due      int            // requests that were to be sent
	Sent     int            // requests whose sending began, their dial included
	Done     int            // whole answers, of any status
	Bytes    int64          // of the bodies of those
	Errors   map[string]int // no whole answer, by kind
	Dropped  int            // due and never sent: no connection came free in time, or the run was stopped
	Canceled int            // in flight when the run was stopped

	Status  map[int]int    // whole answers by status
	Reasons map[string]int // whole answers that gave a reason

	// Latencies from the time a request was due. All has every request that ended
	// or was dropped for want of a connection; Success the answers below 400.
	Success, All *hdr.Histogram
	// Lag is how long after their time requests were sent: waiting for a free
	// connection and the generator's own lateness.
	Lag *hdr.Histogram
}

func newResult(name string, from time.Duration) *Result {
	return &Result{
		Name: name, From: from,
		Errors: map[string]int{}, Status: map[int]int{}, Reasons: map[string]int{},
		Success: new(hdr.Histogram), All: new(hdr.Histogram), Lag: new(hdr.Histogram),
	}
}

// ServerErrors is the number of answers with status 500 and above.
func (r *Result) ServerErrors() int {
	n := 0
	for status, c := range r.Status {
		if status >= 500 {
			n += c
		}
	}
	return n
}

// TransportErrors is the number of requests that were sent and got no whole answer.
func (r *Result) TransportErrors() int {
	n := 0
	for _, c := range r.Errors {
		n += c
	}
	return n
}

// Failed is what a user would call an error: no answer, a status of 500 and above,
// or a request that was never sent.
func (r *Result) Failed() int { return r.TransportErrors() + r.ServerErrors() + r.Dropped }

// Throughput is whole answers a second over the phase.
func (r *Result) Throughput() float64 {
	if r.To <= r.From {
		return 0
	}
	return float64(r.Done) / (r.To - r.From).Seconds()
}

// Merge adds the figures of another phase or run; From and To span both.
func (r *Result) Merge(other *Result) {
	r.From, r.To = min(r.From, other.From), max(r.To, other.To)
	r.Due += other.Due
	r.Sent += other.Sent
	r.Done += other.Done
	r.Bytes += other.Bytes
	r.Dropped += other.Dropped
	r.Canceled += other.Canceled
	addCounts(r.Errors, other.Errors)
	addCounts(r.Status, other.Status)
	addCounts(r.Reasons, other.Reasons)
	r.Success.Merge(other.Success)
	r.All.Merge(other.All)
	r.Lag.Merge(other.Lag)
}

func addCounts[K comparable](to, from map[K]int) {
	for k, n := range from {
		to[k] += n
	}
}

// dropped records a place whose request is never sent.
func (g *Generator) dropped(p place) {
	waited := g.now() - p.at
	g.mu.Lock()
	r := g.phase(p.at)
	r.Due++
	r.Dropped++
	r.All.Record(waited)
	g.mu.Unlock()
	g.observe(Sample{Number: p.n, At: p.at, Latency: waited, Err: Dropped})
}

// sent records that the sending of p begins.
func (g *Generator) sent(p place, now time.Duration) {
	g.mu.Lock()
	r := g.phase(p.at)
	r.Due++
	r.Sent++
	r.Lag.Record(now - p.at)
	g.mu.Unlock()
}

// record adds a request that was sent and has ended.
func (g *Generator) record(s Sample) {
	g.mu.Lock()
	r := g.phase(s.At)
	switch s.Err {
	case Canceled:
		r.Canceled++
	case "":
		r.Done++
		r.Bytes += s.Bytes
		r.Status[s.Status]++
		if s.Reason != "" {
			r.Reasons[s.Reason]++
		}
		r.All.Record(s.Latency)
		if s.Status < 400 {
			r.Success.Record(s.Latency)
		}
	default:
		r.Errors[s.Err]++
		r.All.Record(s.Latency)
	}
	g.mu.Unlock()
	g.observe(s)
}

func (g *Generator) observe(s Sample) {
	if g.o.Observe != nil {
		g.o.Observe(s)
	}
}
