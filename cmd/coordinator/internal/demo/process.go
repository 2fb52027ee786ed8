package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

const (
	startTimeout = 10 * time.Second
	killTimeout  = 2 * time.Second
	maxAnnounced = 4 << 10 // bytes of the child's first line
	maxTail      = 8 << 10 // bytes kept of what it says on stderr
)

// process is one life of a service.
type process struct {
	cmd      *exec.Cmd
	lifeline io.WriteCloser // its stdin
	addrs    Addresses
	stderr   tail
	exited   chan struct{} // closed when it has been reaped
	err      error         // how it ended; read after exited
}

// launch starts a process and waits until it listens.
func launch(ctx context.Context, exe string, kind Kind, o Options) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p := &process{cmd: exec.Command(exe, Subcommand, string(kind)), exited: make(chan struct{})}
	p.cmd.Env = []string{} // nothing of ours is its business
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second
	p.cmd.SysProcAttr = attributes()

	var err error
	if p.lifeline, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error, 1)
	announced := make(chan []byte, 1)
	go p.own(stdout, started, announced)
	if err := <-started; err != nil {
		return nil, err
	}
	if err := p.greet(ctx, o, announced); err != nil {
		p.kill()
		return nil, fmt.Errorf("demo: %s did not start: %w%s", kind, err, p.stderr.quote())
	}
	return p, nil
}

// own starts the process and sees it out. It keeps its thread all the while: the
// kernel sends the parent-death signal when the thread that forked ends.
func (p *process) own(stdout io.Reader, started chan<- error, announced chan<- []byte) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	defer close(p.exited)
	first := bufio.NewReaderSize(stdout, maxAnnounced)
	if line, err := first.ReadSlice('\n'); err == nil {
		announced <- bytes.Clone(line)
	}
	io.Copy(io.Discard, first)
	p.err = p.cmd.Wait()
}

// greet hands the process its options and takes its addresses.
func (p *process) greet(ctx context.Context, o Options, announced <-chan []byte) error {
	line, err := json.Marshal(o)
	if err != nil {
		return err
	}
	// A pipe takes far more than this line without waiting for a reader.
	if _, err := p.lifeline.Write(append(line, '\n')); err != nil {
		return err
	}
	select {
	case line := <-announced:
		return json.Unmarshal(line, &p.addrs)
	case <-p.exited:
		return errors.Join(errors.New("it exited"), p.err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop asks the process to end by cutting its lifeline, and kills it when it does
// not within 2 s more than it gives its requests.
func (p *process) stop() error {
	p.lifeline.Close()
	select {
	case <-p.exited:
		return p.err
	case <-time.After(stopTimeout + killTimeout):
		p.kill()
		return fmt.Errorf("demo: process %d did not stop and was killed", p.cmd.Process.Pid)
	}
}

// kill ends the process at once; SIGKILL works on a stopped one too.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.lifeline.Close()
	<-p.exited
}

func (p *process) signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// tail keeps the end of what is written to it. Safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	last []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b[max(0, len(b)-maxTail):]...)
	if over := len(t.last) - maxTail; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return len(b), nil
}

// quote is what was kept, to stand at the end of an error.
func (t *tail) quote() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) == 0 {
		return ""
	}
	return fmt.Sprintf("; it said: %q", t.last)
}
