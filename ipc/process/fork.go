package process

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

// forkTimeout is how long a Start waits for its fork at most. Fork and exec take
// well under a millisecond unless the file system under the binary hangs.
const forkTimeout = 10 * time.Second

// forker owns the thread that every child is forked from. The parent-death
// signal of prctl(2) fires when the thread that forked ends, and the runtime
// ends threads as it likes; this one it may not.
//
// Forks are serial; syscall.ForkLock makes them so anyway. While an exec hangs,
// starts fail at their deadline and running children notice nothing.
type forker struct {
	once     sync.Once
	requests chan *fork

	// forking is held from before a fork until its child is in own, so that a
	// reaper that holds it takes no child for adopted which is just being made.
	forking sync.Mutex

	mu  sync.Mutex // short: never held across a system call
	own map[int]*os.Process
}

// fork is one request, and its answer.
type fork struct {
	launch *launch
	done   chan struct{} // closed when proc, pidfd and err are set
	proc   *os.Process
	pidfd  int // -1: none
	err    error
}

var children = forker{requests: make(chan *fork), own: make(map[int]*os.Process)}

// run serves forks for the life of the program.
func (f *forker) run() {
	runtime.LockOSThread() // and never unlocked
	for r := range f.requests {
		f.forking.Lock()
		r.pidfd = -1
		r.proc, r.err = r.launch.fork(&r.pidfd)
		if r.err == nil {
			f.mu.Lock()
			f.own[r.proc.Pid] = r.proc
			f.mu.Unlock()
		}
		f.forking.Unlock()
		close(r.done)
	}
}

// start forks l's child and gives what came of it to begin. When ctx ends first
// begin still gets it, with late true, in a goroutine that lives as long as the
// kernel holds on to the fork.
func (f *forker) start(ctx context.Context, l *launch, begin func(r *fork, late bool)) error {
	f.once.Do(func() { go f.run() })
	ctx, cancel := context.WithTimeout(ctx, forkTimeout)
	defer cancel()
	r := &fork{launch: l, done: make(chan struct{})}
	select {
	case f.requests <- r:
	case <-ctx.Done():
		l.close()
		return fmt.Errorf("waiting for another fork: %w", context.Cause(ctx))
	}
	select {
	case <-r.done:
		begin(r, false)
		return r.err
	case <-ctx.Done():
		go func() {
			<-r.done
			begin(r, true)
		}()
		return fmt.Errorf("fork or exec hangs: %w", context.Cause(ctx))
	}
}

// forget ends the ownership of a reaped child. Its number may be in use again.
func (f *forker) forget(proc *os.Process, pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.own[pid] == proc {
		delete(f.own, pid)
	}
}
