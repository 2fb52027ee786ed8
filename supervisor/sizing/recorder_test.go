package sizing_test

import (
	"encoding/json"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/sizing"
)

// visit is one served visit from beginning to end.
func visit(r *sizing.Recorder, at time.Time, wait, held time.Duration) {
	t := r.Arrive(at)
	t.Admitted(at.Add(wait))
	t.Released(at.Add(wait + held))
}

func TestEvidenceIsWhatHappened(t *testing.T) {
	r := sizing.NewRecorder(epoch)
	var waits time.Duration
	for i := range 1000 { // ten a second for 100 s
		at := epoch.Add(time.Duration(i) * 100 * ms)
		wait := time.Duration(i%10) * ms
		waits += wait
		visit(r, at, wait, 40*ms+time.Duration(i%2)*20*ms)
	}
	for i, why := range []sizing.Fate{sizing.QueueFull, sizing.QueueTimeout, sizing.QueueTimeout, sizing.Gone} {
		ticket := r.Arrive(epoch.Add(100*time.Second + time.Duration(i)*ms))
		ticket.Refused(epoch.Add(101*time.Second), why)
	}
	r.Worked(epoch.Add(100*time.Second), 2*time.Second)
	e := r.Evidence(epoch.Add(102*time.Second), 0)
	if e.Window != 102*time.Second || e.Arrivals != 1004 || e.Admitted != 1000 || e.Full != 1 || e.TimedOut != 2 || e.Gone != 1 {
		t.Errorf("%+v", e)
	}
	near(t, "refused", e.RefusedShare(), 3./1003, 1e-9)
	near(t, "holding", e.Holding.Mean.Seconds(), 0.050, 1e-6)
	near(t, "its SCV", e.Holding.SCV, 0.04, 1e-4)
	near(t, "its p99", e.Holding.Shape.Quantile(0.99).Seconds(), 0.060, 0.004)
	near(t, "wait", e.Waits.Mean.Seconds(), (waits / 1000).Seconds(), 1e-6)
	near(t, "its p99", e.Waits.Shape.Quantile(0.99).Seconds(), 0.009, 0.0006)
	near(t, "gap SCV of a clock", e.GapSCV, 0, 0.02)
	if e.CPUPerRequest() != 2*ms || e.Peak != 1 {
		t.Errorf("CPU %v, peak %d", e.CPUPerRequest(), e.Peak)
	}
	if e.Poisson() {
		t.Error("a clock passes for Poisson")
	}
	text, err := json.Marshal(e)
	var back sizing.Evidence
	if err != nil || json.Unmarshal(text, &back) != nil || back.Holding.Shape.Count() != 1000 {
		t.Errorf("%v: %s", err, text)
	}
}

func TestFailuresAreCounted(t *testing.T) {
	r := sizing.NewRecorder(epoch)
	for i := range 10 {
		ticket := r.Arrive(epoch)
		ticket.Admitted(epoch)
		if i < 3 {
			ticket.Failed()
		}
		ticket.Released(epoch.Add(ms))
		ticket.Failed() // too late
	}
	e := r.Evidence(epoch.Add(time.Second), 0)
	near(t, "failures", e.FailureShare(), 0.3, 1e-9)
	near(t, "failures of nothing", sizing.Evidence{}.FailureShare(), 0, 0)
}

func TestRecorderForgets(t *testing.T) {
	r := sizing.NewRecorder(epoch)
	for i := range 7200 {
		visit(r, epoch.Add(time.Duration(i)*time.Second), 0, time.Duration(1+i/3600)*10*ms)
	}
	now := epoch.Add(2 * time.Hour)
	if e := r.Evidence(now, 0); e.Window != sizing.Longest || e.Arrivals != 3600 || (e.Holding.Mean-20*ms).Abs() > time.Microsecond {
		t.Errorf("the last hour: %v, %d arrivals, mean %v", e.Window, e.Arrivals, e.Holding.Mean)
	}
	if e := r.Evidence(now.Add(5*time.Second), 10*time.Minute); e.Window != 605*time.Second || e.Arrivals != 600 {
		t.Errorf("the last ten minutes: %v, %d arrivals", e.Window, e.Arrivals)
	}
	if e := r.Evidence(now.Add(24*time.Hour), 0); e.Arrivals != 0 || e.Rate() != 0 || e.Holding.Count != 0 {
		t.Errorf("a day later: %+v", e)
	}
	visit(r, epoch, 0, ms) // a clock set back does no harm
	if e := r.Evidence(now.Add(24*time.Hour), 0); e.Arrivals > 1 {
		t.Errorf("after the clock was set back: %+v", e)
	}
}

func TestTimeWithAnOpenBreakerIsLeftOut(t *testing.T) {
	r := sizing.NewRecorder(epoch)
	at := func(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }
	for i := range 100 {
		visit(r, at(float64(i)/5), 0, 50*ms)
	}
	late := r.Arrive(at(20))
	late.Admitted(at(20))
	r.BreakerClosed(at(21), false)
	r.BreakerClosed(at(22), false)
	for i := range 50 { // probes, and what hung
		visit(r, at(21+float64(i)), 0, 10*time.Second)
	}
	late.Released(at(80))
	if e := r.Evidence(at(81), 0); e.Window != 21*time.Second || e.Left != 60*time.Second {
		t.Errorf("while open: %v and %v left out", e.Window, e.Left)
	}
	r.BreakerClosed(at(91), true)
	for i := range 100 {
		visit(r, at(91+float64(i)/5), 0, 50*ms)
	}
	e := r.Evidence(at(111), 0)
	if e.Window != 41*time.Second || e.Left != 70*time.Second || e.Arrivals != 201 || (e.Holding.Mean-50*ms).Abs() > time.Microsecond {
		t.Errorf("afterwards: %v, %v left out, %d arrivals, mean %v", e.Window, e.Left, e.Arrivals, e.Holding.Mean)
	}
	if e.GapSCV > 0.1 {
		t.Errorf("the time left out counts as a gap: SCV %v", e.GapSCV)
	}
	if e.Peak != 2 && e.Peak != 1 {
		t.Errorf("peak %d", e.Peak)
	}
}

func TestPoissonIsTold(t *testing.T) {
	poisson := sizing.NewRecorder(epoch)
	bursty := sizing.NewRecorder(epoch)
	rng := rand.New(rand.NewPCG(8, 8))
	now := epoch
	for range 20_000 {
		now = now.Add(time.Duration(rng.ExpFloat64() * float64(20*ms)))
		visit(poisson, now, 0, ms)
	}
	if e := poisson.Evidence(now, 0); !e.Poisson() {
		t.Errorf("Poisson arrivals are not recognised: SCV %v, dispersion %v", e.GapSCV, e.Dispersion)
	}
	for range 2_000 { // ten at a time
		now = epoch.Add(now.Sub(epoch)).Add(time.Duration(rng.ExpFloat64() * float64(200*ms)))
		for range 10 {
			visit(bursty, now, 0, ms)
		}
	}
	if e := bursty.Evidence(now, 10*time.Minute); e.Poisson() || e.GapSCV < 2 || e.Dispersion < 5 {
		t.Errorf("bursts pass for Poisson: SCV %v, dispersion %v", e.GapSCV, e.Dispersion)
	}
}

// A backend of one processor: each in flight makes the others slower. And one
// that is only slow for a while.
func TestCrowdedBackend(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	crowded, slow := sizing.NewRecorder(epoch), sizing.NewRecorder(epoch)
	for i := range 600 { // groups that are in flight together
		at := epoch.Add(time.Duration(i) * 500 * ms)
		n := 1 + rng.IntN(16)
		group := func(r *sizing.Recorder, hold func(in int) time.Duration) {
			tickets := make([]sizing.Ticket, n)
			for j := range tickets {
				tickets[j] = r.Arrive(at)
				tickets[j].Admitted(at)
			}
			for j := range tickets {
				tickets[j].Released(at.Add(hold(j + 1)))
			}
		}
		noise := time.Duration(rng.IntN(int(2 * ms)))
		group(crowded, func(in int) time.Duration { return time.Duration(in)*10*ms + noise })
		level := 20 * ms
		if i > 300 {
			level, n = 200*ms, 16
		}
		group(slow, func(int) time.Duration { return level + noise })
	}
	now := epoch.Add(300 * time.Second)
	c := crowded.Evidence(now, 0).Crowding
	if !c.Bottleneck(16) || !c.Significant() {
		t.Errorf("crowding is not seen: %+v", c)
	}
	near(t, "slope", c.Slope, 0.010, 0.0005)
	near(t, "holding of 10", c.Holding(10).Seconds(), 0.101, 0.002)
	if c := slow.Evidence(now, 0).Crowding; c.Bottleneck(16) {
		t.Errorf("a slow half is taken for crowding: %+v", c)
	}
}

func TestRecorderUnderConcurrency(t *testing.T) {
	r := sizing.NewRecorder(epoch)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 2000 {
				at := epoch.Add(time.Duration(i)*20*ms + time.Duration(g)*ms)
				visit(r, at, ms, 5*ms)
				if i%200 == 0 {
					_ = r.Evidence(at, 0)
					r.BreakerClosed(at, i%400 == 0)
				}
				r.BreakerClosed(at, true)
			}
		})
	}
	all.Wait()
	if e := r.Evidence(epoch.Add(41*time.Second), 0); e.Arrivals < 7000 || e.Holding.Count < 7000 || e.Peak > 4 {
		t.Errorf("%d arrivals, %d held, peak %d", e.Arrivals, e.Holding.Count, e.Peak)
	}
}

func TestRecorderTakesUnderOneMebibyte(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := sizing.NewRecorder(epoch)
	for i := range 4000 {
		visit(r, epoch.Add(time.Duration(i)*time.Second), ms, ms)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := after.HeapAlloc - before.HeapAlloc; took > 1<<20 {
		t.Errorf("%d KiB", took>>10)
	}
	runtime.KeepAlive(r)
}

func TestRecorderAllocatesNothing(t *testing.T) {
	r := sizing.NewRecorder(epoch)
	now := epoch
	if n := testing.AllocsPerRun(1000, func() { now = now.Add(ms); visit(r, now, ms, ms); r.Worked(now, ms) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var none sizing.Ticket // of no recorder
	none.Admitted(now)
	none.Released(now)
	none.Refused(now, sizing.QueueFull)
}

// All three notes of a request.
func BenchmarkVisit(b *testing.B) {
	r := sizing.NewRecorder(epoch)
	now := epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(50 * time.Microsecond)
		visit(r, now, 0, 20*ms)
	}
}

func BenchmarkVisitParallel(b *testing.B) {
	r := sizing.NewRecorder(epoch)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := epoch
		for pb.Next() {
			now = now.Add(50 * time.Microsecond)
			visit(r, now, 0, 20*ms)
		}
	})
}

func BenchmarkEvidence(b *testing.B) {
	r := sizing.NewRecorder(epoch)
	for i := range 36_000 {
		visit(r, epoch.Add(time.Duration(i)*100*ms), ms, ms)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Evidence(epoch.Add(time.Hour), 0)
	}
}
