package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
)

// A fakeSupervisor answers the real admin API without being a supervisor.
type fakeSupervisor struct {
	status supervisor.Status
	answer func(context.Context, supervisor.Report) supervisor.Report // nil: it went well

	mu    sync.Mutex
	calls []string
}

func (f *fakeSupervisor) Status() supervisor.Status { return f.status }
func (f *fakeSupervisor) Detail(string) (supervisor.BulkheadDetail, bool) {
	return supervisor.BulkheadDetail{}, false
}
func (f *fakeSupervisor) Ready() (bool, []string, string) { return true, nil, "" }

func (f *fakeSupervisor) did(ctx context.Context, call string, r supervisor.Report) supervisor.Report {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	f.mu.Unlock()
	if f.answer != nil {
		return f.answer(ctx, r)
	}
	return r
}

func (f *fakeSupervisor) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fakeSupervisor) Restart(ctx context.Context, b string) supervisor.Report {
	return f.did(ctx, "restart "+b, supervisor.Report{Action: "restart", Bulkheads: []string{b}, Did: "2 of 2 workers are new", TookMS: 1840.4})
}

func (f *fakeSupervisor) Drain(ctx context.Context, b string) supervisor.Report {
	return f.did(ctx, "drain "+b, supervisor.Report{Action: "drain", Bulkheads: []string{b}, Did: "31 requests finished", TookMS: 912.6})
}

func (f *fakeSupervisor) Resume(ctx context.Context, b string) supervisor.Report {
	return f.did(ctx, "resume "+b, supervisor.Report{Action: "resume", Bulkheads: []string{b}, Did: "takes work again", TookMS: 0.25})
}

func (f *fakeSupervisor) Resize(ctx context.Context, b string, workers, limit *int) supervisor.Report {
	text := func(n *int) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	return f.did(ctx, fmt.Sprintf("resize %s %s %s", b, text(workers), text(limit)),
		supervisor.Report{Action: "resize", Bulkheads: []string{b}, Did: "workers 2 to 4", TookMS: 310})
}

func (f *fakeSupervisor) ForceBreaker(ctx context.Context, b string, mode breaker.Mode) supervisor.Report {
	return f.did(ctx, fmt.Sprintf("breaker %s %s", b, mode), supervisor.Report{Action: "breaker", Bulkheads: []string{b}, Did: "auto to " + string(mode), TookMS: 9.96})
}

func (f *fakeSupervisor) Forgive(ctx context.Context, b, fingerprint string) supervisor.Report {
	return f.did(ctx, "forgive "+b+" "+fingerprint, supervisor.Report{Action: "forgive", Bulkheads: []string{b}, Did: "1 poison request may be sent again", TookMS: 0.1})
}

func (f *fakeSupervisor) Drill(ctx context.Context, b string, p supervisor.DrillPlan) supervisor.Report {
	if p.Mode == supervisor.DrillFallback {
		return f.did(ctx, fmt.Sprintf("drill %s fallback %s %v %v %v", b, p.For, p.Share, p.Coverage, p.Give), supervisor.Report{Action: "drill",
			Bulkheads: []string{b}, Did: "fallback for 10.0 s, verdict held", TookMS: 17_300, DrillResult: rehearsalResult()})
	}
	return f.did(ctx, fmt.Sprintf("drill %s %s %s", b, p.Mode, p.For), supervisor.Report{Action: "drill", Bulkheads: []string{b},
		Did: "kill for 10.0 s, verdict held", TookMS: 17_300, DrillResult: drillResult()})
}

func (f *fakeSupervisor) Replay(ctx context.Context, b string, p supervisor.ReplayPlan) supervisor.Report {
	return f.did(ctx, fmt.Sprintf("replay %s %s %d %t", b, p.Segment, p.Offset, p.Execute),
		supervisor.Report{Action: "replay", Bulkheads: []string{b}, Replay: &supervisor.ReplayResult{RequestID: "first"}})
}

func (f *fakeSupervisor) Upgrade(ctx context.Context) supervisor.Report {
	return f.did(ctx, "upgrade", supervisor.Report{Action: "upgrade", Bulkheads: []string{}, Did: "pid 2 serves, pid 1 drains and ends", TookMS: 12})
}

func (f *fakeSupervisor) Reload(ctx context.Context) supervisor.Report {
	return f.did(ctx, "reload", supervisor.Report{Action: "reload", Bulkheads: []string{"orders", "catalog", "search", "cart", "users"},
		Did: "5 bulkheads changed in place", TookMS: 12, Details: []string{"orders: limit 32 to 64", "catalog: \x1b[31mowner\n"}})
}

// listen serves f on a unix socket until the test ends, and returns its path.
func (f *fakeSupervisor) listen(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := supervisor.ListenAdminSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	api := &supervisor.Admin{Operator: f, Alive: func(context.Context) error { return nil }, Metrics: http.NotFoundHandler()}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- supervisor.ServeAdmin(ctx, ln, api.OverSocket()) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return path
}

func threeBulkheads() supervisor.Status {
	return supervisor.Status{Version: "1.4.2", State: "ready", Bulkheads: []supervisor.BulkheadStatus{{Name: "orders"}, {Name: "catalog"}, {Name: "search"}}}
}

func TestCommandsSayWhatTheyDid(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads()}
	socket := f.listen(t)
	for _, test := range []struct{ args, call, want string }{
		{"restart orders", "restart orders", "restart orders: 2 of 2 workers are new (1840 ms)\n"},
		{"drain orders", "drain orders", "drain orders: 31 requests finished (913 ms)\n"},
		{"resume catalog", "resume catalog", "resume catalog: takes work again (0.2 ms)\n"},
		{"resize orders --workers 4", "resize orders 4 -", "resize orders: workers 2 to 4 (310 ms)\n"},
		{"resize --limit=64 orders", "resize orders - 64", "resize orders: workers 2 to 4 (310 ms)\n"},
		{"resize orders --workers 1 --limit 1", "resize orders 1 1", "resize orders: workers 2 to 4 (310 ms)\n"},
		{"breaker search open", "breaker search open", "breaker search: auto to open (10 ms)\n"},
		{"breaker search observe --timeout 1500ms", "breaker search observe", "breaker search: auto to observe (10 ms)\n"},
		{"forgive orders", "forgive orders ", "forgive orders: 1 poison request may be sent again (0.1 ms)\n"},
		{"forgive orders 00112233445566778899aabbccddeeff", "forgive orders 00112233445566778899aabbccddeeff", "forgive orders: 1 poison request may be sent again (0.1 ms)\n"},
		{"upgrade", "upgrade", "upgrade: pid 2 serves, pid 1 drains and ends (12 ms)\n"},
		{"reload", "reload", "reload of 5 bulkheads: 5 bulkheads changed in place (12 ms)\n  orders: limit 32 to 64\n  catalog: \ufffd[31mowner\n"},
	} {
		code, stdout, stderr := coordinator(t, nil, append(strings.Fields(test.args), "--socket", socket)...)
		if code != exitDone || stdout != test.want || stderr != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", test.args, code, stdout, stderr)
		}
		if got := f.took(); !slices.Equal(got, []string{test.call}) {
			t.Errorf("%s: the supervisor was asked for %q", test.args, got)
		}
		code, stdout, stderr = coordinator(t, nil, append(strings.Fields(test.args), "--json", "--socket", socket)...)
		var report supervisor.Report
		if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitDone || stderr != "" || report.TookMS == 0 || report.Did == "" {
			t.Errorf("%s --json: exit code %d, %v, stderr %q: %s", test.args, code, err, stderr, stdout)
		}
		f.took()
	}
}

func TestFailedCommand(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads(), answer: func(_ context.Context, r supervisor.Report) supervisor.Report {
		r.Did, r.Error, r.Details = "1 of 2 workers is new", "the new worker exited with code 2", []string{"slot 1: backend: no such host"}
		return r
	}}
	socket := f.listen(t)
	code, stdout, stderr := coordinator(t, nil, "restart", "orders", "--socket", socket)
	const want = "coordinator: restart orders failed after 1840 ms: the new worker exited with code 2\n" +
		"  done before: 1 of 2 workers is new\n  slot 1: backend: no such host\n"
	if code != exitFailed || stdout != "" || stderr != want {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	code, stdout, stderr = coordinator(t, nil, "restart", "orders", "--json", "--socket", socket)
	var report supervisor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitFailed || report.Error == "" || stderr != "" {
		t.Errorf("--json: exit code %d, %v, stderr %q: %s", code, err, stderr, stdout)
	}
}

// What a command does not get done within --timeout is reported, not lost.
func TestCommandTimesOut(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads(), answer: func(ctx context.Context, r supervisor.Report) supervisor.Report {
		<-ctx.Done()
		r.Error = "time ran out"
		return r
	}}
	code, _, stderr := coordinator(t, nil, "drain", "orders", "--timeout", "10ms", "--socket", f.listen(t))
	if code != exitFailed || !strings.Contains(stderr, "drain orders failed after 913 ms: time ran out\n") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

func TestCommandsWithWrongArguments(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads()}
	socket := f.listen(t)
	for args, want := range map[string]string{
		"restart order":                   `no bulkhead "order"; known: orders, catalog, search; did you mean orders?`,
		"drain ORDERS":                    `no bulkhead "ORDERS"; known: orders, catalog, search`,
		"resume serach":                   `did you mean search?`,
		"resize zzz --limit 1":            `no bulkhead "zzz"; known: orders`,
		"breaker a/../orders open":        `no bulkhead "a/../orders"; known`,
		"status catalogue":                `known: orders, catalog, search; did you mean catalog?`,
		"status catalogue --json":         `did you mean catalog?`,
		"drain ..":                        `".." is no name of a bulkhead`,
		"restart":                         `<bulkhead>`,
		"restart orders catalog":          `catalog`,
		"resize orders":                   `want --workers N, --limit N or both`,
		"resize orders --workers 0":       `--workers=0: want a whole number from 1 to 1000`,
		"resize orders --workers 1000000": `--workers=1000000: want a whole number from 1 to 1000`,
		"resize orders --workers=-1":      `--workers=-1: want`,
		"resize orders --limit 1000001":   `--limit=1000001: want`,
		"resize orders --limit 1.5":       `--limit`,
		"resize orders --limit":           `--limit`,
		"breaker orders":                  `<mode>`,
		"breaker orders shut":             `"auto","open","closed","observe"`,
		"reload orders":                   `orders`,
		"reload --timeout 5":              `--timeout: "5": want a duration above 0 and up to 1h`,
		"reload --timeout 0s":             `: want a duration above 0`,
		"reload --timeout 2h":             `: want a duration above 0`,
		"status --timeout -1s":            `--timeout`,
		"status --env-file testdata/none": `testdata/none`,
		"status orders catalog":           `catalog`,
	} {
		words := append(strings.Fields(args), "--socket", socket)
		if strings.Contains(args, "env-file") {
			words = strings.Fields(args)
		}
		code, stdout, stderr := coordinator(t, nil, words...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want %q", args, code, stdout, stderr, want)
		}
	}
	if did := f.took(); did != nil {
		t.Errorf("the supervisor was asked for %q", did)
	}
}

func TestNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	file, stale, silent := filepath.Join(dir, "file"), filepath.Join(dir, "stale"), filepath.Join(dir, "silent")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	listenAt := func(path string) *net.UnixListener {
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	listenAt(stale).Close()
	listenAt(silent)
	for _, test := range []struct{ socket, args, want string }{
		{filepath.Join(dir, "none"), "status", "no supervisor listens at " + filepath.Join(dir, "none") + ": is it running, and with the same --env-file"},
		{stale, "reload", "no supervisor listens at " + stale + ": the one that made this socket is gone"},
		{file, "reload", file + " is no socket"},
		{filepath.Join(dir, strings.Repeat("x", 120)), "status", "want at most 100 bytes"},
		{silent, "status --timeout 20ms", "no answer from " + silent + " in 20ms: --timeout waits longer"},
	} {
		code, stdout, stderr := coordinator(t, nil, append(strings.Fields(test.args), "--socket", test.socket)...)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s at %s: exit code %d, stdout %q, stderr %q", test.args, test.socket, code, stdout, stderr)
		}
	}
	if os.Getuid() == 0 {
		return // root may open everything
	}
	closed := filepath.Join(dir, "closed")
	listenAt(closed)
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := coordinator(t, nil, "status", "--socket", closed); code != exitFailed || !strings.Contains(stderr, "permission denied: be the user") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

// What answers on the socket may be anything.
func TestAnotherProgramAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi":         "does not answer as a coordinator",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\nhi":  "does not answer as a coordinator",
		"HTTP/1.1 307 Go\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n":        "does not answer as a coordinator",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{": "closed the connection before it had answered",
		"":                  "closed the connection before it had answered",
		"SSH-2.0-x\r\n\r\n": "malformed HTTP",
		"HTTP/1.1 404 No\r\nContent-Type: application/problem+json\r\nContent-Length: 26\r\n\r\n{\"detail\":\"no such path.\"}": "the supervisor refused: no such path.",
	} {
		path := filepath.Join(t.TempDir(), "s")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			request, err := http.ReadRequest(bufio.NewReader(conn))
			if err == nil && request.Header.Get("Prefer") == "wait=300" {
				io.WriteString(conn, answer)
			}
		}()
		code, stdout, stderr := coordinator(t, nil, "reload", "--socket", path)
		ln.Close()
		<-answered
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%.40q: exit code %d, stdout %q, stderr %q", answer, code, stdout, stderr)
		}
	}
}

// The socket is found as run finds it.
func TestCommandsFindTheSocket(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads()}
	socket := f.listen(t)
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("COORDINATOR_ADMIN_SOCKET="+socket+"\nBULKHEAD_BROKEN\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		environ []string
		args    []string
	}{
		{[]string{"COORDINATOR_ADMIN_SOCKET=" + socket}, []string{"reload"}},
		{nil, []string{"reload", "--env-file", file}},
		{[]string{"COORDINATOR_ADMIN_SOCKET=/nowhere"}, []string{"reload", "--socket", socket}},
	} {
		if code, _, stderr := coordinator(t, test.environ, test.args...); code != exitDone {
			t.Errorf("%q %q: exit code %d, %s", test.environ, test.args, code, stderr)
		}
	}
}
