// Package pool keeps the worker processes of one bulkhead alive.
//
// A Pool has N slots; a slot keeps one worker alive. Each slot is one goroutine
// with one select loop: start, surge restart, faults, backoff, quarantine, stop.
// Others send it messages. Each ready worker is a member with a goroutine of its
// own, its watch, which probes it for as long as it has requests, drains
// included, and finds out when it is lost. A request takes a Lease on the ready
// worker that has the fewest, which keeps a frozen one from collecting requests.
//
// # Faults and the restart budget
//
// A fault is an end that nobody asked for, a start that failed, a missed
// liveness, repeated violations of the protocol, or a handler that is stuck:
// three requests in a row whose time ran out before the worker had sent them,
// with none finished in between. While a slot is within its
// budget, a worker that had been ready is replaced at once, and one that could
// not start is tried again after 100 ms, doubling to 30 s. Beyond the budget,
// or after as many failed starts in a row however long each took, the slot is in
// quarantine: one attempt every 30 s at the most, and after it one more fault
// within 60 s leads straight back. 60 s of health forgive all. An operator's
// restart bypasses it. Nothing here ever escalates: the worst that a pool can
// become is quarantined, and that is an answer, not an exit.
//
// # Limits
//
// A worker that reaches one of its Limits is worn: its slot takes the pool's
// token, starts a new worker, and retires the old one as an operator's restart
// would. The token comes back when the old worker has ended, so one worker of a
// pool recycles at a time, however many are worn. That is no fault and costs no
// budget. When the new worker does not start, the old one goes on. A worker that
// is killed for its memory is a fault like any other end, with a cause of its own.
//
// Who loses its worker keeps its requests where it can: one that ended has none,
// one that misses its probes fails them at once, so that they can go elsewhere,
// and one that requests complain about takes no more and drains. Whoever is given
// up while it still runs is looked at by the Witness first; neither its requests
// nor the start of the next one wait for that.
//
// # Stop
//
// Stop ends the slots; each drains its worker (no new leases, those held may
// end), asks it to stop and kills it at the deadline. When Stop returns, no
// process and no goroutine of the pool is left.
package pool
