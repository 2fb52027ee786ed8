package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/metronome"
)

// DrillMode is a fault that a drill causes in one bulkhead of the system that
// runs, to see that the others do not notice.
type DrillMode string

const (
	DrillKill        DrillMode = "kill"                          // every second all its workers get SIGKILL
	DrillFreeze      DrillMode = "freeze"                        // one of its workers gets SIGSTOP
	DrillLeak                  = DrillMode(ipc.DrillLeak)        // its workers take memory
	DrillBackendDown           = DrillMode(ipc.DrillBackendDown) // its backend seems to refuse connections
	DrillBackendSlow           = DrillMode(ipc.DrillBackendSlow) // its backend seems to take too long for the breaker
	DrillGarbage               = DrillMode(ipc.DrillGarbage)     // its backend seems to answer what is not HTTP
	DrillFallback    DrillMode = "fallback"                      // no fault: its fallbacks are compared with its live answers
)

// DrillModes is every DrillMode.
func DrillModes() []DrillMode {
	return []DrillMode{DrillKill, DrillFreeze, DrillLeak, DrillBackendDown, DrillBackendSlow, DrillGarbage, DrillFallback}
}

// DrillWords is every DrillMode in a sentence.
func DrillWords() string {
	var words []string
	for _, m := range DrillModes() {
		words = append(words, string(m))
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// ofBackend reports whether the fault seems to be the backend's.
func (m DrillMode) ofBackend() bool {
	return m == DrillBackendDown || m == DrillBackendSlow || m == DrillGarbage
}

// DrillPlan is what a drill does.
type DrillPlan struct {
	Mode DrillMode
	For  time.Duration // MinDrill to MaxDrill

	// Of DrillFallback alone.
	Share    float64 // of the GET requests that are looked at; above 0, at most 1
	Coverage float64 // of the repeated ones that must have a fallback; 0 to 1
	Give     bool    // their clients get the fallbacks, once the live answers are there
}

// What a drill of fallbacks does when nothing else is asked for.
const (
	DefaultDrillShare    = 0.1
	DefaultDrillCoverage = 0.9
)

const (
	MinDrill = time.Second      // that a fault lasts
	MaxDrill = 10 * time.Minute // that it may last

	drillBefore   = 5 * time.Second  // of watching, for something to compare with
	drillAfter    = 2 * time.Second  // at least
	recoverMargin = 10 * time.Second // beyond OPEN_FOR
	recoverAtMost = time.Minute

	// DrillOverhead is how long a drill may take besides its fault.
	DrillOverhead = drillBefore + recoverAtMost + drillAfter + 10*time.Second
)

// drillToken lets one drill run at a time, and none beside what outranks it.
type drillToken struct {
	mu     sync.Mutex
	end    context.CancelCauseFunc // of the one that runs; nil: none does
	barred int
}

// bar ends the drill that runs, and lets none begin until unbar is called.
func (t *drillToken) bar(why string) (unbar func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.barred++
	if t.end != nil {
		t.end(errors.New("ended early: " + why))
	}
	return func() {
		t.mu.Lock()
		t.barred--
		t.mu.Unlock()
	}
}

// take begins a drill, under the lock of what it must not run beside.
func (t *drillToken) take(ctx context.Context, operate *sync.Mutex) (_ context.Context, free func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.end != nil:
		return nil, nil, errors.New("another drill runs")
	case t.barred > 0 || !operate.TryLock():
		return nil, nil, errors.New("another operation is under way")
	}
	ctx, t.end = context.WithCancelCause(ctx)
	return ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.end(nil)
		t.end = nil
		operate.Unlock()
	}, nil
}

// Drill causes the fault of p in one bulkhead, watches all of them before, during
// and after it, and judges whether what bulkheads promise held. It is refused unless all is well to begin with. When ctx ends,
// and when any other operation or the end of the supervisor wants to begin, the
// fault ends and nothing is judged. The report has a DrillResult once the fault
// has begun, and an error unless its verdict is VerdictHeld.
func (s *Supervisor) Drill(ctx context.Context, name string, p DrillPlan) Report {
	ctx, free, err := s.drill.take(ctx, &s.operate)
	if err != nil {
		return Report{Action: "drill", Bulkheads: []string{name}, Error: "refused: " + err.Error()}
	}
	defer free()
	var result *DrillResult // nil: it did not begin
	r := s.report(ctx, "drill", name, func(b *Bulkhead) (string, error) {
		d := &drill{s: s, bulkhead: b, plan: p, fault: newDrillFault(b, p)}
		if err := d.unfit(); err != nil {
			return "", fmt.Errorf("refused: %w", err)
		}
		if result, err = d.run(ctx); err != nil {
			return "", err
		}
		return result.summary(), result.failure()
	})
	r.DrillResult = result
	return r
}

// unfit is why no drill may begin: what is hurt already proves nothing, and is
// not to be hurt more.
func (d *drill) unfit() error {
	if state := *d.s.state.Load(); state != stateReady {
		return fmt.Errorf("the supervisor is %s", state)
	}
	bulkheads := d.s.bulkheads()
	if d.plan.Mode == DrillFallback {
		if err := d.bulkhead.rehearsable(); err != nil {
			return err
		}
	} else if len(bulkheads) < 2 {
		return errors.New("this bulkhead has no sibling: there is nobody who must not notice")
	}
	for _, b := range bulkheads {
		name := b.settings.Load().Name
		if health, why := b.health(b.pool.Load().Status()); health != "ready" {
			return fmt.Errorf("%s is %s %s", name, health, why)
		}
		if st := b.breaker.Stats(time.Now()); !admitsAll(st.State) {
			return fmt.Errorf("the breaker of %s is %s: %s", name, st.State, st.Why)
		}
	}
	return nil
}

// admitsAll reports whether a breaker is well, by what it or an operator thinks.
func admitsAll(s breaker.State) bool {
	return s == breaker.StateClosed || s == breaker.StateObserveClosed || s == breaker.StateForcedClosed
}

// drill is one that runs. It belongs to one goroutine.
type drill struct {
	s        *Supervisor
	bulkhead *Bulkhead
	plan     DrillPlan
	fault    *drillFault

	all       []*Bulkhead // as they were when it began
	metronome *metronome.Metronome

	begun, ended time.Time // of the fault
	opened       bool
	openedAfter  time.Duration // of begun
	recovered    bool
	afterwards   time.Duration // until it was, from ended
}

// run is the whole drill. The error is why it did not begin.
func (d *drill) run(ctx context.Context) (*DrillResult, error) {
	defer d.watch()()
	if !sleep(ctx, drillBefore) {
		return nil, context.Cause(ctx)
	}
	if err := d.unfit(); err != nil { // it may have changed
		return nil, fmt.Errorf("refused: %w", err)
	}
	log := d.s.log.With("bulkhead", d.bulkhead.settings.Load().Name, "mode", string(d.plan.Mode))
	log.Warn("drill begins", "for", d.plan.For.String())
	d.begun = time.Now()
	for _, b := range d.all {
		minute, _ := b.stats.latency.Snapshot(d.begun)
		b.stats.drill.Load().compare(minute, d.begun)
	}
	d.metronome.Cut(faultPhase)
	if err := d.fault.begin(ctx); err != nil {
		d.fault.end()
		return nil, err
	}
	d.play(ctx)
	d.fault.end()
	d.ended = time.Now()
	for _, b := range d.all {
		b.stats.drill.Load().cut(d.ended)
	}
	d.metronome.Cut("")
	log.Warn("drill ended: its fault is over", "took_ms", d.ended.Sub(d.begun).Milliseconds())
	if ctx.Err() == nil {
		d.recover(ctx)
	}
	r := d.result()
	if ctx.Err() != nil {
		r.interrupted(context.Cause(ctx))
	}
	return r, nil
}

// watch has every bulkhead note its requests until the function it returns is
// called.
func (d *drill) watch() (stop func()) {
	d.all = d.s.bulkheads()
	now := time.Now()
	for _, b := range d.all {
		b.stats.drill.Store(newRecorder(now))
	}
	d.bulkhead.drilling.Store(&d.plan.Mode)
	d.metronome = metronome.Start()
	return func() {
		d.metronome.Stop()
		d.bulkhead.drilling.Store(nil)
		for _, b := range d.all {
			b.stats.drill.Store(nil)
		}
	}
}

const (
	drillLook  = 10 * time.Millisecond
	drillAgain = time.Second // the fault is renewed
)

// play lets the fault last.
func (d *drill) play(ctx context.Context) {
	ctx, cancel := context.WithDeadline(ctx, d.begun.Add(d.plan.For))
	defer cancel()
	before := d.bulkhead.breaker.Stats(d.begun).Transitions
	for next := d.begun; ; {
		now := time.Now()
		if !now.Before(next) {
			d.fault.renew(ctx)
			next = next.Add(drillAgain)
		}
		st := d.bulkhead.breaker.Stats(now).Transitions
		if !d.opened && (st[breaker.StateOpen] > before[breaker.StateOpen] || st[breaker.StateObserveOpen] > before[breaker.StateObserveOpen]) {
			d.opened, d.openedAfter = true, now.Sub(d.begun)
		}
		if !sleep(ctx, drillLook) {
			return
		}
	}
}

// recover waits until the bulkhead is as it was.
func (d *drill) recover(ctx context.Context) {
	late, cancel := context.WithTimeout(ctx, min(d.bulkhead.settings.Load().Breaker.OpenFor+recoverMargin, recoverAtMost))
	defer cancel()
	for !d.isWell() {
		if !sleep(late, drillLook) {
			return
		}
	}
	d.recovered, d.afterwards = true, time.Since(d.ended)
	sleep(ctx, drillAfter-d.afterwards)
}

func (d *drill) isWell() bool {
	p := d.bulkhead.pool.Load()
	health, _ := d.bulkhead.health(p.Status())
	return health == "ready" && !p.Dying() && admitsAll(d.bulkhead.breaker.Stats(time.Now()).State)
}
