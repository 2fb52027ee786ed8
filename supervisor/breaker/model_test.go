package breaker_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/breaker"
)

// A model is the breaker as one would write it with all the time and memory in
// the world: it remembers every call since the state began and derives
// everything from that list.
type model struct {
	s      breaker.Settings
	epoch  time.Time
	state  breaker.State
	since  time.Time
	period int // states entered so far
	calls  []*modelCall
	events []modelEvent // for the runs
}

type modelCall struct {
	period         int
	at             time.Time
	probe          bool
	done           bool
	result         bool // has a result
	counted        time.Time
	failed, slow   bool
	overdue, spent bool // spent: no longer holds a permit
}

type modelEvent struct {
	at           time.Time
	failed, slow bool
	success      bool // ends a run of failures
	quick        bool // ends a run of slow calls
}

// fresh says whether something at that time is in the window now: in the present
// twentieth or one of the 20 before it.
func (m *model) fresh(at, now time.Time) bool {
	width := m.s.Window / 20
	return now.Sub(m.epoch)/width-at.Sub(m.epoch)/width <= 20
}

func (m *model) enter(state breaker.State, now time.Time) {
	m.state, m.since = state, now
	m.period++
	m.calls, m.events = nil, nil
}

func (m *model) tick(now time.Time) {
	if m.state == breaker.StateOpen && now.Sub(m.since) >= m.s.OpenFor {
		m.enter(breaker.StateHalfOpen, m.since.Add(m.s.OpenFor))
	}
}

func (m *model) permits(now time.Time) int {
	free := m.s.Probes
	for _, c := range m.calls {
		if c.period != m.period || !c.probe {
			continue
		}
		if c.result || (!c.spent && now.Sub(c.at) < time.Second) {
			free--
		}
	}
	return free
}

func (m *model) admit(now time.Time) *modelCall {
	m.tick(now)
	switch m.state {
	case breaker.StateOpen:
		return nil
	case breaker.StateHalfOpen:
		if m.permits(now) <= 0 {
			return nil
		}
	}
	c := &modelCall{period: m.period, at: now, probe: m.state == breaker.StateHalfOpen}
	m.calls = append(m.calls, c)
	return c
}

func (m *model) finish(c *modelCall, now time.Time, o breaker.Outcome) {
	m.tick(now)
	if c.done {
		return
	}
	c.done = true
	if c.period != m.period {
		return
	}
	c.spent = true
	if o == breaker.Ignored {
		return
	}
	slow := m.s.SlowCall > 0 && now.Sub(c.at) > m.s.SlowCall
	failed := o == breaker.Failure
	if !c.overdue {
		c.result, c.counted, c.slow = true, now, slow
	} else if failed && !m.fresh(c.counted, now) {
		c.counted = now
	}
	c.failed = failed
	m.events = append(m.events, modelEvent{
		at: now, failed: failed, success: !failed, slow: slow && !c.overdue, quick: !slow && !c.overdue,
	})
	m.decide(now)
}

func (m *model) overdue(c *modelCall, now time.Time) {
	m.tick(now)
	if c.done || c.overdue || c.period != m.period || m.s.SlowCall == 0 || now.Sub(c.at) < m.s.SlowCall {
		return
	}
	c.overdue, c.result, c.spent, c.slow, c.counted = true, true, true, true, now
	m.events = append(m.events, modelEvent{at: now, slow: true})
	m.decide(now)
}

func (m *model) counts(now time.Time) (calls, failures, slow int) {
	for _, c := range m.calls {
		inWindow := m.state == breaker.StateHalfOpen || m.fresh(c.counted, now)
		if c.period != m.period || !c.result || !inWindow {
			continue
		}
		calls++
		if c.failed {
			failures++
		}
		if c.slow {
			slow++
		}
	}
	return calls, failures, slow
}

func (m *model) run(now time.Time, extends, ends func(modelEvent) bool) (n int) {
	for _, e := range slices.Backward(m.events) {
		if ends(e) || !m.fresh(e.at, now) {
			break
		}
		if extends(e) {
			n++
		}
	}
	return n
}

func (m *model) decide(now time.Time) {
	calls, failures, slow := m.counts(now)
	bad := float64(failures)/float64(calls) >= m.s.FailureRatio ||
		m.s.SlowCall > 0 && float64(slow)/float64(calls) >= m.s.SlowRatio
	switch m.state {
	case breaker.StateHalfOpen:
		if calls < m.s.Probes {
			return
		}
		if bad {
			m.enter(breaker.StateOpen, now)
		} else {
			m.enter(breaker.StateClosed, now)
		}
	case breaker.StateClosed:
		failRun := m.run(now, func(e modelEvent) bool { return e.failed }, func(e modelEvent) bool { return e.success })
		slowRun := m.run(now, func(e modelEvent) bool { return e.slow }, func(e modelEvent) bool { return e.quick })
		if calls >= m.s.MinCalls && bad || failRun >= m.s.MinCalls || slowRun >= m.s.MinCalls {
			m.enter(breaker.StateOpen, now)
		}
	}
}

func TestAgainstModel(t *testing.T) {
	var seen [breaker.NumStates]uint64
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			for i, n := range compare(t, seed) {
				seen[i] += n
			}
		})
	}
	for _, s := range []breaker.State{breaker.StateClosed, breaker.StateOpen, breaker.StateHalfOpen} {
		if seen[s] < 50 {
			t.Errorf("%v was entered %d times only: the comparison hardly tried it", s, seen[s])
		}
	}
}

type pair struct {
	ticket *breaker.Ticket
	call   *modelCall
}

// compare lets breaker and model live through the same random history and
// returns the transitions.
func compare(t *testing.T, seed uint64) [breaker.NumStates]uint64 {
	rng := rand.New(rand.NewPCG(seed, 7))
	s := breaker.Settings{
		Window:       time.Duration(1+rng.IntN(10)) * 2 * time.Second,
		MinCalls:     2 + rng.IntN(12),
		FailureRatio: 0.2 + 0.8*rng.Float64(),
		SlowCall:     time.Duration(rng.IntN(3)) * time.Second,
		SlowRatio:    0.3 + 0.7*rng.Float64(),
		OpenFor:      time.Duration(1+rng.IntN(5)) * time.Second,
		Probes:       1 + rng.IntN(5),
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := breaker.New(s, now)
	m := &model{s: s, epoch: now, since: now}
	failing := 0.1
	pace := 200 * time.Millisecond
	var open []pair

	for step := range 700 {
		switch rng.IntN(60) {
		case 0:
			failing = rng.Float64()
		case 1:
			pace = time.Duration(1+rng.IntN(900)) * time.Millisecond
		case 2:
			now = now.Add(time.Duration(rng.Int64N(int64(s.Window * 3 / 2))))
		}
		now = now.Add(time.Duration(rng.Int64N(int64(pace))))

		if i := rng.IntN(12); i < len(open) {
			p := open[i]
			if rng.IntN(3) == 0 {
				p.ticket.Overdue(now)
				m.overdue(p.call, now)
			} else {
				o := breaker.Success
				switch x := rng.Float64(); {
				case x < failing:
					o = breaker.Failure
				case x > 0.95:
					o = breaker.Ignored
				}
				p.ticket.Done(now, o)
				m.finish(p.call, now, o)
				if rng.IntN(10) > 0 { // else once more, some time
					open = slices.Delete(open, i, i+1)
				}
			}
		} else {
			peek := b.Peek(now)
			ticket, ok := b.Admit(now)
			call := m.admit(now)
			if ok != (call != nil) || peek != ok {
				t.Fatalf("step %d, %+v: Peek %v, Admit %v, model %v in %v", step, s, peek, ok, call != nil, m.state)
			}
			if ok {
				open = append(open, pair{&ticket, call})
			}
		}
		compareStats(t, b, m, now, step)
	}
	return b.Stats(now).Transitions
}

func compareStats(t *testing.T, b *breaker.Breaker, m *model, now time.Time, step int) {
	t.Helper()
	m.tick(now)
	got := b.Stats(now)
	if got.State != m.state || !got.Since.Equal(m.since) {
		t.Fatalf("step %d, %+v: %v (%s) since %v, model %v since %v", step, m.s, got.State, got.Why, got.Since, m.state, m.since)
	}
	if m.state == breaker.StateOpen {
		return // shows what led to it, which the model has left behind
	}
	calls, failures, slow := m.counts(now)
	if got.Calls != calls || got.Failures != failures || got.Slow != slow {
		t.Fatalf("step %d, %+v: %d calls, %d failures, %d slow; model %d, %d, %d",
			step, m.s, got.Calls, got.Failures, got.Slow, calls, failures, slow)
	}
	if got.Failures > got.Calls || got.Slow > got.Calls {
		t.Fatalf("step %d: more marks than calls: %+v", step, got)
	}
}
