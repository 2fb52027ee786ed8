// Package adaptive finds the limit of a bulkhead from how its backend answers,
// between two bounds that an operator gives. It only says a number: who waits and
// who is refused stays with the one limiter.
//
// # How it decides
//
// The algorithm is the adaptivelimiter of failsafe-go, of which this package is the
// one home: it is kept well, it is of the family of TCP Vegas, and its thresholds
// are the published ones. Of L requests in flight it takes
//
//	L * (1 - baseline/recent)
//
// to be waiting in the backend, where recent is the median holding time of the
// last hundred requests or so, smoothed. Below 3 the limit grows by one, above 6 it
// shrinks by one. A backend that serves C at a time so comes to a limit between
// C+3 and C+6: enough to keep it busy, and few that wait there.
//
// # What is not left to it
//
// Its own baseline follows what it sees: ten minutes of a slow backend, or of one
// that is overloaded by the very limit in force, become normal, and the limit
// rises. Timeouts are left out, or, told as samples, all alike, so that they look
// like an even backend. And it has no notion of a caller that asks for little. So
// here:
//
//   - The baseline is what the backend takes while at most Least requests are in
//     flight, which the operator says it can carry. It is learned over ten windows
//     of samples (State Learning), and then stands.
//   - It is learned anew when it proves wrong: when holding times have been below
//     0.7 of it for ten seconds on end, at the present limit; and when the limit has
//     been what kept requests out for an hour on end and stayed within a quarter of
//     one value, from Least. So what lasts an hour is how the backend is now, and what
//     lasts ten minutes is not.
//   - What the library makes of the correlation of limits and times is switched off:
//     with a baseline that stands it has nothing to prevent, and it would take the
//     limit of a busy backend down to Least and up again, for ever.
//   - A request that ran out of time, or whose backend said that it had too much,
//     is no sample. When they are a tenth of a second's requests, the limit goes to
//     0.9 of what it was, as that of a connection that loses packets; a second
//     without gives back one (State BackedOff).
//   - A request counts only if, when it began, at least half of the limit was in
//     use (the same rule keeps Netflix's limits still): what is not asked for
//     tells nothing. So the limit is at most about twice what is used.
//
// Advise changes nothing and so sees its advice not followed. It counts the requests
// that began while fewer were in flight than it would allow: what it would have seen.
// Others it cannot use. The library gives no more permits than its own limit, and takes
// that for the number in flight: twice the holding time would be half of it waiting,
// though it is that of twice as many, and the advice would go down to Least in front of
// a backend that carries more. So while more is in flight all the time than it
// advises, from the start too, it does not move, and says so (State Blind). A Least
// above what is in flight on a quiet day helps.
//
// # In another process
//
// The Limit of a successor begins where the one before it was (Found), and learns
// there. What it learns then may have waits in it, those of that limit or of an
// incident. If it is more than a tenth longer than what was learned before, the limit
// may go down, and not beyond where it began, until it learns anew. However many follow
// one another, the shortest time that one has learned is what they compare with.
//
// # Cost
//
// A few short critical sections, two looks at the clock and one allocation, of the
// library's permit: about 0.3 us a request (BenchmarkCall), and another permit for one
// that is Sent later than it began. A fixed limit costs nothing. The limit changes at most about five times a second. There is no goroutine
// and no timer: without requests nothing changes.
package adaptive
