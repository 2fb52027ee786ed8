package breaker_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/breaker"
)

// Calls, overdue sweeps, an operator and a scraper at the same time; afterwards
// the breaker works as ever.
func TestConcurrentUse(t *testing.T) {
	s := published
	s.OpenFor, s.Window, s.SlowCall = ms, 20*ms, 50*time.Microsecond
	b := breaker.New(s, time.Now())
	var callers, others sync.WaitGroup
	var admitted atomic.Int64
	stop := make(chan struct{})

	for seed := range 4 {
		callers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(seed), 3))
			for range 3000 {
				ticket, ok := b.Admit(time.Now())
				if !ok {
					continue
				}
				admitted.Add(1)
				var sweep sync.WaitGroup
				if rng.IntN(10) == 0 {
					sweep.Go(func() { ticket.Overdue(time.Now().Add(s.SlowCall)) })
				}
				ticket.Done(time.Now(), breaker.Outcome(rng.IntN(3)))
				sweep.Wait()
			}
		})
	}
	others.Go(func() {
		modes := []breaker.Mode{breaker.Observe, breaker.Closed, breaker.Auto}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				b.SetMode(time.Now(), modes[i%len(modes)])
				c := s
				c.Probes = 1 + i%7
				b.Configure(time.Now(), c)
				if st := b.Stats(time.Now()); st.Calls < st.Failures || st.Calls < st.Slow || st.Failures < 0 || st.Slow < 0 {
					t.Errorf("impossible counts: %+v", st)
				}
				_ = b.Peek(time.Now())
			}
		}
	})
	callers.Wait()
	close(stop)
	others.Wait()
	if admitted.Load() == 0 {
		t.Error("nothing was admitted")
	}

	later := time.Now().Add(time.Minute)
	b.SetMode(later, breaker.Open)
	b.SetMode(later, breaker.Auto)
	for range s.MinCalls {
		ticket, ok := b.Admit(later)
		if !ok {
			t.Fatal("refused while closed")
		}
		ticket.Done(later, breaker.Failure)
	}
	if got := b.Stats(later).State; got != breaker.StateOpen {
		t.Errorf("%v after %d failures, want open", got, s.MinCalls)
	}
}

func TestCallAllocatesNothing(t *testing.T) {
	now := time.Now()
	b := breaker.New(defaults(), now)
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(ms)
		if !b.Peek(now) {
			t.Error("refused")
		}
		ticket, _ := b.Admit(now)
		ticket.Done(now.Add(ms), breaker.Success)
	}); n != 0 {
		t.Errorf("%v allocations for a call", n)
	}
	b.SetMode(now, breaker.Open)
	if n := testing.AllocsPerRun(1000, func() {
		if b.Peek(now) || b.RetryAfter(now) <= 0 {
			t.Error("admitted")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a refusal", n)
	}
}

func TestStateNames(t *testing.T) {
	for s := range breaker.State(breaker.NumStates) {
		if s.String() == "" || s.String() == "unknown" {
			t.Errorf("state %d is called %q", s, s)
		}
	}
	got, err := json.Marshal([]breaker.State{breaker.StateHalfOpen, breaker.StateForcedOpen, 99})
	if want := `["half_open","forced_open","unknown"]`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

// A call in two steps, with the net of a deferred Done under it.
func Example() {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := breaker.New(breaker.Settings{
		Window: 10 * time.Second, MinCalls: 3, FailureRatio: 0.5, SlowRatio: 1, OpenFor: 5 * time.Second, Probes: 1,
	}, now)

	for range 4 {
		func() {
			ticket, ok := b.Admit(now)
			if !ok {
				fmt.Println("refused, retry after", b.RetryAfter(now))
				return
			}
			defer ticket.Done(now, breaker.Ignored)
			fmt.Println("the backend answers 503")
			ticket.Done(now, breaker.Failure)
		}()
	}
	fmt.Println(b.Stats(now).Why)
	// Output:
	// the backend answers 503
	// the backend answers 503
	// the backend answers 503
	// refused, retry after 5s
	// 3 of 3 calls failed (100 %, limit 50 %)
}

func BenchmarkCall(b *testing.B) {
	now := time.Now()
	br := breaker.New(defaults(), now)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(50 * time.Microsecond)
		ticket, ok := br.Admit(now)
		if !ok {
			b.Fatal("refused")
		}
		ticket.Done(now, breaker.Success)
	}
}

func BenchmarkCallParallel(b *testing.B) {
	br := breaker.New(defaults(), time.Now())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			now := time.Now()
			if ticket, ok := br.Admit(now); ok {
				ticket.Done(now, breaker.Success)
			}
		}
	})
}

// What a bulkhead pays for each request while the breaker is open.
func BenchmarkRefused(b *testing.B) {
	now := time.Now()
	br := breaker.New(defaults(), now)
	br.SetMode(now, breaker.Open)
	b.ReportAllocs()
	for b.Loop() {
		if br.Peek(now) {
			b.Fatal("admitted")
		}
	}
}
