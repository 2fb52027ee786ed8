// Package supervisor is the parent process: it holds the listeners, the router
// and the bulkheads, and owns no business data.
//
// # A connection
//
// Each connection of HTTP/1 has a framing guard under net/http. What it refuses
// is poisoned, so that the server refuses it too and in order, and what the
// server would then say is said as a problem, like all that it refuses by
// itself. HTTP/2 passes it by.
//
// # A request
//
// The front cleans a request, names it and finds its route. From there on it
// belongs to one Bulkhead, whose ServeHTTP is the whole way on one page: breaker
// peek, limiter, breaker admit, a worker, the answer. The limiter is the only
// queue. A slot is held until the worker has handed over the last byte. How many slots
// there are is configured, or found by supervisor/adaptive from how long they are held.
//
// Where it ends in a problem, a request that only reads may get an earlier or a
// prepared answer instead, which says that it is one. All that depends on is whether
// the reason allows it and whether there is one: nothing else of the walk changes,
// for the breaker and the figures the request failed. Answers are recorded while
// they are relayed, by the goroutine that relays them.
//
// # Repeats of clients
//
// Where IDEMPOTENCY says so, a request that may do work and bears a key is ruled on
// before anything else is asked of its bulkhead, but for its drain and MAX_BODY. The
// first one with a key claims it; the claim is ended by its outcome, which frees the
// key or holds the answer for repeats, and these go no further. Keys come back after
// a restart from the journal; an upgrade hands them over at one moment, behind which
// the old process sends no new ones.
//
// # Requests that are sent again
//
// Where JOURNAL_BODY says so, the body of a request that may do work is read before
// it leaves, and the whole of it sealed on disk; as soon as its outcome is known to
// be any but never_sent and sent_unknown, that is removed. A replay is a call like
// all others, whose client takes everything: limiter, breaker, worker and journal do
// not know the difference. Between the record of its intent and its hand-over to a
// worker what was kept of the first request is removed, so it leaves once.
//
// # What is told
//
// The end of a call is told once, by the goroutine that served it, in this order: the
// counters, the journal, the access log, the trace. All have it from the call itself,
// in the same words. The journal alone is waited for, and that before the request
// leaves; what access log and trace cannot take in time is dropped and counted.
//
// # What is kept apart
//
// Bulkheads share the process, its listeners and its clock, and nothing else:
// no lock, no queue, no pool, no connection to a worker. So what one backend or
// one worker does is felt in one bulkhead. Nothing escalates: the worst that a
// bulkhead can become is quarantined, and that is an answer, not an exit.
//
// # One table of reasons
//
// Whatever is refused or fails has a Reason and an Outcome, the same words in
// the problem details, in Proxy-Status, in /metrics, in the log and in status.
// All that depends on a reason stands in its row of one table.
//
// # Time
//
// No request has a timer of its own. One watch looks every 20 ms at the calls
// that wait for somebody, and ends those whose client has left or whose time is
// over. A call that passes SLOW_CALL or TIMEOUT counts for the breaker then, not
// when it ends, so that a hang opens it.
//
// # Who looks
//
// The console's feed runs beside the admin listeners and ends with them. Twice a
// second it reads what there is: counters of the metrics, gauges, and what the watch,
// the pools and operators noted of each bulkhead (the last 32 transitions, and as
// many slow requests). Whether anybody listens makes no difference to a request.
//
// # Who owns what
//
// Run is the life of a Supervisor: it takes the state directory (one supervisor
// at a time), opens the listeners, starts the pools, serves, drains, and returns
// when no worker, socket or goroutine of it is left. A Bulkhead owns its pool,
// and lives as long as its name is configured: a reload changes its settings in
// place, or exchanges the pool when the workers themselves must change.
// Operations on one bulkhead come one after the other; those on different ones
// do not wait for each other.
//
// On stop: not ready, go on accepting for DRAIN_DELAY, let each connection end
// with an answer, wait for what is in flight up to DRAIN_TIMEOUT, stop the
// workers. In an upgrade (Handover) the listening sockets and the lock of the
// state directory go to a new process first, so that no connection is lost.
package supervisor
