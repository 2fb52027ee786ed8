package supervisor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// A new bulkhead comes as it is, and the reload does not say that all is well.
func TestReloadTellsOfANewBulkheadWithoutWorkers(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r, next, _ := reloadable(t, bulkhead("a"))
	*next = []supervisor.BulkheadConfig{bulkhead("a"), bulkhead("b", func(c *supervisor.BulkheadConfig) { c.Worker.Kind = broken })}
	rep := r.Reload(t.Context())
	if rep.Error != "1 new bulkhead without all workers" || !strings.Contains(rep.Did, "added 1") {
		t.Errorf("%+v", rep)
	}
	if len(rep.Details) != 1 || !strings.Contains(rep.Details[0], "b: the new worker of slot 0 did not get ready: ") {
		t.Errorf("%q", rep.Details)
	}
	if got := r.reason("GET", "/a", nil) + " " + r.reason("GET", "/b", nil); got != "200 no_worker" {
		t.Error(got)
	}
}

// What everybody has left while workers start changes nothing.
func TestReloadGivenUpWhileWorkersStartChangesNothing(t *testing.T) {
	r, next, _ := reloadable(t, bulkhead("a"), bulkhead("b"))
	hangs := filepath.Join(t.TempDir(), "hangs")
	if err := os.WriteFile(hangs, []byte("#!/bin/sh\n: > \"$0.runs\"\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	before := pids(r.bulkhead("a"))
	*next = []supervisor.BulkheadConfig{
		bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Worker.Kind = hangs }),
		bulkhead("b", func(c *supervisor.BulkheadConfig) { c.Limit = 5 }),
		bulkhead("c"),
	}
	ctx, giveUp := context.WithCancelCause(t.Context())
	report := make(chan supervisor.Report, 1)
	go func() { report <- r.Reload(ctx) }()
	eventually(t, 10*time.Second, "the new worker runs", func() bool {
		_, err := os.Stat(hangs + ".runs")
		return err == nil
	})
	giveUp(errors.New("the operator left"))
	if rep := <-report; !strings.Contains(rep.Error, "the operator left") || rep.Did != "" || len(rep.Bulkheads) != 0 {
		t.Errorf("%+v", rep)
	}
	if b := r.bulkhead("b"); b.Limit != 8 || len(r.Status().Bulkheads) != 2 || r.reason("GET", "/c", nil) != "no_route" {
		t.Errorf("%+v", r.Status().Bulkheads)
	}
	if now := pids(r.bulkhead("a")); len(now) != 1 || now[0] != before[0] {
		t.Errorf("workers %v, were %v", now, before)
	}
}
