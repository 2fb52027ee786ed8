package console

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// Bounds of a Feed, and its pace.
const (
	Tick         = 500 * time.Millisecond // how late a listener may know of a change
	SampleEvery  = sampleTicks * Tick
	Kept         = 180 // samples: 15 minutes
	MaxListeners = 32
	Backlog      = 32 // events that a listener may be behind: 13 s or more

	sampleTicks = 10
)

// Want says what of a Reading is needed this time; the rest may be left zero.
type Want struct {
	Latency bool // P50 and P99
	Shown   bool
}

// A Feed follows the bulkheads and tells who listens. NewFeed makes one, and Run
// is its life. Handlers of it may be used at any time.
type Feed struct {
	read  func(time.Time, Want) Reading
	join  chan *listener
	leave chan *listener
	ended chan struct{} // closed when Run returns

	// Run's alone.
	listeners map[*listener]struct{}
	tracks    map[string]*track
	order     []string
	shown     []byte // of the supervisor, as listeners know it
	times     [Kept]time.Time
	samples   int
	ticks     int
	first     []byte // what a new listener gets until the next tick; nil: nobody has come since the last
}

// A listener gets events until Run closes them. None at all before that means that
// there was no room.
type listener struct{ events chan []byte }

// NewFeed returns a Feed. Its Run calls read, at every Tick and for the first listener
// that comes between two.
func NewFeed(read func(time.Time, Want) Reading) *Feed {
	return &Feed{
		read: read, join: make(chan *listener), leave: make(chan *listener), ended: make(chan struct{}),
		listeners: make(map[*listener]struct{}), tracks: make(map[string]*track),
	}
}

// Run follows the bulkheads until ctx is done, and then lets go of the listeners.
// It must be called once.
func (f *Feed) Run(ctx context.Context) {
	defer close(f.ended)
	tick := time.NewTicker(Tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			for l := range f.listeners {
				close(l.events)
			}
			return
		case now := <-tick.C:
			f.tick(now)
		case l := <-f.join:
			f.admit(l, time.Now())
		case l := <-f.leave:
			delete(f.listeners, l)
		}
	}
}

// tick reads, remembers and tells.
func (f *Feed) tick(now time.Time) {
	f.ticks++
	f.first = nil
	sampled := f.ticks%sampleTicks == 0
	watched := len(f.listeners) > 0
	r := f.read(now, Want{Latency: watched || sampled, Shown: watched})
	reordered := f.align(r.Bulkheads)
	for i := range r.Bulkheads {
		f.tracks[r.Bulkheads[i].Name].note(&r.Bulkheads[i], now)
	}
	if watched {
		f.tell("update", f.changes(&r, reordered))
	}
	if sampled {
		f.tell("sample", f.sample(now))
	}
}

// sample closes a row of each bulkhead's history, and returns them.
func (f *Feed) sample(now time.Time) []byte {
	f.times[f.samples%Kept] = now
	f.samples++
	rows := []byte(`{"history":{`)
	for i, name := range f.order {
		if i > 0 {
			rows = append(rows, ',')
		}
		rows = append(append(rows, quote(name)...), ':')
		rows = f.tracks[name].sample().append(rows)
	}
	return append(rows, "}}"...)
}

// admit gives a new listener all that there is, if there is room for it. What
// changed on the way is told to the others too. However many come and go between two
// ticks, they get what the first one got: to put it together takes long, and the
// ticks would wait for it.
func (f *Feed) admit(l *listener, now time.Time) {
	if len(f.listeners) >= MaxListeners {
		close(l.events)
		return
	}
	if f.first == nil {
		r := f.read(now, Want{Latency: true, Shown: true})
		f.tell("update", f.changes(&r, f.align(r.Bulkheads)))
		f.first = event("snapshot", f.snapshot(now))
	}
	f.listeners[l] = struct{}{}
	l.events <- f.first // it has room: it is new
}

// tell passes an event on to everybody, and drops who does not keep up. No data is
// no event.
func (f *Feed) tell(name string, data []byte) {
	if data == nil || len(f.listeners) == 0 {
		return
	}
	text := event(name, data)
	for l := range f.listeners {
		select {
		case l.events <- text:
		default:
			delete(f.listeners, l)
			close(l.events)
		}
	}
}

// event is one server-sent event. JSON has no line breaks of its own.
func event(name string, data []byte) []byte {
	return slices.Concat([]byte("event: "), []byte(name), []byte("\ndata: "), data, []byte("\n\n"))
}

// quote is v as JSON; null where it cannot be: a page that shows less is no reason
// for a supervisor to end.
func quote(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return text
}
