package supervisor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// counted starts a supervisor whose every reload changes what a's workers see.
// A reload tells entered that it reads its configuration, and waits for gate.
func counted(t *testing.T, entered chan int, gate chan struct{}) *running {
	t.Helper()
	var config supervisor.Config
	read := 0 // one reload at a time
	return start(t, []supervisor.BulkheadConfig{bulkhead("a")}, func(o *supervisor.Options) {
		config = o.Config
		o.Load = func() (supervisor.Config, error) {
			read++
			entered <- read
			<-gate
			c := config
			c.Bulkheads = []supervisor.BulkheadConfig{bulkhead("a", func(c *supervisor.BulkheadConfig) {
				c.Owner = strings.Repeat("x", read)
			})}
			return c, nil
		}
	})
}

func TestReloadsThatComeWhileOneRunsShareTheNext(t *testing.T) {
	entered, gate := make(chan int, 10), make(chan struct{})
	r := counted(t, entered, gate)
	reports := make(chan supervisor.Report, 51)
	ask := func() { reports <- r.Reload(context.Background()) }
	var asking sync.WaitGroup
	asking.Go(ask)
	<-entered
	for range 50 {
		asking.Go(ask)
	}
	eventually(t, 5*time.Second, "50 wait for one", func() bool { return supervisor.Waiting(r.Supervisor) == 50 })
	close(gate)
	asking.Wait()
	close(reports)
	for rep := range reports {
		if rep.Error != "" {
			t.Errorf("%+v", rep)
		}
	}
	if len(entered) != 1 || <-entered != 2 {
		t.Errorf("the configuration was read %d more times than twice", len(entered))
	}
	if got := r.bulkhead("a").Owner; got != "xx" {
		t.Errorf("owner %q: those who came later did not get what was read later", got)
	}
}

// One who leaves does not take the reload from those who stay.
func TestSharedReloadEndsWithItsLastWaiter(t *testing.T) {
	entered, gate := make(chan int, 10), make(chan struct{})
	r := counted(t, entered, gate)
	first, stays := make(chan supervisor.Report, 1), make(chan supervisor.Report, 1)
	go func() { first <- r.Reload(context.Background()) }()
	<-entered
	go func() { stays <- r.Reload(context.Background()) }()
	eventually(t, 5*time.Second, "one waits", func() bool { return supervisor.Waiting(r.Supervisor) == 1 })
	ctx, leave := context.WithCancelCause(t.Context())
	leaves := make(chan supervisor.Report, 1)
	go func() { leaves <- r.Reload(ctx) }()
	eventually(t, 5*time.Second, "two wait", func() bool { return supervisor.Waiting(r.Supervisor) == 2 })
	leave(errors.New("bored"))
	if rep := <-leaves; !strings.Contains(rep.Error, "bored") {
		t.Errorf("%+v", rep)
	}
	close(gate)
	for _, c := range []chan supervisor.Report{first, stays} {
		if rep := <-c; rep.Error != "" {
			t.Errorf("%+v", rep)
		}
	}
}

// A reload that everybody has left before its turn is not done.
func TestReloadGivenUpInTheQueueIsNotDone(t *testing.T) {
	entered, gate := make(chan int, 10), make(chan struct{})
	r := counted(t, entered, gate)
	first, left := make(chan supervisor.Report, 1), make(chan supervisor.Report, 1)
	go func() { first <- r.Reload(context.Background()) }()
	<-entered
	ctx, leave := context.WithCancelCause(t.Context())
	go func() { left <- r.Reload(ctx) }()
	eventually(t, 5*time.Second, "one waits", func() bool { return supervisor.Waiting(r.Supervisor) == 1 })
	leave(errors.New("bored"))
	eventually(t, 5*time.Second, "nobody waits", func() bool { return supervisor.Waiting(r.Supervisor) == 0 })
	close(gate)
	if rep := <-first; rep.Error != "" {
		t.Errorf("%+v", rep)
	}
	if rep := <-left; rep.Error != "not begun: bored" {
		t.Errorf("%+v", rep)
	}
	if len(entered) != 0 {
		t.Error("the configuration was read again")
	}
}

// A bulkhead has two generations of workers at most: the third waits until the
// first has drained.
func TestReloadWaitsForTheWorkersOfTheOneBefore(t *testing.T) {
	t.Parallel()
	brief := func(c *supervisor.BulkheadConfig) { c.Timeout = 2 * time.Second }
	r, next, _ := reloadable(t, bulkhead("a", brief))
	hung := make(chan string, 1)
	go func() { hung <- r.reason("GET", "/a/hang?sent=1", nil) }()
	eventually(t, 5*time.Second, "a request holds the first worker", func() bool { return r.bulkhead("a").InFlight == 1 })
	renew := func(ctx context.Context, variable string) supervisor.Report {
		*next = []supervisor.BulkheadConfig{bulkhead("a", brief, func(c *supervisor.BulkheadConfig) { c.Worker.Env = quick(variable) })}
		return r.Reload(ctx)
	}
	if rep := renew(t.Context(), "SECOND"); rep.Error != "" {
		t.Fatalf("%+v", rep)
	}
	second := pids(r.bulkhead("a"))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if rep := renew(ctx, "THIRD"); !strings.Contains(rep.Error, "still drain") {
		t.Errorf("a third generation: %+v", rep)
	}
	if now := pids(r.bulkhead("a")); len(now) != 1 || now[0] != second[0] {
		t.Errorf("workers %v, were %v", now, second)
	}
	if got := <-hung; got != "backend_timeout" { // by its own deadline
		t.Errorf("the request on the first worker: %s", got)
	}
	if rep := renew(t.Context(), "THIRD"); rep.Error != "" {
		t.Errorf("%+v", rep)
	}
}

// sleeper is the path of a worker that never gets ready.
func sleeper(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "sleeper")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// A stop does not wait for a reload that waits.
func TestStopEndsAReloadThatWaits(t *testing.T) {
	r, next, _ := reloadable(t, bulkhead("a"))
	*next = []supervisor.BulkheadConfig{bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Worker.Kind = sleeper(t) })}
	report := make(chan supervisor.Report, 1)
	go func() { report <- r.Reload(context.Background()) }()
	eventually(t, 5*time.Second, "the reload runs", func() bool { return supervisor.Reloading(r.Supervisor) })
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if rep := <-report; rep.Error == "" {
		t.Errorf("%+v", rep)
	}
}

// One that is given up while new workers start changes nothing.
func TestReloadGivenUpWhileWorkersStart(t *testing.T) {
	r, next, _ := reloadable(t, bulkhead("a"), bulkhead("b"))
	was := pids(r.bulkhead("a"))
	*next = []supervisor.BulkheadConfig{
		bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Worker.Kind = sleeper(t) }),
		bulkhead("b", func(c *supervisor.BulkheadConfig) { c.Owner = "new" }),
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errors.New("bored"))
	defer cancel()
	if rep := r.Reload(ctx); !strings.Contains(rep.Error, "the running configuration stays") || !strings.Contains(rep.Error, "bored") {
		t.Errorf("%+v", rep)
	}
	if now := pids(r.bulkhead("a")); len(now) != 1 || now[0] != was[0] || r.bulkhead("b").Owner == "new" {
		t.Errorf("workers %v, were %v; %+v", now, was, r.bulkhead("b"))
	}
}
