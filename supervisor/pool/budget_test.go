package pool

import (
	"math/rand/v2"
	"testing"
	"time"
)

var five = Budget{Faults: 5, Per: time.Minute}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestBackoffOfFailedStarts(t *testing.T) {
	for _, chance := range []float64{0, 0.5, 1 - 1e-9} {
		r, now := record{}, epoch
		budget := Budget{Faults: 100, Per: time.Minute}
		want := 100 * time.Millisecond
		for i := range 50 {
			wait, _ := r.fault(now, budget, chance)
			least := time.Duration(float64(want) * 0.75)
			if wait > want || wait < least || (chance == 0 && wait != want) {
				t.Errorf("chance %v, failed start %d: wait %v, want %v, a quarter less at the least", chance, i+1, wait, want)
			}
			want = min(30*time.Second, 2*want)
			now = now.Add(wait)
		}
	}
}

func TestWorkerThatHadBeenReadyIsReplacedAtOnceWithinTheBudget(t *testing.T) {
	r, now := record{}, epoch
	for i := range 5 {
		r.ready(now)
		now = now.Add(time.Second)
		wait, begins := r.fault(now, five, 0)
		if last := i == 4; begins != last || (wait == 0) == last {
			t.Errorf("fault %d: wait %v, quarantine begins %v", i+1, wait, begins)
		}
	}
}

func TestQuarantine(t *testing.T) {
	quarantined := func() (*record, time.Time) {
		r, now := &record{}, epoch
		for range 5 {
			r.fault(now, five, 0)
		}
		return r, now
	}
	t.Run("waits 30 s after each failed attempt", func(t *testing.T) {
		r, now := quarantined()
		for range 10 {
			now = now.Add(30 * time.Second)
			if wait, begins := r.fault(now, five, 0); wait != 30*time.Second || begins {
				t.Errorf("wait %v, begins again %v", wait, begins)
			}
		}
	})
	t.Run("one fault within 60 s of health leads back", func(t *testing.T) {
		r, now := quarantined()
		now = now.Add(10 * time.Minute)
		r.ready(now)
		if wait, _ := r.fault(now.Add(59*time.Second), five, 0); wait != 30*time.Second {
			t.Errorf("wait %v", wait)
		}
	})
	t.Run("60 s of health forgive", func(t *testing.T) {
		r, now := quarantined()
		r.ready(now)
		if wait, begins := r.fault(now.Add(time.Minute), five, 0); wait != 0 || begins {
			t.Errorf("wait %v, begins %v", wait, begins)
		}
	})
	t.Run("an operator forgives", func(t *testing.T) {
		r, now := quarantined()
		r.forgive()
		if wait, begins := r.fault(now, five, 0); wait != 100*time.Millisecond || begins {
			t.Errorf("wait %v, begins %v", wait, begins)
		}
	})
	t.Run("starts that take longer than the budget's time count all the same", func(t *testing.T) {
		r, now, begins := record{}, epoch, false
		for i := range 5 {
			if begins {
				t.Fatalf("quarantine after %d failed starts", i)
			}
			now = now.Add(time.Hour)
			_, begins = r.fault(now, five, 0)
		}
		if !begins {
			t.Error("no quarantine")
		}
	})
	t.Run("faults further apart than the budget's time never do", func(t *testing.T) {
		r, now := record{}, epoch
		for range 100 {
			r.ready(now)
			now = now.Add(15 * time.Second) // four in a minute
			if wait, begins := r.fault(now, five, 0); wait != 0 || begins {
				t.Fatalf("wait %v, begins %v", wait, begins)
			}
		}
	})
}

// A record is compared with what a complete list of faults says.
func TestRecordAgainstItsHistory(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 500 {
		budget := Budget{Faults: 1 + rnd.IntN(6), Per: time.Duration(1+rnd.IntN(120)) * time.Second}
		r, now := record{}, epoch
		var faults []time.Time // since the last forgiveness
		failed, quarantined := 0, false
		var healthy time.Time
		for range 60 {
			now = now.Add(time.Duration(rnd.Int64N(int64(40 * time.Second))))
			switch rnd.IntN(8) {
			case 0:
				r.forgive()
				faults, failed, quarantined = nil, 0, false
				continue
			case 1, 2, 3:
				r.ready(now)
				healthy, failed = now, 0
				continue
			}
			if !healthy.IsZero() && now.Sub(healthy) >= time.Minute {
				faults, failed, quarantined = nil, 0, false
			}
			if healthy.IsZero() {
				failed++
			}
			healthy = time.Time{}
			faults = append(faults, now)
			recent := 0
			for _, at := range faults {
				if now.Sub(at) < budget.Per {
					recent++
				}
			}
			was := quarantined
			quarantined = quarantined || recent >= budget.Faults || failed >= budget.Faults

			wait, begins := r.fault(now, budget, rnd.Float64())
			if r.quarantined != quarantined || begins != (quarantined && !was) {
				t.Fatalf("%+v after %v: quarantined %v, begins %v; the history says %v, was %v", budget, faults, r.quarantined, begins, quarantined, was)
			}
			if wait < 0 || wait > 30*time.Second || (quarantined && wait < 22*time.Second) || (!quarantined && failed == 0) != (wait == 0) {
				t.Fatalf("%+v, quarantined %v, %d failed starts: wait %v", budget, quarantined, failed, wait)
			}
			if len(r.faults) > budget.Faults {
				t.Fatalf("%d faults kept of %d allowed", len(r.faults), budget.Faults)
			}
		}
	}
}
