package supervisor_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/journal"
	"commerce.example/coordinator/supervisor/journal/kept"
	"commerce.example/coordinator/supervisor/tracing"
)

func keysOf(t *testing.T, seed string) *kept.Keys {
	t.Helper()
	secret := sha256.Sum256([]byte(seed))
	k, err := kept.ParseKeys(secret[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// keeping is a bulkhead that keeps requests of up to 1 KiB.
func keeping(name string, change ...func(*supervisor.BulkheadConfig)) supervisor.BulkheadConfig {
	return recorded(name, supervisor.JournalUnsafe, append([]func(*supervisor.BulkheadConfig){
		func(c *supervisor.BulkheadConfig) { c.Journal.BodyBytes, c.BreakerMode = 1<<10, breaker.Closed },
	}, change...)...)
}

func withKeys(k *kept.Keys) option {
	return func(o *supervisor.Options) { o.Config.JournalKeys = k }
}

func backed(state string) func(*supervisor.BulkheadConfig) {
	return func(c *supervisor.BulkheadConfig) { c.Worker.Env["LEGACY"] = state }
}

func idempotent(c *supervisor.BulkheadConfig) { c.BackendIdempotent = true }

// replay sends the one request of an id again, or asks whether it would be sent.
func (r *running) replay(state, id string, execute bool) *supervisor.ReplayResult {
	r.t.Helper()
	s := stories(r.t.(*testing.T), state, id)[0]
	report := r.Replay(r.t.Context(), s.Bulkhead, supervisor.ReplayPlan{Segment: s.Segment, Offset: s.Offset, Execute: execute})
	if report.Error != "" || report.Replay == nil {
		r.t.Fatalf("%+v", report)
	}
	return report.Replay
}

func keptFiles(t *testing.T, state string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(state, "journal", "kept", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// What never left is sent again as it was, once, with its credentials, and the two
// are linked.
func TestReplaySendsAgainAsItWas(t *testing.T) {
	state, well := t.TempDir(), filepath.Join(t.TempDir(), "legacy")
	set(t, well, "backend_refused")
	r := start(t, []supervisor.BulkheadConfig{keeping("a", backed(well))}, keep(state), withKeys(keysOf(t, "1")))
	r.do("POST", "/a/legacy/pay?says=Authorization", strings.NewReader("amount=1"), "X-Request-Id", "first", "Authorization", "Bearer me",
		"Idempotency-Key", "k")
	if s := stories(t, state, "first")[0]; s.Outcome != "never_sent" || s.Body != "kept" || s.Sealed == "" {
		t.Fatalf("%+v", s)
	}
	for range 2 {
		if got := r.replay(state, "first", false); got.Why != "" || got.BodyBytes != 8 || got.ReplayID != "" {
			t.Fatalf("dry run: %+v", got)
		}
	}
	set(t, well, "")
	got := r.replay(state, "first", true)
	if got.Why != "" || got.Outcome != "done" || got.Status != 200 || got.ReplayID == "" || got.ReplayID == "first" {
		t.Fatalf("%+v", got)
	}
	s := stories(t, state, got.ReplayID)[0]
	if s.Outcome != "done" || s.ReplayOf != "first" || s.ReplayOfEntry != got.Entry || s.BytesIn != 8 || s.BytesOut != int64(len("Bearer me")) || s.Sealed != "" {
		t.Errorf("%+v", s)
	}
	for range 2 {
		if got := r.replay(state, "first", true); got.Why != supervisor.NoReplayGone || got.ReplayID != "" {
			t.Errorf("again: %+v", got)
		}
	}
	nothingKept(t, state)
}

func nothingKept(t *testing.T, state string) {
	t.Helper()
	eventually(t, 5*time.Second, "nothing is kept", func() bool { return keptFiles(t, state) == 0 })
}

func set(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// Only what is provably harmless is sent again.
func TestReplayRefuses(t *testing.T) {
	state, well := t.TempDir(), filepath.Join(t.TempDir(), "legacy")
	r := start(t, []supervisor.BulkheadConfig{
		keeping("a", backed(well)), keeping("i", backed(well), idempotent), recorded("off", supervisor.JournalUnsafe, backed(well)),
	}, keep(state), withKeys(keysOf(t, "1")))
	for _, test := range []struct {
		id, bulkhead, legacy, body string
		why                        supervisor.NoReplay
	}{
		{"done", "a", "", "x", supervisor.NoReplayOutcome},
		{"unknown", "a", "backend_reset", "x", supervisor.NoReplayUnsure},
		{"unknown-idempotent", "i", "backend_reset", "x", ""},
		{"unsent", "a", "backend_refused", "x", ""},
		{"unsent-empty", "a", "backend_refused", "", ""},
		{"off", "off", "backend_refused", "x", supervisor.NoReplayNotKept},
		{"large", "a", "backend_refused", strings.Repeat("x", 1025), supervisor.NoReplayTooLarge},
		{"largest", "a", "backend_refused", strings.Repeat("x", 1024), ""},
	} {
		set(t, well, test.legacy)
		resp, _ := r.do("POST", "/"+test.bulkhead+"/legacy/pay", strings.NewReader(test.body), "X-Request-Id", test.id)
		if got := r.replay(state, test.id, false); got.Why != test.why || got.Why != "" && got.Detail == "" || got.Why == "" && got.BodyBytes != len(test.body) {
			t.Errorf("%s (answered %d): %+v", test.id, resp.StatusCode, got)
		}
		if test.why != "" && test.why != supervisor.NoReplayUnsure {
			if got := r.replay(state, test.id, true); got.Why != test.why || got.ReplayID != "" {
				t.Errorf("%s, executed: %+v", test.id, got)
			}
		}
	}
	for _, p := range []supervisor.ReplayPlan{{}, {Segment: "../../etc/passwd"}, {Segment: "journal-00000001-x.jsonl", Offset: 7}} {
		if got := r.Replay(t.Context(), "a", p); got.Error == "" && got.Replay.Why != supervisor.NoReplayGone {
			t.Errorf("%+v: %+v", p, got)
		}
	}
	s := stories(t, state, "unsent")[0]
	for _, name := range []string{"i", "none"} {
		if got := r.Replay(t.Context(), name, supervisor.ReplayPlan{Segment: s.Segment, Offset: s.Offset, Execute: true}); got.Error == "" {
			t.Errorf("to %s: %+v", name, got)
		}
	}
}

// Bodies of unknown length and of clients that are slow are kept too; those that are
// too large arrive whole all the same.
func TestKeptBodiesArriveWhole(t *testing.T) {
	state := t.TempDir()
	r := start(t, []supervisor.BulkheadConfig{keeping("a")}, keep(state), withKeys(keysOf(t, "1")))
	for i, n := range []int{0, 1, 511, 512, 513, 1023, 1024, 1025, 4096, 200_000} {
		for _, known := range []bool{true, false} {
			var body io.Reader = strings.NewReader(strings.Repeat("x", n))
			if !known {
				body = struct{ io.Reader }{body}
			}
			id := fmt.Sprintf("n%d-%t", i, known)
			_, got := r.do("POST", "/a/sum", body, "X-Request-Id", id)
			s := stories(t, state, id)[0]
			if got != fmt.Sprint(n) || s.BytesIn != int64(n) || (s.Body == "too_large") != (n > 1024) || s.Sealed != "" {
				t.Errorf("%s: %s of %d bytes, %+v", id, got, n, s)
			}
		}
	}
	nothingKept(t, state)
}

// A body that does not come costs its client its patience and the backend nothing;
// a client that leaves, likewise.
func TestKeptBodiesThatDoNotCome(t *testing.T) {
	state := t.TempDir()
	r := start(t, []supervisor.BulkheadConfig{keeping("a", func(c *supervisor.BulkheadConfig) { c.Timeout = 300 * time.Millisecond })},
		keep(state), withKeys(keysOf(t, "1")))
	_, answer := r.raw("POST /a/sum HTTP/1.1\r\nHost: x\r\nX-Request-Id: slow\r\nContent-Length: 100\r\n\r\nhalf")
	line, err := answer.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 408 ") {
		t.Errorf("%q, %v", line, err)
	}
	nc, _ := r.raw("POST /a/sum HTTP/1.1\r\nHost: x\r\nX-Request-Id: gone\r\nContent-Length: 100\r\n\r\nhalf")
	nc.Close()
	for id, reason := range map[string]string{"slow": "client_timeout", "gone": "client_gone"} {
		if s := stories(t, state, id)[0]; s.Outcome != "refused" || s.Reason != reason || len(s.Attempts) != 0 {
			t.Errorf("%s: %+v", id, s)
		}
	}
	eventually(t, 5*time.Second, "nothing is held", func() bool { return r.bulkhead("a").InFlight == 0 })
}

// A replay goes through the breaker and the journal like all others. One that is
// refused has not left, and the first can still be sent again; one that failed takes
// its place.
func TestReplayIsARequestOfItsOwn(t *testing.T) {
	state, well := t.TempDir(), filepath.Join(t.TempDir(), "legacy")
	set(t, well, "backend_refused")
	access := filepath.Join(state, "access.log")
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(collector.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	tracer, err := tracing.New(t.Context(), tracing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tracer.Close(context.Background()) })
	r := start(t, []supervisor.BulkheadConfig{keeping("a", backed(well))}, keep(state), withKeys(keysOf(t, "1")), accessLogged(t, "all", access),
		func(o *supervisor.Options) { o.Tracer = tracer })
	r.do("POST", "/a/legacy/pay", strings.NewReader("amount=1"), "X-Request-Id", "first")
	r.ForceBreaker(t.Context(), "a", breaker.Open)
	if got := r.replay(state, "first", true); got.Outcome != "refused" || got.Reason != "breaker_open" || got.Status != 503 {
		t.Errorf("breaker open: %+v", got)
	}
	r.Drain(t.Context(), "a")
	r.ForceBreaker(t.Context(), "a", breaker.Closed)
	if got := r.replay(state, "first", true); got.Outcome != "refused" || got.Reason != "draining" {
		t.Errorf("drained: %+v", got)
	}
	r.Resume(t.Context(), "a")
	second := r.replay(state, "first", true)
	if second.Outcome != "never_sent" || second.Reason != "backend_refused" || second.Status != 502 {
		t.Fatalf("backend still down: %+v", second)
	}
	if got := r.replay(state, "first", true); got.Why != supervisor.NoReplayGone {
		t.Errorf("the first, again: %+v", got)
	}
	set(t, well, "")
	third := r.replay(state, second.ReplayID, true)
	if third.Outcome != "done" {
		t.Errorf("the replay's replay: %+v", third)
	}
	nothingKept(t, state)
	if s := stories(t, state, third.ReplayID)[0]; s.Route != "/a" {
		t.Errorf("%+v", s)
	}
	if got := r.sample(`coordinator_operations_total{action="replay",result="done"}`); got != 5 {
		t.Errorf("%v operations", got)
	}
	if d, _ := r.Detail("a"); !strings.Contains(d.Transitions[0].What, "replay: "+second.ReplayID+" was sent again as "+third.ReplayID+": done") {
		t.Errorf("%+v", d.Transitions)
	}
	eventually(t, 5*time.Second, "the access log has the client of the first alone, and a trace of each", func() bool {
		text, err := os.ReadFile(access)
		return err == nil && bytes.Count(text, []byte("\n")) == 5 && bytes.Count(text, []byte(`"client":`)) == 1 &&
			bytes.Count(text, []byte(`"trace_id":`)) == 5
	})
}

// A crash between the record of a replay and the removal of what was kept must not
// have it sent twice; the next supervisor sees to it, and not before it is alone.
func TestReplayAfterACrash(t *testing.T) {
	state, well := t.TempDir(), filepath.Join(t.TempDir(), "legacy")
	set(t, well, "backend_refused")
	with := []option{keep(state), withKeys(keysOf(t, "1"))}
	r := start(t, []supervisor.BulkheadConfig{keeping("a", backed(well))}, with...)
	for _, id := range []string{"first", "other"} {
		r.do("POST", "/a/legacy/pay", strings.NewReader("amount=1"), "X-Request-Id", id)
	}
	first := stories(t, state, "first")[0]
	r.stop()

	dir := filepath.Join(state, "journal")
	j, err := journal.Open(dir, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	intent := first.Record
	intent.RequestID, intent.ReplayOf, intent.ReplayOfEntry = "second", "first", first.Entry
	intent.Outcome, intent.Reason, intent.Sealed, intent.Body = "", "", "", ""
	if _, err := j.Begin(t.Context(), &intent); err != nil {
		t.Fatal(err)
	}
	set(t, well, "")
	r = start(t, []supervisor.BulkheadConfig{keeping("a", backed(well))}, with...)
	s := stories(t, state, "other")[0]
	plan := supervisor.ReplayPlan{Segment: s.Segment, Offset: s.Offset, Execute: true}
	if got := r.Replay(t.Context(), "a", plan); !strings.Contains(got.Error, "an earlier supervisor still finishes") {
		t.Errorf("beside another writer: %+v", got)
	}
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.replay(state, "first", true); got.Why != supervisor.NoReplayGone {
		t.Errorf("it was sent twice: %+v", got)
	}
	if got := r.replay(state, "other", true); got.Outcome != "done" {
		t.Errorf("%+v", got)
	}
}

// Another key opens nothing, and damage is told from a request.
func TestReplayNeedsTheKey(t *testing.T) {
	state, well := t.TempDir(), filepath.Join(t.TempDir(), "legacy")
	set(t, well, "backend_refused")
	r := start(t, []supervisor.BulkheadConfig{keeping("a", backed(well))}, keep(state), withKeys(keysOf(t, "1")))
	r.do("POST", "/a/legacy/pay", strings.NewReader("amount=1"), "X-Request-Id", "first")
	stories(t, state, "first")
	r.stop()
	r = start(t, []supervisor.BulkheadConfig{keeping("a", backed(well))}, keep(state), withKeys(keysOf(t, "2")))
	if got := r.replay(state, "first", true); got.Why != supervisor.NoReplayKey || got.ReplayID != "" {
		t.Errorf("%+v", got)
	}
	path := filepath.Join(state, "journal", "kept", stories(t, state, "first")[0].Sealed)
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.replay(state, "first", true); got.Why != supervisor.NoReplayDamaged {
		t.Errorf("%+v", got)
	}
}

// A request that cannot be kept goes on.
func TestWithoutRoomNothingIsKept(t *testing.T) {
	state, well := t.TempDir(), filepath.Join(t.TempDir(), "legacy")
	set(t, well, "backend_refused")
	r := start(t, []supervisor.BulkheadConfig{keeping("a", backed(well))}, keep(state), withKeys(keysOf(t, "1")))
	nothingKept(t, state)
	if err := os.Remove(filepath.Join(state, "journal", "kept")); err != nil {
		t.Fatal(err)
	}
	resp, _ := r.do("POST", "/a/legacy/pay", strings.NewReader("x"), "X-Request-Id", "lost")
	if s := stories(t, state, "lost")[0]; s.Body != "lost" || s.Sealed != "" || s.Outcome != "never_sent" || resp.StatusCode != 502 {
		t.Errorf("%d, %+v", resp.StatusCode, s)
	}
	if got := r.replay(state, "lost", true); got.Why != supervisor.NoReplayNotKept {
		t.Errorf("%+v", got)
	}
}

// Nothing of a kept request can be read in any file, metric or answer.
func TestKeptRequestsKeepTheirSecrets(t *testing.T) {
	state, well := t.TempDir(), filepath.Join(t.TempDir(), "legacy")
	const canary = "canary-of-the-mine"
	r := start(t, []supervisor.BulkheadConfig{keeping("a", backed(well), idempotent)}, keep(state), withKeys(keysOf(t, "1")))
	for i, legacy := range []string{"backend_refused", "backend_reset", "500", ""} {
		set(t, well, legacy)
		r.do("POST", "/a/legacy/pay?token="+canary, strings.NewReader("card="+canary), "X-Request-Id", fmt.Sprint("r", i),
			"Authorization", "Bearer "+canary, "Cookie", "sid="+canary, "Idempotency-Key", canary, "X-Api-Key", canary, "X-Other", canary)
		stories(t, state, fmt.Sprint("r", i))
	}
	eventually(t, 5*time.Second, "two are kept", func() bool { return keptFiles(t, state) == 2 })
	var told bytes.Buffer
	fmt.Fprintf(&told, "%+v", r.Status())
	set(t, well, "backend_refused")
	fmt.Fprintf(&told, "%+v", *r.replay(state, "r0", true))
	r.stop()
	err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		told.Write(text)
		if bytes.Contains(text, []byte(canary)) {
			t.Errorf("%s tells", path)
		}
		return err
	})
	if err != nil || bytes.Contains(told.Bytes(), []byte(canary)) {
		t.Errorf("something tells, %v", err)
	}
}

// BenchmarkKept is what keeping costs a POST.
func BenchmarkKept(b *testing.B) {
	secret := sha256.Sum256([]byte("bench"))
	k, err := kept.ParseKeys(secret[:])
	if err != nil {
		b.Fatal(err)
	}
	r := start(b, []supervisor.BulkheadConfig{recorded("off", supervisor.JournalUnsafe), keeping("on")}, withKeys(k))
	for _, name := range []string{"off", "on"} {
		b.Run(name, func(b *testing.B) {
			repeatOne(b, r, "POST /"+name+"/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 456\r\n\r\n"+strings.Repeat("x", 456))
		})
	}
}
