package breaker_test

import (
	"math"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/breaker"
)

func TestHungProbesDoNotHideARepair(t *testing.T) {
	b := opened(t)
	b.pass(5 * time.Second)
	hung := []*breaker.Ticket{b.admit(), b.admit(), b.admit(), b.admit()}
	b.pass(999 * ms)
	b.refused()
	b.pass(1 * ms)
	b.call(0, good, good, good) // repaired
	second := b.admit()
	b.refused()
	hung[0].Done(b.now, bad) // late, and of this period all the same: 1 of 4
	b.want(breaker.StateClosed, "1 of 4 probes failed (25 %, limit 50 %)")

	second.Done(b.now, bad)
	for _, h := range hung[1:] {
		h.Done(b.now, bad)
	}
	b.wantCounts(0, 0, 0)
}

func TestWhileProbesHangAFewGoEachSecond(t *testing.T) {
	b := opened(t)
	b.pass(5 * time.Second)
	admitted := 0
	for range 3000 {
		if _, ok := b.Admit(b.now); ok {
			admitted++
		}
		b.pass(ms)
	}
	if admitted != 3*published.Probes {
		t.Fatalf("%d probes in 3 s, want %d", admitted, 3*published.Probes)
	}
}

// 200 good calls a second, then 32 in flight that hang until their timeout.
func TestHangOpensAtOnce(t *testing.T) {
	s := defaults()
	b := start(t, s)
	for range 2000 {
		b.call(5*ms, good)
	}
	var hung []*breaker.Ticket
	for range 32 {
		hung = append(hung, b.admit())
		b.pass(5 * ms)
	}
	b.pass(2 * time.Second)
	for _, h := range hung[:19] {
		h.Done(b.now, bad)
	}
	b.want(breaker.StateClosed, "")
	hung[19].Done(b.now, bad)
	b.want(breaker.StateOpen, "20 failures in a row (limit 20)")
	for _, h := range hung[20:] {
		h.Done(b.now, bad)
	}
	b.pass(s.OpenFor)
	b.call(ms, good, good, good)
	b.want(breaker.StateClosed, "")
}

func TestHangOpensBeforeItsCallsEnd(t *testing.T) {
	s := defaults()
	s.SlowCall, s.SlowRatio = time.Second, 1
	b := start(t, s)
	for range 2000 {
		b.call(5*ms, good)
	}
	var hung []*breaker.Ticket
	for range 20 {
		hung = append(hung, b.admit())
	}
	b.pass(time.Second)
	for i, h := range hung {
		b.want(breaker.StateClosed, "")
		h.Overdue(b.now)
		if i == 0 {
			h.Overdue(b.now)
			calls := b.Stats(b.now).Calls
			h.Done(b.now.Add(ms), good)
			if s := b.Stats(b.now); s.Calls != calls || s.Slow != 1 {
				t.Fatalf("%d calls and %d slow after an overdue call was done, want %d and 1", s.Calls, s.Slow, calls)
			}
		}
	}
	b.want(breaker.StateOpen, "20 calls in a row took longer than 1s (limit 20)")
}

func TestSuccessBreaksARun(t *testing.T) {
	s := defaults()
	s.FailureRatio = 1
	b := start(t, s)
	b.call(ms, good)
	for range 10 {
		for range s.MinCalls - 1 {
			b.call(ms, bad)
		}
		b.call(ms, good)
	}
	b.want(breaker.StateClosed, "new")
}

func TestRunMustFitTheWindow(t *testing.T) {
	s := defaults() // 20 calls in 10 s
	s.FailureRatio = 1
	b := start(t, s)
	b.call(ms, good)
	for range 60 {
		b.call(600*ms, bad) // at most 18 of them within the window
	}
	b.want(breaker.StateClosed, "new")
	for b.Stats(b.now).Calls < s.MinCalls-1 {
		b.call(10*ms, bad)
	}
	b.want(breaker.StateClosed, "new")
	b.call(10*ms, bad)
	b.want(breaker.StateOpen, "")
}

// As parts of a run leave the window, what was in their buckets before the run
// began must not matter. A call that waits keeps the ratio of failures below 1.
func TestRunLeavesTheWindowInParts(t *testing.T) {
	s := published // a bucket is 1 s
	s.MinCalls, s.FailureRatio, s.SlowRatio = 4, 1, 1
	at := func(b *rig, d time.Duration, outcomes ...breaker.Outcome) {
		b.Helper()
		b.pass(d - b.now.Sub(b.Stats(b.now).Since))
		b.call(0, outcomes...)
	}
	begin := func(t *testing.T) *rig {
		b := start(t, s)
		at(b, 500*ms, good, bad, bad)
		at(b, 1500*ms, bad, good, bad)
		waiting := b.admit()
		b.pass(4 * time.Second)
		waiting.Overdue(b.now)
		at(b, 15*time.Second, bad, bad)
		b.want(breaker.StateClosed, "new")
		return b
	}
	t.Run("before it began", func(t *testing.T) {
		b := begin(t)
		at(b, 21200*ms, bad)
		b.want(breaker.StateOpen, "4 failures in a row (limit 4)")
	})
	t.Run("its first part", func(t *testing.T) {
		b := begin(t)
		at(b, 22200*ms, bad)
		b.want(breaker.StateClosed, "new")
		at(b, 22300*ms, bad)
		b.want(breaker.StateOpen, "4 failures in a row (limit 4)")
	})
}

func TestOverdueThenFailureIsOneCall(t *testing.T) {
	s := published
	s.MinCalls = 50
	b := start(t, s)
	ticket := b.admit()
	b.pass(3999 * ms)
	ticket.Overdue(b.now)
	b.wantCounts(0, 0, 0) // not yet
	b.pass(ms)
	ticket.Overdue(b.now)
	b.wantCounts(1, 0, 1)
	b.pass(10 * time.Second)
	ticket.Done(b.now, bad)
	b.wantCounts(1, 1, 1)
	ticket.Done(b.now, bad)
	ticket.Overdue(b.now)
	b.wantCounts(1, 1, 1)
}

func TestFailureAfterItsOverdueLeftTheWindow(t *testing.T) {
	s := published
	s.MinCalls = 50
	b := start(t, s)
	failing, succeeding := b.admit(), b.admit()
	b.pass(4 * time.Second)
	failing.Overdue(b.now)
	succeeding.Overdue(b.now)
	b.pass(30 * time.Second)
	b.wantCounts(0, 0, 0)
	succeeding.Done(b.now, good)
	b.wantCounts(0, 0, 0)
	failing.Done(b.now, bad)
	b.wantCounts(1, 1, 1)
}

func TestOverdueProbe(t *testing.T) {
	b := opened(t)
	b.pass(5 * time.Second)
	probes := []*breaker.Ticket{b.admit(), b.admit(), b.admit(), b.admit()}
	b.pass(4 * time.Second)
	probes[0].Overdue(b.now)
	b.wantCounts(1, 0, 1)
	probes[0].Done(b.now, bad)
	b.wantCounts(1, 1, 1)
	for _, p := range probes[1:] {
		p.Overdue(b.now)
	}
	b.want(breaker.StateOpen, "4 of 4 probes took longer than 4s (100 %, limit 50 %)")
}

func TestOverdueProbeHasItsResultNotItsPermit(t *testing.T) {
	s := published
	s.SlowCall, s.Probes = 500*ms, 2
	b := start(t, s)
	b.call(0, bad, bad, bad, bad, bad)
	b.pass(s.OpenFor)
	slow := b.admit()
	b.pass(500 * ms)
	slow.Overdue(b.now)
	b.admit()
	b.refused()
}

func TestSlowEndsWithTheAnswersBeginning(t *testing.T) {
	settings := defaults()
	settings.SlowCall = time.Second
	b := start(t, settings)
	c := b.admit()
	b.pass(900 * time.Millisecond)
	c.Answered(b.now)
	b.pass(time.Hour) // a client that takes its time
	c.Overdue(b.now)
	b.wantCounts(0, 0, 0)
	c.Done(b.now, breaker.Failure)
	b.wantCounts(1, 1, 0)
}

func TestCanOpenOnHang(t *testing.T) {
	for _, c := range []struct {
		name     string
		window   time.Duration
		minCalls int
		slow     time.Duration
		limit    int
		timeout  time.Duration
		want     bool
	}{
		{"one wave is enough", 10 * time.Second, 20, 0, 32, 30 * time.Second, true},
		{"one wave is not", 10 * time.Second, 20, 0, 19, 30 * time.Second, false},
		{"slow calls come no faster", 10 * time.Second, 20, time.Second, 19, 30 * time.Second, false},
		{"five waves", 10 * time.Second, 20, 0, 4, 2 * time.Second, true},
		{"five waves are not enough", 10 * time.Second, 21, 0, 4, 2 * time.Second, false},
		{"a wave at the edge is too late", 10 * time.Second, 20, 0, 10, 10 * time.Second, false},
		{"within the edge", 10 * time.Second, 20, 0, 10, 10*time.Second - 1, true},
		{"no limit", 10 * time.Second, 1, 0, 0, time.Second, false},
		{"no timeout, nothing slow", 10 * time.Second, 1, 0, 5, 0, false},
		{"no timeout, slow", 10 * time.Second, 5, time.Second, 5, 0, true},
		{"extremes", math.MaxInt64, math.MaxInt, 0, 1, 1, true},
	} {
		s := published
		s.Window, s.MinCalls, s.SlowCall = c.window, c.minCalls, c.slow
		if got := breaker.CanOpenOnHang(s, c.limit, c.timeout); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// What CanOpenOnHang promises, the breaker keeps: limit slots, each taken anew a
// little after its call timed out.
func TestHangOpensAsPromised(t *testing.T) {
	for limit := 1; limit <= 25; limit += 3 {
		for _, timeout := range []time.Duration{ms * 300, time.Second, ms * 3300, 9999 * ms, 30 * time.Second} {
			s := defaults()
			b := start(t, s)
			b.call(0, good)
			open := func() bool { return b.Stats(b.now).State == breaker.StateOpen }
			for range 40 {
				var wave []breaker.Ticket
				for range limit {
					if ticket, ok := b.Admit(b.now); ok {
						wave = append(wave, ticket)
					}
				}
				b.pass(timeout)
				for i := range wave {
					wave[i].Done(b.now, bad)
				}
				if open() {
					break
				}
				b.pass(10 * time.Microsecond)
			}
			if promised := breaker.CanOpenOnHang(s, limit, timeout); promised && !open() {
				t.Errorf("limit %d, timeout %v: promised to open and did not", limit, timeout)
			}
		}
	}
}

func defaults() breaker.Settings {
	return breaker.Settings{
		Window: 10 * time.Second, MinCalls: 20, FailureRatio: 0.5, SlowRatio: 1, OpenFor: 5 * time.Second, Probes: 3,
	}
}
