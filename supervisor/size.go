package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/sizing"
)

// BulkheadEvidence is what was measured at one bulkhead, and how it is set: all
// that sizing.Advise needs, and Lint of a bulkhead.
type BulkheadEvidence struct {
	Bulkhead string          `json:"bulkhead"`
	Evidence sizing.Evidence `json:"evidence"`
	Setting  SizeSetting     `json:"setting"`
	Breaker  BreakerSetting  `json:"breaker"`
}

// SizeSetting is how large a bulkhead is, and what its workers take.
type SizeSetting struct {
	Limit          int     `json:"limit"`                 // the upper bound of one that follows the backend
	LimitLeast     int     `json:"limit_least,omitempty"` // and its lower one; 0: it is fixed
	Queue          int     `json:"queue"`
	QueueTimeoutMS float64 `json:"queue_timeout_ms"` // TIMEOUT, where that is shorter
	Workers        int     `json:"workers"`
	TimeoutMS      float64 `json:"timeout_ms"`
	UpgradeLimit   int     `json:"upgrade_limit"`
	UnchangedS     float64 `json:"unchanged_s"`               // since limit, queue or queue timeout last changed
	CPUPerRequest  float64 `json:"cpu_s_per_request"`         // of the workers, within the window; 0: not known
	Memory         uint64  `json:"workers_memory_bytes"`      // anonymous, of all of them now; 0: not known
	WorkerMemory   uint64  `json:"worker_memory_limit_bytes"` // hard, of each; 0: none
}

// BreakerSetting is how a bulkhead's breaker is set.
type BreakerSetting struct {
	WindowMS     float64 `json:"window_ms"`
	MinCalls     int     `json:"min_calls"`
	FailureRatio float64 `json:"failure_ratio"`
	SlowCallMS   float64 `json:"slow_call_ms"` // 0: off
	SlowRatio    float64 `json:"slow_ratio"`
	OpenForMS    float64 `json:"open_for_ms"`
	Mode         string  `json:"mode"`
}

// AdviceQuestion is what Size is asked. Zero values are the defaults of package
// sizing.
type AdviceQuestion struct {
	Window    time.Duration // of the evidence; 0: all there is, an hour at most
	Objective sizing.Objective
}

// SizeAdvice is the answer: a Report, and the advice as a curve.
type SizeAdvice struct {
	sizing.Report
	Objective SizeObjective  `json:"objective"`
	Setting   SizeSetting    `json:"setting"`
	Present   sizing.Point   `json:"present"` // the predicted one, on the curve
	Curve     []sizing.Point `json:"curve"`   // under other limits, in rising order of them
}

// SizeObjective is a sizing.Objective in JSON.
type SizeObjective struct {
	Refused float64 `json:"refused_share"`
	WaitP99 float64 `json:"wait_p99_ms"`
}

var (
	errNoBulkhead = errors.New("there is no such bulkhead") // a reload has taken it away meanwhile
	errAdviceBusy = errors.New("enough others wait for advice")
)

// Evidence is what was measured at a bulkhead within the last window of time; 0:
// an hour. It survives a reload, but neither a restart nor an upgrade.
func (s *Supervisor) Evidence(name string, window time.Duration) (BulkheadEvidence, error) {
	b := s.find(name)
	if b == nil {
		return BulkheadEvidence{}, fmt.Errorf("%w: %s", errNoBulkhead, name)
	}
	now := time.Now()
	b.observeSetting(now)
	b.observeCPU(now)
	return b.evidence(now, window), nil
}

func (b *Bulkhead) evidence(now time.Time, window time.Duration) BulkheadEvidence {
	set, sized := b.settings.Load(), b.sized.Load()
	e := BulkheadEvidence{
		Bulkhead: set.Name,
		Evidence: b.traffic.Evidence(now, window),
		Setting: SizeSetting{
			Limit: sized.setting.Limit, Queue: sized.setting.Queue, QueueTimeoutMS: millis(sized.setting.QueueTimeout),
			Workers: set.Workers, TimeoutMS: millis(set.Timeout), UpgradeLimit: set.UpgradeLimit,
			UnchangedS: now.Sub(sized.since).Seconds(), WorkerMemory: uint64(max(set.Worker.Memory, 0)),
		},
		Breaker: BreakerSetting{
			WindowMS: millis(set.Breaker.Window), MinCalls: set.Breaker.MinCalls, FailureRatio: set.Breaker.FailureRatio,
			SlowCallMS: millis(set.Breaker.SlowCall), SlowRatio: set.Breaker.SlowRatio, OpenForMS: millis(set.Breaker.OpenFor),
			Mode: string(b.breaker.Stats(now).Mode),
		},
	}
	if set.Adaptive.Mode == adaptive.Auto {
		e.Setting.LimitLeast = set.Adaptive.Least
	}
	e.Setting.CPUPerRequest = e.Evidence.CPUPerRequest().Seconds()
	for _, u := range b.usage.read(b.pool.Load().Status()) {
		e.Setting.Memory += u.memory
	}
	return e
}

// Question is e as sizing.Advise asks it, with no objective and no what-if.
func (e BulkheadEvidence) Question() sizing.Question {
	return sizing.Question{
		Evidence: e.Evidence,
		Present: sizing.Present{
			Bulkhead: e.Bulkhead,
			Setting: sizing.Setting{
				Limit: e.Setting.Limit, Queue: e.Setting.Queue, QueueTimeout: fromMillis(e.Setting.QueueTimeoutMS),
			},
			Workers: e.Setting.Workers, LimitLeast: e.Setting.LimitLeast,
		},
		Unchanged: time.Duration(e.Setting.UnchangedS * float64(time.Second)),
	}
}

// Sizing is the setting in the words of package sizing, of a bulkhead of a limit
// and a timeout.
func (s BreakerSetting) Sizing(limit int, timeout time.Duration) sizing.BreakerSetting {
	return sizing.BreakerSetting{
		Window: fromMillis(s.WindowMS), MinCalls: s.MinCalls, FailureRatio: s.FailureRatio, OpenFor: fromMillis(s.OpenForMS),
		SlowCall: fromMillis(s.SlowCallMS), Timeout: timeout, Limit: limit,
	}
}

// curvePoints is how many points the advice's curve has at most.
const curvePoints = 33

// Size is advice for a bulkhead from its evidence, computed roughly: it takes up
// to a second or two of one processor, in which the traffic has to do with the
// others. So there is one computation at a time, and the same question gets the
// same answer for 10 s. It waits for its turn until ctx is done; where too many do,
// not at all.
func (s *Supervisor) Size(ctx context.Context, name string, q AdviceQuestion) (SizeAdvice, error) {
	if s.find(name) == nil {
		return SizeAdvice{}, fmt.Errorf("%w: %s", errNoBulkhead, name)
	}
	return s.advisory.ask(ctx, adviceKey{name, q}, func() (SizeAdvice, error) {
		e, err := s.Evidence(name, q.Window)
		if err != nil {
			return SizeAdvice{}, err
		}
		question := e.Question()
		question.Objective, question.Rough = q.Objective.OrDefault(), true
		a := SizeAdvice{Report: sizing.Advise(question), Setting: e.Setting, Curve: sizing.Curve(question, curvePoints)}
		a.Objective = SizeObjective{question.Objective.Refused, millis(question.Objective.WaitP99)}
		a.Present = sizing.Point{Limit: e.Setting.Limit, Refused: a.Predicted.Refused, WaitP99: a.Predicted.WaitP99}
		a.Notes = append([]sizing.Note{}, a.Notes...) // [] and not null
		return a, nil
	})
}

const (
	adviceFresh = 10 * time.Second // how long an answer is good
	adviceRest  = 2                // times as long as a computation takes, until the next
	mostAdvice  = 256              // answers that are kept
	adviceLine  = 8                // questions under way; where each takes long, three have their turn within adviceWait
)

type adviceKey struct {
	bulkhead string
	question AdviceQuestion
}

// advisory computes advice, one at a time, and rests afterwards: whoever may read
// must not be able to take a processor from the traffic for good. What it has
// computed lately it tells at once, whoever computes or waits.
type advisory struct {
	turn   chan struct{} // holds one token, of who computes or rests
	line   chan struct{} // holds one of each that has it or waits for it
	rested time.Time     // of who has the turn

	mu   sync.Mutex
	kept map[adviceKey]keptAdvice
}

type keptAdvice struct {
	advice SizeAdvice
	at     time.Time
}

func newAdvisory() *advisory {
	return &advisory{turn: make(chan struct{}, 1), line: make(chan struct{}, adviceLine), kept: make(map[adviceKey]keptAdvice)}
}

func (a *advisory) ask(ctx context.Context, key adviceKey, compute func() (SizeAdvice, error)) (SizeAdvice, error) {
	if advice, ok := a.known(key); ok {
		return advice, nil
	}
	select {
	case a.line <- struct{}{}:
		defer func() { <-a.line }()
	default:
		return SizeAdvice{}, errAdviceBusy
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return SizeAdvice{}, context.Cause(ctx)
	}
	if advice, ok := a.known(key); ok { // by who had the turn before
		return advice, nil
	}
	if rest := time.Until(a.rested); rest > 0 && !sleep(ctx, rest) {
		return SizeAdvice{}, context.Cause(ctx)
	}
	begun := time.Now()
	advice, err := compute()
	now := time.Now()
	a.rested = now.Add(adviceRest * now.Sub(begun))
	if err == nil {
		a.keep(key, keptAdvice{advice, now})
	}
	return advice, err
}

func (a *advisory) known(key adviceKey) (SizeAdvice, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	kept, ok := a.kept[key]
	return kept.advice, ok && time.Since(kept.at) < adviceFresh
}

func (a *advisory) keep(key adviceKey, advice keptAdvice) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.kept, func(_ adviceKey, k keptAdvice) bool { return advice.at.Sub(k.at) >= adviceFresh })
	if len(a.kept) < mostAdvice {
		a.kept[key] = advice
	}
}

// Bounds of a recording.
const (
	MinRecord = time.Second
	MaxRecord = time.Hour

	recordGrace = 30 * time.Second // for what is in flight at the end
)

// Record writes what happens at a bulkhead's limiter for a span of time to w, as
// a trace that sizing.ReadTrace reads. It ends early when ctx does.
func (s *Supervisor) Record(ctx context.Context, name string, span time.Duration, w io.Writer) error {
	b := s.find(name)
	if b == nil {
		return fmt.Errorf("%w: %s", errNoBulkhead, name)
	}
	now := time.Now()
	set := b.setting(now)
	_, err := b.traffic.Record(ctx, w, sizing.TraceHeader{
		Bulkhead: name, Began: now, Limit: set.Limit, Queue: set.Queue, QueueTimeout: millis(set.QueueTimeout),
	}, span, recordGrace)
	return err
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func fromMillis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
