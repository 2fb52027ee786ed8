package breaker

import "time"

// Outcome is how a call ended, as far as the backend is to blame.
type Outcome uint8

const (
	Ignored Outcome = iota // says nothing about the backend: the client left, the worker died
	Success
	Failure
)

// Ticket is the right to one call. It is a small value, made to be part of the
// caller's own record of that call: keep it there, call its methods through a
// pointer to it, and do not copy it once Overdue or Done was called, or the call
// may count twice. Its methods are safe for concurrent use. The zero Ticket
// belongs to no breaker and its methods do nothing.
type Ticket struct {
	breaker    *Breaker
	generation uint64

	// Guarded by the breaker's mutex.
	begun    time.Time // admitted, or Sent
	answered time.Time // zero: not yet
	probe    uint64    // ID of its permit; 0: none
	bucket   int64     // where Overdue counted it
	overdue  bool      // counted by Overdue
	done     bool
}

// Done ends the call. The first Done is the one that counts: a deferred
// Done(now, Ignored) is a safe net under a path that names the outcome.
//
// Success and Failure count one call, slow if it took longer than SlowCall from its
// admission, or Sent, until Answered or, without that, until now. An Ignored call counts nothing; a probe's permit goes back. If Overdue has counted
// the call, a Failure adds only the failure.
func (t *Ticket) Done(now time.Time, o Outcome) {
	b := t.breaker
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.done {
		return
	}
	t.done = true
	b.tick(now)
	if t.generation != b.generation {
		return
	}
	b.probing.settle(t.probe)
	if o == Ignored {
		return
	}
	mark := tally{calls: 1}
	if o == Failure {
		mark.failures = 1
	}
	took := now.Sub(t.begun)
	if !t.answered.IsZero() {
		took = t.answered.Sub(t.begun)
	}
	if t.overdue || b.isSlow(took) {
		mark.slow = 1
	}
	b.record(t, mark)
	b.decide(now)
}

// Sent starts the clock by which the call is slow anew: the backend gets the call
// only now, and what took time since it was admitted is not the backend's doing.
func (t *Ticket) Sent(now time.Time) {
	b := t.breaker
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t.begun = now
}

// Answered stops the clock by which the call is slow: the backend has begun its
// answer, and how fast a client takes the rest is not the backend's doing. Whether
// the call succeeded is still for Done to say.
func (t *Ticket) Answered(now time.Time) {
	b := t.breaker
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.answered.IsZero() {
		t.answered = now
	}
}

// Overdue tells that the call is still waiting although SlowCall has passed since
// it was admitted, or Sent: it counts now, as a call and as slow, so that a backend
// that hangs is noticed before its calls end. For a probe this is its result.
// Before that time, without SlowCall, after Done or a second time it does nothing.
func (t *Ticket) Overdue(now time.Time) {
	b := t.breaker
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tick(now)
	switch limit := b.settings.SlowCall; {
	case t.done, t.overdue, !t.answered.IsZero(), t.generation != b.generation:
		return
	case limit == 0, now.Sub(t.begun) < limit:
		return
	}
	b.probing.settle(t.probe)
	if b.phase == StateHalfOpen {
		b.probing.results.add(tally{calls: 1, slow: 1})
	} else {
		b.window.count(b.window.seq, tally{calls: 1, slow: 1})
		b.window.extendSlowRun()
	}
	t.overdue, t.bucket = true, b.window.seq
	b.decide(now)
}

func (b *Breaker) isSlow(took time.Duration) bool {
	return b.settings.SlowCall > 0 && took > b.settings.SlowCall
}

// record adds the marks of a call that is done.
func (b *Breaker) record(t *Ticket, mark tally) {
	if b.phase == StateHalfOpen {
		if t.overdue {
			mark.calls, mark.slow = 0, 0
		}
		b.probing.results.add(mark)
		return
	}

	w := &b.window
	switch {
	case !t.overdue:
		w.count(w.seq, mark)
	case w.holds(t.bucket):
		w.count(t.bucket, tally{failures: mark.failures}) // next to the call it belongs to
	case mark.failures > 0:
		w.count(w.seq, mark) // what Overdue counted has left the window
	}

	if mark.failures > 0 {
		w.extendFailRun()
	} else {
		w.breakFailRun()
	}
	switch {
	case t.overdue: // was part of the run when it became slow
	case mark.slow > 0:
		w.extendSlowRun()
	default:
		w.breakSlowRun()
	}
}
