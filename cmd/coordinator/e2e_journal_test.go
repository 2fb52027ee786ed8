//go:build linux

package main_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// ledger is a backend that knows what it really did, by request id.
type ledger struct {
	*httptest.Server
	mu    sync.Mutex
	done  map[string]int
	gates map[string]chan struct{} // of those that hold
}

func newLedger(t *testing.T) *ledger {
	l := &ledger{done: make(map[string]int), gates: make(map[string]chan struct{})}
	l.Server = httptest.NewServer(http.HandlerFunc(l.serve))
	t.Cleanup(l.Close)
	return l
}

// serve does the work, then what the end of the path says.
func (l *ledger) serve(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	id := r.Header.Get("X-Request-Id")
	l.mu.Lock()
	l.done[id]++
	l.mu.Unlock()
	switch path.Base(r.URL.Path) {
	case "cut": // killed after the work
		panic(http.ErrAbortHandler)
	case "garbage":
		nc, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.WriteString(nc, "this is no answer\r\n\r\n")
			nc.Close()
		}
		return
	case "part":
		half(w)
		panic(http.ErrAbortHandler)
	case "stream":
		half(w)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "hold":
		select {
		case <-r.Context().Done():
		case <-l.gate(id):
		}
	case "slow":
		select {
		case <-r.Context().Done():
		case <-time.After(200 * time.Millisecond):
		}
	case "large":
		_, _ = w.Write(make([]byte, r.ContentLength))
		return
	}
	_, _ = io.WriteString(w, "paid")
}

func half(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "100")
	_, _ = io.WriteString(w, "half")
	_ = http.NewResponseController(w).Flush()
}

// gate is closed when a request that holds may be answered.
func (l *ledger) gate(id string) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gates[id] == nil {
		l.gates[id] = make(chan struct{})
	}
	return l.gates[id]
}

func (l *ledger) count(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done[id]
}

// agrees holds the journal's outcome of a request against what was done.
func agrees(t *testing.T, id, outcome string, done int) {
	t.Helper()
	switch outcome {
	case "refused", "never_sent":
		if done != 0 {
			t.Errorf("%s: %s, and the work was done %d times", id, outcome, done)
		}
	case "sent_unknown":
		if done > 1 {
			t.Errorf("%s: done %d times", id, done)
		}
	case "partial", "undelivered", "done":
		if done != 1 {
			t.Errorf("%s: %s, and the work was done %d times", id, outcome, done)
		}
	default:
		t.Errorf("%s: outcome %q", id, outcome)
	}
}

// told is every closed story in the journal of s, by request id.
func (s *site) told() map[string]*journal.Story {
	s.t.Helper()
	all := make(map[string]*journal.Story)
	for story, err := range journal.NewReader(s.dir+"/state/journal").Find(s.t.Context(), journal.Filter{}) {
		if err != nil {
			s.t.Fatal(err)
		}
		if all[story.RequestID] != nil {
			s.t.Errorf("%s is told twice", story.RequestID)
		}
		all[story.RequestID] = story
	}
	return all
}

func payments(l *ledger) []string {
	return []string{
		"COORDINATOR_BULKHEADS=pay", "BULKHEAD_PAY_ROUTES=/pay/", "BULKHEAD_PAY_BACKEND=" + l.URL,
		"BULKHEAD_PAY_LIMIT=32", "BULKHEAD_PAY_RESTART_BUDGET=1000/60s", "BULKHEAD_PAY_BREAKER_MODE=closed",
	}
}

// post sends one and reports whether it was answered in full.
func post(ctx context.Context, url, target, id string) (status int, whole bool) {
	body := "amount=1"
	if path.Base(target) == "bare" { // net/http sees at once that a client without a body has left
		body = ""
	}
	r, err := http.NewRequestWithContext(ctx, "POST", url+target, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("X-Request-Id", id)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	return resp.StatusCode, err == nil
}

// Wherever the failure is, what the journal says is what was done.
func TestJournalAgreesWithTheBackend(t *testing.T) {
	l := newLedger(t)
	s := runSite(t, payments(l)...)
	for id, want := range map[string]struct{ target, outcome string }{
		"whole": {"/pay/x", "done"}, "cut": {"/pay/cut", "sent_unknown"}, "part": {"/pay/part", "partial"},
	} {
		post(t.Context(), s.url, want.target, id)
		eventually(t, 5*time.Second, id+" is closed", func() bool { return s.told()[id] != nil && s.told()[id].State == journal.Closed })
		if got := s.told()[id]; got.Outcome != want.outcome || l.count(id) != 1 {
			t.Errorf("%s: %+v, done %d times", id, got, l.count(id))
		}
	}
	// The worker dies, or the client leaves, while the backend works.
	ctx, leave := context.WithCancel(t.Context())
	var asked sync.WaitGroup
	asked.Go(func() { post(ctx, s.url, "/pay/slow", "left") })
	eventually(t, 5*time.Second, "the backend has it", func() bool { return l.count("left") == 1 })
	leave()
	asked.Wait()
	asked.Go(func() { post(t.Context(), s.url, "/pay/slow", "widow") })
	eventually(t, 5*time.Second, "the backend has it", func() bool { return l.count("widow") == 1 })
	for _, pid := range s.pids("pay") {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	asked.Wait()
	l.Close() // refused from here on
	eventually(t, 10*time.Second, "the workers are back", func() bool { return s.staffed("pay") })
	post(t.Context(), s.url, "/pay/x", "nobody")
	s.signal(syscall.SIGTERM)
	s.exit(20 * time.Second)
	told := s.told()
	for id, outcome := range map[string]string{"left": "sent_unknown", "widow": "sent_unknown", "nobody": "never_sent"} {
		if got := told[id]; got == nil || got.Outcome != outcome {
			t.Errorf("%s: %+v, want %s", id, got, outcome)
		}
	}
	for id, story := range told {
		agrees(t, id, story.Outcome, l.count(id))
	}
}

// The supervisor is killed at random moments of a stream of payments. All work is
// in the journal, and what an answer confirmed is done.
func TestJournalAfterKills(t *testing.T) {
	kills := 10
	if long {
		kills = 200
	}
	l := newLedger(t)
	s := newSite(t, payments(l)...)
	whole := make(map[string]bool)
	var mu sync.Mutex
	for kill := range kills {
		s.start()
		ctx, end := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for client := range 4 {
			clients.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					id := fmt.Sprintf("k%d-c%d-%d", kill, client, n)
					if status, ok := post(ctx, s.url, "/pay/x", id); ok && status == 200 {
						mu.Lock()
						whole[id] = true
						mu.Unlock()
					}
				}
			})
		}
		time.Sleep(rand.N(150 * time.Millisecond)) // the random moment
		_ = s.cmd.Process.Kill()
		<-s.exited
		end()
		clients.Wait()
	}
	s.start() // closes what is open
	s.signal(syscall.SIGTERM)
	s.exit(20 * time.Second)
	told, unknown := s.told(), 0
	for id, story := range told {
		if story.State != journal.Closed {
			t.Errorf("%s is %s", id, story.State)
		}
		if story.Outcome == "sent_unknown" {
			unknown++
		}
		agrees(t, id, story.Outcome, l.count(id))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, n := range l.done {
		if told[id] == nil || n != 1 {
			t.Errorf("%s was done %d times; the journal: %v", id, n, told[id])
		}
	}
	for id := range whole {
		if story := told[id]; story == nil || story.Outcome != "done" && story.Outcome != "sent_unknown" {
			t.Errorf("%s was answered; the journal: %+v", id, story)
		}
	}
	t.Logf("%d kills, %d requests, %d works, %d answered, %d unknown", kills, len(told), len(l.done), len(whole), unknown)
	if len(l.done) == 0 {
		t.Error("nothing was done")
	}
}
