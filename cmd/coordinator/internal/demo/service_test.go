package demo_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
)

func start(t *testing.T, kind demo.Kind, o demo.Options) *demo.Service {
	t.Helper()
	s, err := demo.Start(t.Context(), executable(t), kind, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func executable(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func refused(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

func TestServiceLivesAtOneAddress(t *testing.T) {
	s := start(t, demo.Payments, quick)
	pid := s.Pid()
	pay := func() {
		t.Helper()
		res, body := do(t, "POST", s.URL()+"/api/payments/", `{"order":"TEST-1","amount":3,"currency":"EUR"}`, "Content-Type", "application/json")
		if res.StatusCode != http.StatusCreated {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
	}
	pay()
	if l, err := s.Ledger(t.Context()); err != nil || len(l) != 1 || l[0].Order != "TEST-1" {
		t.Errorf("ledger %v, %v", l, err)
	}
	for range 3 {
		if err := s.Fault(t.Context(), demo.Fault{Mode: demo.Down}); err != nil || !refused(s.Addr()) {
			t.Fatalf("down: %v", err)
		}
		if err := s.Fault(t.Context(), demo.Fault{}); err != nil {
			t.Fatal(err)
		}
		pay()
	}
	if st, err := s.Stats(t.Context()); err != nil || st.Answered != 4 {
		t.Errorf("%+v %v", st, err)
	}
	if err := s.Fault(t.Context(), demo.Fault{Mode: "sideways"}); err == nil {
		t.Error("set an unknown mode")
	}

	if err := s.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Exited()
	if !refused(s.Addr()) {
		t.Error("killed, and the address accepts")
	}
	if err := s.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to nobody: %v", err)
	}
	addr := s.Addr()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Addr() != addr || s.Pid() == pid {
		t.Errorf("restarted at %s as %d", s.Addr(), s.Pid())
	}
	pay()
	if err := s.Restart(t.Context()); err != nil { // of one that runs
		t.Fatal(err)
	}
	pay()
	if err := s.Stop(); err != nil || !refused(addr) {
		t.Errorf("stop: %v", err)
	}
	if err := syscall.Kill(s.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v", s.Pid(), err)
	}
}

func TestStoppedServiceIsSilentUntilContinued(t *testing.T) {
	s := start(t, demo.Catalog, quick)
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awaitStopped(t, s.Pid())
	c, err := net.Dial("tcp", s.Addr()) // the kernel accepts
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET /api/catalog/ HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("stopped: %v", err)
	}
	if err := s.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(testTimeout))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("continued: %v", err)
	}
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awaitStopped(t, s.Pid())
	if err := s.Stop(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("stop of a stopped process: %v", err)
	}
}

// awaitStopped waits until the last thread of a process has stopped: kill(2)
// returns earlier. Where there is no /proc it does not wait.
func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	running := func(stat string) bool {
		text, err := os.ReadFile(stat)
		return err == nil && !strings.Contains(string(text), ") T ")
	}
	for deadline := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) {
		threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/stat")
		if !slices.ContainsFunc(threads, running) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("still running")
		}
	}
}

func TestControlOnAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	s := start(t, demo.Orders, demo.Options{Latency: -1, Control: "unix:" + path})
	defer s.Stop()
	for range 2 { // the second finds the socket of the first, which was killed
		if err := s.Fault(t.Context(), demo.Fault{Mode: demo.Errors, Rate: 1}); err != nil {
			t.Fatal(err)
		}
		if res, _ := do(t, "GET", s.URL()+anOrder, ""); res.StatusCode < 500 {
			t.Errorf("%s", res.Status)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStartThatFailsSaysWhy(t *testing.T) {
	if _, err := demo.Start(t.Context(), executable(t), "vendor", quick); err == nil || !strings.Contains(err.Error(), `no service \"vendor\"`) {
		t.Errorf("unknown kind: %v", err)
	}
	if _, err := demo.Start(t.Context(), filepath.Join(t.TempDir(), "nothing"), demo.Orders, quick); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no binary: %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := demo.Start(t.Context(), executable(t), demo.Orders, demo.Options{Listen: ln.Addr().String()}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("port taken: %v", err)
	}
}

const parentCommand = "demo-test-parent"

type family struct {
	Pids  []int
	Addrs []string
}

// parent starts two services, freezes one, and tells who they are; it never stops
// them.
func parent() {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var f family
	for _, kind := range []demo.Kind{demo.Orders, demo.Catalog} {
		s, err := demo.Start(ctx, exe, kind, quick)
		if err != nil {
			panic(err)
		}
		f.Pids = append(f.Pids, s.Pid())
		f.Addrs = append(f.Addrs, s.Addr())
		if kind == demo.Catalog {
			s.Signal(syscall.SIGSTOP)
		}
	}
	json.NewEncoder(os.Stdout).Encode(f)
	<-ctx.Done()
	os.Exit(1)
}

func TestKillingTheParentKillsTheServices(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), executable(t), parentCommand)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var f family
	if err := json.Unmarshal(line, &f); err != nil || len(f.Pids) != 2 || refused(f.Addrs[0]) {
		t.Fatalf("%s %v", line, err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for i, addr := range f.Addrs {
		wait(t, "the services to be gone", func() bool { return refused(addr) && gone(f.Pids[i]) })
	}
}

// gone says whether a process has ended; who adopted it may not have reaped it yet.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err != nil || strings.HasPrefix(string(out), "Z")
}
