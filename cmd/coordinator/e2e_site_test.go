//go:build linux

package main_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/cmd/coordinator/internal/load"
	"commerce.example/coordinator/supervisor"
)

// long says that the acceptance figures are wanted at their full length.
var long = os.Getenv("COORDINATOR_E2E") == "long"

// span is a time of a test, short or long.
func span(short, full time.Duration) time.Duration {
	if long {
		return full
	}
	return short
}

// endAtOnce keeps the race detector from prolonging every exit by 1 s.
const endAtOnce = "GORACE=atexit_sleep_ms=0"

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// site is a supervisor that runs as a process of its own, with what belongs to
// it. Its log is shown when the test fails.
type site struct {
	t       *testing.T
	dir     string // short: sockets live below it
	vars    map[string]string
	exe     string   // of the coordinator; empty: this binary
	env     []string // of its processes, besides what all have
	url     string   // of the front
	admin   *http.Client
	cmd     *exec.Cmd
	log     string   // path
	stdout  *os.File // instead of the log; nil: none
	stderr  *os.File // likewise
	extra   []string // of its environment
	wrap    []string // the command that the program is given to
	exited  chan struct{}
	started time.Duration // from the fork until it was ready
}

// newSite is one that has not been started. Settings are "NAME=value".
func newSite(t *testing.T, settings ...string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: dir, vars: map[string]string{
		"COORDINATOR_LISTEN": "127.0.0.1:0", "COORDINATOR_ADMIN_LISTEN": "off",
		"COORDINATOR_STATE_DIR": dir + "/state", "COORDINATOR_ADMIN_SOCKET": dir + "/admin.sock",
		"COORDINATOR_DRAIN_TIMEOUT": "10s", "COORDINATOR_LOG_LEVEL": "debug",
	}}
	s.set(settings...)
	s.admin = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", dir+"/admin.sock")
		},
	}}
	t.Cleanup(s.cleanUp)
	return s
}

// run is a site that serves.
func runSite(t *testing.T, settings ...string) *site {
	t.Helper()
	s := newSite(t, settings...)
	s.start()
	return s
}

// set changes the file that the supervisor reads; "NAME=" takes one out.
func (s *site) set(settings ...string) {
	s.t.Helper()
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		s.vars[name] = value
		if value == "" {
			delete(s.vars, name)
		}
	}
	var text strings.Builder
	for bulkhead := range strings.SplitSeq(s.vars["COORDINATOR_BULKHEADS"], ",") {
		fmt.Fprintf(&text, "BULKHEAD_%s_ENV_%s\n", strings.ToUpper(bulkhead), endAtOnce)
	}
	for name, value := range s.vars {
		fmt.Fprintf(&text, "%s=%s\n", name, value)
	}
	// At once, as operators should: a reload may read it meanwhile.
	err := os.WriteFile(s.envFile()+".new", []byte(text.String()), 0o600)
	if err == nil {
		err = os.Rename(s.envFile()+".new", s.envFile())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) envFile() string { return s.dir + "/coordinator.env" }

// command is the coordinator with nothing in its environment but what every
// process has.
func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(cmp.Or(s.exe, self(s.t)), append(args, "--env-file", s.envFile())...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "XDG_RUNTIME_DIR=" + s.dir, endAtOnce}, s.env...)
	return cmd
}

func (s *site) start() {
	s.t.Helper()
	s.launch()
	begun := time.Now()
	for {
		if st, err := s.tryStatus(); err == nil && st.State == "ready" {
			s.url, s.started = "http://"+st.Listen[0], time.Since(begun)
			return
		}
		select {
		case <-s.exited:
			s.t.Fatalf("the supervisor ended: %v", s.cmd.ProcessState)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Since(begun) > 30*time.Second {
			s.t.Fatal("the supervisor did not get ready within 30 s")
		}
	}
}

// launch starts the supervisor's process and does not wait for it to serve.
func (s *site) launch() {
	s.t.Helper()
	s.log = filepath.Join(s.dir, fmt.Sprintf("log%d", time.Now().UnixNano()))
	log, err := os.Create(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd, s.exited = s.command("run"), make(chan struct{})
	if s.wrap != nil {
		s.cmd.Path, s.cmd.Args = s.wrap[0], append(s.wrap[:len(s.wrap):len(s.wrap)], append([]string{s.cmd.Path}, s.cmd.Args[1:]...)...)
	}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if s.stdout != nil {
		s.cmd.Stdout = s.stdout
	}
	if s.stderr != nil {
		s.cmd.Stderr = s.stderr
	}
	s.cmd.Env = append(s.cmd.Env, s.extra...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // its state is read once exited is closed
		close(exited)
	}(s.cmd, s.exited)
}

func (s *site) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// exit waits for the supervisor's end and returns its exit code.
func (s *site) exit(within time.Duration) int {
	s.t.Helper()
	select {
	case <-s.exited:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		s.t.Fatalf("the supervisor did not end within %v", within)
		return -1
	}
}

// cleanUp ends the site and looks through its logs for what no test may cause.
func (s *site) cleanUp() {
	if s.cmd != nil {
		select {
		case <-s.exited:
		default:
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
			_ = s.cmd.Process.Signal(syscall.SIGINT) // two of one kind may become one
			select {
			case <-s.exited:
			case <-time.After(15 * time.Second):
				s.t.Error("the supervisor did not end after two signals")
				_ = s.cmd.Process.Kill()
				<-s.exited
			}
		}
	}
	logs, _ := filepath.Glob(s.dir + "/log*")
	for _, name := range logs {
		text, _ := os.ReadFile(name)
		for _, bad := range []string{"DATA RACE", "panic", "fatal error"} {
			if bytes.Contains(text, []byte(bad)) {
				s.t.Errorf("the log has %q", bad)
			}
		}
		if s.t.Failed() {
			const tail = 12 << 10
			s.t.Logf("log:\n%s", text[max(0, len(text)-tail):])
		}
	}
	_ = os.RemoveAll(s.dir)
}

// cli runs a command against the site.
func (s *site) cli(args ...string) (code int, output string) {
	s.t.Helper()
	cmd := s.command(args...)
	text, err := cmd.CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(string(text))
}

// must runs a command that has to succeed, and logs what it said.
func (s *site) must(args ...string) string {
	s.t.Helper()
	code, output := s.cli(args...)
	if code != 0 {
		s.t.Fatalf("%q: exit code %d: %s", args, code, output)
	}
	s.t.Logf("%s: %s", strings.Join(args, " "), output)
	return output
}

func (s *site) adminGet(path string) (int, []byte, error) {
	resp, err := s.admin.Get("http://localhost" + path)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

func (s *site) tryStatus() (st supervisor.Status, err error) {
	_, body, err := s.adminGet("/v1/status")
	if err == nil {
		err = json.Unmarshal(body, &st)
	}
	return st, err
}

func (s *site) bulkhead(name string) supervisor.BulkheadStatus {
	s.t.Helper()
	st, err := s.tryStatus()
	if err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(st.Bulkheads, func(b supervisor.BulkheadStatus) bool { return b.Name == name })
	if i < 0 {
		s.t.Fatalf("no bulkhead %q", name)
	}
	return st.Bulkheads[i]
}

// pids of the workers in service, by slot; 0 where there is none.
func (s *site) pids(name string) (pids []int) {
	s.t.Helper()
	for _, w := range s.bulkhead(name).Workers {
		pids = append(pids, w.Pid)
	}
	return pids
}

// staffed reports whether every slot has a worker that takes requests: one that
// still starts has a pid too.
func (s *site) staffed(name string) bool {
	s.t.Helper()
	for _, w := range s.bulkhead(name).Workers {
		if w.State != "ready" {
			return false
		}
	}
	return true
}

// eventually waits for what has to come within a time and returns how long it
// took.
func eventually(t *testing.T, within time.Duration, what string, is func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !is() {
		if time.Since(begun) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
	return time.Since(begun)
}

// fake starts a legacy service.
func fake(t *testing.T, kind demo.Kind, o demo.Options) *demo.Service {
	t.Helper()
	s, err := demo.Start(t.Context(), self(t), kind, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fault(t *testing.T, s *demo.Service, mode demo.Mode) {
	t.Helper()
	if err := s.Fault(context.Background(), demo.Fault{Mode: mode}); err != nil {
		t.Fatal(err)
	}
}

// shop is a site with a bulkhead for each of two legacy services.
func shop(t *testing.T, settings ...string) (s *site, orders, catalog *demo.Service) {
	t.Helper()
	orders, catalog = fake(t, demo.Orders, demo.Options{}), fake(t, demo.Catalog, demo.Options{})
	return runSite(t, append(shopSettings(orders, catalog), settings...)...), orders, catalog
}

// shopSettings have room for what piles up while the machine is busy with other
// things: what is shed then is another test's subject.
func shopSettings(orders, catalog *demo.Service) []string {
	settings := []string{"COORDINATOR_BULKHEADS=orders,catalog"}
	add := func(prefix, route string, backend *demo.Service) {
		settings = append(settings, prefix+"ROUTES="+route, prefix+"BACKEND="+backend.URL(),
			prefix+"LIMIT=128", prefix+"QUEUE=1024", prefix+"QUEUE_TIMEOUT=10s")
	}
	add("BULKHEAD_ORDERS_", "/api/v2/orders/", orders)
	add("BULKHEAD_CATALOG_", "/api/catalog/", catalog)
	return settings
}

const (
	ordersPath  = "/api/v2/orders/TEST-100001/"
	catalogPath = "/api/catalog/TEST-0001/"
)

// generate starts an open loop of GETs.
func (s *site) generate(path string, rate float64, d time.Duration, with ...func(*load.Options)) *load.Generator {
	s.t.Helper()
	o := load.Options{Target: load.Target{URL: s.url + path}, Rate: rate, For: d, Conns: 256}
	for _, w := range with {
		w(&o)
	}
	g, err := load.Start(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { g.Stop() })
	return g
}

// beside lets a test that mostly waits run at the same time as others of its kind.
// In the long run, which judges latencies, each has the machine to itself.
func beside(t *testing.T) {
	if !long {
		t.Parallel()
	}
}

// connected waits until each of the generators, which take their connections in
// turn, has used all of its conns.
func connected(t *testing.T, conns int, gs ...*load.Generator) {
	t.Helper()
	for _, g := range gs {
		eventually(t, 15*time.Second, "all connections are in", func() bool { return g.Snapshot().Done >= conns })
	}
}

// figures is a result as a line of the report.
func figures(r *load.Result) string {
	return fmt.Sprintf("%s: due %d, done %d, failed %d, status %v, reasons %v, errors %v, p50 %v, p99 %v, max %v, sent late p99 %v",
		r.Name, r.Due, r.Done, r.Failed(), r.Status, r.Reasons, r.Errors,
		r.All.Quantile(.5), r.All.Quantile(.99), r.All.Max(), r.Lag.Quantile(.99))
}

// noErrors wants every request of r that was sent answered well. Those that were
// waiting for a connection when the generator was stopped were not.
func noErrors(t *testing.T, r *load.Result) {
	t.Helper()
	t.Log(figures(r))
	if failed := r.Failed() - r.Dropped; failed > 0 || r.Done == 0 {
		t.Errorf("%s: %d of %d requests failed", r.Name, failed, r.Due)
	}
}
