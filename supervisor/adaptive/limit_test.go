package adaptive_test

import (
	"sync"
	"sync/atomic"
	"testing"
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
			adaptive.New(s, func(int) {})
		}()
	}
}

// A call ends once, and one that never began does nothing.
func TestEndTwice(t *testing.T) {
	l := adaptive.New(auto, func(int) {})
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

// Whoever was replaced has nothing to say any more.
func TestStopped(t *testing.T) {
	var set atomic.Int64
	l := adaptive.New(adaptive.Settings{Mode: adaptive.Auto, Least: 1, Most: 64}, func(int) { set.Add(1) })
	l.Stop()
	end := time.Now().Add(time.Second)
	for time.Now().Before(end) {
		c := l.Begin(time.Now())
		c.End(time.Now(), adaptive.Served)
	}
	if n := set.Load(); n > 0 {
		t.Errorf("set %d times after it was stopped", n)
	}
}

// Many at once: the limit that was set last is that of Stats, and between the bounds.
func TestConcurrent(t *testing.T) {
	var inForce atomic.Int64
	l := adaptive.New(adaptive.Settings{Mode: adaptive.Auto, Least: 2, Most: 6}, func(limit int) {
		if limit < 2 || limit > 6 {
			t.Errorf("limit %d", limit)
		}
		inForce.Store(int64(limit))
	})
	var all sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	for i := range 8 {
		all.Go(func() {
			for n := i; time.Now().Before(end); n++ {
				c := l.Begin(time.Now())
				if n%3 == 0 {
					_ = l.Stats(time.Now())
				}
				c.End(time.Now(), adaptive.Result(n%3))
			}
		})
	}
	all.Wait()
	if s := l.Stats(time.Now()); inForce.Load() != 0 && int64(s.Limit) != inForce.Load() {
		t.Errorf("limit %d, in force %d", s.Limit, inForce.Load())
	}
}

func BenchmarkCall(b *testing.B) {
	l := adaptive.New(auto, func(int) {})
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c := l.Begin(now)
		c.End(now, adaptive.Served)
	}
}

func BenchmarkCallParallel(b *testing.B) {
	l := adaptive.New(auto, func(int) {})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			now := time.Now()
			c := l.Begin(now)
			c.End(now, adaptive.Served)
		}
	})
}
