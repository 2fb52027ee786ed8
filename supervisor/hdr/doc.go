// Package hdr remembers how long things took and how often things happened:
// Histogram holds durations at a relative precision, Rolling those of the last
// minute, Counts the events of the last minute by kind.
//
// It is the one home of the HDR histogram library. A histogram with buckets of
// constant relative width answers any quantile, in any sum of histograms, within
// the same bound of error; averages of percentiles cannot do that.
//
// # The last minute
//
// Rolling and Counts keep four parts of 15 s and the part that is being filled.
// What was recorded is in for at least 60 s and at most 75 s. They take the
// present time with each call and have no goroutine. Calls that read the clock
// in one order and arrive in another count in the present part; a clock set back
// by more than a minute starts them anew.
package hdr
