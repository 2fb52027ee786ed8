// Package process starts and owns one child process: a worker, its process
// group, its output and its end.
//
// # What it promises
//
// A child never outlives its parent. On Linux the kernel kills it when the
// parent dies (PR_SET_PDEATHSIG), and everywhere it can watch a lifeline: the
// read end of a pipe whose only write end is the parent's. The kernel's signal
// fires when the forking thread dies, not the process, so all children are
// forked by one thread that lives as long as the parent.
//
// A signal never reaches a stranger. The child itself is signalled through its
// pidfd. Its group is signalled only while its leader is not yet reaped, which
// is as long as the kernel keeps the number from being used again.
//
// Its end is seen without a blocked thread per child (the pidfd sits in the
// runtime's poller), leftovers of its group are killed before it is reaped, and
// Done closes right after: a grandchild that holds stdout open delays nothing.
// A descendant that leaves the group (setsid) is out of reach, unless Spec.Group
// holds it: that is killed as a whole.
//
// Whatever it prints is read at once, so it never blocks in write, and never
// parsed. Lines are cut at MaxLine bytes, made harmless, limited in rate, and
// queued for one sink; what is lost is counted. The first line of stdout belongs
// to go-plugin's handshake and is all that Stdout yields.
//
// Its environment is Spec.Env and nothing else, its stdin is /dev/null, and of
// the parent's descriptors it has only those that Spec names.
//
// # Order of events
//
// Start returns once exec has succeeded. Then, when the process ends for
// whatever reason: SIGKILL to its group, reap, Done closes, State and Err are
// set; Spec.Group is emptied and removed; what its pipes still hold is read for at most 250 ms; the last lines go
// to the sink; descriptors are closed; Drained closes. After Drained nothing of
// the process is left in the parent.
//
// # What a worker does
//
// It calls IgnoreSignals, because a service manager signals the whole service
// and only the supervisor stops workers, and exits when Lifeline closes.
package process
