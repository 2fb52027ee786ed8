package supervisor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// repeats is which of the idempotency keys of kept requests the journal knows of a
// request that may have done its work: a key that is remembered no more has still
// been used. It is read once for a run of replays. What is recorded later has a key
// only under the settings of that reading, and their keys remember it for longer than
// the reading holds.
type repeats struct {
	mu   sync.Mutex
	of   *settings
	read time.Time
	keys map[string]repeat // by digest: the last one to arrive
}

type repeat struct {
	entry, id string
	outcome   Outcome // "": it is in flight
	arrived   time.Time
}

const (
	repeatsHold = time.Minute
	maxRepeats  = 1 << 18
)

// find is the last request with the key of s that arrived after s, if its work may
// have been done, or may be now.
func (p *repeats) find(ctx context.Context, r *journal.Reader, set *settings, s *journal.Story) (found repeat, ok bool, err error) {
	if s.IdempotencyDigest == "" {
		return repeat{}, false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	hold := repeatsHold
	if set.keys != nil {
		hold = min(hold, set.keys.Settings().MaxAge/2)
	}
	if p.of != set || time.Since(p.read) > hold {
		begun := time.Now()
		keys, err := readRepeats(ctx, r, set.Name)
		if err != nil {
			return repeat{}, false, err
		}
		p.of, p.read, p.keys = set, begun, keys
	}
	found = p.keys[s.IdempotencyDigest]
	return found, !found.arrived.IsZero() && found.entry != s.Entry && !found.arrived.Before(s.Arrived), nil
}

// note adds a replay of a request with that digest.
func (p *repeats) note(digest string, r repeat) {
	if digest == "" || !mayHaveWorked(r.outcome) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys != nil {
		p.keys[digest] = r
	}
}

// mayHaveWorked reports whether the work of a request that ended so may have been
// done. One that has not ended may do it yet.
func mayHaveWorked(o Outcome) bool { return o != OutcomeRefused && o != OutcomeNeverSent }

// readRepeats reads the journal twice, so as to remember no keys but those of kept
// requests.
func readRepeats(ctx context.Context, r *journal.Reader, bulkhead string) (map[string]repeat, error) {
	keys := make(map[string]repeat)
	since := time.Now()
	for s, err := range r.Find(ctx, journal.Filter{Bulkhead: bulkhead, Sealed: true}) {
		switch {
		case err != nil:
			return nil, err
		case s.IdempotencyDigest == "":
			continue
		case s.Arrived.Before(since):
			since = s.Arrived
		}
		if keys[s.IdempotencyDigest] = (repeat{}); len(keys) > maxRepeats {
			return nil, fmt.Errorf("more than %d idempotency keys of kept requests", maxRepeats)
		}
	}
	if len(keys) == 0 {
		return keys, nil
	}
	for s, err := range r.Keyed(ctx, since) {
		if err != nil {
			return nil, err
		}
		last, kept := keys[s.IdempotencyDigest]
		if kept && s.Bulkhead == bulkhead && mayHaveWorked(Outcome(s.Outcome)) && !s.Arrived.Before(last.arrived) {
			keys[s.IdempotencyDigest] = repeat{s.Entry, s.RequestID, Outcome(s.Outcome), s.Arrived}
		}
	}
	return keys, nil
}

// why is why a request is not sent again of which there is r, as a sentence too.
func (r repeat) why() (NoReplay, string) {
	if r.outcome == "" {
		return NoReplayBusy, "it has been repeated with its idempotency key, as " + r.id + ", which is in flight"
	}
	return NoReplayRepeated, "it has been repeated with its idempotency key, as " + r.id + ": " + string(r.outcome)
}

// keyTaken is why a replay was answered from the keys of its bulkhead instead of being
// sent, as a sentence too; "": it was not.
func (c *call) keyTaken() (why NoReplay, detail string) {
	switch k := &c.keyed; {
	case k.did():
		return NoReplayRepeated, "its client has repeated it with its idempotency key, and it was done"
	case k.known != "":
		return NoReplayRepeated, "its client has repeated it with its idempotency key, and it may have been done: that one ended as " + string(k.known)
	case c.reason == ReasonIdempotencyConflict:
		return NoReplayBusy, "its client repeats it at this moment with its idempotency key"
	}
	return "", ""
}

// did reports whether the work of the first request with the key was done, as the
// keys of the bulkhead remember it.
func (k *keyed) did() bool {
	return k.replayed || k.known == OutcomeDone || k.known == OutcomeUndelivered
}
