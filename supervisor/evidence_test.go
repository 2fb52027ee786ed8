package supervisor_test

import (
	"bytes"
	"context"
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

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor"
)

// record keeps the log for a test to read.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *record) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines are those that contain all parts.
func (l *record) lines(parts ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.text.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

func logged(l *record) option {
	return func(o *supervisor.Options) {
		o.Log = hclog.New(&hclog.LoggerOptions{Output: io.MultiWriter(l, os.Stderr), Level: hclog.Info})
	}
}

// stateDir notes where the supervisor keeps its state.
func stateDir(dir *string) option {
	return func(o *supervisor.Options) { *dir = o.Config.StateDir }
}

func adminSocket(path *string) option {
	return func(o *supervisor.Options) { *path = o.Config.AdminSocket }
}

// scrape is what /metrics says.
func scrape(t testing.TB, socket string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	resp, err := client.Get("http://localhost/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// evidence waits for the file that the only slot of a bulkhead speaks of.
func (r *running) evidence(name string) (path, text string) {
	r.t.Helper()
	eventually(r.t, 10*time.Second, "evidence", func() bool {
		path = r.bulkhead(name).Workers[0].Evidence
		b, err := os.ReadFile(path)
		text = string(b)
		return path != "" && err == nil
	})
	return path, text
}

func contains(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("lacks %q:\n%s", part, text[:min(len(text), 3000)])
		}
	}
}

// Three deadlines in a row of requests that were never sent are the worker's
// fault; one that was answered or sent between them is none.
func TestStuckHandler(t *testing.T) {
	t.Parallel()
	var log record
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Timeout, c.QueueTimeout = 200*time.Millisecond, 0 }), logged(&log))
	pid := r.bulkhead("a").Workers[0].Pid
	ask := func(target, want string) {
		t.Helper()
		if got := r.reason("GET", target, nil); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	ask("/a/deadlock", "deadline")
	ask("/a/deadlock", "deadline")
	ask("/a", "200")
	ask("/a/deadlock", "deadline")
	ask("/a/deadlock", "deadline")
	for range 3 {
		ask("/a/hang?sent=1", "backend_timeout")
	}
	ask("/a/deadlock", "deadline")
	ask("/a/deadlock", "deadline")
	if b := r.bulkhead("a"); b.Restarts != 0 || b.Workers[0].Pid != pid {
		t.Fatalf("replaced too early: %+v", b)
	}
	ask("/a/deadlock?password=hunter2", "deadline")
	eventually(t, 5*time.Second, "replaced", func() bool {
		b := r.bulkhead("a")
		return b.Restarts == 1 && b.State == "ready" && b.Workers[0].Pid != pid
	})
	ask("/a", "200")
	if b := r.bulkhead("a").Breaker; b.Failures != 3 {
		t.Errorf("the breaker counted %d failures, want the 3 that were sent", b.Failures)
	}
	path, text := r.evidence("a")
	contains(t, text, "cause: stuck", fmt.Sprintf("pid %d", pid), "process state: ", "rss: ", "open descriptors: ", "cpu: ", "goroutines:\n", "deadlock")
	if strings.Contains(text, "hunter2") {
		t.Error("the query is in the evidence")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if lost := log.lines("worker lost", "cause=stuck", "evidence="+path); len(lost) != 1 {
		t.Errorf("no line names cause and evidence: %q", log.lines("worker lost"))
	}
}

// A request whose time was spent in the queue says nothing of the worker.
func TestQueueIsNotStuck(t *testing.T) {
	t.Parallel()
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) {
		c.Limit, c.Queue, c.Timeout, c.QueueTimeout = 1, 4, time.Second, 990*time.Millisecond
	}))
	deadlines := 0
	for range 5 {
		release := r.hang("a", 1)
		queued := make(chan string, 1)
		go func() { queued <- r.reason("GET", "/a/deadlock", nil) }()
		eventually(t, 5*time.Second, "queued", func() bool { return r.bulkhead("a").QueueDepth == 1 })
		<-time.After(600 * time.Millisecond) // of its time
		release()
		if got := <-queued; got == "deadline" { // and not queue_timeout, on a machine that is late
			deadlines++
		}
	}
	if deadlines < 3 {
		t.Skipf("only %d of 5 came out of the queue in time", deadlines)
	}
	if b := r.bulkhead("a"); b.Restarts != 0 {
		t.Errorf("replaced: %+v", b)
	}
}

// A frozen worker leaves what the kernel says of it and what it held; its
// requests learn of it before it is killed, and no secret of theirs is kept.
func TestEvidenceOfAFrozenWorker(t *testing.T) {
	t.Parallel()
	var log record
	r := start(t, one("a"), logged(&log))
	pid := r.bulkhead("a").Workers[0].Pid
	arrived := t.TempDir()
	answered := make(chan string, 1)
	go func() {
		_, body := r.do("POST", "/a/hang?sent=1&card=4111&dir="+arrived, strings.NewReader("body-secret"),
			"X-Request-Id", "the-request", "Authorization", "Bearer field-secret")
		answered <- body
	}()
	holders(t, arrived, 1)
	syscall.Kill(pid, syscall.SIGSTOP)
	contains(t, <-answered, `"reason":"worker_unresponsive"`)
	path, text := r.evidence("a")
	contains(t, text, "cause: unresponsive", "process state: T", "in flight: 1 request\n", `"the-request" POST "/a/hang"`,
		"sent", "goroutines: none: the process is stopped")
	for _, secret := range []string{"4111", "body-secret", "field-secret"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is in the evidence", secret)
		}
	}
	eventually(t, 5*time.Second, "logged", func() bool { return len(log.lines("worker lost", "cause=unresponsive", "evidence="+path)) == 1 })
	eventually(t, 5*time.Second, "killed", func() bool { return syscall.Kill(pid, 0) != nil })
}

// The folder never holds more than 50 files and 32 MiB; the oldest go.
func TestEvidenceIsBounded(t *testing.T) {
	for _, c := range []struct {
		files, kept int
		size        int64
	}{
		{files: 70, size: 1000, kept: 50},
		{files: 40, size: 1 << 20, kept: 32},
	} {
		var dir string
		var log record
		r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.SlowLog = 50 * time.Millisecond }), stateDir(&dir), logged(&log))
		folder := filepath.Join(dir, "evidence")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		for i := range c.files {
			name := filepath.Join(folder, fmt.Sprintf("old-%03d.txt", i))
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			old := time.Now().Add(time.Duration(i-1000) * time.Second)
			if err := os.Truncate(name, c.size); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, old, old); err != nil {
				t.Fatal(err)
			}
		}
		defer r.hang("a", 1)()
		var names []string
		eventually(t, 10*time.Second, "a file more", func() bool {
			names, _ = filepath.Glob(filepath.Join(folder, "a-0-*.txt"))
			return len(names) == 1
		})
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		var bytes int64
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				bytes += info.Size()
			}
		}
		if len(entries) != c.kept || bytes > 32<<20 {
			t.Errorf("%d files of %d bytes, want %d", len(entries), bytes, c.kept)
		}
		if _, err := os.Stat(filepath.Join(folder, fmt.Sprintf("old-%03d.txt", c.files-1))); err != nil {
			t.Errorf("the newest went: %v", err)
		}
		if _, err := os.Stat(filepath.Join(folder, "old-000.txt")); err == nil {
			t.Error("the oldest stayed")
		}
	}
}

// A disk that takes nothing costs the evidence, and says so; the worker is
// replaced all the same.
func TestEvidenceCannotBeKept(t *testing.T) {
	t.Parallel()
	var dir string
	var log record
	r := start(t, one("a"), stateDir(&dir), logged(&log))
	if err := os.WriteFile(filepath.Join(dir, "evidence"), []byte("no folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	pid := r.bulkhead("a").Workers[0].Pid
	syscall.Kill(pid, syscall.SIGSTOP)
	eventually(t, 10*time.Second, "said", func() bool { return len(log.lines("evidence not kept")) == 1 })
	eventually(t, 10*time.Second, "replaced", func() bool { return r.reason("GET", "/a", nil) == "200" })
}

// Each request that waits long gets a line; stacks are taken for the first.
func TestSlowLog(t *testing.T) {
	var log record
	var socket string
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.SlowLog = 150 * time.Millisecond }), logged(&log), adminSocket(&socket))
	pid := r.bulkhead("a").Workers[0].Pid
	r.raw("GET /a/hang?sent=1&key=secret HTTP/1.1\r\nHost: x\r\nX-Request-Id: slow-0\r\n\r\n")
	eventually(t, 5*time.Second, "one is slow", func() bool { return len(log.lines("slow request")) == 1 })
	if got := r.reason("GET", "/a/status?code=204", nil); got != "204" {
		t.Errorf("got %s", got)
	}
	contains(t, scrape(t, socket), `coordinator_slow_requests_total{bulkhead="a"} 1`)
	lines := log.lines("slow request", "request_id=slow-0", "method=GET", "path=/a/hang", "stage=sent", fmt.Sprintf("pid=%d", pid), "slot=0", "age_ms=", "evidence=")
	if len(lines) != 1 || len(log.lines("secret")) != 0 {
		t.Fatalf("%q", log.lines("slow request"))
	}
	_, path, _ := strings.Cut(lines[0], "evidence=")
	path, _, _ = strings.Cut(strings.TrimSpace(path), " ")
	var text []byte
	eventually(t, 5*time.Second, "stacks", func() (ok bool) {
		var err error
		text, err = os.ReadFile(path)
		return err == nil
	})
	contains(t, string(text), "cause: slow request slow-0", `"slow-0" GET "/a/hang"`, "goroutines:\n", "workerHandler")
	if b := r.bulkhead("a"); b.Restarts != 0 || b.Workers[0].Evidence != "" {
		t.Errorf("a slow request is no fault: %+v", b)
	}
}

// Many at once: each is counted, and one file is all that they cost.
func TestSlowLogTakesStacksOnce(t *testing.T) {
	var dir string
	var log record
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.SlowLog = 50 * time.Millisecond }), logged(&log), stateDir(&dir))
	release := r.hang("a", 3)
	eventually(t, 5*time.Second, "all are slow", func() bool { return len(log.lines("slow request")) == 3 })
	if with := log.lines("slow request", "evidence="); len(with) != 1 {
		t.Errorf("stacks for %d of 3: %q", len(with), with)
	}
	r.reason("GET", "/a", nil)
	if n := len(log.lines("slow request")); n != 3 {
		t.Errorf("%d lines for 3 requests", n)
	}
	release()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "evidence", "*")); len(files) != 1 {
		t.Errorf("%q", files)
	}
}
