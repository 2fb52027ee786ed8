package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"commerce.example/coordinator/supervisor"
)

const (
	readyTimeout  = 30 * time.Second
	readyEvery    = 20 * time.Millisecond
	statusTimeout = 5 * time.Second
	maxLogLine    = 64 << 10
)

// coordinator is "coordinator run" in a process of its own, on the configuration
// in the demo's folder.
type coordinator struct {
	*process
	said *logFile
}

// startCoordinator starts one and waits until it serves.
func (s *Stack) startCoordinator(ctx context.Context) (*coordinator, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	said := &logFile{path: s.LogFile, notable: s.notable}
	cmd := exec.Command(s.exe, "run", "--lifeline", "--env-file", s.EnvFile)
	cmd.Env = []string{"RUNTIME_DIRECTORY=" + s.dir.path} // whatever this shell exports
	cmd.Stderr = said
	p, _, err := spawn(cmd)
	if err != nil {
		return nil, err
	}
	c := &coordinator{p, said}
	if err := s.awaitReady(ctx, c); err != nil {
		c.kill()
		return nil, fmt.Errorf("demo: the coordinator did not start: %w%s", err, said.last.quote())
	}
	return c, nil
}

// awaitReady waits until the coordinator serves, with every worker ready.
func (s *Stack) awaitReady(ctx context.Context, c *coordinator) error {
	poll := time.NewTicker(readyEvery)
	defer poll.Stop()
	for {
		if status, err := s.Status(ctx); err == nil && status.Pid == c.cmd.Process.Pid && allReady(status) {
			return nil
		}
		select {
		case <-poll.C:
		case <-c.exited:
			return errors.Join(errors.New("it exited"), c.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func allReady(status supervisor.Status) bool {
	if status.State != "ready" {
		return false
	}
	for _, b := range status.Bulkheads {
		for _, w := range b.Workers {
			if w.State != "ready" {
				return false
			}
		}
	}
	return true
}

// stop drains the coordinator, and kills it when that overruns.
func (c *coordinator) stop() error {
	_ = c.signal(syscall.SIGTERM) // it may have ended meanwhile
	late := time.NewTimer(DrainTimeout + 5*time.Second)
	defer late.Stop()
	select {
	case <-c.exited:
		return c.err
	case <-late.C:
		c.kill()
		return fmt.Errorf("demo: coordinator %d did not stop and was killed%s", c.cmd.Process.Pid, c.said.last.quote())
	}
}

// Status asks the coordinator how it is.
func (s *Stack) Status(ctx context.Context) (supervisor.Status, error) {
	var status supervisor.Status
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/v1/status", nil)
	if err != nil {
		return status, err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.dir.file(adminSocket))
	}}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return status, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return status, fmt.Errorf("demo: status of the coordinator: %s", res.Status)
	}
	return status, json.NewDecoder(res.Body).Decode(&status)
}

// logFile is where a coordinator's log goes. Lines that a person should see are
// shown as well.
type logFile struct {
	path    string
	notable func(line string) // nil: none is shown
	last    tail

	mu   sync.Mutex
	file *os.File
	line []byte
}

func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		var err error
		if l.file, err = os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return 0, err
		}
	}
	_, _ = l.last.Write(b) // never fails
	l.show(b)
	return l.file.Write(b)
}

// show passes on the lines that b completes.
func (l *logFile) show(b []byte) {
	if l.notable == nil {
		return
	}
	for {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			l.line = append(l.line, b[:min(len(b), max(0, maxLogLine-len(l.line)))]...)
			return
		}
		line := append(l.line, b[:end]...)
		l.line, b = l.line[:0], b[end+1:]
		if bytes.Contains(line, []byte("[WARN]")) || bytes.Contains(line, []byte("[ERROR]")) {
			l.notable(string(line))
		}
	}
}

// close may only be called when nothing is written any more.
func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
	}
}
