package idempotency_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor/idempotency"
)

func TestMaxAge(t *testing.T) {
	s := newStore(idempotency.Settings{MaxAge: time.Minute})
	slow := first(t, s, post("slow", "b"), start)
	answered(t, s, post("k", "b"), "one", start.Add(time.Second))
	expect(t, s, post("k", "b"), start.Add(61*time.Second-1), "repeat one")
	expect(t, s, post("k", "b"), start.Add(61*time.Second), "first")
	expect(t, s, post("slow", "b"), start.Add(time.Hour), "in_progress")
	slow.Done("done", start.Add(time.Hour))
	expect(t, s, post("slow", "b"), start.Add(time.Hour+time.Minute-1), "known done")
	expect(t, s, post("slow", "b"), start.Add(time.Hour+time.Minute), "first")
	if st := s.Stats(); st.Keys != 0 || st.Expired != 2 || st.Bytes != 0 || !st.Oldest.IsZero() {
		t.Errorf("%+v", st)
	}
}

// A key that is due is gone, also when many others are before it.
func TestManyExpire(t *testing.T) {
	s := newStore(idempotency.Settings{MaxAge: time.Minute})
	for i := range 200 {
		answered(t, s, post(fmt.Sprint("k", i), "b"), "x", start)
	}
	expect(t, s, post("k199", "b"), start.Add(time.Minute), "first")
	for range 4 {
		s.Begin(post("k", "b"), start.Add(time.Minute))
	}
	if st := s.Stats(); st.Keys != 1 || st.Expired != 200 {
		t.Errorf("%+v", st)
	}
}

// Answers give way to newer ones, oldest first; their keys stay.
func TestEvictionLeavesTheKey(t *testing.T) {
	s := newStore(idempotency.Settings{Bytes: 16 << 10, MaxAnswer: 2 << 10})
	body := strings.Repeat("x", 1<<10)
	for i := range 50 {
		answered(t, s, post(fmt.Sprint("k", i), "b"), body, start)
		if st := s.Stats(); st.Bytes+st.Recording > 16<<10 {
			t.Fatalf("%+v", st)
		}
	}
	st := s.Stats()
	if st.Keys != 50 || st.Answers < 8 || st.Evicted != uint64(50-st.Answers) || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
	for i := range 50 {
		want := "known done"
		if i >= 50-st.Answers {
			want = "repeat " + body
		}
		expect(t, s, post(fmt.Sprint("k", i), "b"), start, want)
		expect(t, s, post(fmt.Sprint("k", i), "other"), start, "mismatch")
	}
}

func TestAnswersThatAreNotKept(t *testing.T) {
	type answer func(c *idempotency.Claim)
	write := func(total, piece int) answer {
		return func(c *idempotency.Claim) {
			c.Record(200, nil)
			for range total / piece {
				c.Write(make([]byte, piece))
			}
		}
	}
	length := func(announced string, body string) answer {
		return func(c *idempotency.Claim) {
			c.Record(200, http.Header{"Content-Length": {announced}})
			c.Write([]byte(body))
		}
	}
	for _, c := range []struct {
		name    string
		answer  answer
		wanted  bool
		dropped uint64
	}{
		{"the largest", write(4096, 512), true, 0},
		{"too large", write(4096+512, 512), false, 1},
		{"too large at once", write(8192, 8192), false, 1},
		{"announced as too large", length("4097", ""), false, 1},
		{"too short", length("3", "ab"), true, 1},
		{"too long", length("3", "abcd"), false, 1},
		{"no length", length("x", "abcd"), false, 1},
		{"a negative one", length("-1", "abcd"), false, 1},
		{"large fields", func(c *idempotency.Claim) {
			c.Record(200, http.Header{"X": {strings.Repeat("x", 17<<10)}})
			c.Write([]byte("x"))
		}, false, 1},
		{"large trailers", func(c *idempotency.Claim) {
			c.Record(200, nil)
			c.Trailer(http.Header{"X": {strings.Repeat("x", 17<<10)}})
		}, false, 1},
	} {
		s := newStore(idempotency.Settings{Bytes: 32 << 10, MaxAnswer: 4096})
		claim := first(t, s, post("k", "b"), start)
		c.answer(claim)
		if claim.Wants() != c.wanted {
			t.Errorf("%s: wants %v", c.name, !c.wanted)
		}
		claim.Done("done", start)
		st := s.Stats()
		if st.Dropped != c.dropped || st.Answers != 1-int(c.dropped) || st.Recording != 0 || st.Keys != 1 {
			t.Errorf("%s: %+v", c.name, st)
		}
		if got := begin(s, post("k", "b"), start); c.dropped == 1 && got != "known done" {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

// Answers on their way have half of Bytes, and push out no more than they need.
func TestRecordingsAreBounded(t *testing.T) {
	s := newStore(idempotency.Settings{Bytes: 64 << 10})
	for i := range 20 {
		answered(t, s, post(fmt.Sprint("old", i), "b"), strings.Repeat("x", 1<<10), start)
	}
	var claims []*idempotency.Claim
	for i := range 40 {
		c := first(t, s, post(fmt.Sprint("k", i), "b"), start)
		c.Record(200, nil)
		c.Write(make([]byte, 2<<10))
		claims = append(claims, c)
		if st := s.Stats(); st.Recording > 32<<10 || st.Bytes+st.Recording > 64<<10 || st.InProgress != i+1 {
			t.Fatalf("%+v", st)
		}
	}
	if st := s.Stats(); st.Answers == 0 || st.Recording < 24<<10 {
		t.Errorf("%+v", st)
	}
	for _, c := range claims {
		c.Done("done", start)
	}
	if st := s.Stats(); st.Recording != 0 || st.InProgress != 0 || st.Dropped < 20 || st.Dropped > 30 || st.Keys != 60 {
		t.Errorf("%+v", st)
	}
}

// No room for another key: it is refused, and none is forgotten.
func TestFull(t *testing.T) {
	s := newStore(idempotency.Settings{Keys: 3, MaxAge: time.Minute})
	c := first(t, s, post("k0", "b"), start)
	first(t, s, post("k1", "b"), start).Done("sent_unknown", start.Add(10*time.Second))
	answered(t, s, post("k2", "b"), "two", start.Add(20*time.Second))
	now := start.Add(30 * time.Second)
	if ruling := s.Begin(post("new", "b"), now); ruling.Verdict != idempotency.Full || ruling.RetryAfter != 40*time.Second {
		t.Errorf("%+v", ruling)
	}
	expect(t, s, post("k0", "b"), now, "in_progress")
	expect(t, s, post("k1", "b"), now, "known sent_unknown")
	expect(t, s, post("k2", "b"), now, "repeat two")
	c.Done("never_sent", now)
	expect(t, s, post("new", "b"), now, "first")
	answered(t, s, post("new", "b"), "new", now)
	expect(t, s, post("newer", "b"), now, "full")
	expect(t, s, post("newer", "b"), start.Add(70*time.Second), "first") // k1 was due

	busy := newStore(idempotency.Settings{Keys: 1})
	first(t, busy, post("k", "b"), start)
	if ruling := busy.Begin(post("new", "b"), start); ruling.Verdict != idempotency.Full || ruling.RetryAfter != time.Second {
		t.Errorf("%+v", ruling)
	}
}

func digestOf(t *testing.T, key string) string {
	t.Helper()
	s := newStore(idempotency.Settings{})
	ruling := s.Begin(post(key, ""), start)
	if ruling.Digest == "" || strings.Contains(ruling.Digest, key) {
		t.Fatal(ruling.Digest)
	}
	return ruling.Digest
}

func TestRestore(t *testing.T) {
	now := start.Add(time.Hour)
	s := newStore(idempotency.Settings{MaxAge: time.Minute})
	for _, c := range []struct {
		key, outcome string
		age          time.Duration
		want         string
	}{
		{"done", "done", 10 * time.Second, "known done"},
		{"undelivered", "undelivered", 10 * time.Second, "known undelivered"},
		{"partial", "partial", 10 * time.Second, "known partial"},
		{"open", "sent_unknown", 10 * time.Second, "known sent_unknown"},
		{"strange", "what is this", 10 * time.Second, "known sent_unknown"},
		{"refused", "refused", 10 * time.Second, "first"},
		{"never", "never_sent", 10 * time.Second, "first"},
		{"nearly", "done", time.Minute - 1, "known done"},
		{"old", "done", time.Minute, "first"},
		{"ahead", "done", -time.Hour, "known done"},
		// Of two requests with one key the later counts, in either order.
		{"twice", "sent_unknown", 20 * time.Second, ""},
		{"twice", "done", 10 * time.Second, "known done"},
		{"back", "done", 10 * time.Second, ""},
		{"back", "sent_unknown", 20 * time.Second, "known done"},
		// What is refused afterwards does not free it.
		{"kept", "sent_unknown", 20 * time.Second, ""},
		{"kept", "refused", 10 * time.Second, "known sent_unknown"},
	} {
		if err := s.Restore(digestOf(t, c.key), c.outcome, 0, now.Add(-c.age), now); err != nil {
			t.Fatal(err)
		}
		if c.want != "" {
			expect(t, s, post(c.key, ""), now, c.want)
		}
	}
	other := post("done", "another body")
	other.RequestURI = "/other"
	expect(t, s, other, now, "known done") // nothing is left to compare with
	expect(t, s, post("done", "", "Authorization: Bearer x"), now, "first")
	expect(t, s, post("ahead", ""), now.Add(time.Minute-1), "known done")
	expect(t, s, post("ahead", ""), now.Add(time.Minute), "first")
	for _, bad := range []string{"", "k", strings.Repeat("g", 32), strings.Repeat("a", 34)} {
		if err := s.Restore(bad, "done", 0, now, now); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// An answer that said that nothing was done leaves the key free, after a start too.
func TestRestoreUndone(t *testing.T) {
	s := newStore(idempotency.Settings{})
	for key, c := range map[string]struct {
		status int
		want   string
	}{"denied": {401, "first"}, "failed": {500, "known done"}, "unanswered": {0, "known done"}} {
		if err := s.Restore(digestOf(t, key), "done", c.status, start, start); err != nil {
			t.Fatal(err)
		}
		expect(t, s, post(key, ""), start, c.want)
	}
}

// Who cannot say which keys there were takes none that it does not know.
func TestBlind(t *testing.T) {
	s := newStore(idempotency.Settings{MaxAge: time.Minute})
	answered(t, s, post("k", ""), "one", start)
	s.Blind(start.Add(time.Second))
	expect(t, s, post("k", ""), start.Add(time.Second), "repeat one")
	if ruling := s.Begin(post("new", ""), start.Add(31*time.Second)); ruling.Verdict != idempotency.Full || ruling.RetryAfter != 30*time.Second {
		t.Errorf("%+v", ruling)
	}
	expect(t, s, post("new", ""), start.Add(61*time.Second), "first")
}

// A key that lives is not overruled by the journal of a generation before.
func TestRestoreBesideTheLiving(t *testing.T) {
	s := newStore(idempotency.Settings{})
	answered(t, s, post("k", ""), "one", start)
	c := first(t, s, post("k2", ""), start)
	for _, key := range []string{"k", "k2"} {
		if err := s.Restore(digestOf(t, key), "sent_unknown", 0, start.Add(time.Second), start.Add(time.Second)); err != nil {
			t.Error(err)
		}
	}
	expect(t, s, post("k", ""), start, "repeat one")
	c.Done("never_sent", start)
	expect(t, s, post("k2", ""), start, "first")
}

// One that found no room may be any: until it is due, no unknown key goes on.
func TestRestoreBeyondKeys(t *testing.T) {
	s := newStore(idempotency.Settings{Keys: 2, MaxAge: time.Minute})
	errs := 0
	for i, age := range []time.Duration{50, 40, 20, 30} {
		if s.Restore(digestOf(t, fmt.Sprint("k", i)), "done", 0, start.Add(-age*time.Second), start) != nil {
			errs++
		}
	}
	if errs != 2 {
		t.Errorf("%d found no room", errs)
	}
	expect(t, s, post("k1", ""), start, "known done")
	if ruling := s.Begin(post("k2", ""), start.Add(30*time.Second)); ruling.Verdict != idempotency.Full || ruling.RetryAfter != 10*time.Second {
		t.Errorf("%+v", ruling)
	}
	expect(t, s, post("k2", ""), start.Add(40*time.Second), "first")
}

func TestRestoreOrder(t *testing.T) {
	s := newStore(idempotency.Settings{MaxAge: time.Minute})
	for i, age := range []time.Duration{30, 10, 50, 20, 40} {
		if err := s.Restore(digestOf(t, fmt.Sprint("k", i)), "done", 0, start.Add(-age*time.Second), start); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		now := start.Add(time.Duration(10+10*i) * time.Second)
		s.Begin(post("", ""), now)
		s.Begin(post(fmt.Sprint("new", i), ""), now).Claim.Done("refused", now)
		if st := s.Stats(); st.Keys != 4-i || st.Expired != uint64(i+1) {
			t.Errorf("%d: %+v", i, st)
		}
	}
}

func TestApply(t *testing.T) {
	s := newStore(idempotency.Settings{})
	for i := range 20 {
		answered(t, s, post(fmt.Sprint("k", i), "b"), strings.Repeat("x", 100*i), start.Add(time.Duration(i)*time.Second))
	}
	slow := first(t, s, post("slow", "b"), start)
	slow.Record(200, nil)
	slow.Write(make([]byte, 1500))
	now := start.Add(20 * time.Second)
	apply := func(settings idempotency.Settings) {
		t.Helper()
		if err := s.Apply(settings, now); err != nil {
			t.Fatal(err)
		}
	}
	apply(idempotency.Settings{MaxAnswer: 1000})
	slow.Done("done", now)
	expect(t, s, post("slow", "b"), now, "known done")
	expect(t, s, post("k10", "b"), now, "repeat "+strings.Repeat("x", 1000))
	expect(t, s, post("k11", "b"), now, "known done")
	apply(idempotency.Settings{Bytes: 2 << 10})
	if st := s.Stats(); st.Bytes > 2<<10 || st.Keys != 21 || st.Answers == 0 {
		t.Errorf("%+v", st)
	}
	apply(idempotency.Settings{Keys: 1})
	expect(t, s, post("new", "b"), now, "full")
	expect(t, s, post("k0", "b"), now, "known done")
	apply(idempotency.Settings{MaxAge: 15 * time.Second})
	expect(t, s, post("k5", "b"), now, "first")
	expect(t, s, post("k6", "b"), now, "known done")
}

// Keys of an earlier scope are found under it while they last.
func TestApplyAnotherScope(t *testing.T) {
	scoped := func(field string) idempotency.Settings {
		return idempotency.Settings{MaxAge: time.Minute, Scope: []credential.Name{{Field: field}}}
	}
	s := newStore(scoped("A"))
	answered(t, s, post("k", "b", "A: 1", "B: 1"), "one", start)
	slow := first(t, s, post("slow", "b", "A: 1", "B: 1"), start)
	if err := s.Apply(scoped("B"), start); err != nil {
		t.Fatal(err)
	}
	expect(t, s, post("k", "b", "A: 1", "B: 2"), start, "repeat one")
	expect(t, s, post("k", "b", "A: 2", "B: 1"), start, "first")
	expect(t, s, post("slow", "b", "A: 1", "B: 2"), start, "in_progress")
	answered(t, s, post("n", "b", "A: 1", "B: 1"), "new", start)
	expect(t, s, post("n", "b", "A: 2", "B: 1"), start, "repeat new")

	for i, field := range []string{"C", "D", "A", "D"} {
		if err := s.Apply(scoped(field), start); err != nil {
			t.Fatal(field, err)
		}
		answered(t, s, post(fmt.Sprint("at", i), "b", field+": 1"), "x", start)
		expect(t, s, post("k", "b", "A: 1"), start, "repeat one")
		expect(t, s, post("n", "b", "B: 1"), start, "repeat new")
	}
	if err := s.Apply(scoped("E"), start); !errors.Is(err, idempotency.ErrScopes) {
		t.Errorf("a fifth scope: %v", err)
	}
	expect(t, s, post("at3", "b", "D: 1"), start, "repeat x") // as it was

	slow.Done("done", start.Add(30*time.Second))
	later := start.Add(time.Minute)
	if err := s.Apply(scoped("E"), later); err != nil {
		t.Errorf("when most have gone: %v", err)
	}
	expect(t, s, post("slow", "b", "A: 1"), later, "known done")
	expect(t, s, post("n", "b", "B: 1"), later, "first")
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What Bytes counts is what the heap has, and a key costs what the package says.
func TestCostCoversHeap(t *testing.T) {
	if testing.Short() {
		t.Skip("the heap is measured without -short")
	}
	const bound, perKey = 8 << 20, 220
	small := http.Header{"Content-Type": {"application/json"}, "Date": {start.Format(http.TimeFormat)}, "Location": {"/api/payments/17"}}
	large := small.Clone()
	for i := range 40 {
		large.Set(fmt.Sprint("X-Field-", i), "v")
	}
	for _, c := range []struct {
		name  string
		n     int
		h     http.Header
		body  func(i int) int
		keeps bool
	}{
		{"no answers", 100_000, nil, nil, false},
		{"empty", 30_000, nil, func(int) int { return 0 }, true},
		{"small", 20_000, small, func(i int) int { return 1 + i%600 }, true},
		{"many fields", 5_000, large, func(int) int { return 100 }, true},
		{"large", 200, small, func(i int) int { return 1000 * (1 + i%700) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := bytes.Repeat([]byte("0123456789"), 1<<17)
			before := heap()
			s := newStore(idempotency.Settings{Bytes: bound})
			r := post("k", "b")
			for i := range c.n {
				r.Header.Set("Idempotency-Key", fmt.Sprint(i))
				claim := s.Begin(r, start).Claim
				if c.keeps {
					claim.Record(200, c.h)
					n := c.body(i)
					for from := 0; from < n; from += 32 << 10 {
						claim.Write(text[from:min(n, from+32<<10)])
					}
				}
				claim.Done("done", start)
			}
			st := s.Stats()
			used := heap() - before
			t.Logf("%d keys, %d answers, %d bytes accounted, %d in the heap", st.Keys, st.Answers, st.Bytes, used)
			if st.Keys != c.n || st.Bytes > bound || c.keeps && st.Bytes < bound/2 || st.Dropped != 0 {
				t.Errorf("%+v", st)
			}
			if accounted := st.Bytes + int64(st.Keys)*perKey; used > accounted+256<<10 {
				t.Errorf("%d in the heap, %d accounted", used, accounted)
			}
			runtime.KeepAlive(s)
			runtime.KeepAlive(text)
		})
	}
}
