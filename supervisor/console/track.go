package console

import (
	"strconv"
	"time"
)

// Reading is what a Feed is given at a tick.
type Reading struct {
	Shown     any        // of the supervisor; nil while nobody listens
	Bulkheads []Bulkhead // in the order to show them, each name once
}

// Bulkhead is one bulkhead's part of a Reading. The counters only grow; one that
// is less than before was started anew from 0.
type Bulkhead struct {
	Name     string
	Requests uint64 // that are over
	Failed   uint64 // of these: 5xx that were not refusals
	Refused  uint64 // of these: never left the coordinator, and their clients were told so
	Fallback uint64 // of these: answered in the backend's place

	InFlight, Queued int
	P50, P99         time.Duration // of the last seconds; 0: no requests

	Shown any // sent as it is, as JSON; nil while nobody listens
}

// What a row of the history has, in this order.
var columns = [...]string{"requests", "failed", "refused", "fallback", "p50_ms", "p99_ms", "in_flight", "queued"}

type row [len(columns)]float32

// append writes r as JSON, three digits of each figure.
func (r *row) append(to []byte) []byte {
	for i, figure := range r {
		to = append(to, "[,"[min(i, 1)])
		to = strconv.AppendFloat(to, float64(figure), 'g', 3, 32)
	}
	return append(to, ']')
}

// counters are a Bulkhead's at one moment.
type counters struct {
	at                                  time.Time
	requests, failed, refused, fallback uint64
}

// perSecond is how fast they grew since before: requests, failed, refused and
// fallback.
func (c *counters) perSecond(before *counters) (rates [4]float64) {
	elapsed := c.at.Sub(before.at).Seconds()
	if elapsed <= 0 {
		return rates
	}
	grown := func(now, then uint64) float64 {
		if now < then { // anew
			then = 0
		}
		return float64(now-then) / elapsed
	}
	return [4]float64{
		grown(c.requests, before.requests), grown(c.failed, before.failed),
		grown(c.refused, before.refused), grown(c.fallback, before.fallback),
	}
}

// rateTicks is how many ticks the present rates cover: 10 s, as long as a breaker
// looks back by default.
const rateTicks = 20

// A track is what a Feed remembers of one bulkhead.
type track struct {
	marks [rateTicks + 1]counters // at the last ticks, from when it came; a ring
	ticks int                     // marks that were ever put into it
	now   [4]float64              // rates over marks

	rows    [Kept]row // a ring
	samples int       // that were ever put into it
	sampled counters  // at the last of them

	mostInFlight, mostQueued int // since then
	p50, p99                 time.Duration

	encoded []byte // what listeners know of it
}

// note takes the counters of a tick.
func (t *track) note(b *Bulkhead, now time.Time) {
	mark := counters{now, b.Requests, b.Failed, b.Refused, b.Fallback}
	if t.ticks == 0 { // a tick ago there was nothing of it
		t.sampled = counters{at: now.Add(-Tick)}
		t.marks[0] = t.sampled
		t.ticks++
	}
	t.marks[t.ticks%len(t.marks)] = mark
	t.ticks++
	oldest := &t.marks[max(t.ticks-len(t.marks), 0)%len(t.marks)]
	t.now = mark.perSecond(oldest)
	t.mostInFlight, t.mostQueued = max(t.mostInFlight, b.InFlight), max(t.mostQueued, b.Queued)
	t.p50, t.p99 = b.P50, b.P99
}

// sample closes a row, at the tick that note was told of last.
func (t *track) sample() *row {
	mark := t.marks[(t.ticks-1)%len(t.marks)]
	rates := mark.perSecond(&t.sampled)
	r := &t.rows[t.samples%Kept]
	for i, rate := range rates {
		r[i] = float32(rate)
	}
	r[4], r[5] = milliseconds(t.p50), milliseconds(t.p99)
	r[6], r[7] = float32(t.mostInFlight), float32(t.mostQueued)
	t.samples++
	t.sampled, t.mostInFlight, t.mostQueued = mark, 0, 0
	return r
}

func milliseconds(d time.Duration) float32 { return float32(d.Seconds() * 1000) }

// history writes the rows that are kept as a JSON array, the oldest first.
func (t *track) history(to []byte) []byte {
	to = append(to, '[')
	for i := max(0, t.samples-Kept); i < t.samples; i++ {
		if to[len(to)-1] != '[' {
			to = append(to, ',')
		}
		to = t.rows[i%Kept].append(to)
	}
	return append(to, ']')
}
