package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// controlTimeout is above the time that a service fights for its port.
const controlTimeout = relistenTimeout + 5*time.Second

// maxControlAnswer bounds what is read from a control address: a full ledger.
const maxControlAnswer = 512 << 20

// Service is a service that runs as a child process, at one address for as long as
// the Service lives. Its methods are safe for concurrent use.
type Service struct {
	kind    Kind
	exe     string
	options Options
	release func() // gives the reserved port back

	mu   sync.Mutex
	proc *process
}

// Start runs a service of that kind by executing exe with the arguments Subcommand
// and kind, which must call Child, and waits until it listens. ctx bounds the start
// only; the caller must Stop the service.
func Start(ctx context.Context, exe string, kind Kind, o Options) (*Service, error) {
	s := &Service{kind: kind, exe: exe, options: o, release: func() {}}
	if o.Listen == "" {
		var err error
		if s.options.Listen, s.release, err = reserve(); err != nil {
			return nil, fmt.Errorf("demo: %s: port: %w", kind, err)
		}
	}
	var err error
	if s.proc, err = launch(ctx, exe, kind, s.options); err != nil {
		s.release()
		return nil, err
	}
	s.options.Listen = s.proc.addrs.Listen
	return s, nil
}

// Kind is which service it is.
func (s *Service) Kind() Kind { return s.kind }

// Addr is where it listens, host:port. It never changes.
func (s *Service) Addr() string { return s.options.Listen }

// URL is its origin, without a slash at the end.
func (s *Service) URL() string { return "http://" + s.Addr() }

// Pid is the process that runs it now, or ran it last.
func (s *Service) Pid() int { return s.present().cmd.Process.Pid }

// Exited is closed when the present process is gone.
func (s *Service) Exited() <-chan struct{} { return s.present().exited }

func (s *Service) present() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// Signal sends the process a signal, such as SIGSTOP, SIGCONT or SIGKILL. It
// returns os.ErrProcessDone when there is none.
func (s *Service) Signal(sig os.Signal) error { return s.present().signal(sig) }

// Fault sets the switch. When it returns nil, the setting holds.
func (s *Service) Fault(ctx context.Context, f Fault) error {
	f, err := f.check()
	if err != nil {
		return fmt.Errorf("demo: fault: %w", err)
	}
	return s.call(ctx, http.MethodPost, "/fault?"+f.values().Encode(), nil)
}

// Stats is what the present process has seen.
func (s *Service) Stats(ctx context.Context) (Stats, error) {
	var st Stats
	return st, s.call(ctx, http.MethodGet, "/stats", &st)
}

// Ledger is every payment that the present process has made, oldest first,
// whatever the fault switch says. Only for Payments.
func (s *Service) Ledger(ctx context.Context) ([]Payment, error) {
	var l []Payment
	err := s.call(ctx, http.MethodGet, "/ledger", &l)
	return l, err
}

// Restart kills the process, if it still runs, and starts another at the same
// address, with the fault switch up and without the memory of the first. When that
// fails the service is down, and Restart may be tried again.
func (s *Service) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc.kill()
	p, err := launch(ctx, s.exe, s.kind, s.options)
	if err != nil {
		return err
	}
	s.proc = p
	return nil
}

// Stop ends the process and waits for it, 4 s at most before it is killed. The
// address is free afterwards. Call it once.
func (s *Service) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.release()
	select {
	case <-s.proc.exited:
		return nil // killed by its user, who knows
	default:
		return s.proc.stop()
	}
}

// call asks the control address of the present process.
func (s *Service) call(ctx context.Context, method, path string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: s.dialControl}}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("demo: control of %s: %w", s.kind, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxControlAnswer))
	switch {
	case err != nil:
		return fmt.Errorf("demo: control of %s: %w", s.kind, err)
	case res.StatusCode != http.StatusOK:
		return errors.New("demo: control of " + string(s.kind) + ": " + strings.TrimSpace(string(body)))
	case answer == nil:
		return nil
	}
	return json.Unmarshal(body, answer)
}

func (s *Service) dialControl(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	addr := s.present().addrs.Control
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		return d.DialContext(ctx, "unix", path)
	}
	return d.DialContext(ctx, "tcp", addr)
}
