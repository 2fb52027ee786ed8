package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Mode is how a service behaves.
type Mode string

const (
	Up           Mode = "up"             // answers
	Down         Mode = "down"           // refuses connects; open connections are reset
	Hang         Mode = "hang"           // accepts and does not answer; up again, it answers all at once
	Slow         Mode = "slow"           // answers Delay later
	Errors       Mode = "errors"         // 500 with an HTML page or 503 with JSON, nothing done
	Garbage      Mode = "garbage"        // does the work and answers bytes that are not HTTP
	ResetMidBody Mode = "reset-mid-body" // does the work, sends half of the body and resets
)

// Modes are all modes.
func Modes() []Mode { return []Mode{Up, Down, Hang, Slow, Errors, Garbage, ResetMidBody} }

const defaultDelay = 2 * time.Second

// MaxDelay is the longest Delay of a Fault.
const MaxDelay = 10 * time.Minute

// Fault is a setting of the switch. The zero value is Up.
type Fault struct {
	Mode  Mode
	Rate  float64       // share of requests that it takes, up to 1; 0 is all. Not for Up and Down.
	Delay time.Duration // of Slow; 0 is 2 s
}

func (f Fault) check() (Fault, error) {
	if f.Mode == "" {
		f.Mode = Up
	}
	if f.Rate == 0 || f.Mode == Up || f.Mode == Down {
		f.Rate = 1
	}
	if f.Mode != Slow {
		f.Delay = 0
	} else if f.Delay == 0 {
		f.Delay = defaultDelay
	}
	switch {
	case !slices.Contains(Modes(), f.Mode):
		return f, fmt.Errorf("mode %q: want one of %v", f.Mode, Modes())
	case !(f.Rate > 0 && f.Rate <= 1):
		return f, fmt.Errorf("rate %v: want above 0 and at most 1", f.Rate)
	case f.Delay < 0 || f.Delay > MaxDelay:
		return f, fmt.Errorf("delay %v: want 0 to %v", f.Delay, MaxDelay)
	}
	return f, nil
}

// values is f as POST /fault takes it.
func (f Fault) values() url.Values {
	v := url.Values{"mode": {string(f.Mode)}}
	if f.Rate != 0 {
		v.Set("rate", strconv.FormatFloat(f.Rate, 'g', -1, 64))
	}
	if f.Delay != 0 {
		v.Set("delay", f.Delay.String())
	}
	return v
}

func faultOf(v url.Values) (Fault, error) {
	f := Fault{Mode: Mode(v.Get("mode"))}
	if f.Mode == "" {
		return f, fmt.Errorf("mode is missing: want one of %v", Modes())
	}
	var err error
	if s := v.Get("rate"); s != "" {
		if f.Rate, err = strconv.ParseFloat(s, 64); err != nil || f.Rate == 0 {
			return f, fmt.Errorf("rate %q: want above 0 and at most 1", s)
		}
	}
	if s := v.Get("delay"); s != "" {
		if f.Delay, err = time.ParseDuration(s); err != nil {
			return f, fmt.Errorf("delay %q: want a duration such as 1500ms", s)
		}
	}
	return f.check()
}

// MarshalJSON writes the delay as "2s".
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"mode": f.Mode, "rate": f.Rate, "delay": f.Delay.String()})
}

var (
	errStopped = errors.New("demo: the service stops")
	errDown    = errors.New("demo: the service is down")
)

// faults is the switch as requests see it. A change is one store, so a request
// sees one setting or the other; those that wait are woken to look again.
type faults struct {
	now     atomic.Pointer[setting]
	stopped chan struct{}
	once    sync.Once
}

type setting struct {
	Fault
	changed chan struct{} // closed when another setting holds
}

func newFaults() *faults {
	f := &faults{stopped: make(chan struct{})}
	f.now.Store(&setting{Fault: Fault{Mode: Up, Rate: 1}, changed: make(chan struct{})})
	return f
}

func (f *faults) set(to Fault) {
	was := f.now.Swap(&setting{Fault: to, changed: make(chan struct{})})
	close(was.changed)
}

// stop ends all waiting for good.
func (f *faults) stop() { f.once.Do(func() { close(f.stopped) }) }

// begin keeps a request as long as the service takes to come to it, and returns
// the fault that its answer suffers. draw, in [0, 1), decides whether a fault for a
// share of requests takes this one.
func (f *faults) begin(ctx context.Context, draw float64, usual time.Duration) (Fault, error) {
	if _, err := f.wait(ctx, nil, usual); err != nil {
		return Fault{}, err
	}
	for {
		s := f.now.Load()
		if draw >= s.Rate {
			return Fault{Mode: Up}, nil
		}
		switch s.Mode {
		case Hang:
			if _, err := f.wait(ctx, s.changed, MaxDelay); err != nil {
				return Fault{}, err
			}
		case Down:
			return Fault{}, errDown // what it has not begun is lost
		case Slow:
			if changed, err := f.wait(ctx, s.changed, s.Delay); !changed {
				return s.Fault, err
			}
		default:
			return s.Fault, nil
		}
	}
}

// finish keeps a request whose work is done for the rest of its usual time, and
// while the service hangs.
func (f *faults) finish(ctx context.Context, draw float64, usual time.Duration) error {
	_, err := f.wait(ctx, nil, usual)
	for err == nil {
		s := f.now.Load()
		if s.Mode != Hang || draw >= s.Rate {
			return nil
		}
		_, err = f.wait(ctx, s.changed, MaxDelay)
	}
	return err
}

// wait waits for d or, if that comes first, for changed.
func (f *faults) wait(ctx context.Context, changed <-chan struct{}, d time.Duration) (bool, error) {
	if d <= 0 {
		return false, ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return false, nil
	case <-changed:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-f.stopped:
		return false, errStopped
	}
}
