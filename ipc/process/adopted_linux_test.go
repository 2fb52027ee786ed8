package process_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"commerce.example/coordinator/ipc/process"
)

func init() {
	roles["subreaper"] = subreaper
	roles["orphan"] = orphan
}

func TestReapAdopted(t *testing.T) {
	var lines sink
	s := spec(t, "subreaper")
	s.Line = lines.put
	p := start(t, s)
	within(t, p.Done(), 20*time.Second, "done")
	within(t, p.Drained(), time.Second, "drained")
	if !p.State().Success() {
		t.Errorf("%v: %q", p.State(), lines.texts(process.Stderr))
	}
}

// orphan leaves a sleeping grandchild, in a session of its own, to its reaper.
func orphan([]string) {
	cmd := exec.Command("/bin/sleep", "0.2")
	newSession(cmd)
	if cmd.Start() != nil {
		os.Exit(1)
	}
	os.Exit(5)
}

// subreaper plays process 1: it adopts orphans while its own children, of Start
// and of os/exec, must keep their exit codes.
func subreaper([]string) {
	ready()
	fail := func(v ...any) { fmt.Fprintln(os.Stderr, v...); os.Exit(1) }
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fail(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	reaped := make(chan error, 1)
	go func() { reaped <- process.ReapAdopted(ctx) }()

	path, _ := os.Executable()
	for i := range 10 {
		p, err := process.Start(ctx, process.Spec{Path: path, Env: []string{"ROLE=orphan"}})
		if err != nil {
			fail(err)
		}
		other := exec.Command("/bin/sh", "-c", "exit 9")
		_ = other.Run()
		<-p.Done()
		if p.State().Code != 5 || other.ProcessState.ExitCode() != 9 {
			fail("round", i, "own:", p.State(), "of os/exec:", other.ProcessState)
		}
	}
	// The orphans sleep on, end, and are reaped: no child is left then.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == syscall.ECHILD {
			break
		}
		if time.Now().After(end) {
			fail("children are left:", err)
		}
	}
	stop()
	if err := <-reaped; err != nil {
		fail(err)
	}
}
