package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/cmd/coordinator/internal/logs"
	"commerce.example/coordinator/ipc/process"
	"commerce.example/coordinator/supervisor"
)

// runCommand is coordinator run.
type runCommand struct {
	envFile
	Lifeline bool `hidden:"" help:"End at once when standard input does: whoever holds the other end is gone."`
}

func (c *runCommand) Help() string {
	return "Serves until SIGTERM or SIGINT, then drains; a second one ends the drain. SIGHUP reloads. " +
		"The configuration is that of the environment and the file; check shows it."
}

func (c *runCommand) Run(t *terminal) (err error) {
	from, err := inherit(t)
	if err != nil {
		return err
	}
	defer func() { from.Refuse(err) }()
	found, err := config.Load(t.environ, string(c.EnvFile))
	warn(t.stderr, found.Warnings)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(headroom(supervisorHeadroom))
	log, sink := logs.New(t.stderr, found.LogLevel, found.LogFormat)
	err = serve(t, found.Supervisor, log, sink, c, from)
	last, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	sink.Flush(last)
	return err
}

// serve is the life of a supervisor in this process.
func serve(t *terminal, conf supervisor.Config, log hclog.Logger, sink *logs.Sink, c *runCommand, from *supervisor.Handover) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	// Go ends a program that writes to a standard error whose reader is gone, unless
	// somebody listens: a log shipper that dies must not take all bulkheads with it.
	// To ignore the signal would be to have every child ignore it too.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	fed, starve := context.WithCancel(ctx)
	defer starve()
	tracer, err := openTracer(conf.Telemetry, log)
	if err != nil {
		return err
	}
	defer closeTracer(tracer, log)
	s, err := supervisor.New(supervisor.Options{
		Config: conf, BuiltIn: builtIn, Version: version(), Log: log, LogDropped: sink.Dropped,
		Stdout: t.stdout, Tracer: tracer,
		Load: func() (supervisor.Config, error) {
			found, err := config.Load(t.environ, string(c.EnvFile))
			return found.Supervisor, err
		},
		Serving:  func() { notify(log, daemon.SdNotifyReady) },
		Stopping: func() { notify(log, daemon.SdNotifyStopping) },
		Replaced: func(pid int) {
			notify(log, fmt.Sprintf("MAINPID=%d\n%s", pid, daemon.SdNotifyReady))
			starve() // who is not the main process is not heard any more
		},
		Successor: func() (string, []string, []string, error) {
			if c.Lifeline {
				return "", nil, nil, errors.New("whoever started this process waits for it, and would take a handover for its end; it is the demo's")
			}
			path, err := os.Executable()
			return path, os.Args, t.environ, err
		},
		Handover: from,
	})
	if err != nil {
		return err
	}
	hard, kill := context.WithCancel(context.Background())
	defer kill()
	if os.Getpid() == 1 {
		go func() { _ = process.ReapAdopted(hard) }() // nobody else does it in a container
	}
	watchdog(fed, s, log)
	hangups, endReloads := reloads(ctx, s, log)
	defer endReloads()
	var cut <-chan struct{}
	if c.Lifeline {
		cut = lifeline(t.stdin)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, hard) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-cut:
			cut = nil
			log.Warn("the lifeline is cut: ending now")
			stop()
			kill()
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP:
				select {
				case hangups <- struct{}{}:
				default: // one waits already
				}
			case ctx.Err() == nil:
				log.Info("stopping", "signal", sig.String())
				stop()
			default:
				log.Warn("second signal: the drain ends now", "signal", sig.String())
				kill()
			}
		}
	}
}

// reloads runs a reload for each hangup, aside: a reload may wait for workers,
// and a signal to stop must not wait for it. The returned function ends it.
func reloads(ctx context.Context, s *supervisor.Supervisor, log hclog.Logger) (hangups chan<- struct{}, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	asked := make(chan struct{}, 1)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-asked:
			}
			notify(log, daemon.SdNotifyReloading)
			s.Reload(ctx)
			if ctx.Err() == nil {
				notify(log, daemon.SdNotifyReady)
			}
		}
	})
	return asked, func() { cancel(); running.Wait() }
}

// lifeline is closed at the end of stdin. Its goroutine lasts as long as the process.
func lifeline(stdin io.Reader) <-chan struct{} {
	cut := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // an error is an end too
		close(cut)
	}()
	return cut
}

// inherit takes what an earlier supervisor handed down, and takes it out of the
// environment.
func inherit(t *terminal) (*supervisor.Handover, error) {
	for i, v := range t.environ {
		value, ok := strings.CutPrefix(v, supervisor.HandoverVariable+"=")
		if !ok {
			continue
		}
		t.environ = slices.Delete(slices.Clone(t.environ), i, i+1)
		os.Unsetenv(supervisor.HandoverVariable)
		// The service manager expects its watchdog to be fed by the main process.
		if os.Getenv("WATCHDOG_PID") != "" {
			os.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
		}
		return supervisor.ParseHandover(value)
	}
	return nil, nil
}

// watchdog feeds that of a service manager, when there is one, as long as the
// supervisor's loop answers.
func watchdog(ctx context.Context, s *supervisor.Supervisor, log hclog.Logger) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	go func() {
		tick := time.NewTicker(every / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				alive, cancel := context.WithTimeout(ctx, every/3)
				if s.Alive(alive) == nil {
					notify(log, daemon.SdNotifyWatchdog)
				}
				cancel()
			}
		}
	}()
}

// notify tells a service manager, when there is one.
func notify(log hclog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("service manager not told", "state", state, "error", err)
	}
}
