package adaptive

import (
	"fmt"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
)

// Mode says who chooses a limit.
type Mode string

const (
	Fixed  Mode = ""       // the operator
	Auto   Mode = "auto"   // this package
	Advise Mode = "advise" // the operator; this package says what it would choose
)

// Settings are those of one bulkhead. The zero value is a fixed limit.
type Settings struct {
	Mode  Mode
	Least int // at least 1: what the backend can carry for certain
	Most  int // at least Least; what is in force in mode Advise
}

// String is as the variable has it, such as auto:8-64; fixed for the zero value.
func (s Settings) String() string {
	if s.Mode == Fixed {
		return "fixed"
	}
	return fmt.Sprintf("%s:%d-%d", s.Mode, s.Least, s.Most)
}

// Found is what a Limit has found, for the Limit of a process that takes its place.
// The zero value is nothing: it begins at Least.
type Found struct {
	Limit   int     `json:"limit"`
	Holding float64 `json:"holding_s"` // mean time of a request while it learned, in seconds; the shortest since Least
}

// Result is what became of a request.
type Result uint8

const (
	Served     Result = iota // its holding time is that of the backend
	Overloaded               // it ran out of time, or the backend said that it had too much
	Ignored                  // it says nothing about how much the backend can take
)

// State is what a Limit does.
type State string

const (
	Learning  State = "learning"   // what the backend takes with few in flight
	Following State = "following"  // holding times
	BackedOff State = "backed_off" // after timeouts, and on its way up again
	Blind     State = "blind"      // nothing: more is in flight than it advises, and has been for long
)

const (
	windowSamples = 100                    // holding times that make a median, at least
	windowMost    = 200                    // after which more of them would only cost
	windowTime    = 250 * time.Millisecond // that one takes, at least; the library takes 1 s
	windowTwice   = 30 * time.Second       // at most, where the shortest holding time is half of it; the library's
	warmUp        = 10                     // windows that are the library's baseline
	frozen        = ^uint(0)               // its age: what comes later weighs nothing
	uncorrelated  = 1                      // windows that the library would compare limits and times over

	judgeEvery = time.Second
	judgeLeast = 10               // requests that a judgement needs
	lately     = 30 * time.Second // how far back the last one may be to still say something

	overloadedShare = 0.1
	backOff         = 0.9 // that of the AIMD limit of Netflix's concurrency-limits
	slowerShare     = 1.1
	fasterShare     = 0.7
	fasterFor       = 10 // judgements
	believedFor     = time.Hour
)

// Limit finds a limit. It is safe for concurrent use. Make one with New.
type Limit struct {
	settings Settings
	set      func(limit int)

	mu       sync.Mutex
	stopped  bool
	library  adaptivelimiter.AdaptiveLimiter[any]
	learning int     // how often it has begun to learn: permits of an earlier library are worth nothing
	windows  int     // that the library has looked at
	samples  int     // of the present one
	learnAt  int     // the limit while it learns
	learned  mean    // holding time while it learned
	earlier  float64 // the same of the one before it, seconds; 0: there was none, or it has learned anew
	most     int     // of the limit, for as long as what it has learned stands
	ceiling  float64 // of the limit; below it the library decides
	inFlight int
	limit    int
	period   period
	faster   int // judgements in a row
	stuck    stay
	atBound  stay
}

// mean is that of durations, in seconds.
type mean struct{ sum, n float64 }

func (m *mean) add(d time.Duration) { m.sum += d.Seconds(); m.n++ }

func (m mean) value() float64 { return m.sum / max(m.n, 1) }

// period is what came since the last judgement.
type period struct {
	begun      time.Time
	ended      int
	overloaded int
	most       int // in flight
	samples    mean
}

// stay is how long a limit has stayed where it is while more was asked for.
type stay struct {
	since time.Time // zero: it has not
	limit int
}

// New makes a Limit that takes over from what was found before. set is told the limit
// whenever it changes, in mode Auto alone; it must not call back. New panics on bounds
// that are none.
func New(s Settings, from Found, set func(limit int)) *Limit {
	if s.Mode == Fixed || s.Least < 1 || s.Most < s.Least {
		panic("adaptive: a limit needs a mode and 1 <= Least <= Most")
	}
	l := &Limit{settings: s, set: set, ceiling: float64(s.Most), limit: min(max(from.Limit, s.Least), s.Most)}
	l.learn(l.limit)
	l.earlier = from.Holding
	return l
}

// InForce is the limit to enforce.
func (l *Limit) InForce() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.settings.Mode == Auto {
		return l.limit
	}
	return l.settings.Most
}

// Found is what a Limit that takes its place should know. It is nothing until it has
// learned, or was told, what the backend takes.
func (l *Limit) Found() Found {
	l.mu.Lock()
	defer l.mu.Unlock()
	holding := l.earlier
	if l.windows >= warmUp && (holding == 0 || l.learned.value() < holding) {
		holding = l.learned.value()
	}
	if holding == 0 {
		return Found{}
	}
	return Found{l.limit, holding}
}

// learn begins anew with a limit of at, which stands until the baseline does.
func (l *Limit) learn(at int) {
	l.learning++
	l.windows, l.samples, l.learnAt, l.learned, l.faster = 0, 0, at, mean{}, 0
	l.earlier, l.most = 0, l.settings.Most
	l.library = adaptivelimiter.NewBuilder[any]().
		WithLimits(uint(l.settings.Least), uint(l.settings.Most), uint(at)).
		WithRecentWindow(windowTime, windowTwice, windowSamples).
		WithRecentQuantile(0.5).
		WithBaselineWindow(frozen).
		WithCorrelationWindow(uncorrelated).
		WithMaxLimitFunc(l.looked).
		Build()
}

// looked is what the library calls once for each of its windows, to ask how far the
// limit may go. It runs within End or Sent, so mu is held.
func (l *Limit) looked(int) float64 {
	l.windows++
	l.samples = 0
	if l.windows == warmUp {
		l.compare()
	}
	if l.windows <= warmUp {
		return float64(l.learnAt)
	}
	return l.ceiling
}

// compare looks at what was learned at a limit that was taken over. If that is longer
// than what had been learned before, some of it was spent waiting, at that limit or in
// an incident: then it is no reason to go beyond that limit.
func (l *Limit) compare() {
	if l.earlier > 0 && l.learned.value() > slowerShare*l.earlier {
		l.most = l.learnAt
		l.ceiling = min(l.ceiling, float64(l.most))
	}
}

// Call is one request. The zero value is none, whose End does nothing.
type Call struct {
	limit    *Limit
	permit   adaptivelimiter.Permit // nil: nobody looks at it
	learning int
	begun    time.Time
	sample   bool
}

// Begin is for a request that has got its slot.
func (l *Limit) Begin(now time.Time) Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight++
	l.period.most = max(l.period.most, l.inFlight)
	c := Call{limit: l, learning: l.learning, begun: now}
	if l.inFlight > l.limit { // it has shrunk since, or is only an advice
		return c
	}
	if permit, ok := l.library.TryAcquirePermit(); ok {
		c.permit, c.sample = permit, l.windows < warmUp || 2*l.inFlight >= l.limit
	}
	return c
}

// Sent is for when the backend gets it, where that is not at once: how long it takes
// counts from then on. The library measures from a permit, so it gets another.
func (c *Call) Sent(now time.Time) {
	l := c.limit
	if l == nil || c.permit == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.learning != l.learning {
		return
	}
	c.begun = now
	c.permit.Drop()
	c.permit, _ = l.library.TryAcquirePermit()
}

// End is for its end, before its slot is given back. A second End does nothing.
func (c *Call) End(now time.Time, r Result) {
	l := c.limit
	if l == nil {
		return
	}
	c.limit = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	if c.permit != nil && c.learning == l.learning {
		l.count(c, now, r)
	}
	l.judge(now)
	l.apply()
}

// count takes a call into the period, and tells the library.
func (l *Limit) count(c *Call, now time.Time, r Result) {
	l.period.ended++
	if r == Overloaded {
		l.period.overloaded++
	}
	if !c.sample || r != Served {
		c.permit.Drop()
		return
	}
	took := now.Sub(c.begun)
	l.period.samples.add(took)
	if l.windows < warmUp {
		l.learned.add(took)
	}
	if l.samples++; l.samples > windowMost {
		c.permit.Drop()
		return
	}
	c.permit.Record()
}

// judge looks at the requests of a second, if enough have ended.
func (l *Limit) judge(now time.Time) {
	if l.period.begun.IsZero() {
		l.period.begun = now
	}
	if now.Sub(l.period.begun) < judgeEvery || l.period.ended < judgeLeast {
		return
	}
	p := l.period
	l.period = period{begun: now, most: l.inFlight}
	if float64(p.overloaded) >= overloadedShare*float64(p.ended) {
		l.ceiling = max(float64(l.settings.Least), backOff*float64(l.limit))
	} else {
		l.ceiling = min(float64(l.most), l.ceiling+1)
	}
	if l.windows < warmUp {
		l.stuck, l.atBound = stay{}, stay{}
		return
	}
	pressed := p.most >= l.limit && now.Sub(p.begun) < lately
	l.atBound.look(now, pressed && (l.limit == l.settings.Least || l.limit == l.settings.Most), l.limit, 0)
	l.stuck.look(now, pressed && l.limit < l.settings.Most && l.settings.Mode == Auto, l.limit, max(2, l.limit/4))
	if p.samples.n >= windowSamples/2 {
		if p.samples.value() < fasterShare*l.learned.value() {
			l.faster++
			l.ceiling = min(l.ceiling, float64(l.limit)) // the library would take it for room
		} else {
			l.faster = 0
		}
	}
	switch {
	case l.faster >= fasterFor:
		l.learn(l.limit)
	case !l.stuck.since.IsZero() && now.Sub(l.stuck.since) >= believedFor:
		l.learn(l.settings.Least)
	}
}

// look begins to count anew when the limit is not held, or is further than within
// from where it was.
func (s *stay) look(now time.Time, held bool, limit, within int) {
	switch {
	case !held:
		*s = stay{}
	case s.since.IsZero(), limit > s.limit+within, limit < s.limit-within:
		*s = stay{now, limit}
	}
}

// apply puts the limit in force.
func (l *Limit) apply() {
	limit := min(l.library.Limit(), int(l.ceiling))
	if limit == l.limit {
		return
	}
	l.limit = limit
	if l.settings.Mode == Auto && !l.stopped {
		l.set(limit)
	}
}

// Stop has it never call set again. Calls may still end.
func (l *Limit) Stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
}

// Stats is a snapshot of a Limit.
type Stats struct {
	Settings
	Limit int // that it has chosen; in mode Advise it is not in force
	State State
	// AtBound is since when the limit has been at one of its bounds while as many
	// were in flight; zero: it has not, or nothing has ended lately.
	AtBound time.Time
}

// Stats returns a snapshot as of now.
func (l *Limit) Stats(now time.Time) Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Settings: l.settings, Limit: l.limit, State: Following}
	unjudged := !l.period.begun.IsZero() && now.Sub(l.period.begun) >= lately
	switch {
	case l.settings.Mode == Advise && l.inFlight > l.limit && unjudged:
		s.State = Blind
	case l.windows < warmUp:
		s.State = Learning
	case int(l.ceiling) < l.library.Limit():
		s.State = BackedOff
	}
	if !unjudged {
		s.AtBound = l.atBound.since
	}
	return s
}
