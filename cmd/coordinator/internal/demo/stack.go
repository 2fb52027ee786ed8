package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Stack is the legacy services and the coordinator in front of them, each a process
// of its own. It is for one goroutine, but for Status.
type Stack struct {
	Services    map[Kind]*Service
	Listen      string // the coordinator's front, host:port
	AdminListen string
	Dir         string // the demo's private folder, removed by Stop
	EnvFile     string // the coordinator's configuration
	LogFile     string // the coordinator's log

	exe         string
	dir         *workdir
	release     []func() // ports
	coordinator *coordinator
	logLevel    string
	notable     func(line string)
}

// StackOptions are the settings of a Stack. Only Exe is needed.
type StackOptions struct {
	// Exe is this program: it must know Subcommand and "run --lifeline".
	Exe string
	// Listen and AdminListen are the coordinator's, host:port. Empty is
	// 127.0.0.1:8080 and 127.0.0.1:9901, or free ports where these are taken.
	Listen, AdminListen string
	LogLevel            string // of the coordinator; empty is info
	// Notable is told about warnings and errors in the coordinator's log, from
	// another goroutine; nil: nobody is.
	Notable func(line string)
	// Kinds are the services to start, with the bulkheads that need them; nil is all.
	Kinds []Kind
	// Services are the settings of the services, apart from their addresses.
	Services map[Kind]Options
}

const (
	adminSocket  = "admin.sock"
	frontPort    = "127.0.0.1:8080"
	adminPort    = "127.0.0.1:9901"
	linkName     = "coordinator"
	envFileName  = "coordinator.env"
	stateName    = "state"
	logFileName  = "coordinator.log"
	restartAfter = time.Second     // of a coordinator: as a service manager would
	repairAfter  = 5 * time.Second // of a service: long enough to see what its end does
)

// StartStack starts everything and waits until it serves. ctx bounds the start
// only; the caller must Stop what it returns. When this process dies first, all of
// it dies too, and the next StartStack removes the folder.
func StartStack(ctx context.Context, o StackOptions) (_ *Stack, err error) {
	s := &Stack{Services: map[Kind]*Service{}, exe: o.Exe, logLevel: o.LogLevel, notable: o.Notable}
	if s.logLevel == "" {
		s.logLevel = "info"
	}
	defer func() {
		if err != nil {
			_ = s.Stop()
		}
	}()
	if s.dir, err = openWorkdir(); err != nil {
		return nil, err
	}
	s.Dir, s.EnvFile, s.LogFile = s.dir.path, s.dir.file(envFileName), s.dir.file(logFileName)
	if s.Listen, err = s.address(o.Listen, frontPort); err != nil {
		return nil, err
	}
	if s.AdminListen, err = s.address(o.AdminListen, adminPort); err != nil {
		return nil, err
	}
	kinds := o.Kinds
	if kinds == nil {
		kinds = Kinds()
	}
	for _, kind := range kinds {
		options := o.Services[kind]
		options.Control = controlAt(s.Dir, kind)
		if s.Services[kind], err = Start(ctx, o.Exe, kind, options); err != nil {
			delete(s.Services, kind)
			return nil, err
		}
	}
	if err = os.WriteFile(s.EnvFile, []byte(s.envFile()), 0o600); err != nil {
		return nil, err
	}
	if err = s.prepare(); err != nil {
		return nil, err
	}
	// A short name for this program, also when it is a temporary one of "go run".
	if err = os.Symlink(o.Exe, s.dir.file(linkName)); err != nil {
		return nil, err
	}
	s.coordinator, err = s.startCoordinator(ctx)
	return s, err
}

// controlAt is the control address of a service of the demo in dir.
func controlAt(dir string, kind Kind) string { return unixPrefix + dir + "/" + string(kind) + ".sock" }

// address is the one asked for; else usual, if it is free; else a free one.
func (s *Stack) address(asked, usual string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	if ln, err := net.Listen("tcp", usual); err == nil {
		return usual, ln.Close()
	}
	addr, release, err := reserve()
	if err != nil {
		return "", fmt.Errorf("demo: port: %w", err)
	}
	s.release = append(s.release, release)
	return addr, nil
}

// Pid is the coordinator's.
func (s *Stack) Pid() int { return s.coordinator.cmd.Process.Pid }

// URL is the origin of the coordinator's front.
func (s *Stack) URL() string { return "http://" + s.Listen }

// Stop ends everything, the coordinator first so that it can drain, and removes the
// folder. It takes at most 11 s.
func (s *Stack) Stop() error {
	var errs []error
	if c := s.coordinator; c != nil {
		select {
		case <-c.exited: // killed by its user, who knows
		default:
			errs = append(errs, c.stop())
		}
		c.said.close()
	}
	var stopping sync.WaitGroup
	stopped := make([]error, len(Kinds()))
	for i, kind := range Kinds() {
		if service := s.Services[kind]; service != nil {
			stopping.Go(func() { stopped[i] = service.Stop() })
		}
	}
	stopping.Wait()
	errs = append(errs, stopped...)
	for _, release := range s.release {
		release()
	}
	if s.dir != nil {
		errs = append(errs, s.dir.close())
	}
	return errors.Join(errs...)
}

// Keep sees to it that a process which ends is started again, until ctx ends: the
// coordinator after 1 s, as a service manager would, and a service after 5 s. It
// tells say. The error is a process that could not be started again.
func (s *Stack) Keep(ctx context.Context, say func(string)) error {
	for {
		kind, ok := s.awaitDeath(ctx)
		if !ok {
			return nil
		}
		wait, name := restartAfter, "the coordinator"
		if kind != "" {
			wait, name = repairAfter, "the "+string(kind)+" service"
		}
		say(fmt.Sprintf("%s is dead; it is started again in %s", name, wait))
		if !sleep(ctx, wait) {
			return nil
		}
		pid, err := s.revive(ctx, kind)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		say(fmt.Sprintf("%s serves again, as process %d", name, pid))
	}
}

// awaitDeath waits until a process has ended: a service of that kind, or the
// coordinator if it is "".
func (s *Stack) awaitDeath(ctx context.Context) (kind Kind, ok bool) {
	// What is not there never ends: a nil channel.
	exited := func(kind Kind) <-chan struct{} {
		if service := s.Services[kind]; service != nil {
			return service.Exited()
		}
		return nil
	}
	select {
	case <-ctx.Done():
		return "", false
	case <-s.coordinator.exited:
		return "", true
	case <-exited(Orders):
		return Orders, true
	case <-exited(Catalog):
		return Catalog, true
	case <-exited(Payments):
		return Payments, true
	case <-exited(OrdersVendor):
		return OrdersVendor, true
	case <-exited(Page):
		return Page, true
	}
}

func (s *Stack) revive(ctx context.Context, kind Kind) (pid int, err error) {
	if kind != "" {
		err = s.Services[kind].Restart(ctx)
		return s.Services[kind].Pid(), err
	}
	s.coordinator.said.close()
	c, err := s.startCoordinator(ctx)
	if err != nil {
		return 0, err
	}
	s.coordinator = c
	return s.Pid(), nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// SetFault turns the switch of a service of the demo whose folder is dir.
func SetFault(ctx context.Context, dir string, kind Kind, f Fault) error {
	f, err := f.check()
	if err != nil {
		return fmt.Errorf("demo: fault: %w", err)
	}
	if !slices.Contains(Kinds(), kind) {
		return fmt.Errorf("demo: no service %q; there are %v", kind, Kinds())
	}
	return control(ctx, kind, controlAt(dir, kind), "POST", "/fault?"+f.values().Encode(), nil)
}
