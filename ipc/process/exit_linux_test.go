package process

import (
	"os"
	"testing"
	"time"
)

// Where there is no pidfd a thread waits, and the zombie is left all the same.
func TestExitWatchWithoutPidfd(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	proc, err := os.StartProcess("/bin/cat", []string{"cat"}, &os.ProcAttr{
		Files: []*os.File{r, os.Stdout, os.Stderr},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	ended := make(chan error, 1)
	go func() { ended <- newExitWatch(proc.Pid, -1).wait() }()
	select {
	case err := <-ended:
		t.Fatalf("ended while it ran: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	w.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("its end was not seen")
	}
	if ps, err := proc.Wait(); err != nil || !ps.Success() {
		t.Errorf("reaped: %v, %v", ps, err)
	}
	if err := newExitWatch(proc.Pid, -1).wait(); err == nil {
		t.Error("no error for a process that is not a child")
	}
}
