package process

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// State is how a process ended, and what it used. Peak memory is not in it: the
// kernel's ru_maxrss of a forked child starts at its parent's.
type State struct {
	Code   int            // exit code; -1 when a signal ended it, or Unknown is set
	Signal syscall.Signal // what killed it; 0 when it exited
	Core   bool           // a core was dumped

	// OutOfMemory: it was killed for its memory, by its group or by Spec.Memory.
	OutOfMemory bool

	User, System time.Duration // CPU time, waited-for descendants included

	// Unknown is why the rest could not be learned: somebody else reaped the
	// process. Nil normally.
	Unknown error
}

// Success reports an exit with 0. It is true of the zero State.
func (s State) Success() bool { return s.Code == 0 && s.Signal == 0 && s.Unknown == nil }

func (s State) String() string {
	switch {
	case s.Unknown != nil:
		return "unknown: " + s.Unknown.Error()
	case s.OutOfMemory:
		return "out of memory: killed at its limit"
	case s.Signal != 0 && s.Core:
		return fmt.Sprintf("signal: %v (core dumped)", s.Signal)
	case s.Signal != 0:
		return fmt.Sprintf("signal: %v", s.Signal)
	}
	return fmt.Sprintf("exit status %d", s.Code)
}

// ExitError is an end other than an exit with 0.
type ExitError struct{ State State }

func (e *ExitError) Error() string { return "process ended: " + e.State.String() }

func stateOf(ps *os.ProcessState, err error) State {
	if ps == nil {
		return State{Code: -1, Unknown: err}
	}
	s := State{Code: ps.ExitCode(), User: ps.UserTime(), System: ps.SystemTime()}
	if ws, ok := ps.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		s.Signal, s.Core = ws.Signal(), ws.CoreDump()
	}
	return s
}
