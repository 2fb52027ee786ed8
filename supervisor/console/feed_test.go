package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/supervisor/console"
)

// world is what a Feed reads.
type world struct {
	mu        sync.Mutex
	bulkheads []console.Bulkhead
	wants     map[console.Want]int
	takes     time.Duration // to read all there is
}

func (w *world) read(_ time.Time, want console.Want) console.Reading {
	if want.Shown {
		time.Sleep(w.takes)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wants == nil {
		w.wants = make(map[console.Want]int)
	}
	w.wants[want]++
	r := console.Reading{Shown: map[string]string{"version": "v1"}}
	r.Bulkheads = append(r.Bulkheads, w.bulkheads...)
	return r
}

func (w *world) set(bulkheads ...console.Bulkhead) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bulkheads = bulkheads
}

// asked is how often it was read.
func (w *world) asked() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, times := range w.wants {
		n += times
	}
	return n
}

// served is a Feed that runs in a bubble and is listened to without a kernel.
type served struct {
	t      *testing.T
	stop   context.CancelFunc
	ended  chan struct{}
	client *http.Client
}

func serve(t *testing.T, w *world) *served {
	t.Helper()
	feed := console.NewFeed(w.read)
	ctx, stop := context.WithCancel(t.Context())
	s := &served{t: t, stop: stop, ended: make(chan struct{})}
	go func() { feed.Run(ctx); close(s.ended) }()
	ln := &pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: feed.Handler(console.AccessToken)}
	go func() { _ = server.Serve(ln) }()
	s.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		ln.conns <- theirs
		return ours, nil
	}}}
	t.Cleanup(func() { stop(); <-s.ended; server.Close() })
	return s
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipes) Close() error   { close(l.closed); return nil }
func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// stream is what one listener gets.
type stream struct {
	t    *testing.T
	body io.Closer
	text *bufio.Scanner
}

func (s *served) listen() *stream {
	s.t.Helper()
	answer, err := s.client.Get("http://feed/")
	if err != nil {
		s.t.Fatal(err)
	}
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" || answer.Header.Get("Cache-Control") != "no-store" {
		s.t.Fatalf("%d %v", answer.StatusCode, answer.Header)
	}
	s.t.Cleanup(func() { answer.Body.Close() })
	text := bufio.NewScanner(answer.Body)
	text.Buffer(nil, 4<<20)
	return &stream{s.t, answer.Body, text}
}

// told is one event.
type told struct {
	name       string
	Access     string
	Supervisor map[string]string
	Order      []string
	Columns    []string
	AgesS      []float64 `json:"ages_s"`
	EveryS     float64   `json:"every_s"`
	Bulkheads  []struct {
		Name  string
		Now   map[string]float64
		Shown any
	}
	History map[string]json.RawMessage
}

func (s *stream) next() (e told, ok bool) {
	s.t.Helper()
	for s.text.Scan() {
		line := s.text.Text()
		if name, is := strings.CutPrefix(line, "event: "); is {
			e.name = name
		}
		if data, is := strings.CutPrefix(line, "data: "); is {
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				s.t.Fatalf("%v: %s", err, data)
			}
			return e, true
		}
	}
	return e, false
}

// want is the next event, which must have that name.
func (s *stream) want(name string) told {
	s.t.Helper()
	e, ok := s.next()
	if !ok || e.name != name {
		s.t.Fatalf("got %q (%v), want %s", e.name, ok, name)
	}
	return e
}

// until is the next event of that name, after others.
func (s *stream) until(name string) {
	s.t.Helper()
	for {
		switch e, ok := s.next(); {
		case !ok:
			s.t.Fatalf("dropped before the next %s", name)
		case e.name == name:
			return
		}
	}
}

// update is the next one; samples come whatever happens.
func (s *stream) update() told {
	s.t.Helper()
	for range 4 {
		if e, ok := s.next(); ok && e.name == "update" {
			return e
		} else if !ok || e.name != "sample" {
			s.t.Fatalf("got %q (%v), want update", e.name, ok)
		}
	}
	s.t.Fatal("nothing but samples")
	return told{}
}

func TestFeedTellsWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		orders, catalog := console.Bulkhead{Name: "orders", Shown: "well"}, console.Bulkhead{Name: "catalog", Shown: "well"}
		w.set(orders, catalog)
		l := serve(t, w).listen()
		if e := l.want("hello"); e.Access != "token" {
			t.Errorf("access %q", e.Access)
		}
		if e := l.want("snapshot"); len(e.Bulkheads) != 2 || e.Bulkheads[0].Name != "orders" || e.Supervisor["version"] != "v1" || len(e.Columns) != 8 || e.EveryS != 5 {
			t.Errorf("snapshot %+v", e)
		}

		time.Sleep(5 * console.Tick / 2) // between two ticks
		begun := time.Now()
		orders.Requests, orders.Failed, orders.Shown = 5, 5, "sick"
		w.set(orders, catalog)
		e := l.update()
		if late := time.Since(begun); late > console.Tick {
			t.Errorf("told after %v", late)
		}
		if len(e.Bulkheads) != 1 || e.Bulkheads[0].Name != "orders" || e.Bulkheads[0].Shown != "sick" || e.Supervisor != nil || e.Order != nil {
			t.Errorf("update %+v", e)
		}

		// The 5 failures are in the rate for 10 s, and nothing else is told of.
		for e = l.update(); e.Bulkheads[0].Now["failed"] != 0; e = l.update() {
			if got := e.Bulkheads[0].Now; got["failed"] != got["requests"] || got["refused"] != 0 {
				t.Fatalf("rates %v", got)
			}
		}
		if after := time.Since(begun); after < 10*time.Second || after > 11*time.Second {
			t.Errorf("at rest after %v", after)
		}

		w.set(catalog)
		if e = l.update(); len(e.Order) != 1 || e.Order[0] != "catalog" || len(e.Bulkheads) != 0 {
			t.Errorf("without orders: %+v", e)
		}
	})
}

func TestFeedKeepsFifteenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		s := serve(t, w)
		b := console.Bulkhead{Name: "orders", P50: 2 * time.Millisecond, P99: 30 * time.Millisecond}
		time.Sleep(console.Tick / 2) // between two ticks
		for range 20 * 60 * 2 {      // 20 minutes, ten requests a tick, one of them refused
			b.Requests += 10
			b.Refused++
			b.InFlight = int(b.Requests/10) % 10
			w.set(b)
			time.Sleep(console.Tick)
		}
		l := s.listen()
		l.want("hello")
		e := l.want("snapshot")
		var rows [][]float64
		if err := json.Unmarshal(e.History["orders"], &rows); err != nil || len(rows) != console.Kept || len(e.AgesS) != console.Kept {
			t.Fatalf("%v: %d rows, %d ages", err, len(rows), len(e.AgesS))
		}
		for i, row := range rows {
			if fmt.Sprint(row) != "[20 0 2 0 2 30 9 0]" {
				t.Fatalf("row %d: %v", i, row)
			}
		}
		if oldest := e.AgesS[0]; oldest < 890 || oldest > 900 || e.AgesS[console.Kept-1] > 5 {
			t.Errorf("ages from %v to %v", oldest, e.AgesS[console.Kept-1])
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.wants[console.Want{}] < 2000 || w.wants[console.Want{Latency: true}] > 250 || w.wants[console.Want{Latency: true, Shown: true}] > 2 {
			t.Errorf("asked for %v while nobody listened", w.wants)
		}
	})
}

// A bulkhead that a reload takes away and brings back counts from 0.
func TestFeedCountersBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		w.set(console.Bulkhead{Name: "orders", Requests: 1_000_000})
		s := serve(t, w)
		time.Sleep(12 * time.Second) // until the million is out of the rates
		l := s.listen()
		l.want("hello")
		l.want("snapshot")
		w.set(console.Bulkhead{Name: "orders", Requests: 10})
		for _, b := range l.update().Bulkheads {
			if rate := b.Now["requests"]; rate < 0.9 || rate > 10 {
				t.Errorf("%v requests a second", rate)
			}
		}
	})
}

func TestFeedDropsWhoDoesNotListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		s := serve(t, w)
		slow, quick := s.listen(), s.listen()
		for _, l := range []*stream{slow, quick} {
			l.want("hello")
			l.want("snapshot")
		}
		for i := range 40 * 10 {
			w.set(console.Bulkhead{Name: "orders", Requests: uint64(i * i), Shown: strings.Repeat("x", 1000)})
			if e, ok := quick.next(); !ok {
				t.Fatalf("the quick one is dropped after %d, %q", i, e.name)
			}
		}
		events := 0
		for events <= console.Backlog+10 {
			if _, ok := slow.next(); !ok {
				return
			}
			events++
		}
		t.Errorf("%d events were kept for a listener that does not listen", events)
	})
}

func TestFeedHasSoMuchRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, new(world))
		var all []*stream
		for range console.MaxListeners {
			all = append(all, s.listen())
		}
		answer, err := s.client.Get("http://feed/")
		if err != nil || answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
			t.Fatalf("%v, %v", answer, err)
		}
		answer.Body.Close()
		all[0].body.Close()
		time.Sleep(2 * console.Tick)
		s.listen()

		s.stop() // which ends them all
		<-s.ended
		for range 2 {
			if _, ok := all[1].next(); !ok {
				t.Fatal("hello and snapshot are lost")
			}
		}
		for range console.Backlog {
			if _, ok := all[1].next(); !ok {
				break
			}
		}
		if answer, err = s.client.Get("http://feed/"); err != nil || answer.StatusCode != 503 {
			t.Fatalf("after the end: %v, %v", answer, err)
		}
		answer.Body.Close()
	})
}

// However many come and go, the others are told in time: what newcomers get is put
// together once between two ticks.
func TestFeedKeepsItsPaceWhileManyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{takes: console.Tick / 5} // to read all there is
		w.set(console.Bulkhead{Name: "orders"})
		s := serve(t, w)
		stays := s.listen()
		stays.want("hello")
		stays.want("snapshot")
		var crowd sync.WaitGroup
		defer crowd.Wait()
		var came atomic.Int64
		over := make(chan struct{})
		defer close(over)
		for range console.MaxListeners - 1 {
			crowd.Go(func() {
				for {
					answer, err := s.client.Get("http://feed/")
					if err != nil {
						t.Error(err)
						return
					}
					if answer.StatusCode == 200 { // or the one before has not left yet
						l := &stream{t, answer.Body, bufio.NewScanner(answer.Body)}
						hello, _ := l.next()
						if e, _ := l.next(); hello.name != "hello" || e.name != "snapshot" || len(e.Bulkheads) != 1 {
							t.Errorf("a newcomer got %q and %+v", hello.name, e)
						}
						came.Add(1)
					}
					answer.Body.Close()
					select {
					case <-over:
						return
					case <-time.After(console.Tick / 10):
					}
				}
			})
		}
		stays.until("sample")
		const samples = 4
		begun, read, before := time.Now(), w.asked(), came.Load()
		for range samples {
			last := time.Now()
			stays.until("sample")
			if gap := time.Since(last); gap > console.SampleEvery+console.Tick {
				t.Errorf("nothing but updates for %v", gap)
			}
		}
		took, ticks := time.Since(begun), int(samples*console.SampleEvery/console.Tick)
		newcomers, readings := int(came.Load()-before), w.asked()-read
		t.Logf("%v: %d newcomers, %d readings", took, newcomers, readings)
		if took > samples*console.SampleEvery+console.Tick || newcomers < 10*ticks || readings > 2*ticks+2 {
			t.Errorf("%v for %d ticks: %d newcomers, %d readings", took, ticks, newcomers, readings)
		}
	})
}

func TestFeedMemoryPerBulkhead(t *testing.T) {
	const most = 8 << 10
	if size := console.SizeOfTrack; size > most {
		t.Errorf("%d bytes a bulkhead, want at most %d", size, most)
	}
}

func BenchmarkFeedTick(b *testing.B) {
	for _, listening := range []bool{false, true} {
		b.Run(fmt.Sprintf("listening=%v", listening), func(b *testing.B) {
			bulkheads := make([]console.Bulkhead, 100)
			for i := range bulkheads {
				bulkheads[i] = console.Bulkhead{Name: fmt.Sprintf("bulkhead-%d", i), Shown: map[string]int{"in_flight": i}}
			}
			tick := console.Ticks(func(time.Time, console.Want) console.Reading { return console.Reading{Bulkheads: bulkheads} }, listening)
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				bulkheads[0].Requests += 7
				now = now.Add(console.Tick)
				tick(now)
			}
		})
	}
}
