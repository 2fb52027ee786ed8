package supervisor_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/accesslog"
)

func sampling(t testing.TB, s string) accesslog.Sampling {
	t.Helper()
	parsed, err := accesslog.ParseSampling(s)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// accessLogged has an access log in a file.
func accessLogged(t testing.TB, what, file string) option {
	s := sampling(t, what)
	return func(o *supervisor.Options) { o.Config.Access = supervisor.AccessConfig{Sampling: s, File: file} }
}

// told is the path and the words of each line of an access log.
func told(t *testing.T, text []byte) (lines []string) {
	t.Helper()
	for line := range bytes.Lines(text) {
		var l struct{ Path, Reason, Outcome string }
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		lines = append(lines, strings.TrimSpace(l.Path+" "+l.Outcome+" "+l.Reason))
	}
	return lines
}

func wantTold(t *testing.T, path string, want ...string) {
	t.Helper()
	var got []string
	eventually(t, 5*time.Second, path+" has the lines", func() bool {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got = told(t, text)
		return len(got) >= len(want)
	})
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, want %q", got, want)
	}
}

// What a reload says of the access log holds from the next request on, and one that
// cannot be changes nothing else either.
func TestReloadOfTheAccessLog(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.log"), filepath.Join(dir, "second.log")
	var config supervisor.Config
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a")}, accessLogged(t, "failures", first), func(o *supervisor.Options) {
		config = o.Config
		o.Load = func() (supervisor.Config, error) { return config, nil }
	})
	reload := func(what, file string) supervisor.Report {
		t.Helper()
		config.Access = supervisor.AccessConfig{Sampling: sampling(t, what), File: file}
		return r.Reload(t.Context())
	}
	well := func(rep supervisor.Report) {
		t.Helper()
		if rep.Error != "" {
			t.Errorf("%+v", rep)
		}
	}
	r.get("/a/1")
	r.get("/none/1")
	well(reload("all", first))
	r.get("/a/2")
	well(reload("all", second))
	r.get("/a/3")
	config.Bulkheads = []supervisor.BulkheadConfig{bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Limit = 3 })}
	if rep := reload("all", filepath.Join(dir, "none", "x.log")); !strings.Contains(rep.Error, "the running configuration stays: access log") {
		t.Errorf("%+v", rep)
	}
	if limit := r.bulkhead("a").Limit; limit == 3 {
		t.Error("the rest of it holds")
	}
	if rep := reload("all", ""); !strings.Contains(rep.Error, "standard output") { // this one has none
		t.Errorf("%+v", rep)
	}
	r.get("/a/4")
	well(reload("off", second))
	r.get("/a/5")
	well(reload("failures", second))
	r.get("/none/6")
	wantTold(t, first, "/none/1 refused no_route", "/a/2 done")
	wantTold(t, second, "/a/3 done", "/a/4 done", "/none/6 refused no_route")
}

// shared is a writer that a test reads while it is written to.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *shared) read() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.text.Bytes())
}

// Requests that the drain cuts have their lines, the last of all, and so has a
// WebSocket once it ends.
func TestAccessLogOfTheLastRequests(t *testing.T) {
	var out shared
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a")}, accessLogged(t, "all", ""), func(o *supervisor.Options) {
		o.Stdout = &out
		o.Config.DrainTimeout = 300 * time.Millisecond
	})
	dir := t.TempDir()
	r.raw("GET /a/hang?sent=1&dir=" + dir + " HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, 5*time.Second, "the worker has it", func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) == 1
	})
	nc, br := r.raw("GET /a/upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if line, err := br.ReadString('\n'); err != nil || !strings.Contains(line, "101") {
		t.Fatal(line, err)
	}
	if n := len(told(t, out.read())); n > 0 {
		t.Errorf("%d lines of requests that go on", n)
	}
	nc.Close()
	eventually(t, 5*time.Second, "the line of the upgrade", func() bool { return bytes.Contains(out.read(), []byte("/a/upgrade")) })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	text := out.read()
	if got := strings.Join(told(t, text), "\n"); got != "/a/upgrade done\n/a/hang sent_unknown backend_timeout" {
		t.Errorf("%s", text)
	}
	if !bytes.Contains(text, []byte(`"status":101`)) || !bytes.Contains(text, []byte(`"status":504`)) {
		t.Errorf("%s", text)
	}
}

// Bytes out are those that went to the client, of a WebSocket too.
func TestAccessLogOfAWebSocketCountsOneWay(t *testing.T) {
	var out shared
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a")}, accessLogged(t, "all", ""), func(o *supervisor.Options) { o.Stdout = &out })
	nc, br := r.raw("GET /a/upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	echo := make([]byte, 5)
	if _, err := io.WriteString(nc, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(br, echo); err != nil || string(echo) != "hello" {
		t.Fatalf("%q, %v", echo, err)
	}
	nc.Close()
	eventually(t, 5*time.Second, "its line", func() bool { return bytes.Contains(out.read(), []byte("/a/upgrade")) })
	if text := out.read(); !bytes.Contains(text, []byte(`"bytes_out":5,`)) {
		t.Errorf("%s", text)
	}
}

// Without standard output a file is needed, and nothing is started without it.
func TestAccessLogNeedsAPlace(t *testing.T) {
	dir, err := os.MkdirTemp("", "sv") // short: sockets are to live in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := supervisor.New(supervisor.Options{Config: supervisor.Config{
		Listen: []string{"127.0.0.1:0"}, AdminSocket: filepath.Join(dir, "s"), StateDir: filepath.Join(dir, "state"), RuntimeDir: dir,
		Access: supervisor.AccessConfig{Sampling: sampling(t, "all")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), t.Context()); err == nil || !strings.Contains(err.Error(), "access log") {
		t.Error(err)
	}
}
