// Package sizing answers how to set a bulkhead's limit, queue and number of
// workers, from what was measured at that bulkhead and for an objective; and how
// often a breaker's setting trips falsely. It knows neither bulkheads nor
// breakers, only figures: it is a leaf.
//
// # From traffic to advice
//
// A Recorder sees every request at the limiter and keeps an hour of Evidence in
// buckets of ten seconds. Evidence is plain data that travels as JSON, so that
// the process that serves traffic measures, and the one that asks computes. Advise
// turns Evidence, the present setting, an Objective and a WhatIf into a Report.
//
// # Which model
//
// Little's law makes the offered load: rate times mean holding time. What a limit
// does to it, Advise takes from the first of these that fits:
//
//   - a recorded trace, replayed by Simulate through the rules of supervisor/limit;
//   - no queue: ErlangB, exact for any spread of the holding times;
//   - holding times that vary as exponential ones (SCV within 0.1 of 1), or of
//     which only mean and variance are known: MMcKD and MGcKD;
//   - all else: Poisson arrivals and the measured holding times, simulated from a
//     fixed seed.
//
// All but the first assume Poisson arrivals, stationary over the window. Evidence
// carries two figures that say whether they were, and Report.Notes says what they
// say, where model and measurement differ, and when the backend rather than the
// limit is the bottleneck. All take holding times to be independent of the limit,
// so that of a limit far from the present one they know only what the trend in
// Crowding tells.
//
// ErlangC, AllenCunneen, SquareRootStaffing and Scalability are there for
// comparison: each is documented with its source and where it stops being true.
//
// # Percentiles
//
// hdr.Histogram takes 22 KiB, and an hour of ten-second buckets 360 of them for
// each kind of duration. Evidence therefore counts in cells of an eighth of a
// doubling: means and variances are exact, percentiles within a sixteenth.
package sizing
