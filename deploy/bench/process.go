package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is one that this program has started, with a process group of its own.
type process struct {
	cmd    *exec.Cmd
	output *tail
	ended  chan struct{} // closed when it has been waited for
}

// stopWithin is how long a process may take to end before it is killed.
const stopWithin = 10 * time.Second

// startProcess starts one that knows only PATH, and has dir as its home. It must be called from the main goroutine.
func startProcess(dir string, argv ...string) (*process, error) {
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), output: new(tail), ended: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = ownGroup()
	p.cmd.WaitDelay = time.Second // what it has started may hold its output
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process and its group, and returns when it is gone.
func (p *process) stop() error { return p.stopIn(stopWithin) }

func (p *process) stopIn(within time.Duration) error {
	syscall.Kill(-p.pid(), syscall.SIGTERM)
	select {
	case <-p.ended:
		syscall.Kill(-p.pid(), syscall.SIGKILL) // what it has left behind
		return nil
	case <-time.After(within):
	}
	syscall.Kill(-p.pid(), syscall.SIGKILL)
	<-p.ended
	return fmt.Errorf("%s did not end in %s and was killed", filepath.Base(p.cmd.Path), within)
}

// failed says how the process ended, with the last that it wrote.
func (p *process) failed() error {
	return fmt.Errorf("%s ended: %s\n%s", filepath.Base(p.cmd.Path), p.cmd.ProcessState, p.output)
}

// output runs a command to its end and returns what it wrote to its standard
// output.
func output(ctx context.Context, wait time.Duration, dir string, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var errs tail
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, &errs)
	}
	return out, nil
}

// A tail keeps the last that was written to it. It is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 4 << 10

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if extra := len(t.text) - tailSize; extra > 0 {
		t.text = slices.Delete(t.text, 0, extra)
	}
	return len(b), nil
}

// String is what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
