package supervisor_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// metric is the value of a series, as text; empty when there is none.
func (r *running) metric(series string) string {
	r.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", r.socket)
	}}}
	resp, err := client.Get("http://localhost/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	_, after, _ := strings.Cut("\n"+string(text), "\n"+series+" ")
	value, _, _ := strings.Cut(after, "\n")
	return value
}

// A worker that eats all it can get is killed, and nobody else notices.
func TestGreedyWorkerIsKilledAlone(t *testing.T) {
	t.Parallel()
	by, _ := supervisor.FindEnforcement()
	if by == supervisor.NotEnforced {
		t.Skip("this system does not tell what a process has")
	}
	const limit = 512 << 20
	greedy := bulkhead("greedy", func(c *supervisor.BulkheadConfig) { c.Worker.Memory = limit })
	r := start(t, []supervisor.BulkheadConfig{greedy, bulkhead("calm")})
	calm := pids(r.bulkhead("calm"))
	if l := r.bulkhead("greedy").Limits; l.MemoryBytes != limit || l.Enforcement != by {
		t.Errorf("limits %+v, enforcement should be %s", l, by)
	}
	if l := r.bulkhead("calm").Limits; l != (supervisor.LimitsStatus{}) {
		t.Errorf("limits of another: %+v", l)
	}

	eaten := make(chan string, 1)
	go func() { eaten <- r.reason("POST", "/greedy/eat", nil) }()
	for done := false; !done; {
		select {
		case reason := <-eaten:
			if done = true; reason != "worker_died" {
				t.Errorf("the greedy request: %s", reason)
			}
		default:
			if resp, _ := r.get("/calm/"); resp.StatusCode != 200 {
				t.Fatalf("the sibling: %s", resp.Status)
			}
		}
	}
	eventually(t, 5*time.Second, "replaced", func() bool { b := r.bulkhead("greedy"); return b.State == "ready" && b.Restarts == 1 })
	if now := pids(r.bulkhead("calm")); now[0] != calm[0] {
		t.Error("the sibling was replaced")
	}
	if why := r.bulkhead("greedy").Workers[0].Why; !strings.Contains(why, "out of memory") {
		t.Errorf("status says %q", why)
	}
	for series, want := range map[string]string{
		`coordinator_worker_restarts_total{bulkhead="greedy",cause="oom"}`:          "1",
		`coordinator_worker_restarts_total{bulkhead="greedy",cause="exit"}`:         "0",
		`coordinator_worker_restarts_total{bulkhead="calm",cause="oom"}`:            "0",
		`coordinator_worker_memory_limit_bytes{bulkhead="greedy",kind="hard"}`:      "5.36870912e+08",
		`coordinator_worker_memory_limit_bytes{bulkhead="greedy",kind="soft"}`:      "",
		`coordinator_worker_memory_limit_bytes{bulkhead="calm",kind="hard"}`:        "",
		`coordinator_worker_restarts_total{bulkhead="greedy",cause="unresponsive"}`: "0",
	} {
		if got := r.metric(series); got != want {
			t.Errorf("%s is %q, want %q", series, got, want)
		}
	}
	if n := r.metric(`coordinator_worker_descriptors{bulkhead="calm",slot="0"}`); n == "" || n == "0" {
		t.Errorf("descriptors of the sibling: %q", n)
	}
}

func TestWorkersAreToldTheirLimits(t *testing.T) {
	cpus := runtime.GOMAXPROCS(0)
	shared := strconv.Itoa((cpus + 1) / 2)
	r := start(t, []supervisor.BulkheadConfig{
		bulkhead("none", func(c *supervisor.BulkheadConfig) { c.Workers = 2 }),
		bulkhead("many", func(c *supervisor.BulkheadConfig) { c.Workers = cpus + 1 }),
		bulkhead("hard", func(c *supervisor.BulkheadConfig) {
			c.Worker.Memory, c.Recycle.Memory, c.Worker.CPUs = 1000<<20, 500<<20, 3
		}),
		bulkhead("soft", func(c *supervisor.BulkheadConfig) { c.Workers, c.Recycle.Memory = 2, 500<<20 }),
		bulkhead("own", func(c *supervisor.BulkheadConfig) {
			c.Worker.Memory, c.Worker.CPUs = 1000<<20, 3
			c.Worker.Env["GOMEMLIMIT"], c.Worker.Env["GOMAXPROCS"] = "123MiB", "1"
		}),
	})
	for _, test := range []struct{ name, memory, cpus string }{
		{"none", "", shared}, {"many", "", "1"}, {"hard", "943718400", "3"}, {"soft", "471859200", shared}, {"own", "123MiB", "1"},
	} {
		_, memory := r.get("/" + test.name + "/env?key=GOMEMLIMIT")
		_, cpus := r.get("/" + test.name + "/env?key=GOMAXPROCS")
		if memory != test.memory || cpus != test.cpus {
			t.Errorf("%s: GOMEMLIMIT %q, GOMAXPROCS %q", test.name, memory, cpus)
		}
	}
}

// The limits at which workers are recycled are nothing that they see.
func TestReloadChangesSoftLimitsInPlace(t *testing.T) {
	r, next, _ := reloadable(t, bulkhead("a"))
	before := pids(r.bulkhead("a"))
	*next = []supervisor.BulkheadConfig{bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Recycle.Requests = 10 })}
	if rep := r.Reload(t.Context()); rep.Error != "" || !strings.Contains(rep.Did, "changed in place 1") {
		t.Fatalf("%+v", rep)
	}
	if now := pids(r.bulkhead("a")); now[0] != before[0] {
		t.Error("new workers")
	}
	eventually(t, 10*time.Second, "recycled", func() bool {
		if resp, _ := r.get("/a/"); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		return pids(r.bulkhead("a"))[0] != before[0]
	})
	if n := r.metric(`coordinator_worker_restarts_total{bulkhead="a",cause="requests"}`); n == "" || n == "0" {
		t.Errorf("counted %q", n)
	}

	// GOMEMLIMIT and RLIMIT_NOFILE they do see.
	*next = []supervisor.BulkheadConfig{bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Recycle.Descriptors = 4096 })}
	if rep := r.Reload(t.Context()); rep.Error != "" || !strings.Contains(rep.Did, "new workers for 1") {
		t.Errorf("%+v", rep)
	}
}

func TestRequiredEnforcementIsRefusedWhereThereIsNone(t *testing.T) {
	if by, _ := supervisor.FindEnforcement(); by != supervisor.EnforcedByWatch && by != supervisor.NotEnforced {
		t.Skipf("there is some: %s", by)
	}
	required := bulkhead("order-history", func(c *supervisor.BulkheadConfig) { c.Worker.Memory, c.Worker.MemoryRequired = 1<<30, true })
	check := func(err string) {
		t.Helper()
		if !strings.Contains(err, "BULKHEAD_ORDER_HISTORY_MEMORY_ENFORCE: required, and no control group can be used: ") {
			t.Errorf("got %q", err)
		}
	}

	dir, err := os.MkdirTemp("", "sv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := supervisor.New(supervisor.Options{Config: supervisor.Config{
		Listen: []string{"127.0.0.1:0"}, AdminSocket: filepath.Join(dir, "admin.sock"),
		StateDir: filepath.Join(dir, "state"), RuntimeDir: filepath.Join(dir, "run"), Bulkheads: []supervisor.BulkheadConfig{required},
	}})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run(t.Context(), t.Context())
	if _, ok := errors.AsType[*supervisor.SettingError](err); !ok {
		t.Fatalf("run: %v", err)
	}
	check(err.Error())

	r, next, _ := reloadable(t, bulkhead("a"))
	before := pids(r.bulkhead("a"))
	*next = []supervisor.BulkheadConfig{bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Limit = 3 }), required}
	check(r.Reload(t.Context()).Error)
	if now := r.bulkhead("a"); now.Limit != 8 || pids(now)[0] != before[0] {
		t.Errorf("after the refused reload: %+v", now)
	}
}
