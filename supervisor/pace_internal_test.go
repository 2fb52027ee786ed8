package supervisor

import (
	"math"
	"net/http"
	"testing"
	"time"
)

// leg is some seconds of a client's, looked at as often as the watch does.
type leg struct {
	seconds float64
	waited  bool
	moves   float64 // bytes per second
	pending int64   // at each look
}

func TestPace(t *testing.T) {
	const rate = 240
	for _, c := range []struct {
		name string
		legs []leg
		late float64 // seconds after which it is; 0: never
	}{
		{"nothing", []leg{{60, true, 0, 0}}, 5},
		{"a byte a minute", []leg{{60, true, 1.0 / 60, 0}}, 5},
		{"half of it", []leg{{60, true, rate / 2, 0}}, 10},
		{"the rate", []leg{{600, true, rate, 0}}, 0},
		{"more", []leg{{600, true, 10 * rate, 0}}, 0},
		{"not waited for", []leg{{600, false, 0, 0}}, 0},
		{"not waited for, then silent", []leg{{600, false, 0, 0}, {60, true, 0, 0}}, 605},
		{"much, then silent", []leg{{1, true, 1e6, 0}, {60, true, 0, 0}}, 1 + 30},
		{"a little, then silent", []leg{{1, true, 2 * rate, 0}, {60, true, 0, 0}}, 7},
		{"much, then by half", []leg{{1, true, 1e6, 0}, {600, true, rate / 2, 0}}, 1 + 60},
		{"bursts behind a good start", []leg{
			{1, true, 40 * rate, 0}, {25, true, 0, 0}, {1, true, 40 * rate, 0}, {25, true, 0, 0}, {1, true, 40 * rate, 0},
		}, 0},
		{"a large write under way", []leg{{300, true, 0, 240 * rate}}, 245},
		{"a large write, taken", []leg{{200, true, 0, 240 * rate}, {0.02, false, 50 * 240 * rate, 0}, {29, true, 0, 1}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p pace
			var moved, clock float64
			for _, l := range c.legs {
				for range int(math.Round(l.seconds / watchEvery.Seconds())) {
					waited := time.Duration(0)
					if l.waited {
						waited = watchEvery
					}
					moved += l.moves * watchEvery.Seconds()
					clock += watchEvery.Seconds()
					if !p.late(waited, int64(moved), l.pending, rate) {
						continue
					}
					if c.late == 0 || math.Abs(clock-c.late) > 0.1 {
						t.Errorf("late after %.2f s, want %v", clock, c.late)
					}
					return
				}
			}
			if c.late != 0 && clock > c.late {
				t.Errorf("not late in %.2f s, want it after %v", clock, c.late)
			}
		})
	}
}

// Whatever the figures are, none makes a client late that was not waited for, and
// none overflows.
func TestPaceOfExtremes(t *testing.T) {
	for _, bytes := range []int64{0, 1, 1 << 32, math.MaxInt64, -1, math.MinInt64} {
		for _, rate := range []int64{1, 240, 1 << 20, math.MaxInt64} {
			d := timeAt(rate, bytes)
			if d < 0 || bytes <= 0 && d != 0 {
				t.Errorf("%d bytes at %d take %v", bytes, rate, d)
			}
			p := pace{behind: time.Hour}
			if p.late(0, bytes, 0, rate) {
				t.Errorf("late with %d bytes at %d and nothing to wait for", bytes, rate)
			}
		}
	}
	// The rate was off for a while: what moved then is no more than the credit.
	p := pace{}
	if p.late(watchEvery, 1<<40, 0, 1); p.behind < -paceCredit {
		t.Errorf("ahead by %v, want at most %v", -p.behind, paceCredit)
	}
}

// A tick that comes late charges no client with the time in between.
func TestLateTickChargesNobody(t *testing.T) {
	var l watchlist
	c := &call{r: new(http.Request), set: newSettings(BulkheadConfig{}, nil, nil)}
	c.headed.Store(true)
	c.writing.Store(1)
	l.add(c)
	now := time.Now()
	for range 10 {
		l.tick(now, 1<<20)
		now = now.Add(time.Minute)
	}
	if c.pace.behind > 10*paceStep {
		t.Errorf("behind by %v after 10 ticks", c.pace.behind)
	}
}

func TestHasOwnPace(t *testing.T) {
	for ct, want := range map[string]bool{
		"text/event-stream": true, "text/event-stream; charset=utf-8": true, "application/grpc": true, "application/grpc+proto": true,
		"application/json": false, "": false,
	} {
		if got := hasOwnPace(http.Header{"Content-Type": {ct}}); got != want {
			t.Errorf("%q: %v, want %v", ct, got, want)
		}
	}
	if hasOwnPace(http.Header{}) {
		t.Error("without a Content-Type")
	}
}

// BenchmarkWatchTick is a look at 1,000 calls, of which each waits for its client.
func BenchmarkWatchTick(b *testing.B) {
	for name, rate := range map[string]int64{"off": 0, "on": 240} {
		b.Run(name, func(b *testing.B) {
			var l watchlist
			set := newSettings(BulkheadConfig{IdleTimeout: time.Hour}, nil, nil)
			for range 1000 {
				c := &call{r: new(http.Request), set: set}
				c.headed.Store(true)
				c.writing.Store(relayBuffer)
				l.add(c)
			}
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				for _, c := range l.calls {
					c.moved.Add(1000)
				}
				now = now.Add(watchEvery)
				l.tick(now, rate)
			}
		})
	}
}
