// Package breaker is a circuit breaker: a pure state machine that is told how
// calls to one backend went and says whether to make the next one.
//
// # States
//
// Closed admits every call and counts results over a rolling window of time.
// When at least MinCalls are in it and the share of failures reaches
// FailureRatio, or that of slow calls SlowRatio, it opens. Open refuses every
// call for OpenFor, then becomes half-open. Half-open admits Probes calls and
// judges exactly their results by the same two ratios: open again, or closed
// with an empty window. This much is the machine of Nygard's "Release It!" as
// resilience4j has it.
//
// Time moves the machine lazily: nothing runs between calls, and whoever asks
// first sees what time has done meanwhile.
//
// # A call has two steps
//
// Admit gives a Ticket, Done ends it with an outcome. A Ticket belongs to the
// generation in which it was admitted; every change of state begins another, and
// an outcome that arrives late is thrown away. It would tell about a backend that
// has been judged already: a call that hung before the breaker opened must not
// open it again after it closed.
//
// # A hang must open the breaker
//
// Two rules go beyond the ratios, because a backend that answers nothing also
// produces few results.
//
// First, Overdue counts a call as slow while it still waits.
//
// Second, a run opens the breaker: MinCalls failures with no success between
// them, or MinCalls slow calls with no quick one between them, all within
// Window, whatever else the window holds. Why: when a backend with LIMIT calls in
// flight hangs, LIMIT failures come per TIMEOUT, while the window may hold
// thousands of successes from before. At 200 calls a second and a window of 10 s,
// 32 failures are less than 2 % of it; by ratio alone the breaker would wait for
// the successes to expire, one window later. The run sees it at once.
//
// The price is that chance can make a run too. Where calls fail independently
// with probability p, a run of n begins at any given call with probability
// (1-p)p^n, so it takes on average about 1/((1-p)p^n) calls to see one:
//
//	          p = 10 %   p = 30 %   p = 45 %
//	n = 5     1e5        6e2        1e2
//	n = 10    1e10       2e5        5e3
//	n = 20    1e20       4e10       2e7
//
// With the default MinCalls of 20 and a backend that fails a tolerated 30 % of
// its calls at 100 a second, that is once in thirteen years. A MinCalls below 10
// suits backends that hardly ever fail. Failures in nature come in bursts, but a
// burst of MinCalls failures without one success is what a breaker is for.
//
// # Hung probes
//
// A probe holds its permit for at most one second. If it hangs longer, another
// may go, so that a backend that was repaired meanwhile is found within OpenFor
// and a second. A late result still counts, as long as the half-open period
// lasts. While a backend hangs, at most Probes calls a second get through.
//
// # Modes
//
// In Observe the machine runs as in Auto, but refuses nothing: calls that Auto
// would have refused are made and do not count. Open and Closed are an operator's
// word: all refused, or all admitted and counted, with no opening. Each change of
// mode starts closed with an empty window.
package breaker
