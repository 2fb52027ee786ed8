package stale_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/fallback/stale"
)

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // sync.Pool keeps its contents over one
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The bound holds under a flood of distinct URLs, users and variants, at every
// moment, and what is accounted covers what the heap really has.
func TestCostCoversHeap(t *testing.T) {
	const bound = 8 << 20
	for _, c := range []struct {
		name   string
		times  int // 0: 13000
		body   func(i int) int
		answer http.Header
		known  bool // its length
		uri    func(i int) string
	}{
		{name: "empty", body: func(int) int { return 0 }, uri: func(i int) string { return fmt.Sprint("/", i) }},
		{name: "small", body: func(i int) int { return 1 + i%600 }, known: true, answer: benchHeader(),
			uri: func(i int) string {
				return fmt.Sprint("/orders/order_history/?username=user", i, "&page=1&page_size=20")
			}},
		{name: "one URL", body: func(i int) int { return 100 }, answer: benchHeader(), uri: func(int) string { return "/" }},
		{name: "many fields", body: func(i int) int { return 100 }, uri: func(i int) string { return fmt.Sprint("/", i) },
			answer: func() http.Header {
				h := benchHeader()
				for i := range 40 {
					h.Set(fmt.Sprint("X-Field-", i), "v")
				}
				return h
			}()},
		{name: "large", times: 200, body: func(i int) int { return 1000 * (1 + i%700) }, uri: func(i int) string { return fmt.Sprint("/", i) }},
		{name: "long URLs", body: func(i int) int { return 10 }, uri: func(i int) string { return fmt.Sprintf("/%01000d", i) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := bytes.Repeat([]byte("0123456789"), 1<<17)
			before := heap()
			s := stale.New(stale.Settings{Bytes: bound, PerCredential: credentials(t, "Cookie:sessionid")})
			most := int64(0)
			for i := range cmp.Or(c.times, 13000) {
				r := get(c.uri(i), "Cookie: sessionid="+fmt.Sprint(i))
				h := c.answer.Clone()
				h.Del("Content-Length")
				n := c.body(i)
				if c.known {
					h.Set("Content-Length", fmt.Sprint(n))
				}
				rec, why := s.Record(r, s.Mark(), 200, h, start)
				if rec == nil {
					t.Fatal(why)
				}
				for from := 0; from < n; from += 64 << 10 {
					rec.Write(text[i%9+from : i%9+min(n, from+64<<10)])
				}
				if why := rec.Done(start, true); why != "" {
					t.Fatal(why)
				}
				if st := s.Stats(); st.Bytes+st.Recording > bound {
					t.Fatalf("%+v is over the bound", st)
				}
				most = max(most, s.Stats().Bytes)
			}
			st := s.Stats()
			real := heap() - before
			t.Logf("%d entries, %d bytes accounted, %d in the heap (%.2f)", st.Entries, st.Bytes, real, float64(real)/float64(st.Bytes))
			if real > st.Bytes+256<<10 {
				t.Errorf("the heap has %d bytes, %d are accounted", real, st.Bytes)
			}
			if most < bound*3/4 {
				t.Errorf("never more than %d bytes: the bound was not reached", most)
			}
			runtime.KeepAlive(s)
			runtime.KeepAlive(text)
		})
	}
}

// Answers beyond the bound, many at the same time, of unknown length: memory
// stays within it, and what was kept largely stays.
func TestFloodOfLargeAnswers(t *testing.T) {
	const bound = 8 << 20
	s := stale.New(stale.Settings{Bytes: bound})
	for i := range 1000 {
		mustKeep(t, s, get(fmt.Sprint("/small/", i)), nil, "small", start)
	}
	piece := make([]byte, 64<<10)
	before := heap()
	var open []*stale.Recording
	for i := range 200 {
		rec, why := s.Record(get(fmt.Sprint("/large/", i)), s.Mark(), 200, nil, start)
		if rec == nil {
			if why != stale.WhyNoRoom {
				t.Fatal(why)
			}
			continue
		}
		open = append(open, rec)
	}
	for range 256 { // 16 MiB each
		for _, rec := range open {
			rec.Write(piece)
		}
		if st := s.Stats(); st.Bytes+st.Recording > bound || st.Recording > bound*5/16 {
			t.Fatalf("%+v", st)
		}
	}
	if real := heap() - before; real > bound*5/16+1<<20 {
		t.Errorf("the heap has grown by %d bytes", real)
	}
	for _, rec := range open {
		if why := rec.Done(start, true); why != stale.WhyTooLarge && why != stale.WhyNoRoom {
			t.Errorf("%q", why)
		}
	}
	st := s.Stats()
	if st.Recording != 0 || st.Entries < 1000 {
		t.Errorf("%+v", st)
	}
	// The largest that fits, and a byte more.
	for n, want := range map[int]stale.Why{1 << 20: "", 1<<20 + 1: stale.WhyTooLarge} {
		rec, why := s.Record(get("/exact"), s.Mark(), 200, nil, start)
		if rec == nil {
			t.Fatal(why)
		}
		for at := 0; at < n; at += len(piece) {
			rec.Write(piece[:min(len(piece), n-at)])
		}
		if why := rec.Done(start, true); why != want {
			t.Errorf("%d bytes: %q, want %q", n, why, want)
		}
	}
	if rec, why := s.Record(get("/said"), s.Mark(), 200, fields("Content-Length: 1048577"), start); rec != nil || why != stale.WhyTooLarge {
		t.Errorf("%v, %q", rec, why)
	}
	tiny := stale.New(stale.Settings{Bytes: 100})
	if why := record(tiny, get("/"), 200, nil, "x", start); why != stale.WhyTooLarge {
		t.Errorf("a store for nothing: %q", why)
	}
}

// Clients that take large answers slowly do not keep small ones from being kept.
func TestSlowLargeAnswersLeaveRoom(t *testing.T) {
	s := stale.New(stale.Settings{})
	piece := make([]byte, 64<<10)
	var slow []*stale.Recording
	for i := range 8 {
		rec, _ := s.Record(get(fmt.Sprint("/large/", i)), s.Mark(), 200, nil, start)
		if rec == nil {
			continue
		}
		slow = append(slow, rec)
		for range 128 >> i { // halves of what is left, until less than a small one is
			rec.Write(piece)
		}
	}
	for i := range 24 {
		mustKeep(t, s, get(fmt.Sprint("/small/", i)), nil, string(piece), start)
	}
	for _, rec := range slow {
		rec.Done(start, false)
	}
	if st := s.Stats(); st.Recording != 0 || st.Entries != 24 {
		t.Errorf("%+v", st)
	}
}

// What the backend gave longest ago goes first.
func TestEvictionOrder(t *testing.T) {
	s := stale.New(stale.Settings{Bytes: 64 << 10})
	mustKeep(t, s, get("/again"), nil, "again", start)
	mustKeep(t, s, get("/once"), nil, "once", start.Add(second))
	for i := range 100 {
		mustKeep(t, s, get(fmt.Sprint("/", i)), nil, "x", start.Add(2*second))
		mustKeep(t, s, get("/again"), nil, "again", start.Add(2*second))
	}
	if a, o := found(s, get("/again"), start.Add(2*second)), found(s, get("/once"), start.Add(2*second)); a != "again" || o != "-" {
		t.Errorf("%q and %q", a, o)
	}
	if st := s.Stats(); st.Evicted == 0 {
		t.Errorf("%+v", st)
	}
}

func TestExpiry(t *testing.T) {
	s := stale.New(stale.Settings{MaxAge: time.Minute})
	for i := range 200 {
		mustKeep(t, s, get(fmt.Sprint("/", i)), nil, "x", start)
	}
	mustKeep(t, s, get("/late"), nil, "late", start.Add(30*second))
	if st := s.Stats(); !st.Oldest.Equal(start) || st.Entries != 201 {
		t.Errorf("%+v", st)
	}
	for range 10 { // others' requests
		found(s, get("/nothing"), start.Add(60*second))
	}
	if st := s.Stats(); st.Entries != 1 || st.Expired != 200 || !st.Oldest.Equal(start.Add(30*second)) {
		t.Errorf("%+v", st)
	}
	found(s, get("/nothing"), start.Add(90*second))
	if st := s.Stats(); st.Entries != 0 || st.Bytes != 0 || !st.Oldest.IsZero() {
		t.Errorf("%+v", st)
	}
}

func TestApply(t *testing.T) {
	s := stale.New(stale.Settings{})
	for i := range 100 {
		mustKeep(t, s, get(fmt.Sprint("/", i)), nil, "x", start.Add(time.Duration(i)*second))
	}
	mustKeep(t, s, get("/long"), nil, "a long one", start.Add(100*second))
	now := start.Add(100 * second)
	s.Apply(stale.Settings{MaxAge: 91 * second}, now)
	if st := s.Stats(); st.Entries != 91 || st.Expired != 10 {
		t.Errorf("a shorter age: %+v", st)
	}
	s.Apply(stale.Settings{MaxAnswer: 5}, now)
	if st := s.Stats(); st.Entries != 90 || found(s, get("/long"), now) != "-" {
		t.Errorf("a smaller answer: %+v", st)
	}
	s.Apply(stale.Settings{Bytes: 16 << 10}, now)
	if st := s.Stats(); st.Bytes > 16<<10 || st.Entries == 0 || found(s, get("/99"), now) != "x" || found(s, get("/10"), now) != "-" {
		t.Errorf("fewer bytes: %+v", st)
	}
}

// Sizes at random, records in any order of their ends: the accounts come out even.
func TestAccounts(t *testing.T) {
	const bound = 64 << 10
	s := stale.New(stale.Settings{Bytes: bound})
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(g, 7))
			body := make([]byte, 40<<10)
			for range 2000 {
				r := get(fmt.Sprint("/", rng.IntN(30)))
				rec, _ := s.Record(r, s.Mark(), 200, nil, start)
				if rec == nil {
					continue
				}
				for n := rng.IntN(1 << rng.IntN(16)); n > 0; {
					m := min(n, 1+rng.IntN(10000))
					rec.Write(body[:m])
					n -= m
				}
				rec.Done(start, rng.IntN(5) > 0)
				if st := s.Stats(); st.Bytes+st.Recording > bound {
					t.Errorf("%+v", st)
					return
				}
				if a, ok := s.Find(r, start); ok && len(a.Body) > 0 {
					_ = a.Body[len(a.Body)-1]
				}
				if rng.IntN(20) == 0 {
					s.Invalidate(request("DELETE", r.RequestURI), 204, nil, start)
				}
			}
		})
	}
	wg.Wait()
	for i := range 30 {
		s.Invalidate(request("DELETE", fmt.Sprint("/", i)), 204, nil, start)
	}
	if st := s.Stats(); st.Entries != 0 || st.Bytes != 0 || st.Recording != 0 || st.Evicted == 0 {
		t.Errorf("%+v", st)
	}
}
