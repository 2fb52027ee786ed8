package supervisor_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
)

func pids(b supervisor.BulkheadStatus) (list []int) {
	for _, w := range b.Workers {
		list = append(list, w.Pid)
	}
	return list
}

// reloadable starts a supervisor whose next configuration the test decides.
func reloadable(t *testing.T, bulkheads ...supervisor.BulkheadConfig) (r *running, next *[]supervisor.BulkheadConfig, bad *error) {
	t.Helper()
	next, bad = &bulkheads, new(error)
	var config supervisor.Config
	r = start(t, bulkheads, func(o *supervisor.Options) {
		o.Load = func() (supervisor.Config, error) {
			c := config
			c.Bulkheads = *next
			return c, *bad
		}
		config = o.Config
	})
	return r, next, bad
}

func TestReloadTouchesOnlyWhatChanged(t *testing.T) {
	r, next, bad := reloadable(t, bulkhead("a"), bulkhead("b"), bulkhead("c"))
	a, b := pids(r.bulkhead("a")), pids(r.bulkhead("b"))

	// In place: no worker notices.
	*next = []supervisor.BulkheadConfig{
		bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Limit, c.Owner = 3, "team" }), bulkhead("b"), bulkhead("c"),
	}
	if rep := r.Reload(t.Context()); rep.Error != "" || !reflect.DeepEqual(rep.Bulkheads, []string{"a"}) {
		t.Fatalf("%+v", rep)
	}
	if s := r.bulkhead("a"); s.Limit != 3 || s.Owner != "team" || !reflect.DeepEqual(pids(s), a) {
		t.Errorf("%+v", s)
	}

	// New workers for one, a new bulkhead, one removed.
	*next = []supervisor.BulkheadConfig{
		bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Worker.Env = quick("X") }), bulkhead("b"), bulkhead("d"),
	}
	rep := r.Reload(t.Context())
	if rep.Error != "" || !strings.Contains(rep.Did, "added 1, new workers for 1, changed in place 0, removed 1, untouched 1") {
		t.Fatalf("%+v", rep)
	}
	if reflect.DeepEqual(pids(r.bulkhead("a")), a) || !reflect.DeepEqual(pids(r.bulkhead("b")), b) {
		t.Error("wrong workers replaced")
	}
	if got := r.reason("GET", "/d", nil) + r.reason("GET", "/c", nil); got != "200no_route" {
		t.Errorf("added and removed: %s", got)
	}

	// Mistakes: refused whole.
	*bad = errors.New("first mistake\nsecond mistake")
	if rep := r.Reload(t.Context()); len(rep.Details) != 2 || rep.Error == "" {
		t.Errorf("%+v", rep)
	}
	*bad = nil
	*next = []supervisor.BulkheadConfig{bulkhead("a"), bulkhead("b", func(c *supervisor.BulkheadConfig) {
		c.Routes = []supervisor.Route{{Prefix: "/a"}}
	})}
	if rep := r.Reload(t.Context()); !strings.Contains(rep.Error, "claimed by two") {
		t.Errorf("%+v", rep)
	}
	if got := r.reason("GET", "/d", nil); got != "200" {
		t.Errorf("after refused reloads: %s", got)
	}
}

func TestReloadKeepsTheOldWorkersWhenTheNewOnesFail(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r, next, _ := reloadable(t, bulkhead("a"), bulkhead("b"))
	a := pids(r.bulkhead("a"))
	*next = []supervisor.BulkheadConfig{
		bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Worker.Kind, c.Limit = broken, 77 }),
		bulkhead("b", func(c *supervisor.BulkheadConfig) { c.Limit = 5 }),
	}
	rep := r.Reload(t.Context())
	if rep.Error == "" || len(rep.Details) != 1 || !strings.Contains(rep.Details[0], "a: keeps its old configuration") {
		t.Errorf("%+v", rep)
	}
	if s := r.bulkhead("a"); s.Limit == 77 || !reflect.DeepEqual(pids(s), a) || s.State != "ready" {
		t.Errorf("%+v", s)
	}
	if s := r.bulkhead("b"); s.Limit != 5 {
		t.Errorf("the others' changes wait for nobody: %+v", s)
	}
}

func TestResizeLastsUntilTheReload(t *testing.T) {
	r, _, _ := reloadable(t, bulkhead("a"))
	three, forty := 3, 40
	if rep := r.Resize(t.Context(), "a", &three, &forty); rep.Error != "" || rep.Did != "limit 8 -> 40, workers 1 -> 3" {
		t.Fatalf("%+v", rep)
	}
	if s := r.bulkhead("a"); len(s.Workers) != 3 || s.Limit != 40 || s.State != "ready" {
		t.Errorf("%+v", s)
	}
	tooMany := 5000
	if rep := r.Resize(t.Context(), "a", nil, &tooMany); rep.Error == "" {
		t.Error("a limit beyond the workers' connections was taken")
	}
	if rep := r.Reload(t.Context()); rep.Error != "" {
		t.Fatalf("%+v", rep)
	}
	eventually(t, 10*time.Second, "as configured", func() bool {
		s := r.bulkhead("a")
		return len(s.Workers) == 1 && s.Limit == 8
	})
	if rep := r.Restart(t.Context(), "nobody"); rep.Error == "" {
		t.Error("restarted nobody")
	}
}

// A reload that comes while a resize waits for its workers is not undone by it, and
// a resize that was given up leaves the settings as the workers are.
func TestReloadDuringAResize(t *testing.T) {
	two := func(c *supervisor.BulkheadConfig) { c.Workers = 2 }
	r, next, _ := reloadable(t, bulkhead("a", two))
	here := t.TempDir()
	for range 2 { // one for each worker
		r.raw("GET /a/hang?dir=" + url.QueryEscape(here) + " HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	eventually(t, 10*time.Second, "both are held", func() bool {
		files, _ := os.ReadDir(here)
		return len(files) == 2
	})
	one, forty := 1, 40
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	resized := make(chan supervisor.Report, 1)
	go func() { resized <- r.Resize(ctx, "a", &one, &forty) }()
	eventually(t, 10*time.Second, "the resize waits", func() bool { return len(r.bulkhead("a").Workers) == 1 })
	*next = []supervisor.BulkheadConfig{bulkhead("a", func(c *supervisor.BulkheadConfig) {
		c.Limit, c.Queue, c.Owner = 5, 3, "team"
	})}
	if rep := r.Reload(t.Context()); rep.Error != "" {
		t.Fatalf("%+v", rep)
	}
	giveUp()
	if rep := <-resized; rep.Error == "" {
		t.Fatalf("%+v: it did not wait", rep)
	}
	if s := r.bulkhead("a"); s.Owner != "team" || s.Limit != 5 {
		t.Errorf("owner %q, limit %d: the reload was undone", s.Owner, s.Limit)
	}
	e, err := r.Evidence("a", 0)
	if err != nil || e.Setting.Workers != 1 || e.Setting.Queue != 3 {
		t.Errorf("%+v, %v", e.Setting, err)
	}
}

// A resize that was given up before it was begun changes nothing.
func TestResizeGivenUpLeavesWhatThereIs(t *testing.T) {
	r, _, _ := reloadable(t, bulkhead("a"))
	ended, end := context.WithCancel(t.Context())
	end()
	three := 3
	if rep := r.Resize(ended, "a", &three, nil); !strings.Contains(rep.Error, "not begun") {
		t.Errorf("%+v", rep)
	}
	if e, err := r.Evidence("a", 0); err != nil || e.Setting.Workers != 1 || len(r.bulkhead("a").Workers) != 1 {
		t.Errorf("%+v, %v", e.Setting, err)
	}
}

// What its operator does not wait for any more is not done later, behind his back.
func TestOperationGivenUpInTheQueueIsNotDone(t *testing.T) {
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a", workers(2))})
	release := r.hold("a", 2)
	resized := make(chan supervisor.Report, 1)
	one := 1
	go func() { resized <- r.Resize(t.Context(), "a", &one, nil) }()
	eventually(t, 10*time.Second, "the resize waits", func() bool { return len(r.bulkhead("a").Workers) == 1 })

	ctx, giveUp := context.WithCancelCause(t.Context())
	reports := make(chan supervisor.Report, 6)
	two := 2
	for _, do := range []func() supervisor.Report{
		func() supervisor.Report { return r.ForceBreaker(ctx, "a", breaker.Open) },
		func() supervisor.Report { return r.Drain(ctx, "a") },
		func() supervisor.Report { return r.Resume(ctx, "a") },
		func() supervisor.Report { return r.Forgive(ctx, "a", "") },
		func() supervisor.Report { return r.Restart(ctx, "a") },
		func() supervisor.Report { return r.Resize(ctx, "a", nil, &two) },
	} {
		go func() { reports <- do() }()
	}
	giveUp(errors.New("the operator left"))
	release()
	if rep := <-resized; rep.Error != "" {
		t.Fatalf("%+v", rep)
	}
	for range 6 {
		if rep := <-reports; rep.Error != "not begun: the operator left" || rep.Did != "" {
			t.Errorf("%+v", rep)
		}
	}
	if s := r.bulkhead("a"); s.State != "ready" || s.Limit != 8 || s.Breaker.State != "closed" {
		t.Errorf("%+v", s)
	}
}
