package adaptive_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
)

func TestSenselessBoundsPanic(t *testing.T) {
	for _, s := range []adaptive.Settings{
		{}, {Least: 1, Most: 2}, {Mode: adaptive.Auto, Least: 0, Most: 4}, {Mode: adaptive.Auto, Least: 5, Most: 4},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v: no panic", s)
				}
			}()
			adaptive.New(s, adaptive.Found{}, func(int) {})
		}()
	}
}

// A call ends once, and one that never began does nothing.
func TestEndTwice(t *testing.T) {
	l := adaptive.New(auto, adaptive.Found{}, func(int) {})
	now := time.Now()
	var none adaptive.Call
	none.End(now, adaptive.Served)
	c := l.Begin(now)
	c.End(now, adaptive.Ignored)
	c.End(now, adaptive.Overloaded)
	if s := l.Stats(now); s.Limit != 8 || s.State != adaptive.Learning || !s.AtBound.IsZero() {
		t.Errorf("%+v", s)
	}
}

// What a call waits for before the backend gets it is not taken for the backend's: a
// limit that would shrink for holding times ten times as long does not.
func TestSentStartsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adaptive.New(adaptive.Settings{Mode: adaptive.Auto, Least: 1, Most: 8}, adaptive.Found{}, func(int) {})
		run := func(before time.Duration) {
			for begun := time.Now(); time.Since(begun) < 5*time.Minute; {
				calls := make([]adaptive.Call, l.Stats(time.Now()).Limit)
				for i := range calls {
					calls[i] = l.Begin(time.Now())
				}
				time.Sleep(before)
				for i := range calls {
					calls[i].Sent(time.Now())
				}
				time.Sleep(10 * time.Millisecond)
				for i := range calls {
					calls[i].End(time.Now(), adaptive.Served)
				}
			}
		}
		run(0)
		if was := l.Stats(time.Now()); was.Limit != 8 {
			t.Fatalf("%+v", was)
		}
		run(100 * time.Millisecond)
		if s := l.Stats(time.Now()); s.Limit != 8 || s.State != adaptive.Following {
			t.Errorf("%+v", s)
		}
		var none adaptive.Call
		none.Sent(time.Now())
	})
}

// Whoever was replaced has nothing to say any more.
func TestStopped(t *testing.T) {
	in(t, auto, backend{capacity: 16, takes: exponential(100 * time.Millisecond)}, 220, func(t *testing.T, w *world) {
		if w.run(2*time.Minute).changes == 0 {
			t.Fatal("the limit does not move")
		}
		w.limit.Stop()
		w.backend.takes = exponential(time.Second)
		f := w.run(5 * time.Minute)
		if s := w.limit.Stats(time.Now()); f.changes > 0 || s.Limit >= w.inForce {
			t.Errorf("%d changes after it was stopped; it has found %d, %d is in force", f.changes, s.Limit, w.inForce)
		}
	})
}

// Many at once: the limit that was set last is that of Stats, and between the bounds.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inForce atomic.Int64
		inForce.Store(2)
		slots := make(chan struct{}, 6) // as a bulkhead has: more than the limit do not begin
		slots <- struct{}{}
		slots <- struct{}{}
		l := adaptive.New(adaptive.Settings{Mode: adaptive.Auto, Least: 2, Most: 6}, adaptive.Found{}, func(limit int) {
			before := int(inForce.Swap(int64(limit)))
			if limit <= before || limit > 6 { // nothing here makes it shrink
				t.Errorf("limit %d after %d", limit, before)
				return
			}
			for range limit - before {
				slots <- struct{}{}
			}
		})
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := range 3000 {
					<-slots
					c := l.Begin(time.Now())
					time.Sleep(10 * time.Millisecond)
					_ = l.Stats(time.Now())
					c.End(time.Now(), [...]adaptive.Result{adaptive.Served, adaptive.Ignored, adaptive.Served}[(n+i)%3])
					slots <- struct{}{}
				}
			})
		}
		all.Wait()
		if s := l.Stats(time.Now()); inForce.Load() != 6 || s.Limit != 6 || s.AtBound.IsZero() {
			t.Errorf("%d in force, %+v", inForce.Load(), s)
		}
	})
}

func BenchmarkCall(b *testing.B) {
	l := adaptive.New(auto, adaptive.Found{}, func(int) {})
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c := l.Begin(now)
		c.End(now, adaptive.Served)
	}
}

func BenchmarkCallParallel(b *testing.B) {
	l := adaptive.New(auto, adaptive.Found{}, func(int) {})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			now := time.Now()
			c := l.Begin(now)
			c.End(now, adaptive.Served)
		}
	})
}
