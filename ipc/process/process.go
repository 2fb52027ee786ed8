package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drainTime is how long output is still read after the process has ended. What a
// pipe holds takes under a millisecond; the rest is for a descendant that left
// the group and holds the pipe open.
const drainTime = 250 * time.Millisecond

// Process is a child that was started. All methods are safe for concurrent use.
type Process struct {
	pid       int
	proc      *os.Process
	lifeline  *os.File // may be nil
	output    *output
	handshake *handshake
	group     Group // may be nil

	mu         sync.Mutex // held across signalling the group, and across reaping
	reaped     bool
	overMemory bool // killed for that

	done    chan struct{}
	drained chan struct{}
	state   State // written before done closes
}

// Start runs spec. It returns once exec has succeeded, and waits for that until
// ctx ends, 10 seconds at most; ctx has no part in the life of the process. When
// a fork finishes after that, its child is killed at once.
//
// Errors wrap what the kernel said: fs.ErrNotExist, fs.ErrPermission,
// syscall.ENOEXEC, syscall.ETXTBSY, context.DeadlineExceeded.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	l, err := open(spec)
	if err != nil {
		return nil, fmt.Errorf("process: start %s: %w", spec.Path, err)
	}
	if err := ctx.Err(); err != nil {
		l.close()
		return nil, fmt.Errorf("process: start %s: %w", spec.Path, err)
	}
	var p *Process
	err = children.start(ctx, l, func(r *fork, late bool) {
		switch q := begin(r); {
		case !late:
			p = q
		case q != nil:
			_ = q.KillGroup() // it is watched: what remains of it is tidied up
		}
	})
	if err != nil {
		// chdir happens in the child: its failure would read as one of exec.
		if _, dirErr := os.Stat(spec.Dir); spec.Dir != "" && dirErr != nil {
			err = dirErr
		}
		return nil, fmt.Errorf("process: start %s: %w", spec.Path, err)
	}
	if spec.Group != nil && l.birthplace == nil {
		if err := spec.Group.Add(p.pid); err != nil {
			_ = p.KillGroup()
			<-p.drained
			return nil, fmt.Errorf("process: start %s: %w", spec.Path, err)
		}
	}
	return p, nil
}

// begin takes over what a fork has made; nil when it failed.
func begin(r *fork) *Process {
	l := r.launch
	l.closeTheirs()
	if r.err != nil {
		l.close()
		return nil
	}
	p := &Process{
		pid:       r.proc.Pid,
		proc:      r.proc,
		lifeline:  l.lifeline,
		handshake: newHandshake(),
		group:     l.spec.Group,
		done:      make(chan struct{}),
		drained:   make(chan struct{}),
	}
	p.output = startOutput(l, p.handshake)
	go p.watch(newExitWatch(p.pid, r.pidfd), l.spec.Memory)
	return p
}

// watch owns the process: it waits for its end and tidies up.
func (p *Process) watch(w *exitWatch, memory uint64) {
	var guard sync.WaitGroup
	if memory > 0 {
		guard.Go(func() { p.guardMemory(memory) })
	}
	p.reap(w.wait())
	close(p.done)
	guard.Wait()
	if p.group != nil {
		_ = p.group.Close() // first: what is left in it may hold the output open
	}
	p.output.finish(drainTime)
	if p.lifeline != nil {
		p.lifeline.Close()
	}
	close(p.drained)
}

// reap kills what is left of the group, then frees the process number. waitErr
// says that the end of the process could not be observed.
func (p *Process) reap(waitErr error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if waitErr == nil {
		// Before reaping: until then the group's number is ours.
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
	ps, err := p.proc.Wait()
	p.reaped = true
	children.forget(p.proc, p.pid)
	p.state = stateOf(ps, errors.Join(waitErr, err))
	p.state.OutOfMemory = p.state.Signal == syscall.SIGKILL && (p.overMemory || p.group != nil && p.group.OOMKilled())
}

// Pid is the process number. It is for logs and for reading /proc; after Done it
// may be a stranger's.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the process has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Drained is closed after Done, when the last line was given to the sink and
// every descriptor and goroutine of the process is gone. It is at most 250 ms
// later, plus what the sink takes, plus what Group.Close takes to end whatever is
// left in the group (2 s at most for a cgroup of the supervisor's).
func (p *Process) Drained() <-chan struct{} { return p.drained }

// State is how the process ended; the zero State before Done.
func (p *Process) State() State {
	select {
	case <-p.done:
		return p.state
	default:
		return State{}
	}
}

// Err is nil while the process runs and when it exited with 0; else an
// *ExitError.
func (p *Process) Err() error {
	if s := p.State(); !s.Success() {
		return &ExitError{State: s}
	}
	return nil
}

// Signal sends sig to the process, not to its group. os.ErrProcessDone when it
// has ended.
func (p *Process) Signal(sig syscall.Signal) error { return p.proc.Signal(sig) }

// KillGroup sends SIGKILL to the process and its whole group; a stopped one dies
// too. It does not wait: Done follows, unless the process sits in an
// uninterruptible system call. os.ErrProcessDone when it was reaped.
func (p *Process) KillGroup() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return os.ErrProcessDone
	}
	// The leader apart: it may have moved to another group.
	if err := p.proc.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("process: kill %d: %w", p.pid, err)
	}
	if err := unix.Kill(-p.pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
		return fmt.Errorf("process: kill group %d: %w", p.pid, err)
	}
	return nil
}

// Stdout yields the first line of stdout, made printable, with its newline, then
// io.EOF: go-plugin's handshake. A line over MaxHandshake, or none, is io.EOF at
// once. Reading it is optional and for one goroutine. Close ends a blocked Read;
// a first line that comes later goes to the sink.
func (p *Process) Stdout() io.ReadCloser { return p.handshake }

// Stats is what the process has printed so far.
func (p *Process) Stats() Stats { return p.output.stats() }
