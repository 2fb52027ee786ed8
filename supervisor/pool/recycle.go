package pool

import (
	"fmt"
	"math/rand/v2"
	"time"

	"commerce.example/coordinator/ipc/process"
)

// Limits are those at which a worker is recycled: a new one takes its place, and
// it finishes what it has. Each worker has its own share of them, between 75 and
// 100 %, so that workers that started together do not end together. They are
// looked at every 500 ms. 0 is no limit.
type Limits struct {
	Memory      uint64 // anonymous, RssAnon, in bytes
	Descriptors int    // open
	Requests    uint64 // handed to the worker
	Age         time.Duration
}

const (
	recycleJitter = 0.25
	// A recycling whose new worker does not start is tried again after this. The
	// old one goes on.
	recycleRetry = 10 * time.Second
)

// newShare is how much of its limits a worker may use.
func newShare() float64 { return 1 - recycleJitter*rand.Float64() }

// wear is what a worker has used, as far as there are limits.
type wear struct {
	memory      uint64
	descriptors int
	requests    uint64
	age         time.Duration
}

// reached is the first limit whose share w has used up; an empty Cause: none.
func (l Limits) reached(share float64, w wear) (Cause, error) {
	over := func(is, limit float64) bool { return limit > 0 && is >= share*limit }
	switch {
	case over(float64(w.memory), float64(l.Memory)):
		return CauseMemory, fmt.Errorf("%d bytes of memory, of %d", w.memory, l.Memory)
	case over(float64(w.descriptors), float64(l.Descriptors)):
		return CauseDescriptors, fmt.Errorf("%d open descriptors, of %d", w.descriptors, l.Descriptors)
	case over(float64(w.requests), float64(l.Requests)):
		return CauseRequests, fmt.Errorf("%d requests, of %d", w.requests, l.Requests)
	case over(float64(w.age), float64(l.Age)):
		return CauseAge, fmt.Errorf("%v old, of %v", w.age.Round(time.Second), l.Age)
	}
	return "", nil
}

// wear reads what there is a limit of. A figure that cannot be read is 0: the
// process is about to be seen as ended, or the system does not tell.
func (m *member) wear(l Limits, now time.Time) wear {
	w := wear{requests: m.requests.Load(), age: now.Sub(m.since)}
	if l.Memory > 0 {
		used, _ := process.UsageOf(m.worker.Pid())
		w.memory = used.Anonymous
	}
	if l.Descriptors > 0 {
		w.descriptors, _ = process.DescriptorsOf(m.worker.Pid())
	}
	return w
}

// examine says once that the worker has reached one of its limits.
func (m *member) examine(now time.Time) {
	limits := m.slot.pool.config.Limits
	if limits == nil || m.wornBy != "" {
		return
	}
	l := limits()
	if m.wornBy, m.wornWhy = l.reached(m.share, m.wear(l, now)); m.wornBy != "" {
		close(m.worn)
	}
}

// worn blocks until the worker in service has reached a limit, and for ever once
// that is known.
func (s *slot) worn() <-chan struct{} {
	if s.member == nil || s.recycle.due {
		return nil
	}
	return s.member.worn
}

// turn takes the pool's token for a recycling, and blocks for ever while none is
// due or a start is under way.
func (s *slot) turn() chan<- struct{} {
	if !s.recycle.due || s.recycle.waits || s.abort != nil {
		return nil
	}
	return s.pool.recycling
}

// recycle is the state of a slot whose worker has reached a limit.
type recycle struct {
	due   bool
	waits bool // until the timer: the new worker did not start
	token bool // the slot holds the pool's
}

// giveBack returns the token, if the slot holds it.
func (s *slot) giveBack() {
	if s.recycle.token {
		s.recycle.token = false
		<-s.pool.recycling
	}
}

// postpone leaves a worn worker in service when the new one did not start.
func (s *slot) postpone() {
	if s.recycle.due {
		s.recycle.waits = true
		s.timer.Reset(recycleRetry)
	}
}

// rested is the end of a wait: for the next start, or for the next try at a
// recycling.
func (s *slot) rested() {
	if s.recycle.waits {
		s.recycle.waits = false
		return
	}
	s.launch()
}
