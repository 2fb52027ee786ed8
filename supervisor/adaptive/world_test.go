package adaptive_test

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
)

// A world is a bulkhead without a queue in front of a backend, in one goroutine of
// a synctest bubble: time passes when nobody has anything to do.
type world struct {
	t       *testing.T
	backend backend
	rate    float64       // requests per second, Poisson
	timeout time.Duration // 0: none
	hung    bool          // the backend takes requests and never answers

	limit    *adaptive.Limit
	inForce  int
	inFlight int

	random  *rand.Rand
	begun   time.Time
	arrival time.Time
	pending events
	figures
}

// A backend works on so many requests at a time, and the others wait in it.
type backend struct {
	capacity int
	takes    func(*rand.Rand) time.Duration
	busy     int
	line     []*request
}

// figures are what came since they were last set to zero.
type figures struct {
	answered, refused, timedOut, changes int
	least, most                          int // limit
	area                                 float64
	since                                time.Time
	held                                 []time.Duration
}

type request struct {
	call  adaptive.Call
	begun time.Time
	gone  bool
}

// An event is the end of work in the backend, or of a request's time.
type event struct {
	at      time.Time
	request *request
	timeout bool
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newWorld(t *testing.T, s adaptive.Settings, b backend, rate float64) *world {
	w := &world{t: t, backend: b, rate: rate, random: rand.New(rand.NewPCG(1, 2)), begun: time.Now()}
	w.begin(s, adaptive.Found{})
	w.clear()
	return w
}

// begin has another limit decide.
func (w *world) begin(s adaptive.Settings, from adaptive.Found) {
	w.limit = adaptive.New(s, from, func(limit int) {
		w.account(time.Now())
		w.inForce = limit
		w.changes++
	})
	w.inForce = w.limit.InForce()
}

// upgrade has another process take over. Requests in flight end in the old one.
func (w *world) upgrade(s adaptive.Settings) {
	w.account(time.Now())
	from := w.limit.Found()
	w.limit.Stop()
	w.begin(s, from)
}

func (w *world) clear() { w.figures = figures{least: w.inForce, most: w.inForce, since: time.Now()} }

// account adds the limit so far to its mean.
func (w *world) account(now time.Time) {
	w.area += float64(w.inForce) * now.Sub(w.since).Seconds()
	w.since = now
	w.least, w.most = min(w.least, w.inForce), max(w.most, w.inForce)
}

// run lets d pass, and returns what happened.
func (w *world) run(d time.Duration) figures {
	w.clear()
	until := time.Now().Add(d)
	w.arrival = time.Now().Add(w.gap())
	for {
		next := w.arrival
		if len(w.pending) > 0 && w.pending[0].at.Before(next) {
			next = w.pending[0].at
		}
		if next.After(until) {
			break
		}
		time.Sleep(time.Until(next))
		if next.Equal(w.arrival) {
			w.arrive(next)
			w.arrival = next.Add(w.gap())
			continue
		}
		w.happen(heap.Pop(&w.pending).(event))
	}
	time.Sleep(time.Until(until))
	w.account(until)
	w.area /= d.Seconds()
	return w.figures
}

func (w *world) gap() time.Duration {
	if w.rate == 0 {
		return 1000 * time.Hour
	}
	return time.Duration(w.random.ExpFloat64() / w.rate * float64(time.Second))
}

func (w *world) arrive(now time.Time) {
	if w.inFlight >= w.inForce {
		w.refused++
		return
	}
	w.inFlight++
	r := &request{call: w.limit.Begin(now), begun: now}
	if w.timeout > 0 {
		heap.Push(&w.pending, event{now.Add(w.timeout), r, true})
	}
	w.backend.line = append(w.backend.line, r)
	w.work(now)
}

// work has the backend begin what it can.
func (w *world) work(now time.Time) {
	b := &w.backend
	for !w.hung && b.busy < b.capacity && len(b.line) > 0 {
		r := b.line[0]
		b.line = b.line[1:]
		if r.gone {
			continue
		}
		b.busy++
		heap.Push(&w.pending, event{at: now.Add(b.takes(w.random)), request: r})
	}
}

func (w *world) happen(e event) {
	r := e.request
	if !e.timeout {
		w.backend.busy--
		defer w.work(e.at)
	}
	if r.gone {
		return
	}
	r.gone = true
	w.inFlight--
	if e.timeout {
		w.timedOut++
		r.call.End(e.at, adaptive.Overloaded)
		return
	}
	w.answered++
	w.held = append(w.held, e.at.Sub(r.begun))
	r.call.End(e.at, adaptive.Served)
}

// Shapes of the time that work takes.

func always(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

func exponential(mean time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) }
}

func logNormal(median time.Duration, sigma float64) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		return time.Duration(float64(median) * math.Exp(sigma*r.NormFloat64()))
	}
}

// mostly is a backend of which a share of the requests takes longer.
func mostly(d time.Duration, share float64, longer time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		if r.Float64() < share {
			return longer
		}
		return d
	}
}
