package breaker

import (
	"fmt"
	"sync"
	"time"
)

// Breaker decides whether to call a backend by how its calls went. It is safe
// for concurrent use, allocates nothing per call, and runs no goroutine and no
// timer. Make one with New.
//
// Every method takes the present time. Times that run backwards do no harm.
type Breaker struct {
	mu          sync.Mutex
	settings    Settings
	mode        Mode
	phase       State // StateClosed, StateOpen or StateHalfOpen: what Auto makes of the calls
	generation  uint64
	since       time.Time
	why         string
	window      window  // while closed
	probing     probing // while half-open
	transitions [NumStates]uint64
}

// New returns a closed Breaker in mode Auto. It panics on senseless settings.
func New(s Settings, now time.Time) *Breaker {
	s.check()
	b := &Breaker{
		settings:   s,
		mode:       Auto,
		generation: 1, // 0 is the generation of calls that shall not count
		since:      now,
		why:        "new",
		window:     newWindow(s.Window, now, 1),
	}
	b.probing.resize(s.Probes)
	return b
}

// Peek reports whether a call would be admitted now. It takes no permit, so the
// answer of a later Admit may differ.
func (b *Breaker) Peek(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tick(now)
	switch b.state() {
	case StateOpen, StateForcedOpen:
		return false
	case StateHalfOpen:
		return b.probing.free(now) > 0
	}
	return true
}

// Admit asks for one call. When it returns true the caller makes the call and
// ends the Ticket with Done; when it returns false the Ticket is zero.
func (b *Breaker) Admit(now time.Time) (Ticket, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tick(now)
	if b.mode == Open {
		return Ticket{}, false
	}
	t := Ticket{breaker: b, begun: now, generation: b.generation}
	if b.phase == StateClosed {
		return t, true
	}
	if b.phase == StateHalfOpen && b.probing.free(now) > 0 {
		t.probe = b.probing.take(now)
		return t, true
	}
	if b.mode == Observe {
		t.generation = 0 // in Auto it would not have been made
		return t, true
	}
	return Ticket{}, false
}

// SetMode changes who decides. In a new mode the breaker starts closed with an
// empty window, and calls in flight no longer count; the present mode changes
// nothing. It panics on a mode that does not exist.
func (b *Breaker) SetMode(now time.Time, m Mode) {
	why := "mode set to " + string(m)
	switch m {
	case Auto, Open, Closed, Observe:
	default:
		panic("breaker: " + why)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tick(now)
	if m == b.mode {
		return
	}
	b.mode = m
	b.enter(now, StateClosed, why)
}

// Configure puts other settings in force. State, mode and counts stay, except
// that another Window starts empty. What the calls so far mean under the new
// settings is decided at once. It panics on senseless settings.
func (b *Breaker) Configure(now time.Time, s Settings) {
	s.check()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tick(now)
	if s.Window != b.settings.Window {
		b.window = newWindow(s.Window, now, b.window.next())
	}
	b.settings = s
	b.probing.resize(s.Probes)
	b.decide(now)
}

// tick does what time alone does: calls leave the window, open becomes
// half-open. Whichever method comes first sees it happen, so it is booked at the
// time it was due. A clock set back must not keep the breaker open for longer
// than OpenFor.
func (b *Breaker) tick(now time.Time) {
	b.window.advance(now)
	if b.phase != StateOpen {
		return
	}
	if now.Before(b.since) {
		b.since = now
	}
	if now.Sub(b.since) >= b.settings.OpenFor {
		b.enter(b.since.Add(b.settings.OpenFor), StateHalfOpen, fmt.Sprintf("was open for %v", b.settings.OpenFor))
	}
}

// decide moves the machine if the results ask for it.
func (b *Breaker) decide(now time.Time) {
	if b.mode == Closed {
		return
	}
	switch b.phase {
	case StateClosed:
		if why := b.alarm(); why != "" {
			b.enter(now, StateOpen, why)
		}
	case StateHalfOpen:
		results := b.probing.results
		if results.calls < b.settings.Probes {
			return
		}
		if why := b.tooMany(results, "probes"); why != "" {
			b.enter(now, StateOpen, why)
			return
		}
		b.enter(now, StateClosed, b.failed(results, "probes"))
	}
}

// enter moves the machine. A new generation: outcomes of calls that were
// admitted before say nothing about the state that begins.
func (b *Breaker) enter(now time.Time, phase State, why string) {
	b.generation++
	b.phase, b.since, b.why = phase, now, why
	b.transitions[b.state()]++
	switch phase {
	case StateClosed:
		b.window.clear()
	case StateHalfOpen:
		b.probing.begin()
	}
}
