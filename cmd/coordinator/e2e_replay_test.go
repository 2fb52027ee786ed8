//go:build linux

package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// till is a backend that can be down, and knows what it did, with what, and when.
type till struct {
	t    *testing.T
	addr string

	mu     sync.Mutex
	server *http.Server
	works  map[string][]time.Time // by body
	wrong  []string               // of requests that are not as they were sent
	status int                    // of its answers; 0: 200
	hold   chan struct{}          // answers wait for its end; nil: they do not
}

func newTill(t *testing.T) *till {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &till{t: t, addr: ln.Addr().String(), works: make(map[string][]time.Time)}
	_ = ln.Close()
	t.Cleanup(l.down)
	return l
}

func (l *till) up() {
	l.t.Helper()
	var ln net.Listener
	eventually(l.t, 10*time.Second, "the port is free", func() bool {
		var err error
		ln, err = net.Listen("tcp", l.addr)
		return err == nil
	})
	server := &http.Server{Handler: http.HandlerFunc(l.serve)}
	l.mu.Lock()
	l.server = server
	l.mu.Unlock()
	go func() { _ = server.Serve(ln) }() // ends with down
}

func (l *till) down() {
	l.mu.Lock()
	server := l.server
	l.server = nil
	l.mu.Unlock()
	if server != nil {
		_ = server.Close()
	}
}

func (l *till) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	l.mu.Lock()
	l.works[string(body)] = append(l.works[string(body)], time.Now())
	got := fmt.Sprintf("%s %s %q %q %q", r.Method, r.RequestURI, r.Header["Authorization"], r.Header["Idempotency-Key"], r.Header["Content-Type"])
	if want := `POST /pay/x?a=%20b ["Bearer me"] ["key-` + string(body) + `"] ["text/plain"]`; got != want {
		l.wrong = append(l.wrong, got)
	}
	status, hold := l.status, l.hold
	l.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
	if status != 0 {
		w.WriteHeader(status)
	}
}

// answers has it answer so from now on.
func (l *till) answers(status int, hold chan struct{}) {
	l.mu.Lock()
	l.status, l.hold = status, hold
	l.mu.Unlock()
}

// done is how many works there were.
func (l *till) done() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, times := range l.works {
		n += len(times)
	}
	return n
}

// settings are those of a site in front of it, which keeps what it is sent.
func (l *till) settings(more ...string) []string {
	key := filepath.Join(l.t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return append([]string{
		"COORDINATOR_BULKHEADS=pay", "BULKHEAD_PAY_ROUTES=/pay/", "BULKHEAD_PAY_BACKEND=http://" + l.addr,
		"BULKHEAD_PAY_BREAKER_MODE=closed", "BULKHEAD_PAY_JOURNAL_BODY=64KiB", "COORDINATOR_JOURNAL_KEY_FILE=" + key,
	}, more...)
}

// payInto sends one and returns the status, 0 when there is no answer.
func payInto(s *site, n int) int {
	r, err := http.NewRequest("POST", s.url+"/pay/x?a=%20b", strings.NewReader(fmt.Sprint("p", n)))
	if err != nil {
		panic(err)
	}
	for name, value := range map[string]string{
		"X-Request-Id": fmt.Sprint("pay-", n), "Authorization": "Bearer me", "Idempotency-Key": fmt.Sprint("key-p", n), "Content-Type": "text/plain",
	} {
		r.Header.Set(name, value)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// replayed is the verdicts of journal replay, in order, as VERDICT WHY.
func (s *site) replayed(code int, args ...string) (verdicts []string) {
	s.t.Helper()
	got, output := s.cli(append([]string{"journal", "replay", "--json"}, args...)...)
	if got != code {
		s.t.Fatalf("%v: exit code %d, want %d: %s", args, got, code, output)
	}
	for line := range strings.Lines(output) {
		var told struct {
			Verdict string
			Replay  struct{ Why, Outcome, Reason string }
		}
		if !strings.HasPrefix(line, "{") {
			continue // why it stopped
		}
		if err := json.Unmarshal([]byte(line), &told); err != nil {
			s.t.Fatalf("%v in %s", err, line)
		}
		verdicts = append(verdicts, strings.TrimSpace(strings.Join([]string{told.Verdict, told.Replay.Why, told.Replay.Reason}, " ")))
	}
	return verdicts
}

func countOf(verdicts []string, which string) (n int) {
	for _, v := range verdicts {
		if v == which {
			n++
		}
	}
	return n
}

// lost sends n payments while nobody takes them.
func lost(t *testing.T, s *site, n int) {
	t.Helper()
	for i := range n {
		if status := payInto(s, i); status != 502 {
			t.Fatalf("payment %d: %d", i, status)
		}
	}
	eventually(t, 10*time.Second, "all are recorded", func() bool {
		closed := 0
		for _, story := range s.told() {
			if story.State == journal.Closed {
				closed++
			}
		}
		return closed == n
	})
}

func TestReplayOfWhatNeverArrived(t *testing.T) {
	const n, rate = 12, 20
	l := newTill(t)
	s := runSite(t, l.settings()...)
	lost(t, s, n)
	l.up()
	if got := s.replayed(0); len(got) != n || countOf(got, "would_send") != n || l.done() != 0 {
		t.Fatalf("dry run: %v, %d works", got, l.done())
	}
	if got := s.replayed(0, "--id", "pay-3,pay-4"); len(got) != 2 {
		t.Errorf("two by their id: %v", got)
	}
	t.Log(s.must("journal", "replay", "--id", "pay-3"))
	begun := time.Now()
	if got := s.replayed(0, "--execute", "--rate", fmt.Sprint(rate)); len(got) != n || countOf(got, "sent") != n {
		t.Errorf("executed: %v", got)
	}
	took := time.Since(begun)
	if got := s.replayed(0, "--execute"); countOf(got, "not_sent gone") != n {
		t.Errorf("once more: %v", got)
	}
	var first, last time.Time
	l.mu.Lock()
	for i := range n {
		times := l.works[fmt.Sprint("p", i)]
		if len(times) != 1 {
			t.Errorf("p%d: done %d times", i, len(times))
			continue
		}
		if first.IsZero() || times[0].Before(first) {
			first = times[0]
		}
		if times[0].After(last) {
			last = times[0]
		}
	}
	if len(l.wrong) > 0 {
		t.Errorf("not as they were: %q", l.wrong)
	}
	l.mu.Unlock()
	// A ticker's ticks may be late, so two of them close together: one interval less.
	if least := time.Duration(n-2) * time.Second / rate; last.Sub(first) < least || took > 30*time.Second {
		t.Errorf("in %v, at %d a second; all took %v", last.Sub(first), rate, took)
	}
	if told := s.must("journal", "explain", "pay-0"); !strings.Contains(told, "was sent again by journal replay, as") || !strings.Contains(told, "Repeating it is not safe: it was sent again") {
		t.Error("explain does not tell of it")
	}
	eventually(t, 5*time.Second, "nothing is kept any more", func() bool {
		files, err := filepath.Glob(s.dir + "/state/journal/kept/*")
		return err == nil && len(files) == 0
	})
}

// What may have been done is sent again only where that is declared to be harmless,
// and a crash amid a replay makes the replay such a one.
func TestReplayAfterKills(t *testing.T) {
	l := newTill(t)
	s := runSite(t, l.settings()...)
	l.up()
	killed := func(begin func(), works int) {
		t.Helper()
		hold := make(chan struct{})
		defer close(hold)
		l.answers(0, hold)
		var clients sync.WaitGroup
		clients.Go(begin)
		eventually(t, 10*time.Second, "the backend works on it", func() bool { return l.done() == works })
		_ = s.cmd.Process.Kill()
		<-s.exited
		clients.Wait()
		l.answers(0, nil)
	}
	killed(func() { payInto(s, 0) }, 1)
	s.start()
	if got := s.replayed(0, "--execute"); len(got) != 1 || got[0] != "not_sent not_idempotent" || l.done() != 1 {
		t.Fatalf("not declared: %v, %d works", got, l.done())
	}
	s.set("BULKHEAD_PAY_BACKEND_IDEMPOTENT=true")
	s.must("reload")
	if got := s.replayed(0); len(got) != 1 || got[0] != "would_send" {
		t.Fatalf("declared: %v", got)
	}
	killed(func() { s.cli("journal", "replay", "--execute") }, 2)
	s.set("BULKHEAD_PAY_BACKEND_IDEMPOTENT=")
	s.start()
	if got := s.replayed(0, "--execute"); len(got) != 2 || got[0] != "not_sent gone" || got[1] != "not_sent not_idempotent" {
		t.Errorf("after a crash amid the replay: %v", got)
	}
	s.set("BULKHEAD_PAY_BACKEND_IDEMPOTENT=true")
	s.must("reload")
	if got := s.replayed(0, "--execute"); len(got) != 2 || got[0] != "not_sent gone" || got[1] != "sent" || l.done() != 3 {
		t.Errorf("the replay, again: %v, %d works", got, l.done())
	}
	if got := s.replayed(0, "--execute"); len(got) != 2 || countOf(got, "not_sent gone") != 2 || l.done() != 3 {
		t.Errorf("and once more: %v, %d works", got, l.done())
	}
}

// A bulkhead that takes nothing ends it at once, failures in a row soon, Ctrl-C
// behind the one under way; what was not sent can be sent later.
func TestReplayStops(t *testing.T) {
	const n = 6
	l := newTill(t)
	s := runSite(t, l.settings()...)
	lost(t, s, n)
	l.up()
	s.must("breaker", "pay", "open")
	if got := s.replayed(1, "--execute"); len(got) != 1 || got[0] != "failed  breaker_open" || l.done() != 0 {
		t.Errorf("breaker open: %q, %d works", got, l.done())
	}
	if code, told := s.cli("journal", "replay", "--execute"); code != 1 || !strings.Contains(told, "its bulkhead takes nothing (breaker_open); 5 requests left") {
		t.Errorf("%d: %s", code, told)
	}
	s.must("breaker", "pay", "closed")
	l.answers(http.StatusServiceUnavailable, nil)
	if got := s.replayed(1, "--execute", "--failures", "2", "--rate", "100"); len(got) != 2 || countOf(got, "failed") != 2 || l.done() != 2 {
		t.Errorf("failures: %q, %d works", got, l.done())
	}
	l.answers(0, nil)

	cmd := s.command("journal", "replay", "--execute", "--rate", "0.1") // for a minute
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "sent as") {
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	var told strings.Builder
	for lines.Scan() {
		fmt.Fprintln(&told, lines.Text())
	}
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(told.String(), "Interrupted; 3 requests left.") || l.done() != 3 {
		t.Errorf("%v, %d works: %s", cmd.ProcessState, l.done(), &told)
	}
	if got := s.replayed(0, "--execute", "--rate", "1000"); countOf(got, "sent") != 3 || l.done() != n {
		t.Errorf("the rest: %q, %d works", got, l.done())
	}
}
