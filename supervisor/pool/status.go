package pool

import "time"

// State of a slot.
type State string

const (
	Starting    State = "starting"
	Ready       State = "ready"
	Backoff     State = "backoff"     // waits before the next start
	Quarantined State = "quarantined" // beyond its restart budget
	Draining    State = "draining"
	Stopped     State = "stopped"
)

// Status of a slot.
type Status struct {
	Slot   int
	State  State
	Pid    int // of the worker that serves; 0: none
	Leases int
	// Requests is how many the worker that serves was leased for.
	Requests uint64
	Since    time.Time // of the state
	Until    time.Time // of the next start, in Backoff and Quarantined
	Why      string    // the last fault; empty: there was none since the operator's last restart
	Version  string
	// Evidence is what the witness called what it kept of the slot's last
	// worker that was given up; empty: there was none, or no witness.
	Evidence string
}

// Status is that of every slot, in order.
func (p *Pool) Status() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Status, len(p.all))
	for i, s := range p.all {
		list[i] = s.status
		if s.member != nil {
			list[i].Leases = s.member.leases
			list[i].Requests = s.member.requests.Load()
		}
	}
	return list
}

// RetryAfter is how long until a slot is tried again; 0 when one is being tried.
func (p *Pool) RetryAfter(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	least := time.Duration(-1)
	for _, s := range p.all {
		if d := max(0, s.status.Until.Sub(now)); least < 0 || d < least {
			least = d
		}
	}
	return max(0, least)
}

// Cause is why a worker was replaced or a start failed: the label of
// coordinator_worker_restarts_total.
type Cause string

const (
	CauseExit         Cause = "exit"         // it ended by itself
	CauseStart        Cause = "start_failed" // it did not get ready
	CauseUnresponsive Cause = "unresponsive" // it missed its probes
	CauseProtocol     Cause = "protocol"     // unreachable, or repeated violations
	CauseStuck        Cause = "stuck"        // the time of its requests ran out before it had sent them
	CauseOperator     Cause = "operator"     // a restart was asked for
	CauseOOM          Cause = "oom"          // killed for its memory
	CauseDrill        Cause = "drill"        // a drill ended it

	// It reached one of its Limits.
	CauseMemory      Cause = "memory"
	CauseDescriptors Cause = "descriptors"
	CauseRequests    Cause = "requests"
	CauseAge         Cause = "age"
)

// CauseOverrun is told a Witness alone: a worker that is being replaced, or whose
// slot goes, and whose requests or itself do not end in time.
const CauseOverrun Cause = "overrun"

// Causes is every Cause of an Event.
func Causes() []Cause {
	return []Cause{
		CauseExit, CauseStart, CauseUnresponsive, CauseProtocol, CauseStuck, CauseOperator, CauseDrill, CauseOOM,
		CauseMemory, CauseDescriptors, CauseRequests, CauseAge,
	}
}

// Event is something that happened to a slot.
type Event struct {
	Slot  int
	Pid   int
	Kind  Kind
	Cause Cause         // of Replaced and Faulted
	Err   error         // of Faulted: how the worker ended, or why it did not start; of Replaced: the limit it reached
	Took  time.Duration // of Started
	Wait  time.Duration // of Faulted: until the next start
	// Stacks of a worker that had to be killed, when it still told them.
	Stacks []byte
	// Evidence is what the witness called what it kept of the worker, of Faulted,
	// StopOverrun and Ended; empty: nothing.
	Evidence string
}

// Kind of an Event.
type Kind string

const (
	Started     Kind = "started"     // a worker is ready
	Faulted     Kind = "faulted"     // a worker is lost, or did not start
	Quarantine  Kind = "quarantined" // the slot has used up its budget
	Replaced    Kind = "replaced"    // a worker is to end because a new one serves
	StopOverrun Kind = "stop_overrun"
	Ended       Kind = "ended" // a worker that was asked to has ended
)
