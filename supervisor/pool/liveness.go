package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

// tick probes the worker and lets it close what it no longer needs.
func (s *slot) tick() {
	if s.member == nil {
		return
	}
	now := time.Now()
	s.record.settle(now)
	if now.Sub(s.trimmed) > trimEvery {
		s.trimmed = now
		s.member.worker.Trim(now)
	}
	if !s.probing {
		s.probe()
	}
}

// probe asks the worker's loop whether it is alive, aside.
func (s *slot) probe() {
	s.probing = true
	w := s.member.worker
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		begun := time.Now()
		err := w.Probe(ctx)
		s.probed <- probe{w, err, time.Since(begun) - probeTimeout}
	}()
}

// judge counts a missed probe. One that the supervisor itself was too late to
// see answered says nothing about the worker: after a pause of the supervisor
// all of them would be killed.
func (s *slot) judge(p probe) {
	s.probing = false
	if s.member == nil || s.member.worker != p.worker {
		return
	}
	if p.err == nil || p.lag > probeLag {
		s.misses = 0
		return
	}
	if s.misses++; s.misses < probeMisses {
		s.probe()
		return
	}
	p.worker.Fail(exchange.WorkerUnresponsive) // its safe requests go elsewhere, now
	s.lost(CauseUnresponsive, fmt.Errorf("no answer to %d probes within %v each: %w", s.misses, probeTimeout, p.err))
}

// complained weighs what requests say of their worker.
func (s *slot) complained(m message) {
	if s.member != m.member {
		return // it is gone already
	}
	select {
	case <-m.member.worker.Exited():
		return // that explains it
	default:
	}
	now := time.Now()
	for range m.weight {
		s.strikes = append(s.strikes, now)
	}
	for len(s.strikes) > 0 && now.Sub(s.strikes[0]) > strikeWindow {
		s.strikes = s.strikes[1:]
	}
	if len(s.strikes) >= strikesAllowed {
		m.member.worker.Fail(exchange.WorkerProtocol)
		s.lost(CauseProtocol, errors.New("unreachable, or it kept breaking off exchanges"))
	}
}
