package supervisor

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

var recentEpoch = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func TestRecentQuantiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		r := newRecent(recentEpoch)
		took := make([]time.Duration, 1+random.IntN(2000))
		for i := range took {
			took[i] = time.Duration(math.Exp(random.Float64()*math.Log(100e9/16e3)) * 16e3) // 16 µs to 100 s
			r.record(recentEpoch, took[i])
		}
		slices.Sort(took)
		got := r.status(recentEpoch)
		for percent, p := range map[int]float64{50: got.P50Seconds, 99: got.P99Seconds} {
			want := took[(len(took)*percent+99)/100-1].Seconds()
			if off := math.Abs(p-want) / want; off > 1.0/16 {
				t.Errorf("%d durations: p%d is %v, want %v: %.1f %% off", len(took), percent, p, want, 100*off)
			}
		}
		if got.Served != uint64(len(took)) {
			t.Errorf("served %d of %d", got.Served, len(took))
		}
	}
}

func TestRecentBounds(t *testing.T) {
	for d, want := range map[time.Duration]float64{
		-time.Second: 0.5e-6, 0: 0.5e-6, 7 * time.Microsecond: 7.5e-6, 15 * time.Microsecond: 15.5e-6, time.Hour: 134.2,
	} {
		r := newRecent(recentEpoch)
		r.record(recentEpoch, d)
		if got := r.status(recentEpoch); math.Abs(got.P99Seconds-want) > want/16 {
			t.Errorf("%v: p99 is %v, want %v", d, got.P99Seconds, want)
		}
	}
}

func TestRecentForgetsAfterSeconds(t *testing.T) {
	r := newRecent(recentEpoch)
	at := func(d time.Duration) RecentStatus { return r.status(recentEpoch.Add(d)) }
	if s := at(0); s != (RecentStatus{}) {
		t.Errorf("at first %+v", s)
	}
	r.record(recentEpoch.Add(500*time.Millisecond), time.Second)
	if s := at(time.Second); s.Served != 1 || s.Seconds != 1 {
		t.Errorf("%+v", s)
	}
	if s := at(4900 * time.Millisecond); s.Served != 1 || s.Seconds != 4.9 {
		t.Errorf("after 4.9 s %+v", s)
	}
	if s := at(5 * time.Second); s.Served != 0 || s.P99Seconds != 0 || s.Seconds != 4 {
		t.Errorf("after 5 s %+v", s)
	}
	r.record(recentEpoch.Add(time.Hour), time.Millisecond)
	r.record(recentEpoch.Add(time.Minute), time.Millisecond) // read its clock long before
	if s := at(time.Hour); s.Served != 2 {
		t.Errorf("after an hour %+v", s)
	}
}

func TestRecentIsSafeForConcurrentUse(t *testing.T) {
	r := newRecent(recentEpoch)
	const each, writers = 2000, 4
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for i := range each {
				r.record(recentEpoch.Add(time.Duration(i)*time.Millisecond), time.Millisecond)
			}
		})
	}
	all.Go(func() {
		for i := range each {
			if s := r.status(recentEpoch.Add(time.Duration(i) * time.Millisecond)); s.Served > each*writers {
				t.Errorf("%+v", s)
			}
		}
	})
	all.Wait()
	if s := r.status(recentEpoch.Add(2 * time.Second)); s.Served != each*writers {
		t.Errorf("%+v", s)
	}
}

func BenchmarkRecentRecord(b *testing.B) {
	r, now := newRecent(recentEpoch), recentEpoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(50 * time.Microsecond)
		r.record(now, 12*time.Millisecond)
	}
}

func BenchmarkRecentStatus(b *testing.B) {
	r := newRecent(recentEpoch)
	r.record(recentEpoch, 12*time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		r.status(recentEpoch)
	}
}
