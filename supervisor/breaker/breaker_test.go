package breaker_test

import (
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/breaker"
)

const ms = time.Millisecond

// published are the settings of resilience4j's well-known demonstration.
var published = breaker.Settings{
	Window: 20 * time.Second, MinCalls: 5,
	FailureRatio: 0.5, SlowCall: 4 * time.Second, SlowRatio: 0.5,
	OpenFor: 5 * time.Second, Probes: 4,
}

// A rig drives one breaker along a clock of its own.
type rig struct {
	*testing.T
	*breaker.Breaker
	now time.Time
}

func start(t *testing.T, s breaker.Settings) *rig {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &rig{t, breaker.New(s, now), now}
}

func (b *rig) pass(d time.Duration) { b.now = b.now.Add(d) }

func (b *rig) admit() *breaker.Ticket {
	b.Helper()
	peek := b.Peek(b.now)
	ticket, ok := b.Admit(b.now)
	if !ok || !peek {
		b.Fatalf("Peek %v, Admit %v in %s, want both", peek, ok, b.describe())
	}
	return &ticket
}

func (b *rig) refused() {
	b.Helper()
	peek := b.Peek(b.now)
	if ticket, ok := b.Admit(b.now); ok || peek || ticket != (breaker.Ticket{}) {
		b.Fatalf("Peek %v, Admit %v in %s, want a refusal", peek, ok, b.describe())
	}
	if b.RetryAfter(b.now) <= 0 {
		b.Fatalf("refused with RetryAfter %v", b.RetryAfter(b.now))
	}
}

// call makes calls one after the other, each of that length.
func (b *rig) call(took time.Duration, outcomes ...breaker.Outcome) {
	b.Helper()
	for _, o := range outcomes {
		ticket := b.admit()
		b.pass(took)
		ticket.Done(b.now, o)
	}
}

func (b *rig) want(state breaker.State, why string) {
	b.Helper()
	if s := b.Stats(b.now); s.State != state || (why != "" && s.Why != why) {
		b.Fatalf("%s, want %v: %s", b.describe(), state, why)
	}
}

func (b *rig) wantCounts(calls, failures, slow int) {
	b.Helper()
	if s := b.Stats(b.now); s.Calls != calls || s.Failures != failures || s.Slow != slow {
		b.Fatalf("%d calls, %d failures, %d slow; want %d, %d, %d", s.Calls, s.Failures, s.Slow, calls, failures, slow)
	}
}

func (b *rig) describe() string {
	s := b.Stats(b.now)
	return s.State.String() + ": " + s.Why
}

const (
	good    = breaker.Success
	bad     = breaker.Failure
	nothing = breaker.Ignored
)

func TestPublishedFailureRatio(t *testing.T) {
	b := start(t, published)
	b.call(100*ms, bad, bad, bad, good)
	b.want(breaker.StateClosed, "new")
	b.call(100*ms, good)
	b.want(breaker.StateOpen, "3 of 5 calls failed (60 %, limit 50 %)")
}

func TestPublishedSlowRatio(t *testing.T) {
	b := start(t, published)
	b.call(5*time.Second, bad, good)
	b.call(100*ms, bad, good)
	b.want(breaker.StateClosed, "")
	b.call(5*time.Second, good)
	b.want(breaker.StateOpen, "3 of 5 calls took longer than 4s (60 %, limit 50 %)")
}

// opened is a published breaker that has just opened.
func opened(t *testing.T) *rig {
	t.Helper()
	b := start(t, published)
	b.call(100*ms, bad, bad, bad, good, good)
	b.want(breaker.StateOpen, "")
	return b
}

func TestPublishedOpenToHalfOpen(t *testing.T) {
	b := opened(t)
	b.pass(3 * time.Second)
	b.refused()
	if got := b.RetryAfter(b.now); got != 2*time.Second {
		t.Fatalf("RetryAfter %v, want 2s", got)
	}
	due := b.now.Add(2 * time.Second)
	b.pass(3 * time.Second)
	for range 4 {
		b.admit()
	}
	b.refused()
	b.want(breaker.StateHalfOpen, "was open for 5s")
	if s := b.Stats(b.now); !s.Since.Equal(due) {
		t.Fatalf("half-open since %v, want %v", s.Since, due)
	}
}

func TestPublishedProbes(t *testing.T) {
	t.Run("slow ones open it again", func(t *testing.T) {
		b := opened(t)
		b.pass(6 * time.Second)
		b.call(5*time.Second, good, good, good)
		b.want(breaker.StateHalfOpen, "")
		b.call(100*ms, good)
		b.want(breaker.StateOpen, "3 of 4 probes took longer than 4s (75 %, limit 50 %)")
	})
	t.Run("good ones close it", func(t *testing.T) {
		b := opened(t)
		b.pass(6 * time.Second)
		b.call(100*ms, bad, good, good)
		b.wantCounts(3, 1, 0)
		b.call(100*ms, good)
		b.want(breaker.StateClosed, "1 of 4 probes failed (25 %, limit 50 %)")
		b.wantCounts(0, 0, 0)
	})
}

func TestResultsHoldTheirPermits(t *testing.T) {
	b := opened(t)
	b.pass(5 * time.Second)
	hung := b.admit()
	b.call(100*ms, good, good)
	last := b.admit()
	b.refused()
	last.Done(b.now, nothing) // the client left: no result, so the permit is free
	b.call(100*ms, good)
	b.refused()
	hung.Done(b.now, good)
	b.want(breaker.StateClosed, "0 of 4 probes failed (0 %, limit 50 %)")
}

func TestClientThatLeavesCountsNothing(t *testing.T) {
	b := start(t, published)
	b.call(10*time.Second, nothing, nothing)
	b.wantCounts(0, 0, 0)
}

func TestSlowMeansLongerThanSlowCall(t *testing.T) {
	b := start(t, published)
	b.call(4*time.Second, good)
	b.wantCounts(1, 0, 0)
	b.call(4*time.Second+1, good)
	b.wantCounts(2, 0, 1)
}

func TestOutcomeOfAnEarlierState(t *testing.T) {
	b := start(t, published)
	before := b.admit()
	b.call(100*ms, bad, bad, bad, bad, bad)
	b.pass(5 * time.Second)
	before.Done(b.now, bad)
	b.wantCounts(0, 0, 0) // half-open, and no probe's result
	probe := b.admit()
	b.pass(time.Second)
	b.call(ms, good, good, good, bad)
	b.want(breaker.StateClosed, "")
	probe.Overdue(b.now.Add(4 * time.Second))
	probe.Done(b.now, bad)
	b.wantCounts(0, 0, 0)
}

func TestCallsLeaveTheWindow(t *testing.T) {
	s := published
	s.MinCalls = 5
	b := start(t, s)
	b.call(0, bad, bad, good)
	b.pass(10 * time.Second)
	b.call(0, bad)
	b.pass(10*time.Second - 1)
	b.wantCounts(4, 3, 0) // a call counts for at least the window
	b.pass(time.Second + 1)
	b.wantCounts(1, 1, 0) // and for at most a twentieth more
	b.pass(time.Hour)
	b.wantCounts(0, 0, 0)
	b.call(0, bad, bad, bad, bad)
	b.want(breaker.StateClosed, "new")
}

// What a call waits for before the backend gets it does not make it slow.
func TestSentStartsTheClock(t *testing.T) {
	b := start(t, published)
	late, quick := b.admit(), b.admit()
	b.pass(published.SlowCall + ms)
	late.Sent(b.now)
	quick.Sent(b.now)
	late.Overdue(b.now)
	b.wantCounts(0, 0, 0)
	b.pass(published.SlowCall / 2)
	quick.Answered(b.now)
	quick.Done(b.now, breaker.Success)
	b.wantCounts(1, 0, 0)
	b.pass(published.SlowCall / 2)
	late.Overdue(b.now)
	b.wantCounts(2, 0, 1)
	late.Done(b.now, breaker.Success)
	b.wantCounts(2, 0, 1)
	new(breaker.Ticket).Sent(b.now) // of no breaker
}
