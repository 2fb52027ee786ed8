package supervisor_test

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/journal"
)

// recorded is a bulkhead of which scope is recorded.
func recorded(name string, scope supervisor.JournalScope, change ...func(*supervisor.BulkheadConfig)) supervisor.BulkheadConfig {
	return bulkhead(name, append(change, func(c *supervisor.BulkheadConfig) { c.Journal.Scope = scope })...)
}

// keep has the state directory be one that the test knows.
func keep(dir string) option {
	return func(o *supervisor.Options) { o.Config.StateDir = dir }
}

// stories are those of one request id, once they are closed.
func stories(t *testing.T, state, id string) []*journal.Story {
	t.Helper()
	var found []*journal.Story
	eventually(t, 5*time.Second, "the story of "+id, func() bool {
		x, err := journal.NewReader(filepath.Join(state, "journal")).Explain(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		found = x.Stories
		return len(found) > 0 && found[0].State == journal.Closed
	})
	return found
}

func noStory(t *testing.T, state, id string) {
	t.Helper()
	x, err := journal.NewReader(filepath.Join(state, "journal")).Explain(t.Context(), id)
	if err != nil || len(x.Stories) > 0 {
		t.Errorf("%s: %v %v", id, x, err)
	}
}

func TestJournalTellsTheOutcome(t *testing.T) {
	state := t.TempDir()
	r := start(t, []supervisor.BulkheadConfig{recorded("a", supervisor.JournalUnsafe)}, keep(state))
	for _, test := range []struct {
		id, target      string
		outcome, reason string
		attempts        int
		stage, fault    string
		safe            bool
	}{
		{"done", "/a/sum", "done", "", 1, "answered", "", false},
		{"unsent", "/a/fault?fault=backend_refused", "never_sent", "backend_refused", 1, "taken", "backend_refused", true},
		{"unknown", "/a/fault?sent=1&fault=backend_protocol", "sent_unknown", "backend_protocol", 1, "sent", "backend_protocol", false},
		{"refused", "/a/sum", "refused", "breaker_open", 0, "", "", true},
	} {
		if test.id == "refused" {
			r.ForceBreaker(t.Context(), "a", breaker.Open)
		}
		resp, _ := r.do("POST", test.target, strings.NewReader("12345"), "X-Request-Id", test.id)
		all := stories(t, state, test.id)
		s := all[0]
		if len(all) != 1 || s.Outcome != test.outcome || s.Reason != test.reason || len(s.Attempts) != test.attempts ||
			s.Status != resp.StatusCode || s.RetrySafe != test.safe || s.Bulkhead != "a" || s.Route != "/a" || s.Method != "POST" || s.Query != "" || s.Client == "" {
			t.Errorf("%s: %+v", test.id, s)
			continue
		}
		if test.attempts == 0 {
			continue
		}
		if a := s.Attempts[0]; a.Stage != test.stage || a.Fault != test.fault || a.Pid == 0 || a.Generation != 1 || a.TookUS <= 0 {
			t.Errorf("%s: %+v", test.id, a)
		}
		if test.id == "done" && (s.BytesIn != 5 || s.BytesOut != 1) {
			t.Errorf("%d in, %d out", s.BytesIn, s.BytesOut)
		}
	}
	if s := r.Status().Journal; s == nil || !s.Available || s.Intents != 3 {
		t.Errorf("%+v", s)
	}
}

// Each worker that had part in a request is told of.
func TestJournalTellsOfRepeats(t *testing.T) {
	state := t.TempDir()
	r := start(t, []supervisor.BulkheadConfig{recorded("a", supervisor.JournalAll, func(c *supervisor.BulkheadConfig) { c.Workers = 2 })}, keep(state))
	r.get("/a/once?file="+filepath.Join(t.TempDir(), "died"), "X-Request-Id", "again")
	s := stories(t, state, "again")[0]
	if s.Outcome != "done" || len(s.Attempts) != 2 || s.Attempts[0].Fault != "worker_died" || s.Attempts[1].Fault != "" ||
		s.Attempts[0].Pid == s.Attempts[1].Pid {
		t.Errorf("%+v", s)
	}
}

func TestJournalScopes(t *testing.T) {
	state := t.TempDir()
	r := start(t, []supervisor.BulkheadConfig{
		recorded("u", supervisor.JournalUnsafe), recorded("l", supervisor.JournalAll),
		recorded("f", supervisor.JournalFailures), recorded("o", supervisor.JournalOff),
	}, keep(state))
	for _, name := range []string{"u", "l", "f", "o"} {
		r.get("/"+name+"/bytes?n=1", "X-Request-Id", name+"-get")
		r.do("POST", "/"+name+"/sum", strings.NewReader("x"), "X-Request-Id", name+"-post")
		r.get("/"+name+"/fault?fault=backend_refused", "X-Request-Id", name+"-failed")
	}
	r.stop()
	for _, id := range []string{"u-post", "l-get", "l-post", "l-failed", "f-failed"} {
		stories(t, state, id)
	}
	for _, id := range []string{"u-get", "u-failed", "f-get", "f-post", "o-get", "o-post", "o-failed"} {
		noStory(t, state, id)
	}
	spans, err := journal.NewReader(filepath.Join(state, "journal")).Spans(t.Context())
	if err != nil || spans.Scope["u"] != "unsafe" || spans.Scope["o"] != "off" || spans.Up[0].End != "stopped" {
		t.Errorf("%+v %v", spans, err)
	}
}

// A client that has left did not get its answer, though a socket would take it.
func TestJournalOfClientsThatLeave(t *testing.T) {
	state := t.TempDir()
	r := start(t, []supervisor.BulkheadConfig{recorded("a", supervisor.JournalUnsafe)}, keep(state))
	nc, _ := r.raw("POST /a/hang?sent=1 HTTP/1.1\r\nHost: x\r\nX-Request-Id: gone\r\nContent-Length: 0\r\n\r\n")
	eventually(t, 5*time.Second, "it is in flight", func() bool { return r.Status().Journal.Open == 1 })
	nc.Close()
	if s := stories(t, state, "gone")[0]; s.Outcome != "sent_unknown" && s.Outcome != "never_sent" || s.Reason != "client_gone" || s.Status != 0 {
		t.Errorf("%+v", s)
	}
}

// What stood in for an answer is told of.
func TestJournalTellsOfFallbacks(t *testing.T) {
	state := t.TempDir()
	c, set := legacyOf(t, "a", func(c *supervisor.BulkheadConfig) { c.Journal.Scope = supervisor.JournalAll })
	r := start(t, []supervisor.BulkheadConfig{c}, keep(state))
	const target = "/a/legacy/orders?Cache-Control=max-age=60"
	r.get(target, "X-Request-Id", "live")
	set("backend_refused")
	if resp, _ := r.get(target, "X-Request-Id", "stale"); resp.StatusCode != 200 {
		t.Fatalf("nothing stood in: %d", resp.StatusCode)
	}
	if s := stories(t, state, "live")[0]; s.Fallback != "" || s.Outcome != "done" {
		t.Errorf("live: %+v", s)
	}
	if s := stories(t, state, "stale")[0]; s.Fallback != "stale" || s.Outcome != "never_sent" || s.Reason != "backend_refused" || s.Status != 200 {
		t.Errorf("stale: %+v", s)
	}
}

// Each sync has a writer of its own, from when a bulkhead asks for it. What scope
// and sync were when a request came counts for it, whatever a reload says.
func TestJournalSyncsAndReloads(t *testing.T) {
	a := recorded("a", supervisor.JournalUnsafe)
	b := recorded("b", supervisor.JournalFailures, func(c *supervisor.BulkheadConfig) { c.Journal.Sync = journal.Always })
	state, config := t.TempDir(), supervisor.Config{}
	next := []supervisor.BulkheadConfig{a, b}
	r := start(t, next, keep(state), func(o *supervisor.Options) {
		o.Load = func() (supervisor.Config, error) {
			c := config
			c.Bulkheads = next
			return c, nil
		}
		config = o.Config
	})
	post := func(id, name string) *journal.Story {
		r.do("POST", "/"+name+"/sum", strings.NewReader("x"), "X-Request-Id", id)
		return stories(t, state, id)[0]
	}
	first := post("process", "a")
	if s := r.Status().Journal; len(s.Runs) != 1 || !strings.HasPrefix(first.Entry, s.Runs[0]+".") || len(s.Unavailable) != 0 {
		t.Errorf("one sync alone: %+v, %s", s, first.Entry)
	}
	if n := r.sample("coordinator_journal_syncs_total"); n != 0 {
		t.Errorf("%v syncs that nobody asked for", n)
	}
	nc, _ := r.raw("POST /a/hang?sent=1 HTTP/1.1\r\nHost: x\r\nX-Request-Id: over\r\nContent-Length: 0\r\n\r\n")
	eventually(t, 5*time.Second, "it is in flight", func() bool { return r.Status().Journal.Open == 1 })

	next = []supervisor.BulkheadConfig{a, b}
	next[0].Journal.Sync, next[1].Journal.Scope = journal.Always, supervisor.JournalOff
	if report := r.Reload(t.Context()); report.Error != "" {
		t.Fatalf("%+v", report)
	}
	nc.Close()
	if s := stories(t, state, "over")[0]; s.Outcome != "sent_unknown" || !strings.HasPrefix(s.Entry, r.Status().Journal.Runs[0]+".") {
		t.Errorf("in flight during the reload: %+v", s)
	}
	second := post("always", "a")
	if s := r.Status().Journal; len(s.Runs) != 2 || !strings.HasPrefix(second.Entry, s.Runs[1]+".") || s.Intents != 3 || s.Closes != 3 {
		t.Errorf("two syncs: %+v, %s", s, second.Entry)
	}
	if n := r.sample("coordinator_journal_syncs_total"); n != 1 {
		t.Errorf("%v syncs of one intent", n)
	}
	r.do("POST", "/b/fault?fault=backend_refused", nil, "X-Request-Id", "off")
	r.stop()
	noStory(t, state, "off")
	spans, err := journal.NewReader(filepath.Join(state, "journal")).Spans(t.Context())
	if err != nil || spans.Scope["b"] != "off" || len(spans.Up) != 2 || spans.Up[0].End != "stopped" || spans.Up[1].End != "stopped" || len(spans.Gaps) != 0 {
		t.Errorf("%+v %v", spans, err)
	}
}

// Without its journal the supervisor refuses what needs it, and nothing else.
func TestJournalUnavailable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("as root: the folder is removed instead of closed to us")
	}
	state := t.TempDir()
	r := start(t, []supervisor.BulkheadConfig{recorded("a", supervisor.JournalUnsafe), recorded("f", supervisor.JournalFailures)}, keep(state),
		func(o *supervisor.Options) { o.Config.Journal.SegmentBytes = 1 }) // every intent asks for a new segment
	dir := filepath.Join(state, "journal")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	post := func() string { return r.reason("POST", "/a/sum", strings.NewReader("x")) }
	eventually(t, 20*time.Second, "a refusal", func() bool { return post() == "journal_unavailable" })
	if got := r.reason("GET", "/a/bytes?n=1", nil); got != "200" {
		t.Errorf("GET: %s", got)
	}
	if got := r.reason("POST", "/f/sum", strings.NewReader("x")); got != "200" {
		t.Errorf("a POST that needs no intent: %s", got)
	}
	if s := r.Status().Journal; s.Available || len(s.Unavailable) != 1 || s.Unavailable[0] != "process" || s.Refused == 0 {
		t.Errorf("%+v", s)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "it recovers", func() bool { return post() == "200" })
}

// What is secret is in no file of the state directory.
func TestJournalKeepsNoSecrets(t *testing.T) {
	state := t.TempDir()
	headers, err := journal.NewAllowList([]string{"User-Agent"})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, []supervisor.BulkheadConfig{recorded("a", supervisor.JournalAll, func(c *supervisor.BulkheadConfig) { c.Journal.Headers = headers })},
		keep(state))
	const canary = "canary-of-the-mine"
	for _, target := range []string{"/a/echo", "/a/fault?fault=backend_refused&", "/a/fault?sent=1&fault=backend_reset&", "/a/exit?"} {
		if !strings.Contains(target, "?") {
			target += "?"
		}
		r.do("POST", target+"token="+canary, strings.NewReader(canary), "X-Request-Id", "secret", "User-Agent", "agent",
			"Authorization", "Bearer "+canary, "Cookie", "sid="+canary, "Idempotency-Key", canary, "X-Api-Key", canary, "Referer", "/?"+canary)
	}
	if s := stories(t, state, "secret")[0]; s.Headers["User-Agent"] != "agent" {
		t.Errorf("%+v", s)
	}
	r.stop()
	err = filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(canary)) || bytes.Contains(text, []byte("127.0.0.1")) && strings.Contains(path, "journal") {
			t.Errorf("%s tells", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkJournal is what the journal costs a request, one after another.
func BenchmarkJournal(b *testing.B) {
	r := start(b, []supervisor.BulkheadConfig{recorded("off", supervisor.JournalOff), recorded("unsafe", supervisor.JournalUnsafe)})
	for _, name := range []string{"off", "unsafe"} {
		b.Run("get-"+name, func(b *testing.B) { repeatOne(b, r, "GET /"+name+"/bytes?n=456 HTTP/1.1\r\nHost: x\r\n\r\n") })
		b.Run("post-"+name, func(b *testing.B) {
			repeatOne(b, r, "POST /"+name+"/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 456\r\n\r\n"+strings.Repeat("x", 456))
		})
	}
}

// A client that is slow with a body that is kept does not make the backend slow.
func TestKeptBodyIsNotChargedToTheBackend(t *testing.T) {
	t.Parallel()
	slow := func(c *supervisor.BulkheadConfig) {
		c.BreakerMode = breaker.Auto
		c.Breaker.SlowCall, c.Breaker.MinCalls, c.Breaker.SlowRatio = 500*time.Millisecond, 1, 0.1
	}
	r := start(t, []supervisor.BulkheadConfig{keeping("a", slow)}, withKeys(keysOf(t, "1")))
	client, answer := r.raw("POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
	<-time.After(700 * time.Millisecond) // the watch has looked often since it would have been slow
	if _, err := io.WriteString(client, "cd"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(answer, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%+v, %v", resp, err)
	}
	resp.Body.Close()
	eventually(t, 5*time.Second, "it is over", func() bool { return r.bulkhead("a").InFlight == 0 })
	if s := r.bulkhead("a").Breaker; s.State != "closed" || s.Calls != 1 || s.Slow != 0 {
		t.Errorf("%+v", s)
	}
}
