package supervisor

import (
	"maps"
	"net/http"
	"sync"
	"time"

	"commerce.example/coordinator/supervisor/hdr"
)

// recorder is what a drill notes of the requests of one bulkhead, phase by
// phase: before, during and after the fault. It is safe for concurrent use.
type recorder struct {
	mu     sync.Mutex
	phases []*spell
}

// spell is one phase. A request belongs to the one in which it began: one that
// the fault held up must not count as a slow one of the time after. An error
// belongs to the one in which it happened.
type spell struct {
	from    time.Time
	errors  map[Reason]int
	latency hdr.Histogram
}

func newRecorder(now time.Time) *recorder {
	return &recorder{phases: []*spell{newSpell(now)}}
}

func newSpell(from time.Time) *spell { return &spell{from: from, errors: make(map[Reason]int)} }

// cut begins the next phase.
func (r *recorder) cut(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phases = append(r.phases, newSpell(now))
}

// compare begins the phase of the fault. Where nearly nothing was noted before
// it, the last minute has to do for a comparison.
func (r *recorder) compare(minute *hdr.Histogram, now time.Time) {
	r.mu.Lock()
	if before := r.phases[0]; before.latency.Count() < drillFewest && minute.Count() > before.latency.Count() {
		before.latency = hdr.Histogram{}
		before.latency.Merge(minute)
	}
	r.mu.Unlock()
	r.cut(now)
}

// record notes a call that is over.
func (r *recorder) record(c *call, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if isFailure(c.reason) {
		r.phases[len(r.phases)-1].errors[c.reason]++
	}
	if c.status != http.StatusSwitchingProtocols && !isEventStream(c.w.Header()) { // these take as long as their readers like
		r.note(c.begun, took)
	}
}

// waiting notes a call that still waits for its answer.
func (r *recorder) waiting(begun, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(begun, now.Sub(begun))
}

func (r *recorder) note(begun time.Time, took time.Duration) {
	for i := len(r.phases) - 1; i >= 0; i-- {
		if p := r.phases[i]; !begun.Before(p.from) {
			p.latency.Record(took)
			return
		}
	}
}

// phase is a copy of the i-th; an empty one when there was none.
func (r *recorder) phase(i int) *spell {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := newSpell(time.Time{})
	if i < len(r.phases) {
		maps.Copy(p.errors, r.phases[i].errors)
		p.latency.Merge(&r.phases[i].latency)
	}
	return p
}

// isFailure reports whether a request failed for a reason that is not its own
// or its client's.
func isFailure(r Reason) bool { return r != "" && r.Status() >= http.StatusInternalServerError }

func (p *spell) failures() (n int) {
	for _, k := range p.errors {
		n += k
	}
	return n
}

// unanswered are the calls that wait for the head of an answer, by when they
// began.
func (l *watchlist) unanswered() (begun []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.calls {
		if !c.headed.Load() {
			begun = append(begun, c.begun)
		}
	}
	return begun
}
