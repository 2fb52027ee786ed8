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
			r.record(recentEpoch, took[i], true, false)
		}
		slices.Sort(took)
		_, _, got := r.status(recentEpoch)
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
		r.record(recentEpoch, d, true, false)
		if _, _, got := r.status(recentEpoch); math.Abs(got.P99Seconds-want) > want/16 {
			t.Errorf("%v: p99 is %v, want %v", d, got.P99Seconds, want)
		}
	}
}

func TestRecentForgetsAfterSeconds(t *testing.T) {
	r := newRecent(recentEpoch)
	at := func(d time.Duration) RecentStatus { _, _, s := r.status(recentEpoch.Add(d)); return s }
	if s := at(0); s != (RecentStatus{}) {
		t.Errorf("at first %+v", s)
	}
	r.record(recentEpoch.Add(500*time.Millisecond), time.Second, true, false)
	if s := at(time.Second); s.Served != 1 || s.Seconds != 1 {
		t.Errorf("%+v", s)
	}
	if s := at(4900 * time.Millisecond); s.Served != 1 || s.Seconds != 4.9 {
		t.Errorf("after 4.9 s %+v", s)
	}
	if s := at(5 * time.Second); s.Served != 0 || s.P99Seconds != 0 || s.Seconds != 4 {
		t.Errorf("after 5 s %+v", s)
	}
	r.record(recentEpoch.Add(time.Hour), time.Millisecond, true, false)
	r.record(recentEpoch.Add(time.Minute), time.Millisecond, true, false) // read its clock long before
	if s := at(time.Hour); s.Served != 2 {
		t.Errorf("after an hour %+v", s)
	}
}

// What no worker got is counted, and its time is not.
func TestRecentCounts(t *testing.T) {
	r := newRecent(recentEpoch)
	r.record(recentEpoch, time.Second, true, false)
	r.record(recentEpoch, time.Microsecond, false, true)
	r.record(recentEpoch, 2*time.Second, true, true)
	requests, refused, s := r.status(recentEpoch.Add(time.Hour))
	if requests != 3 || refused != 2 || s.Served != 0 {
		t.Errorf("%d requests, %d refused, %+v", requests, refused, s)
	}
}

func TestRecentIsSafeForConcurrentUse(t *testing.T) {
	r := newRecent(recentEpoch)
	const each, writers = 2000, 4
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for i := range each {
				r.record(recentEpoch.Add(time.Duration(i)*time.Millisecond), time.Millisecond, true, i%2 == 0)
			}
		})
	}
	all.Go(func() {
		for i := range each {
			if _, _, s := r.status(recentEpoch.Add(time.Duration(i) * time.Millisecond)); s.Served > each*writers {
				t.Errorf("%+v", s)
			}
		}
	})
	all.Wait()
	if requests, refused, s := r.status(recentEpoch.Add(2 * time.Second)); requests != each*writers || refused != each*writers/2 || s.Served != each*writers {
		t.Errorf("%d requests, %d refused, %+v", requests, refused, s)
	}
}

func BenchmarkRecentRecord(b *testing.B) {
	r, now := newRecent(recentEpoch), recentEpoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(50 * time.Microsecond)
		r.record(now, 12*time.Millisecond, true, false)
	}
}

func BenchmarkRecentStatus(b *testing.B) {
	r := newRecent(recentEpoch)
	r.record(recentEpoch, 12*time.Millisecond, true, false)
	b.ReportAllocs()
	for b.Loop() {
		r.status(recentEpoch)
	}
}
