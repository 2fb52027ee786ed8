package supervisor_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

func workers(n int) func(*supervisor.BulkheadConfig) {
	return func(c *supervisor.BulkheadConfig) { c.Workers = n }
}

// hold has each of n workers of a bulkhead hold a request, until release.
func (r *running) hold(name string, n int) (release func()) {
	r.t.Helper()
	here := r.t.TempDir()
	var clients []net.Conn
	for range n {
		nc, _ := r.raw("GET /" + name + "/hang?dir=" + url.QueryEscape(here) + " HTTP/1.1\r\nHost: x\r\n\r\n")
		clients = append(clients, nc)
	}
	eventually(r.t, 10*time.Second, "each worker holds one", func() bool {
		files, _ := os.ReadDir(here)
		return len(files) == n
	})
	return func() {
		for _, nc := range clients {
			nc.Close()
		}
	}
}

// Fewer workers in many bulkheads take as long as in one.
func TestReloadResizesAllAtOnce(t *testing.T) {
	r, next, _ := reloadable(t, bulkhead("a", workers(2)), bulkhead("b", workers(2)))
	releaseA, releaseB := r.hold("a", 2), r.hold("b", 2)
	*next = []supervisor.BulkheadConfig{bulkhead("a"), bulkhead("b")}
	report := make(chan supervisor.Report, 1)
	go func() { report <- r.Reload(context.Background()) }()
	eventually(t, 5*time.Second, "both resizes are under way", func() bool {
		return len(r.bulkhead("a").Workers) == 1 && len(r.bulkhead("b").Workers) == 1
	})
	releaseA()
	releaseB()
	if rep := <-report; rep.Error != "" || len(rep.Details) != 0 {
		t.Errorf("%+v", rep)
	}
}

// A stop does not wait for the workers that a reload takes away, and the reload says
// what it left under way.
func TestStopEndsAReloadThatResizes(t *testing.T) {
	r, next, _ := reloadable(t, bulkhead("a", workers(2)))
	release := r.hold("a", 2)
	*next = []supervisor.BulkheadConfig{bulkhead("a")}
	report, stopped := make(chan supervisor.Report, 1), make(chan error, 1)
	go func() { report <- r.Reload(context.Background()) }()
	eventually(t, 5*time.Second, "the resize is under way", func() bool { return len(r.bulkhead("a").Workers) == 1 })
	go func() { stopped <- r.stop() }()
	eventually(t, 5*time.Second, "it makes room", func() bool { return len(report) == 1 && r.Status().State == "draining" })
	release()
	if rep := <-report; len(rep.Details) != 1 || !strings.Contains(rep.Details[0], "a: 2 -> 1 workers") {
		t.Errorf("%+v", rep)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
