package hdr_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/hdr"
)

const ms = time.Millisecond

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestEmptyHistogram(t *testing.T) {
	var h hdr.Histogram
	h.Merge(nil)
	h.Merge(new(hdr.Histogram))
	if h.Count() != 0 || h.Max() != 0 || h.Mean() != 0 || h.Quantile(0.99) != 0 {
		t.Errorf("count %d, max %v, mean %v, p99 %v; want zeros", h.Count(), h.Max(), h.Mean(), h.Quantile(0.99))
	}
}

// Quantiles against the exact ones of the sorted list, over six decades.
func TestQuantilesWithinTheirBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var h hdr.Histogram
	var all []time.Duration
	var sum time.Duration
	for range 20_000 {
		d := time.Duration(float64(5*time.Microsecond) * math.Pow(10, 6*rng.Float64()))
		h.Record(d)
		all = append(all, d)
		sum += d
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		rank := min(max(int(q*float64(len(all))+0.5), 1), len(all))
		got, want := h.Quantile(q), all[rank-1]
		if off := (got - want).Abs(); off > max(want/100, time.Microsecond) {
			t.Errorf("quantile %v: %v, want %v within 1 %%", q, got, want)
		}
	}
	if h.Count() != int64(len(all)) || h.Max() != all[len(all)-1] {
		t.Errorf("count %d, max %v; want %d, %v", h.Count(), h.Max(), len(all), all[len(all)-1])
	}
	if off := (h.Mean() - sum/time.Duration(len(all))).Abs(); off > time.Microsecond {
		t.Errorf("mean is off by %v", off)
	}
}

func TestBounds(t *testing.T) {
	var h hdr.Histogram
	h.Record(-time.Second)
	h.Record(0)
	if h.Max() != hdr.Lowest || h.Mean() != hdr.Lowest {
		t.Errorf("max %v, mean %v; want %v", h.Max(), h.Mean(), hdr.Lowest)
	}
	h.Record(math.MaxInt64)
	if h.Max() != hdr.Highest || h.Quantile(1) != hdr.Highest || h.Quantile(7) != hdr.Highest {
		t.Errorf("max %v, quantiles %v, %v; want %v", h.Max(), h.Quantile(1), h.Quantile(7), hdr.Highest)
	}
	if got := h.Quantile(math.NaN()); got > hdr.Lowest+time.Microsecond {
		t.Errorf("quantile NaN is %v", got)
	}
}

func TestRecordN(t *testing.T) {
	var h hdr.Histogram
	h.RecordN(10*ms, 99)
	h.RecordN(time.Second, 1)
	h.RecordN(time.Minute, 0)
	if h.Count() != 100 || h.Max() != time.Second || h.Mean() != 19900*time.Microsecond {
		t.Errorf("count %d, max %v, mean %v", h.Count(), h.Max(), h.Mean())
	}
	for _, n := range []int64{-1, math.MaxInt64} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("RecordN with %d did not panic", n)
				}
			}()
			h.RecordN(ms, n)
		}()
	}
}

func TestMergeIsTheHistogramOfBoth(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var both, a, b, sum hdr.Histogram
	for range 5000 {
		d := time.Duration(rng.Int64N(int64(3 * time.Second)))
		both.Record(d)
		if rng.IntN(3) == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
	}
	sum.Merge(&a)
	a.Record(time.Minute) // a copy was merged, not a itself
	sum.Merge(&b)
	if sum.Count() != both.Count() || sum.Max() != both.Max() || (sum.Mean()-both.Mean()).Abs() > time.Microsecond {
		t.Errorf("count %d, max %v, mean %v; want %d, %v, %v",
			sum.Count(), sum.Max(), sum.Mean(), both.Count(), both.Max(), both.Mean())
	}
	for _, q := range []float64{0.1, 0.5, 0.99} {
		if sum.Quantile(q) != both.Quantile(q) {
			t.Errorf("quantile %v: %v, want %v", q, sum.Quantile(q), both.Quantile(q))
		}
	}
}

func TestRollingForgetsAfterAMinute(t *testing.T) {
	r := hdr.NewRolling(epoch)
	at := func(d time.Duration) (int64, float64) {
		h, rate := r.Snapshot(epoch.Add(d))
		return h.Count(), rate
	}
	if n, rate := at(0); n != 0 || rate != 0 {
		t.Errorf("new: %d, %v a second", n, rate)
	}
	for i := range 30 { // one a second
		r.Record(epoch.Add(time.Duration(i)*time.Second), time.Duration(i+1)*ms)
	}
	if n, rate := at(30 * time.Second); n != 30 || rate != 1 {
		t.Errorf("after 30 s: %d, %v a second; want 30 and 1", n, rate)
	}
	if n, rate := at(60 * time.Second); n != 30 || rate != 0.5 {
		t.Errorf("after 60 s: %d, %v a second; want 30 and 0.5", n, rate)
	}
	if n, rate := at(75*time.Second - 1); n != 30 || math.Abs(rate-30./75) > 1e-6 {
		t.Errorf("just before 75 s: %d, %v a second; want 30 and 0.4", n, rate)
	}
	if n, rate := at(75 * time.Second); n != 15 || rate != 0.25 {
		t.Errorf("after 75 s: %d, %v a second; want 15 and 0.25", n, rate)
	}
	h, _ := r.Snapshot(epoch.Add(80 * time.Second))
	if h.Max() != 30*ms || h.Quantile(0) < 15*ms {
		t.Errorf("from %v to %v, want the last 15 only", h.Quantile(0), h.Max())
	}
	if n, _ := at(90 * time.Second); n != 0 {
		t.Errorf("after 90 s: %d", n)
	}
	r.Record(epoch.Add(24*time.Hour), ms)
	if n, rate := at(24 * time.Hour); n != 1 || math.Abs(rate-1./60) > 1e-6 {
		t.Errorf("a day later: %d, %v a second", n, rate)
	}
}

func TestRecentIsTwoParts(t *testing.T) {
	r := hdr.NewRolling(epoch)
	for i := range 60 { // one a second, each longer than the one before
		r.Record(epoch.Add(time.Duration(i)*time.Second), time.Duration(i+1)*ms)
	}
	for _, test := range []struct {
		at    time.Duration
		count int64
		least time.Duration
	}{
		{59 * time.Second, 30, 31 * ms},
		{60 * time.Second, 15, 46 * ms},
		{75 * time.Second, 0, 0},
	} {
		h := r.Recent(epoch.Add(test.at))
		if h.Count() != test.count || (h.Quantile(0)-test.least).Abs() > test.least/100 {
			t.Errorf("at %v: %d from %v on, want %d from %v", test.at, h.Count(), h.Quantile(0), test.count, test.least)
		}
	}
}

func TestRollingRateOfTheFirstSecond(t *testing.T) {
	r := hdr.NewRolling(epoch)
	for range 10 {
		r.Record(epoch, ms)
	}
	if _, rate := r.Snapshot(epoch.Add(ms)); rate != 10 {
		t.Errorf("%v a second, want 10", rate)
	}
}

func TestSnapshotIsTheCallers(t *testing.T) {
	r := hdr.NewRolling(epoch)
	r.Record(epoch, ms)
	r.Record(epoch.Add(20*time.Second), ms)
	h, _ := r.Snapshot(epoch.Add(20 * time.Second))
	h.RecordN(time.Second, 100)
	r.Record(epoch.Add(20*time.Second), ms)
	if h.Count() != 102 {
		t.Errorf("snapshot counts %d, want 102", h.Count())
	}
	if h, _ := r.Snapshot(epoch.Add(20 * time.Second)); h.Count() != 3 || h.Max() != ms {
		t.Errorf("count %d, max %v after a snapshot was written to", h.Count(), h.Max())
	}
}

func TestClockThatRunsBackwards(t *testing.T) {
	r, c := hdr.NewRolling(epoch), hdr.NewCounts(1)
	both := func(now time.Time) (int64, int) {
		h, _ := r.Snapshot(now)
		return h.Count(), c.Sum(now)[0]
	}
	for _, back := range []time.Duration{0, time.Second, 59 * time.Second} {
		r.Record(epoch.Add(-back), ms)
		c.Add(epoch.Add(-back), 0)
	}
	if h, n := both(epoch.Add(-time.Minute)); h != 3 || n != 3 {
		t.Errorf("%d and %d after a little back, want 3", h, n)
	}
	yesterday := epoch.Add(-24 * time.Hour)
	r.Record(yesterday, ms)
	c.Add(yesterday, 0)
	if h, n := both(yesterday); h != 1 || n != 1 {
		t.Errorf("%d and %d a day back, want 1", h, n)
	}
	if _, rate := r.Snapshot(yesterday.Add(10 * time.Second)); rate != 0.1 {
		t.Errorf("%v a second 10 s after that, want 0.1", rate)
	}
	if h, n := both(yesterday.Add(75 * time.Second)); h != 0 || n != 0 {
		t.Errorf("%d and %d a minute after that, want 0", h, n)
	}
}

// Against a list of all that was recorded.
func TestLastMinuteAgainstAList(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	r, c := hdr.NewRolling(epoch), hdr.NewCounts(3)
	c.Add(epoch, 0)
	r.Record(epoch, ms)
	type event struct {
		part time.Duration
		kind int
	}
	events := []event{{0, 0}}
	now := epoch
	for range 2000 {
		now = now.Add(time.Duration(rng.Int64N(int64(2 * time.Second))))
		if rng.IntN(100) == 0 {
			now = now.Add(time.Duration(rng.Int64N(int64(2 * time.Minute))))
		}
		part := now.Sub(epoch) / (15 * time.Second)
		kind := rng.IntN(3)
		c.Add(now, kind)
		r.Record(now, ms)
		events = append(events, event{part, kind})
		want := make([]int, 3)
		for _, e := range events {
			if part-e.part <= 4 {
				want[e.kind]++
			}
		}
		if got := c.Sum(now); !slices.Equal(got, want) {
			t.Fatalf("after %v: %v, want %v", now.Sub(epoch), got, want)
		}
		if rng.IntN(10) > 0 {
			continue
		}
		if h, _ := r.Snapshot(now); h.Count() != int64(want[0]+want[1]+want[2]) {
			t.Fatalf("after %v: %d durations, want %v", now.Sub(epoch), h.Count(), want)
		}
	}
}

func TestCountsOfNoSuchKindPanics(t *testing.T) {
	c := hdr.NewCounts(2)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		c.Add(epoch, 2)
	}()
	c.Add(epoch, 1) // and no lock was left behind
	if got := c.Sum(epoch); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("got %v", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	r, c := hdr.NewRolling(epoch), hdr.NewCounts(1)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 1000 {
				now := epoch.Add(time.Duration(i)*50*ms + time.Duration(g)*ms)
				r.Record(now, time.Duration(i)*ms)
				c.Add(now, 0)
				if i%100 == 0 {
					_, _ = r.Snapshot(now)
					_ = c.Sum(now)
				}
			}
		})
	}
	all.Wait()
	now := epoch.Add(51 * time.Second)
	if h, _ := r.Snapshot(now); h.Count() != 4000 || c.Sum(now)[0] != 4000 {
		t.Errorf("%d and %d, want 4000", h.Count(), c.Sum(now)[0])
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	r, c := hdr.NewRolling(epoch), hdr.NewCounts(2)
	r.Record(epoch, ms)
	if n := testing.AllocsPerRun(100, func() { r.Record(epoch, ms); c.Add(epoch, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMemoryOfRolling(t *testing.T) {
	const many = 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var keep []*hdr.Rolling
	for range many {
		r := hdr.NewRolling(epoch)
		for i := range 10 {
			r.Record(epoch.Add(time.Duration(i)*15*time.Second), ms)
		}
		keep = append(keep, r)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (after.HeapAlloc - before.HeapAlloc) / many; each > 128<<10 {
		t.Errorf("%d KiB for a Rolling, want at most 128", each>>10)
	}
	runtime.KeepAlive(keep)
}

func BenchmarkHistogramRecord(b *testing.B) {
	var h hdr.Histogram
	b.ReportAllocs()
	for b.Loop() {
		h.Record(12345 * time.Microsecond)
	}
}

func BenchmarkRollingRecord(b *testing.B) {
	r := hdr.NewRolling(epoch)
	b.ReportAllocs()
	now := epoch
	for b.Loop() {
		now = now.Add(50 * time.Microsecond)
		r.Record(now, 12345*time.Microsecond)
	}
}

func BenchmarkRollingRecordParallel(b *testing.B) {
	r := hdr.NewRolling(epoch)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Record(epoch, 12345*time.Microsecond)
		}
	})
}

func BenchmarkRollingSnapshot(b *testing.B) {
	rng := rand.New(rand.NewPCG(4, 4))
	r := hdr.NewRolling(epoch)
	for i := range 75_000 {
		r.Record(epoch.Add(time.Duration(i)*ms), time.Duration(rng.ExpFloat64()*float64(50*ms)))
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = r.Snapshot(epoch.Add(75*time.Second - 1))
	}
}

func BenchmarkCountsAdd(b *testing.B) {
	c := hdr.NewCounts(30)
	b.ReportAllocs()
	for b.Loop() {
		c.Add(epoch, 7)
	}
}
