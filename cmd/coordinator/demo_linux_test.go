package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/cmd/coordinator/internal/demo/story"
	"commerce.example/coordinator/supervisor"
)

const demoPatience = 20 * time.Second

// demoBinary is this program in a place of its own, so that every process of a
// demo can be told by its executable.
type demoBinary string

func (b demoBinary) command(args ...string) *exec.Cmd {
	cmd := exec.Command(string(b), args...)
	cmd.Env = []string{"TMPDIR=" + os.TempDir(), "HOME=/nonexistent"}
	return cmd
}

// processes are those that run it.
func (b demoBinary) processes() []int {
	var pids []int
	exes, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range exes {
		if to, err := os.Readlink(exe); err == nil && to == string(b) {
			pid, _ := strconv.Atoi(strings.Split(exe, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// mustEnd waits until no process is left.
func (b demoBinary) mustEnd(t *testing.T, within time.Duration) {
	t.Helper()
	began := time.Now()
	for len(b.processes()) > 0 {
		if time.Since(began) > within {
			t.Fatalf("after %s there still run %v", within, b.processes())
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("no process is left after %s", time.Since(began).Round(time.Millisecond))
}

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	binary := demoBinary(filepath.Join(t.TempDir(), "coordinator"))
	build := exec.Command("go", "build", "-buildvcs=false", "-o", string(binary), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { // a test that failed must leave nothing either
		for _, pid := range binary.processes() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	t.Run("Story", func(t *testing.T) { testStory(t, binary) })
	t.Run("StoryWithoutFault", func(t *testing.T) { testStoryWithoutFault(t, binary) })
	t.Run("Interactive", func(t *testing.T) { testDemoInteractive(t, binary) })
	t.Run("Killed", func(t *testing.T) { testDemoKilled(t, binary) })
	t.Run("Lifeline", func(t *testing.T) { testLifeline(t, binary) })
	t.Run("Refused", func(t *testing.T) { testDemoRefused(t, binary) })
}

// play runs a story and returns its account and exit code.
func play(t *testing.T, binary demoBinary, args ...string) (story.Account, int) {
	t.Helper()
	cmd := binary.command(append([]string{"demo", "--story", "--json"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	var account story.Account
	if err := json.Unmarshal(out.Bytes(), &account); err != nil {
		t.Fatalf("%v\n%s%s", err, out.Bytes(), errs.Bytes())
	}
	if out := errs.String(); out != "" {
		t.Log(out)
	}
	for _, p := range account.Phases {
		t.Logf("%-10s the machine was late: %+v", p.Name, p.Late)
		for _, f := range p.Bulkheads {
			t.Logf("%-10s %-9s %5d requests %5d errors p50 %7.2f ms p99 %7.2f ms %s", p.Name, f.Bulkhead, f.Requests, f.Errors, f.P50, f.P99, f.Top(3))
		}
	}
	t.Logf("opened after %.2f s, closed after %.2f s, verdict %+v", account.Incident.OpenedSeconds, account.Incident.ClosedSeconds, account.Verdict)
	return account, cmd.ProcessState.ExitCode()
}

func testStory(t *testing.T, binary demoBinary) {
	account, code := play(t, binary, "--pace=0.5")
	switch v := account.Verdict; {
	case v.Passed && code == exitDone:
	case v.Void && code == exitFailed: // all but the percentiles holds
		t.Logf("this machine is too busy for percentiles: %+v", v.Findings)
	default:
		t.Errorf("exit code %d, %+v", code, v)
	}
	var names []string
	for _, p := range account.Phases {
		names = append(names, p.Name)
	}
	want := []string{story.Baseline, story.Hang, story.Open, story.Killed, story.Repair, story.Recovered}
	if !slices.Equal(names, want) || len(account.Incident.Killed) != 2 || len(account.Incident.Revived) != 2 {
		t.Errorf("phases %v, %+v", names, account.Incident)
	}
	binary.mustEnd(t, 0)
}

// A story in which nothing happens proves nothing, and says so.
func testStoryWithoutFault(t *testing.T, binary demoBinary) {
	account, code := play(t, binary, "--pace=0.3", "--no-fault")
	if code != exitFailed || account.Verdict.Passed || account.Verdict.Void {
		t.Errorf("exit code %d, %+v", code, account.Verdict)
	}
	for _, rule := range []string{story.RuleSuffered, story.RuleOpened} {
		if !slices.ContainsFunc(account.Verdict.Findings, func(f story.Finding) bool { return f.Rule == rule }) {
			t.Errorf("%+v, want also %s", account.Verdict.Findings, rule)
		}
	}
	binary.mustEnd(t, 0)
}

// A runningDemo is a demo that has started.
type runningDemo struct {
	t      *testing.T
	binary demoBinary
	cmd    *exec.Cmd
	lines  chan string
	dir    string
	front  string
	pids   map[string]int // services and the coordinator
}

var demoProcess = regexp.MustCompile(`^[├└]─ ([\w-]+)[a-z ]* (\d+) +(http://\S+?)(,|$)`)

func startDemo(t *testing.T, binary demoBinary) *runningDemo {
	t.Helper()
	d := &runningDemo{t: t, binary: binary, cmd: binary.command("demo"), lines: make(chan string, 1000), pids: map[string]int{}}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.lines)
		for scan := bufio.NewScanner(stdout); scan.Scan(); {
			d.lines <- scan.Text()
		}
	}()
	for line := d.read(""); !strings.HasPrefix(line, "Ctrl-C"); line = d.read("") {
		if len([]rune(line)) > 80 {
			t.Errorf("%d columns: %s", len([]rune(line)), line)
		}
		if dir, ok := strings.CutPrefix(line, "  cd "); ok {
			d.dir = dir
		}
		if m := demoProcess.FindStringSubmatch(line); m != nil {
			d.pids[m[1]], _ = strconv.Atoi(m[2])
			d.front = m[3] // the last one is the coordinator's
		}
	}
	if len(d.pids) != len(demo.Kinds())+1 || d.dir == "" {
		t.Fatalf("found %v and folder %q", d.pids, d.dir)
	}
	return d
}

// read returns the next line that contains text.
func (d *runningDemo) read(text string) string {
	d.t.Helper()
	late := time.After(demoPatience)
	for {
		select {
		case line, ok := <-d.lines:
			if !ok {
				d.t.Fatalf("the demo ended before it said %q", text)
			}
			d.t.Log(line)
			if strings.Contains(line, text) {
				return line
			}
		case <-late:
			d.t.Fatalf("waited %s for %q", demoPatience, text)
		}
	}
}

// command is one in the demo's folder, by the name that the demo gives it.
func (d *runningDemo) command(args ...string) *exec.Cmd {
	cmd := d.binary.command(args...)
	cmd.Path, cmd.Dir = filepath.Join(d.dir, "coordinator"), d.dir
	return cmd
}

// run runs one that must succeed.
func (d *runningDemo) run(args ...string) string {
	d.t.Helper()
	out, err := d.command(args...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (d *runningDemo) status() (s supervisor.Status) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(d.run("status", "--json", "--env-file", "coordinator.env")), &s); err != nil {
		d.t.Fatal(err)
	}
	return s
}

func (d *runningDemo) get(path string) (int, string) {
	d.t.Helper()
	client := http.Client{Timeout: demoPatience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(d.front + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

const (
	demoOrders  = "/api/v2/orders/?page_size=1"
	demoCatalog = "/api/catalog/?page_size=1"
)

func testDemoInteractive(t *testing.T, binary demoBinary) {
	d := startDemo(t, binary)
	if info, err := os.Stat(d.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v %v", info, err)
	}
	for _, path := range []string{
		demoOrders, demoCatalog, "/api/payments/", "/orders/order_history/?username=" + demo.Username(7),
		"/vendor/orders/order_history/?username=" + demo.Username(7), demo.PagePath,
	} {
		if status, body := d.get(path); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for mode, want := range map[string]string{"down": "backend_refused", "garbage": "backend_protocol", "hang": "backend_timeout"} {
		if out := d.run("demo", "fault", "orders", mode, "--dir", d.dir); !strings.Contains(out, "orders service: "+mode) {
			t.Errorf("%q", out)
		}
		if status, body := d.get(demoOrders); status < 500 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", mode, status, body, want)
		}
		if status, _ := d.get(demoCatalog); status != http.StatusOK {
			t.Errorf("%s of orders: catalog answers %d", mode, status)
		}
	}
	d.run("demo", "fault", "orders", "up", "--dir", d.dir)
	if status, body := d.get(demoOrders); status != http.StatusOK {
		t.Errorf("up again: %d %s", status, body)
	}

	// It waits for its coordinator, which must not leave in favour of another.
	upgrade := d.command("upgrade", "--env-file", "coordinator.env")
	if out, err := upgrade.CombinedOutput(); exitCodeOf(err) != exitFailed || !strings.Contains(string(out), "handover") {
		t.Errorf("upgrade: %v\n%s", err, out)
	}

	// What the demo invites to kill is there again.
	before := d.status()
	syscall.Kill(before.Bulkheads[0].Workers[0].Pid, syscall.SIGKILL)
	d.read("worker lost")
	if status, _ := d.get(demoOrders); status != http.StatusOK {
		t.Errorf("with one worker killed orders answers %d", status)
	}
	if before.Pid != d.pids["coordinator"] {
		t.Errorf("coordinator %d, shown %d", before.Pid, d.pids["coordinator"])
	}
	syscall.Kill(before.Pid, syscall.SIGKILL)
	d.read("the coordinator is dead")
	d.read("the coordinator serves again")
	for _, b := range before.Bulkheads {
		for _, w := range b.Workers {
			if slices.Contains(binary.processes(), w.Pid) {
				t.Errorf("worker %d of the killed coordinator still runs", w.Pid)
			}
		}
	}
	if status, _ := d.get(demoOrders); status != http.StatusOK || d.status().Pid == before.Pid {
		t.Errorf("after the restart orders answers %d", status)
	}
	syscall.Kill(d.pids["catalog"], syscall.SIGKILL)
	d.read("the catalog service is dead")
	d.read("the catalog service serves again")
	if status, _ := d.get(demoCatalog); status != http.StatusOK {
		t.Errorf("after the restart catalog answers %d", status)
	}

	d.cmd.Process.Signal(os.Interrupt)
	d.read("ending")
	if err := d.cmd.Wait(); err != nil {
		t.Error(err)
	}
	binary.mustEnd(t, 0)
	if _, err := os.Lstat(d.dir); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(d.front, "http://")); err == nil {
		c.Close()
		t.Error("somebody still listens at the front")
	}
}

// However the demo ends, nothing runs on; the next one removes its folder.
func testDemoKilled(t *testing.T, binary demoBinary) {
	d := startDemo(t, binary)
	syscall.Kill(d.pids["orders"], syscall.SIGSTOP) // the kernel must see to this one
	d.cmd.Process.Kill()
	d.cmd.Wait()
	binary.mustEnd(t, 2*time.Second)

	next := startDemo(t, binary)
	if _, err := os.Lstat(d.dir); !os.IsNotExist(err) {
		t.Errorf("the next demo left the folder: %v", err)
	}
	next.cmd.Process.Signal(syscall.SIGTERM)
	next.read("ending")
	if err := next.cmd.Wait(); err != nil {
		t.Error(err)
	}
	binary.mustEnd(t, 0)
}

// A demo that cannot start says why and leaves nothing.
func testDemoRefused(t *testing.T, binary demoBinary) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, args := range [][]string{{"--listen", taken.Addr().String()}, {"--story", "--admin-listen", taken.Addr().String()}} {
		out, err := binary.command(append([]string{"demo"}, args...)...).CombinedOutput()
		if code := exitCodeOf(err); code != exitFailed || !strings.Contains(string(out), "address already in use") {
			t.Errorf("%v: exit code %d\n%s", args, code, out)
		}
		folder := regexp.MustCompile(`/\S*coordinator-demo-\d+`).FindString(string(out))
		if _, err := os.Lstat(folder); folder != "" && !os.IsNotExist(err) {
			t.Errorf("the folder %s is left: %v", folder, err)
		}
		binary.mustEnd(t, 0)
	}
}

func exitCodeOf(err error) int {
	if exited, ok := err.(*exec.ExitError); ok {
		return exited.ExitCode()
	}
	return exitDone
}

// Where no kernel sees to it, the lifeline ends a coordinator with its parent.
func testLifeline(t *testing.T, binary demoBinary) {
	dir, err := os.MkdirTemp("", "lifeline")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cmd := binary.command("run", "--lifeline")
	cmd.Env = []string{
		"RUNTIME_DIRECTORY=" + dir, "COORDINATOR_STATE_DIR=" + dir + "/state", "COORDINATOR_LISTEN=127.0.0.1:0",
		"COORDINATOR_ADMIN_LISTEN=off", "COORDINATOR_BULKHEADS=x", "BULKHEAD_X_ROUTES=/", "BULKHEAD_X_BACKEND=http://127.0.0.1:9",
	}
	held, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := bufio.NewScanner(stderr)
	for log.Scan() && !strings.Contains(log.Text(), `"serving"`) {
	}
	held.Close()
	for log.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	binary.mustEnd(t, 0)
	if left, _ := filepath.Glob(dir + "/*/g*"); len(left) > 0 {
		t.Errorf("sockets are left: %v", left)
	}
}
