package pool

import (
	"math/rand/v2"
	"time"
)

// Budget is how many faults a slot may have within a time.
type Budget struct {
	Faults int
	Per    time.Duration
}

const (
	backoffMin    = 100 * time.Millisecond
	backoffMax    = 30 * time.Second // also the longest wait in quarantine
	healthyAfter  = 60 * time.Second // forgives all faults
	backoffJitter = 0.25             // of a delay, downwards
	doublings     = 9                // from the least to over the most
)

// record is a slot's history of faults: a state machine that takes now.
type record struct {
	faults       []time.Time // within Per, at most Faults of them
	failedStarts int         // in a row
	quarantined  bool
	healthySince time.Time // of the present worker; zero: there is none
}

// ready notes that a worker has proved itself.
func (r *record) ready(now time.Time) {
	r.healthySince = now
	r.failedStarts = 0
}

// forgive is an operator's word, or 60 s of health.
func (r *record) forgive() {
	r.faults, r.failedStarts, r.quarantined = nil, 0, false
}

// excuse notes the loss of a worker that is charged to nobody.
func (r *record) excuse() { r.healthySince = time.Time{} }

// settle ends a quarantine that a healthy worker has outlived.
func (r *record) settle(now time.Time) {
	if !r.healthySince.IsZero() && now.Sub(r.healthySince) >= healthyAfter {
		r.forgive()
	}
}

// fault notes one. It returns how long to wait before the next start, and whether
// it begins a quarantine. chance in [0,1) jitters the wait, so that pools that
// failed together do not come back together.
func (r *record) fault(now time.Time, budget Budget, chance float64) (wait time.Duration, begins bool) {
	r.settle(now)
	was := r.quarantined
	started := !r.healthySince.IsZero()
	r.healthySince = time.Time{}
	if !started {
		r.failedStarts++
	}
	keep := r.faults[:0]
	for _, at := range r.faults {
		if now.Sub(at) < budget.Per {
			keep = append(keep, at)
		}
	}
	r.faults = append(keep, now)
	r.faults = r.faults[max(0, len(r.faults)-budget.Faults):]
	// Starts that time out are further apart than Per lets them: in a row, they
	// count however long they took.
	if len(r.faults) >= budget.Faults || r.failedStarts >= budget.Faults {
		r.quarantined = true
	}
	switch {
	case r.quarantined:
		wait = backoffMax
	case r.failedStarts > 0:
		wait = min(backoffMax, backoffMin<<min(r.failedStarts-1, doublings))
	}
	return wait - time.Duration(chance*backoffJitter*float64(wait)), r.quarantined && !was
}

func jitter() float64 { return rand.Float64() }
