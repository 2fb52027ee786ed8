package sizing

import (
	"iter"
	"math/rand/v2"
	"time"

	"commerce.example/coordinator/supervisor/hdr"
)

// A Simulator puts visits through the admission of supervisor/limit: slots, one
// first-in first-out line of bounded length, a queue timeout that is the same for
// all. It is a discrete-event simulation without a random number of its own, so
// the same visits give the same result.
//
// Where several things fall on one instant they happen in this order: a slot
// comes free and goes to the head of the line; a wait is over; a visit arrives.
// That is the limiter's: who is granted a slot as the time runs out uses it.
//
// It takes memory for Limit slots and Queue places and the last holding times,
// however long the trace. Make one with NewSimulator. It is not safe for
// concurrent use.
type Simulator struct {
	setting Setting
	slots   departures
	line    []waiting // a ring
	head    int
	waiting int
	last    time.Duration

	known held // holding times for visits that were refused when they were recorded
	count struct{ arrivals, full, timedOut, gone int64 }
	waits hdr.Histogram
}

// waiting is a visit in line.
type waiting struct{ at, held time.Duration }

// NewSimulator returns an empty house. A negative number in s counts as 0.
func NewSimulator(s Setting) *Simulator {
	s.Limit, s.Queue = max(s.Limit, 0), s.places()
	return &Simulator{setting: s, known: newHeld()}
}

// Simulate is the Prediction of all visits put through s, in the order of their
// arrival.
func Simulate(visits iter.Seq[Visit], s Setting) Prediction {
	sim := NewSimulator(s)
	for v := range visits {
		sim.Arrive(v)
	}
	return sim.Finish()
}

// Arrive has one visit arrive, not before the one before it: an earlier time
// counts as that of the last. Only At, Held and Fate of v count; a visit of which
// nobody knows how long it would have held its slot takes that of a recent one.
// A visit whose caller left in the line is not simulated: it asked for less than
// a slot.
func (s *Simulator) Arrive(v Visit) {
	s.last = max(s.last, v.At)
	now := s.last
	s.advance(now)
	if v.Fate == Gone {
		s.count.gone++
		return
	}
	s.count.arrivals++
	hold := s.known.of(v)
	switch {
	case len(s.slots) < s.setting.Limit:
		s.admit(now, 0, hold)
	case s.waiting >= s.setting.Queue:
		s.count.full++
	default:
		s.join(waiting{at: now, held: hold})
	}
}

// Finish lets the line empty and returns the result. The Simulator is of no use
// after it.
func (s *Simulator) Finish() Prediction {
	s.advance(1<<63 - 1)
	n := float64(max(s.count.arrivals, 1))
	p := Prediction{
		Model:    ModelTrace,
		Full:     float64(s.count.full) / n,
		TimedOut: float64(s.count.timedOut) / n,
		Refused:  float64(s.count.full+s.count.timedOut) / n,
	}
	p.WaitMean, p.WaitP99 = unlessTiny(s.waits.Mean()), unlessTiny(s.waits.Quantile(0.99))
	return p
}

// forget starts the count anew, with the house as it is.
func (s *Simulator) forget() {
	s.count.arrivals, s.count.full, s.count.timedOut, s.count.gone = 0, 0, 0, 0
	s.waits = hdr.Histogram{}
}

// unlessTiny takes the least of the histogram for what it stands for.
func unlessTiny(d time.Duration) time.Duration {
	if d <= hdr.Lowest {
		return 0
	}
	return d
}

// advance lets happen what happens until now: slots that come free and waits that
// are over.
func (s *Simulator) advance(now time.Duration) {
	for len(s.slots) > 0 && s.slots[0] <= now {
		free := s.slots.pop()
		s.expire(free - 1)
		if s.waiting > 0 {
			w := s.leave()
			s.admit(free, free-w.at, w.held)
		}
	}
	s.expire(now)
}

// expire takes out of the line whose time is over by t. All wait equally long,
// so they are at its head.
func (s *Simulator) expire(t time.Duration) {
	for s.waiting > 0 && s.line[s.head].at <= t-s.setting.QueueTimeout {
		s.leave()
		s.count.timedOut++
	}
}

func (s *Simulator) admit(now, waited, hold time.Duration) {
	s.waits.Record(waited)
	s.slots.push(now + hold)
}

func (s *Simulator) join(w waiting) {
	if s.waiting == len(s.line) { // grows with use, to Queue at most
		grown := make([]waiting, min(max(16, 2*len(s.line)), s.setting.Queue))
		n := copy(grown, s.line[s.head:])
		copy(grown[n:], s.line[:s.head])
		s.line, s.head = grown, 0
	}
	s.line[(s.head+s.waiting)%len(s.line)] = w
	s.waiting++
}

func (s *Simulator) leave() waiting {
	w := s.line[s.head]
	s.head = (s.head + 1) % len(s.line)
	s.waiting--
	return w
}

// departures is a heap of the times at which slots come free, the next first.
type departures []time.Duration

func (d *departures) push(t time.Duration) {
	h := append(*d, t)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent] <= t {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = t
	*d = h
}

func (d *departures) pop() time.Duration {
	h := *d
	first, t := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	for i := 0; len(h) > 0; {
		child := 2*i + 1
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if child >= len(h) || t <= h[child] {
			h[i] = t
			break
		}
		h[i] = h[child]
		i = child
	}
	*d = h
	return first
}

// held remembers recent holding times for visits of which none is known.
type held struct {
	recent []time.Duration
	next   int
	pick   *rand.Rand
}

const recentHolds = 512

func newHeld() held { return held{pick: rand.New(rand.NewPCG(7, 11))} }

func (h *held) of(v Visit) time.Duration {
	if v.Fate != Served {
		if len(h.recent) == 0 {
			return 0
		}
		return h.recent[h.pick.IntN(len(h.recent))]
	}
	if len(h.recent) < recentHolds {
		h.recent = append(h.recent, v.Held)
	} else {
		h.recent[h.next] = v.Held
		h.next = (h.next + 1) % recentHolds
	}
	return max(v.Held, 0)
}
