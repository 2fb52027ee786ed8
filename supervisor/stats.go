package supervisor

import (
	"sync/atomic"
	"time"

	"commerce.example/coordinator/supervisor/hdr"
)

// bulkheadStats are the figures that the requests of one bulkhead leave behind.
type bulkheadStats struct {
	metrics *bulkheadMetrics
	latency *hdr.Rolling             // of requests that a worker got
	refused *hdr.Counts              // of those that had a reason, by reasonIndex
	turned  *hdr.Counts              // of those that no worker got
	recent  *recent                  // likewise, as latency
	held    atomic.Int64             // mean time of a slot, smoothed, in nanoseconds
	drill   atomic.Pointer[recorder] // what a drill wants to know; nil: none is on
}

func newBulkheadStats(m *metrics, name string, now time.Time) *bulkheadStats {
	return &bulkheadStats{
		metrics: m.bulkhead(name), latency: hdr.NewRolling(now), refused: hdr.NewCounts(len(reasons)), turned: hdr.NewCounts(1),
		recent: newRecent(now),
	}
}

// record counts a call that is over.
func (s *bulkheadStats) record(c *call, now time.Time) {
	took := now.Sub(c.begun)
	s.metrics.request(c.status, c.progress.Outcome()).Inc()
	observe(s.metrics.duration, took, c.trace.Exemplar())
	if c.progress.Dispatched {
		s.recent.record(now, took)
		s.latency.Record(now, took)
		c.bulkhead.retries.earn()
	} else {
		s.turned.Add(now, 0)
	}
	if c.reason != "" {
		i := reasonIndex[c.reason]
		s.metrics.refused[i].Inc()
		s.refused.Add(now, i)
	}
	if r := s.drill.Load(); r != nil {
		r.record(c, took)
	}
}

// refusedLastMinute is by reason, without those that did not occur.
func (s *bulkheadStats) refusedLastMinute(now time.Time) map[string]int {
	counts := make(map[string]int)
	for i, n := range s.refused.Sum(now) {
		if n > 0 {
			counts[string(reasons[i])] = n
		}
	}
	return counts
}

// hold notes how long a call had its slot. Two at once may lose one of them:
// it is an estimate for Retry-After.
func (s *bulkheadStats) hold(d time.Duration) {
	was := s.held.Load()
	s.held.Store(was + (int64(d)-was)/16)
}

func (s *bulkheadStats) meanHeld() time.Duration { return time.Duration(s.held.Load()) }

// rate is all requests a second, those that were turned away included, from the
// rate of the served ones: both cover the same time.
func (s *bulkheadStats) rate(now time.Time, served float64, of int64) float64 {
	turned := float64(s.turned.Sum(now)[0])
	if of == 0 {
		return turned / 60
	}
	return served * (1 + turned/float64(of))
}
