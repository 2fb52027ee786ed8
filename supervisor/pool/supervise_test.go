package pool_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/supervisor/pool"
)

// supervise is a supervisor that is about to be paused or killed. It prints the
// pid of each worker that starts and each fault, and stops when its stdin ends.
func supervise() {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	p := pool.New(pool.Config{
		Size: 2,
		Spec: func(int) (ipc.Spec, error) {
			return ipc.Spec{Path: exe, Env: []string{roleKey + "=good", raceKey}, SocketDir: os.Getenv("SOCKETS")}, nil
		},
		Budget:       func() pool.Budget { return pool.Budget{Faults: 5, Per: time.Minute} },
		DrainTimeout: func() time.Duration { return time.Second },
		Observe: func(e pool.Event) {
			switch e.Kind {
			case pool.Started:
				fmt.Printf("started %d\n", e.Pid)
			case pool.Faulted:
				fmt.Printf("faulted %v\n", e.Err)
			}
		},
	})
	<-p.Tried()
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0) // its workers die with it
}

type supervisor struct {
	*exec.Cmd
	in      io.Closer
	out     *bufio.Reader
	workers []int
}

func startSupervisor(t *testing.T) *supervisor {
	t.Helper()
	sockets, err := os.MkdirTemp("", "pool")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &supervisor{Cmd: exec.Command(exe)}
	s.Env = []string{roleKey + "=supervisor", "SOCKETS=" + sockets}
	s.Stderr = os.Stderr
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.out = in, bufio.NewReader(out)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Process.Kill()
		_ = s.Wait()
		os.RemoveAll(sockets)
		for _, pid := range s.workers {
			if !poll(2*time.Second, func() bool { return !alive(pid) }) {
				t.Errorf("worker %d outlived its supervisor by 2 s", pid)
			}
		}
	})
	for range 2 {
		line, err := s.out.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "started ")))
		if err != nil || !alive(pid) {
			t.Fatalf("no worker: %q", line)
		}
		s.workers = append(s.workers, pid)
	}
	return s
}

// A supervisor that was paused finds its workers silent, and must not blame them.
func TestPausedSupervisorKillsNobody(t *testing.T) {
	t.Parallel()
	s := startSupervisor(t)
	rest := func(d time.Duration) { <-time.After(d) } // the pauses are the test's subject
	for _, pause := range []time.Duration{900 * time.Millisecond, 2500 * time.Millisecond} {
		kill(t, s.Process.Pid, syscall.SIGSTOP)
		rest(pause)
		kill(t, s.Process.Pid, syscall.SIGCONT)
		rest(700 * time.Millisecond)
	}
	rest(1500 * time.Millisecond) // two misses would be judged by now
	s.in.Close()
	said, err := io.ReadAll(s.out)
	if err != nil || len(said) > 0 {
		t.Errorf("after the pauses: %s %v", said, err)
	}
}

func TestWorkersDieWithTheirSupervisor(t *testing.T) {
	s := startSupervisor(t)
	kill(t, s.Process.Pid, syscall.SIGKILL) // the rest is checked by its clean-up
}
