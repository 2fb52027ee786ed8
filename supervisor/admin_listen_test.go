package supervisor_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/supervisor"
)

func listenAdmin(t *testing.T, path string) net.Listener {
	t.Helper()
	ln, err := supervisor.ListenAdminSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestAdminSocketIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "coordinator", "admin.sock")
	ln := listenAdmin(t, path)
	for name, want := range map[string]fs.FileMode{path: fs.ModeSocket | 0o600, filepath.Dir(path): fs.ModeDir | 0o700} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	for range 2 {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAdminSocketReplacesStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	listenAdmin(t, path)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestAdminSocketRefuses(t *testing.T) {
	dir := t.TempDir()
	taken, file, shared := filepath.Join(dir, "taken"), filepath.Join(dir, "file"), filepath.Join(dir, "shared")
	listenAdmin(t, taken)
	if err := errors.Join(os.WriteFile(file, []byte("keep"), 0o600), os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		taken:                          "another supervisor answers",
		file:                           "no socket",
		filepath.Join(shared, "a"):     "others can write",
		filepath.Join(file, "a"):       "not a directory",
		"/" + strings.Repeat("x", 100): "want at most 100",
	} {
		if ln, err := supervisor.ListenAdminSocket(path); err == nil || !strings.Contains(err.Error(), want) {
			if err == nil {
				ln.Close()
			}
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if conn, err := net.Dial("unix", taken); err != nil {
		t.Errorf("the socket that was in use is gone: %v", err)
	} else {
		conn.Close()
	}
	if text, _ := os.ReadFile(file); string(text) != "keep" {
		t.Error("the file that was there is gone")
	}
}

// An old supervisor that stops leaves the socket of the one that took over.
func TestAdminSocketLeavesItsSuccessors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	old := listenAdmin(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	listenAdmin(t, path)
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
}

// A pipeListener is a listener without a kernel, so that time can be faked.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{make(chan net.Conn), make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours, nil
}

// inBubble runs test against a served Admin with a faked clock; stop ends the
// server, whose error is then in ended.
func inBubble(t *testing.T, o *operator, test func(ln *pipeListener, c *http.Client, stop func(), ended <-chan error)) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipeListener()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- supervisor.ServeAdmin(ctx, ln, admin(o).OverSocket()) }()
		test(ln, &http.Client{Transport: &http.Transport{DialContext: ln.dial, DisableKeepAlives: true}}, stop, ended)
	})
}

// A restart may take longer than any timeout of the server.
func TestAdminWaitsForChanges(t *testing.T) {
	for prefer, want := range map[string]time.Duration{
		"":                        time.Minute,
		"wait=600":                10 * time.Minute,
		"respond-async, Wait=300": 5 * time.Minute,
		"wait=1000000":            time.Hour,
		"wait=soon":               time.Minute,
	} {
		o := &operator{does: func(ctx context.Context) supervisor.Report {
			<-ctx.Done()
			return supervisor.Report{Did: "half", Error: context.Cause(ctx).Error()}
		}}
		inBubble(t, o, func(_ *pipeListener, c *http.Client, stop func(), ended <-chan error) {
			start := time.Now()
			answer, body := ask(t, c, "POST", "/v1/bulkheads/orders/resize", `{"workers":1}`, "Prefer", prefer, "Content-Type", asJSON)
			if took := time.Since(start); took != want || answer.StatusCode != 500 || !strings.Contains(body, `"did":"half"`) || !strings.Contains(body, "deadline exceeded") {
				t.Errorf("%q: after %v, want %v: %d %s", prefer, took, want, answer.StatusCode, body)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAdminGivesUpWhenTheClientLeaves(t *testing.T) {
	o := &operator{}
	inBubble(t, o, func(_ *pipeListener, c *http.Client, stop func(), ended <-chan error) {
		gaveUp := make(chan error, 1)
		o.does = func(ctx context.Context) supervisor.Report {
			<-ctx.Done()
			gaveUp <- ctx.Err()
			return supervisor.Report{}
		}
		c.Timeout = 20 * time.Second // longer than the server reads
		start := time.Now()
		if _, err := c.Post("http://localhost/v1/reload", "", nil); err == nil {
			t.Error("there is an answer")
		}
		if err := <-gaveUp; err != context.Canceled || time.Since(start) != 20*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestAdminStops(t *testing.T) {
	o := &operator{does: func(ctx context.Context) supervisor.Report {
		<-ctx.Done()
		return supervisor.Report{Did: "half", Error: "the supervisor is stopping"}
	}}
	inBubble(t, o, func(_ *pipeListener, c *http.Client, stop func(), ended <-chan error) {
		time.AfterFunc(time.Second, stop)
		if answer, body := ask(t, c, "POST", "/v1/reload", ""); answer.StatusCode != 500 || !strings.Contains(body, "stopping") {
			t.Errorf("%d %s", answer.StatusCode, body)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A change that does not listen to its context holds the stop up for 5 s.
func TestAdminStopsAnyway(t *testing.T) {
	o := &operator{}
	inBubble(t, o, func(_ *pipeListener, c *http.Client, stop func(), ended <-chan error) {
		release := make(chan struct{})
		o.does = func(context.Context) supervisor.Report { <-release; return supervisor.Report{} }
		time.AfterFunc(time.Second, stop)
		start := time.Now()
		answer, err := c.Post("http://localhost/v1/reload", "", nil)
		if err == nil {
			answer.Body.Close()
			t.Error("there is an answer")
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 6*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		close(release)
	})
}

func TestAdminClosesSilentConnections(t *testing.T) {
	inBubble(t, &operator{}, func(ln *pipeListener, _ *http.Client, stop func(), ended <-chan error) {
		for _, sent := range []string{
			"GET /healthz HTTP/1.1\r\nHost: x\r\n",
			"POST /v1/bulkheads/orders/resize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
		} {
			conn, _ := ln.dial(t.Context(), "", "")
			start := time.Now()
			if _, err := io.WriteString(conn, sent); err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, conn)
			if took := time.Since(start); took > 11*time.Second {
				t.Errorf("%.20q: open for %v", sent, took)
			}
			conn.Close()
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
