package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// prepare gives a test a thread whose end is not that of its children, and returns
// the folders of benchmarks that are there before it.
func prepare(t *testing.T) (folders []string) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	return benchFolders(t)
}

func benchFolders(t *testing.T) []string {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), "cbench-*"))
	if err != nil {
		t.Fatal(err)
	}
	return folders
}

// nothingLeft fails the test when there are new folders, or children of ours.
func nothingLeft(t *testing.T, before []string) {
	t.Helper()
	for _, folder := range benchFolders(t) {
		if !slices.Contains(before, folder) {
			t.Errorf("left behind: %s", folder)
		}
	}
	pids, err := family(os.Getpid())
	if err != nil || len(pids) != 1 {
		t.Errorf("processes left behind: %v, %v", pids, err)
	}
}

// The smoke test: two systems, one short round, from the flags to the tables.
func TestQuick(t *testing.T) {
	before := prepare(t)
	file := filepath.Join(t.TempDir(), "RESULTS.md")
	var out, progress bytes.Buffer
	if code := run(t.Context(), []string{"--quick", "--for", "400ms", "--out", file}, &out, &progress); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &progress)
	}
	nothingLeft(t, before)
	for _, name := range []string{reverseProxyName, coordinatorName} {
		row := regexp.MustCompile(`(?m)^` + name + ` +(\S+) +(\S+)\.\.(\S+) +(\S+) +(\S+)\.\.(\S+) +(\S+)x +(\S+)$`).FindStringSubmatch(out.String())
		if row == nil {
			t.Fatalf("no row for %s:\n%s", name, &out)
		}
		cpu, err := strconv.ParseFloat(row[4], 64)
		if err != nil || cpu < 1 || cpu > 100_000 {
			t.Errorf("%s: %s µs of CPU a request", name, row[4])
		}
		if name == coordinatorName && row[7] != "1" {
			t.Errorf("the coordinator costs %s times as much as itself", row[7])
		}
	}
	if strings.Contains(out.String(), "failed") {
		t.Errorf("requests failed:\n%s", &out)
	}
	written, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(written), out.String()) {
		t.Errorf("%v: the file has not what was printed:\n%s", err, written)
	}
}

// Without closed loops the coordinator alone is asked for the rate of the open one.
func TestOpenLoopFindsItsRate(t *testing.T) {
	before := prepare(t)
	var out, progress bytes.Buffer
	if code := run(t.Context(), []string{"--quick", "--for", "300ms", "--parts", "open"}, &out, &progress); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &progress)
	}
	nothingLeft(t, before)
	for _, name := range []string{reverseProxyName, coordinatorName} {
		row := regexp.MustCompile(`(?m)^` + name + ` +(\S+) +(\S+) `).FindStringSubmatch(out.String())
		if row == nil || row[1] == "0" || row[1] == "-" || row[2] == "-" {
			t.Errorf("%s: %q in\n%s", name, row, &out)
		}
	}
	if strings.Contains(out.String(), "Closed loop") {
		t.Errorf("a table that nobody asked for:\n%s", &out)
	}
}

// notice calls on when it is told about something.
type notice struct {
	sync.Mutex
	bytes.Buffer
	of string
	on func()
}

// Write is called from one goroutine, with a line at a time.
func (n *notice) Write(b []byte) (int, error) {
	n.Lock()
	defer n.Unlock()
	if strings.Contains(string(b), n.of) {
		n.on()
	}
	return n.Buffer.Write(b)
}

func TestInterrupted(t *testing.T) {
	before := prepare(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	progress := &notice{of: "closed loop", on: func() { time.AfterFunc(300*time.Millisecond, cancel) }}
	file := filepath.Join(t.TempDir(), "RESULTS.md")
	began := time.Now()
	if code := run(ctx, []string{"--quick", "--for", "1m", "--out", file}, t.Output(), progress); code != 1 {
		t.Errorf("exit code %d, want 1\n%s", code, progress.String())
	}
	if took := time.Since(began); took > 50*time.Second {
		t.Errorf("it ended after %v", took)
	}
	nothingLeft(t, before)
	if _, err := os.Stat(file); err == nil {
		t.Error("results of a round that is not whole were written")
	}
}

// What a shell starts belongs to it, is counted and ends with it.
func TestFamiliesAreCountedAndStopped(t *testing.T) {
	prepare(t)
	p, err := startProcess(t.TempDir(), "sh", "-c", "trap '' TERM; while :; do :; done & wait")
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(-p.pid(), syscall.SIGKILL)
	var pids []int
	for late := time.Now().Add(10 * time.Second); len(pids) < 2; {
		if pids, err = family(p.pid()); err != nil || time.Now().After(late) {
			t.Fatal(pids, err)
		}
	}
	if !slices.Contains(pids, p.pid()) {
		t.Errorf("%v is without its root %d", pids, p.pid())
	}
	var used time.Duration
	for late := time.Now().Add(10 * time.Second); used < 20*time.Millisecond; {
		if used, err = cpuTime(pids); err != nil || time.Now().After(late) {
			t.Fatal(used, err)
		}
	}
	if bytes, err := proportional(pids); err != nil || bytes <= 0 {
		t.Errorf("%d bytes, %v", bytes, err)
	}
	if err := p.stopIn(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("a process that ignores SIGTERM: %v", err)
	}
	for _, pid := range pids { // the loop's new parent may take a moment to reap it
		for late := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil; {
			if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); strings.Contains(string(text), ") Z ") {
				break
			}
			if time.Now().After(late) {
				t.Fatalf("%d of %v still runs", pid, pids)
			}
		}
	}
	if _, err := cpuTime([]int{p.pid()}); err == nil {
		t.Error("a process that is gone has a clock")
	}
}

func TestProcessThatCannotServeSaysWhy(t *testing.T) {
	prepare(t)
	p, err := startProcess(t.TempDir(), "sh", "-c", "echo no such directive >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	err = ready(t.Context(), "http://127.0.0.1:1/", p)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such directive") {
		t.Errorf("got %v", err)
	}
}

// Those who are not there are seen to by whoever installs them.
func TestConfigurationsAreValid(t *testing.T) {
	prepare(t)
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin")
	for name, check := range map[string][]string{nginxName: {"-t"}, twoNginxName: {"-t"}, haproxyName: {"-c"}, caddyName: nil} {
		s := knownSystems[slices.IndexFunc(knownSystems, func(s *system) bool { return s.name == name })]
		t.Run(name, func(t *testing.T) {
			if !onPath(s.command) {
				t.Skip("no", s.command)
			}
			dir := t.TempDir()
			launches, err := s.launches(site{dir: dir, address: "127.0.0.1:20001", backend: "127.0.0.1:20002"})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range launches {
				argv := append(slices.Clone(l.argv), check...)
				if name == caddyName {
					argv[1] = "validate"
				}
				cmd := exec.Command(argv[0], argv[1:]...)
				cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			}
		})
	}
}

func TestTransfersAndKeptConnections(t *testing.T) {
	var uploaded int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			n, _ := strconv.Atoi(r.URL.Path[1:])
			w.Write(make([]byte, n))
			return
		}
		n, _ := new(bytes.Buffer).ReadFrom(r.Body)
		fmt.Fprint(w, n-uploaded)
	}))
	defer service.Close()
	const size = 3<<20 + 1
	if _, err := download(t.Context(), service.URL, size); err != nil {
		t.Error(err)
	}
	if _, err := upload(t.Context(), service.URL, size); err != nil {
		t.Error(err)
	}
	uploaded = 1
	if _, err := upload(t.Context(), service.URL, size); err == nil {
		t.Error("a byte was lost, and nobody noticed")
	}

	var kept keptConns
	defer func() { kept.close() }()
	if err := kept.open(t.Context(), service.URL+"/5", 20); err != nil || len(kept) != 20 {
		t.Fatal(len(kept), err)
	}
	if n := kept.closed(); n != 0 {
		t.Errorf("%d of 20 idle connections were closed", n)
	}
	service.CloseClientConnections()
	for late := time.Now().Add(10 * time.Second); kept.closed() < 20; {
		if time.Now().After(late) {
			t.Fatalf("%d of 20 closed connections are noticed", kept.closed())
		}
	}
}

func TestGrowthIsSeen(t *testing.T) {
	watch, err := watchMemory([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	held := make([]byte, size)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	late := time.Now().Add(5 * time.Second)
	for now := int64(0); now < size && time.Now().Before(late); {
		if now, err = resident(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if err := pause(t.Context(), 5*watchEvery); err != nil {
		t.Fatal(err)
	}
	grown, err := watch.end()
	runtime.KeepAlive(held)
	if err != nil || grown < size/2 {
		t.Errorf("grew by %d bytes, want about %d: %v", grown, size, err)
	}
}
