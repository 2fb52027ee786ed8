package idempotency

import (
	"net/http"
	"slices"
	"time"
)

// All here is called with Store.mu held.

// find is the entry of one of names, or nil. One that is due and waits only to be
// freed is none.
func (s *Store) find(names []digest, now time.Time) *entry {
	for _, d := range names {
		e := s.keys[d]
		if e == nil {
			continue
		}
		if e.inProgress() || !s.expired(e, now) {
			return e
		}
		s.forget(e)
		s.stats.Expired++
	}
	return nil
}

// first is the ruling on a key that is not known.
func (s *Store) first(r *http.Request, d, head digest, now time.Time) Ruling {
	if wait := s.noRoom(now); wait > 0 {
		return Ruling{Verdict: Full, RetryAfter: wait}
	}
	e := s.add(d)
	e.head = head
	s.stats.InProgress++
	return Ruling{Verdict: First, Claim: newClaim(s, e, r)}
}

// again is the ruling on a key that may be sent once more.
func (s *Store) again(e *entry, r *http.Request, head digest) Ruling {
	before := e.past
	s.line.remove(e)
	e.past = past{head: head}
	s.stats.InProgress++
	claim := newClaim(s, e, r)
	claim.before = &before
	return Ruling{Verdict: First, Claim: claim}
}

// noRoom is how long there may be none for another key; 0: there is.
func (s *Store) noRoom(now time.Time) time.Duration {
	switch {
	case now.Before(s.blind):
		return s.blind.Sub(now)
	case len(s.keys) < s.settings.Keys:
		return 0
	case s.line.oldest == nil: // all are in progress
		return time.Second
	}
	return max(time.Second, s.settings.MaxAge-now.Sub(s.line.oldest.at))
}

// forgot has keys refused for as long as one that ended then is missing.
func (s *Store) forgot(at time.Time) {
	if end := at.Add(s.settings.MaxAge); end.After(s.blind) {
		s.blind = end
	}
}

func (s *Store) add(d digest) *entry {
	e := &entry{digest: d, era: (*s.eras.Load())[0]}
	e.era.keys++
	s.keys[d] = e
	return e
}

// keep keeps the answer of e, or reports that it does not fit: the settings may be
// others than when it was recorded.
func (s *Store) keep(e *entry, answer *Answer, cost int64) bool {
	s.makeRoom(cost)
	if int64(len(answer.Body)) > s.settings.MaxAnswer || s.kept+s.recording+cost > s.settings.Bytes {
		return false
	}
	e.answer, e.cost = answer, cost
	s.kept += cost
	s.stats.Answers++
	return true
}

// forget frees the key of one that is over.
func (s *Store) forget(e *entry) {
	s.evict(e)
	s.line.remove(e)
	s.release(e)
}

func (s *Store) release(e *entry) {
	delete(s.keys, e.digest)
	e.era.keys--
	if eras := *s.eras.Load(); e.era.keys == 0 && e.era != eras[0] {
		eras = living(slices.Clone(eras))
		s.eras.Store(&eras)
	}
}

// evict lets go of the answer of e. Its key stays.
func (s *Store) evict(e *entry) {
	if e.answer == nil {
		return
	}
	s.kept -= e.cost
	s.stats.Answers--
	e.answer, e.cost = nil, 0
}

// makeRoom evicts until more bytes fit, or nothing is left to evict.
func (s *Store) makeRoom(more int64) {
	for s.kept+s.recording+more > s.settings.Bytes {
		e := s.line.nextFull()
		if e == nil {
			return
		}
		s.evict(e)
		s.stats.Evicted++
	}
}

// expiredAtOnce bounds how long one call frees what others left.
const expiredAtOnce = 64

func (s *Store) expire(now time.Time) {
	for range expiredAtOnce {
		e := s.line.oldest
		if e == nil || !s.expired(e, now) {
			return
		}
		s.forget(e)
		s.stats.Expired++
	}
}

func (s *Store) expired(e *entry, now time.Time) bool {
	return now.Sub(e.at) >= s.settings.MaxAge
}
