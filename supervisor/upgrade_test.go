package supervisor_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// webSocket has one open.
func (r *running) webSocket(target string) (net.Conn, *bufio.Reader) {
	r.t.Helper()
	nc, br := r.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		r.t.Fatal(resp, err)
	}
	return nc, br
}

// A WebSocket that neither side ended was not done.
func TestAWebSocketThatIsCutIsPartial(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*supervisor.BulkheadConfig)
		cut    func(*running)
		want   string
	}{
		{"idle", func(c *supervisor.BulkheadConfig) { c.IdleTimeout = 200 * time.Millisecond }, func(*running) {}, "backend_timeout"},
		{"too long", func(c *supervisor.BulkheadConfig) { c.MaxDuration = 200 * time.Millisecond }, func(*running) {}, "backend_timeout"},
		{"worker killed", func(*supervisor.BulkheadConfig) {}, func(r *running) {
			if err := syscall.Kill(pids(r.bulkhead("a"))[0], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}, "worker_died"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out shared
			r := start(t, one("a", test.change), accessLogged(t, "all", ""), func(o *supervisor.Options) { o.Stdout = &out })
			nc, br := r.webSocket("/a/upgrade")
			test.cut(r)
			io.Copy(io.Discard, br)
			nc.Close() // at once, as browsers do
			eventually(t, 5*time.Second, "its line", func() bool { return bytes.Contains(out.read(), []byte("/a/upgrade")) })
			if got := strings.Join(told(t, out.read()), "\n"); got != "/a/upgrade partial "+test.want {
				t.Error(got)
			}
			if s := r.bulkhead("a").Breaker; s.Calls != 1 || s.Failures != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A WebSocket that is open at the stop has its line in the access log.
func TestAccessLogOfAWebSocketThatTheStopCuts(t *testing.T) {
	var out shared
	r := start(t, one("a"), accessLogged(t, "all", ""), func(o *supervisor.Options) {
		o.Stdout = &out
		o.Config.DrainTimeout = 100 * time.Millisecond
	})
	r.webSocket("/a/upgrade")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(told(t, out.read()), "\n"); got != "/a/upgrade partial worker_died" {
		t.Errorf("got %q", got)
	}
}
