//go:build linux

package main_test

import (
	"bytes"
	"encoding/json"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// The ten lines in the documentation of package ipc are a worker: they are
// built as they stand there.
func TestE2EWorkerOfTheDocumentation(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../ipc/doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(file.Doc.Text(), "\n\tpackage main\n")
	source, _, ok := strings.Cut("package main\n"+rest, "\n\nBuild it")
	if !ok {
		t.Fatalf("no program in %q", file.Doc.Text())
	}
	source = strings.ReplaceAll(source, "\n\t", "\n")
	s := newSite(t)
	path := filepath.Join(s.dir, "hello.go")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", s.dir+"/hello", path)
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	s.set("COORDINATOR_BULKHEADS=x", "BULKHEAD_X_ROUTES=/x", "BULKHEAD_X_WORKER="+s.dir+"/hello")
	s.start()
	a, err := get("/x/there").ask(newClient(t), s.url)
	if err != nil || a.status != "200 OK" || a.body != "hello /x/there\n" {
		t.Errorf("%s %q %v", a.status, a.body, err)
	}
}

// A worker has the variables of its bulkhead and none of anybody else.
func TestE2EWorkerEnvironment(t *testing.T) {
	s := newSite(t)
	secret := s.dir + "/secret"
	if err := os.WriteFile(secret, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.set("COORDINATOR_BULKHEADS=x,y", "BULKHEAD_X_ROUTES=/x", "BULKHEAD_Y_ROUTES=/y", "COORDINATOR_ADMIN_TOKEN=admin-secret",
		"BULKHEAD_X_WORKER="+actor(t, s.dir, "environment"), "BULKHEAD_X_ENV_MINE=of x", "BULKHEAD_X_ENV_FROM_FILE_FILE="+secret,
		"BULKHEAD_Y_WORKER="+s.dir+"/environment", "BULKHEAD_Y_ENV_OTHERS=of y")
	s.start()
	a, err := get("/x").ask(newClient(t), s.url)
	if err != nil {
		t.Fatal(err)
	}
	var environ []string
	if err := json.Unmarshal([]byte(a.body), &environ); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"MINE=of x", "FROM_FILE=from a file", "WORKER_BULKHEAD=x"} {
		if !slices.Contains(environ, want) {
			t.Errorf("%q is missing", want)
		}
	}
	t.Logf("%d variables", len(environ))
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		allowed := name == "MINE" || name == "GORACE" || name == "FROM_FILE" || strings.HasPrefix(name, "PLUGIN_") || strings.HasPrefix(name, "WORKER_") ||
			name == "COORDINATOR_WORKER" || // the handshake's cookie
			name == "GOMAXPROCS" // its share of the CPUs
		if !allowed {
			t.Errorf("it has %s", variable)
		}
	}
	if strings.Contains(a.body, "secret") || strings.Contains(a.body, "of y") {
		t.Errorf("it has what is not its own: %s", a.body)
	}
}

var contract = []string{
	"coordinator_requests_total", "coordinator_request_duration_seconds", "coordinator_backend_duration_seconds",
	"coordinator_refused_total", "coordinator_in_flight", "coordinator_limit", "coordinator_queue_depth",
	"coordinator_queue_oldest_seconds", "coordinator_queue_wait_seconds", "coordinator_breaker_state",
	"coordinator_breaker_transitions_total", "coordinator_fallback_total", "coordinator_retries_total", "coordinator_workers",
	"coordinator_worker_restarts_total", "coordinator_worker_start_seconds", "coordinator_worker_cpu_seconds_total",
	"coordinator_worker_memory_bytes", "coordinator_bulkhead_info", "go_goroutines", "process_open_fds",
}

func TestE2EMetricsAndHealth(t *testing.T) {
	s, _, _ := shop(t, "BULKHEAD_ORDERS_OWNER=team", "BULKHEAD_ORDERS_RUNBOOK=https://runbook.example")
	if _, err := get(ordersPath).ask(newClient(t), s.url); err != nil {
		t.Fatal(err)
	}
	status, body, err := s.adminGet("/metrics")
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d %v", status, err)
	}
	problems, err := promlint.New(bytes.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, name := range contract {
		if !bytes.Contains(body, []byte("# TYPE "+name+" ")) {
			t.Errorf("no %s", name)
		}
	}
	for _, sample := range []string{
		`coordinator_requests_total{bulkhead="orders",code="200",outcome="done"} 1`,
		`coordinator_breaker_state{bulkhead="orders",state="closed"} 1`,
		`coordinator_breaker_state{bulkhead="orders",state="open"} 0`,
		`coordinator_workers{bulkhead="orders",state="ready"} 2`,
		`coordinator_limit{bulkhead="orders"} 128`,
	} {
		if !bytes.Contains(body, []byte("\n"+sample+"\n")) {
			t.Errorf("no sample %s", sample)
		}
	}
	if bytes.Contains(body, []byte("pid=")) {
		t.Error("a label is a pid")
	}

	health := func(path string, status int, want string) {
		t.Helper()
		got, body, err := s.adminGet(path)
		if err != nil || got != status || string(body) != want {
			t.Errorf("%s: %d %q %v, want %d %q", path, got, body, err, status, want)
		}
	}
	health("/healthz", 200, "ok\n")
	ready := func(degraded string) string { return `{"ready":true,"degraded":[` + degraded + `],"why":""}` + "\n" }
	health("/readyz", 200, ready(""))
	s.must("breaker", "orders", "open")
	health("/readyz", 200, ready(`"orders"`))
	s.must("breaker", "orders", "auto")
	s.must("drain", "catalog")
	health("/readyz", 200, ready(`"catalog"`))
}

// After load and faults everything is as before.
func TestE2ENothingIsLeft(t *testing.T) {
	s, _, _ := shop(t, "BULKHEAD_ORDERS_RESTART_BUDGET=50/60s", "COORDINATOR_LOG_LEVEL=info")
	figures := func() (goroutines, fds float64) { return s.metric("go_goroutines"), s.metric("process_open_fds") }
	round := func() {
		g, c := s.generate(ordersPath, 200, span(1500*time.Millisecond, 10*time.Second)), s.generate(catalogPath, 200, span(1500*time.Millisecond, 10*time.Second))
		time.Sleep(300 * time.Millisecond)
		before := s.pids("orders")
		s.killWorkers("orders")
		eventually(t, 5*time.Second, "orders has new workers", s.anew("orders", before))
		s.must("restart", "catalog")
		g.Wait()
		noErrors(t, c.Wait())
	}
	settled := func(goroutines, fds float64) func() bool {
		return func() bool { g, f := figures(); return g <= goroutines && f <= fds }
	}
	round() // what is made once is made here
	goroutines, fds := figures()
	eventually(t, 20*time.Second, "the first round has settled", func() bool {
		wasG, wasF := goroutines, fds
		time.Sleep(time.Second)
		goroutines, fds = figures()
		return goroutines >= wasG && fds >= wasF
	})
	t.Logf("before: %v goroutines, %v descriptors", goroutines, fds)
	round()
	round()
	const slack = 4 // a probe or a scrape that is under way
	took := eventually(t, 45*time.Second, "goroutines and descriptors are back", settled(goroutines+slack, fds+slack))
	goroutines, fds = figures()
	t.Logf("after, %v later: %v goroutines, %v descriptors", took, goroutines, fds)
}
