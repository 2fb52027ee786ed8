package story

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/cmd/coordinator/internal/load"
	"commerce.example/coordinator/supervisor/hdr"
	"commerce.example/coordinator/supervisor/metronome"
)

// Figures are what the callers of one bulkhead saw in one phase. A request belongs
// to the phase in which it was due, whenever it was answered.
type Figures struct {
	Bulkhead string         `json:"bulkhead"`
	Requests int            `json:"requests"`
	Errors   int            `json:"errors"` // no answer, or one with a status of 400 and above
	P50      float64        `json:"p50_ms"` // of all, errors too
	P99      float64        `json:"p99_ms"`
	Reasons  map[string]int `json:"reasons"` // of the errors

	// All are the latencies themselves, of which percentiles of longer spans are
	// made. Nil is none.
	All *hdr.Histogram `json:"-"`
}

const (
	longest = 10 * time.Minute // bounds a play
	conns   = 256              // twice what a bulkhead can have in flight and in its queue
	// settleIn bounds the wait for the answers of a phase.
	settleIn = demo.Timeout + 3*time.Second
)

// traffic is the callers of the three bulkheads.
type traffic struct {
	generators map[demo.Kind]*load.Generator
	metronome  *metronome.Metronome
	stopped    sync.Once
}

func startTraffic(ctx context.Context, url string, rate float64) (*traffic, error) {
	t := &traffic{generators: map[demo.Kind]*load.Generator{}}
	for i, kind := range Cast() {
		g, err := load.Start(ctx, load.Options{
			Target: target(kind, url), Rate: rate, Poisson: true, Seed: uint64(i) + 1, For: longest, Conns: conns,
		})
		if err != nil {
			t.stop()
			return nil, err
		}
		t.generators[kind] = g
	}
	t.metronome = metronome.Start()
	return t, nil
}

// target is what the users of a service ask for.
func target(kind demo.Kind, url string) load.Target {
	at := url + demo.Route(string(kind))
	switch kind {
	case demo.Orders:
		return load.Target{Name: string(kind), URL: at + "?page=1&page_size=5&username=" + demo.Username(7)}
	case demo.Catalog:
		return load.Target{Name: string(kind), URL: at + "?page_size=12"}
	}
	return load.Target{
		Name: string(kind), Method: http.MethodPost, URL: at,
		Header: http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"story-{n}"}},
		Body:   []byte(`{"order":"STORY-{n}","amount":"12.50","currency":"EUR"}`),
	}
}

func (t *traffic) cut(phase string) {
	for _, g := range t.generators {
		g.Cut(phase)
	}
	t.metronome.Cut(phase)
}

func (t *traffic) stop() {
	t.stopped.Do(func() {
		for _, g := range t.generators {
			g.Stop()
		}
		if t.metronome != nil {
			t.metronome.Stop()
		}
	})
}

// phase is that part of a generator's figures; of several with that name the last.
func phase(g *load.Generator, name string) *load.Result {
	for _, r := range slices.Backward(g.Phases()) {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// settle waits until every request of the phase has ended.
func (t *traffic) settle(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, settleIn)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for _, kind := range Cast() {
		for {
			r := phase(t.generators[kind], name)
			if r.Sent == r.Done+r.TransportErrors()+r.Canceled {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("story: %s: requests without an end: %w", kind, context.Cause(ctx))
			}
		}
	}
	return nil
}

// Lateness is how late the machine let a goroutine run that only waits for the
// clock.
type Lateness struct {
	P99  float64 `json:"late_p99_ms"`
	P998 float64 `json:"late_p998_ms"` // what can excuse a latency (metronome.Excuse)
}

func (t *traffic) late(phase string) Lateness {
	return Lateness{P99: milliseconds(t.metronome.Late(phase, 0.99)), P998: milliseconds(t.metronome.Late(phase, metronome.Excuse))}
}

// figures fills in what the callers saw in that phase.
func (t *traffic) figures(p *Phase) {
	p.Bulkheads = nil
	for _, kind := range Cast() {
		r := phase(t.generators[kind], p.Name)
		p.From, p.To = r.From.Seconds(), r.To.Seconds()
		p.Bulkheads = append(p.Bulkheads, figuresOf(string(kind), r))
	}
	p.Late = t.late(p.Name)
}

func figuresOf(bulkhead string, r *load.Result) Figures {
	f := Figures{
		Bulkhead: bulkhead, Requests: r.Due,
		P50: milliseconds(r.All.Quantile(0.5)), P99: milliseconds(r.All.Quantile(0.99)),
		Reasons: maps.Clone(r.Reasons), All: r.All,
	}
	refused, explained := 0, 0
	for status, n := range r.Status {
		if status >= 400 {
			refused += n
		}
	}
	for _, n := range r.Reasons {
		explained += n
	}
	for kind, n := range r.Errors {
		f.Reasons["no_answer_"+kind] = n
	}
	if r.Dropped > 0 {
		f.Reasons["never_sent"] = r.Dropped
	}
	if own := refused - explained; own > 0 {
		f.Reasons["backend_answered"] = own // with an error of its own
	}
	f.Errors = refused + r.TransportErrors() + r.Dropped
	return f
}

// created is how many payments were answered as made.
func (t *traffic) created() int {
	return t.generators[demo.Payments].Snapshot().Status[http.StatusCreated]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
