package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor/idempotency"
	"commerce.example/coordinator/supervisor/journal"
)

const (
	// restoreWithin bounds how long the journal is read for keys: a gigabyte of a
	// slow disk. An upgrade has its own, shorter bound.
	restoreWithin = 2 * time.Minute
	// closeDelay is how much later than its time the end of a request may be on
	// disk. An open one counts as of that long ago, so that its end is the later.
	closeDelay = 2 * time.Second
	// followEvery is how often a supervisor looks how the requests ended that the
	// one before it still had.
	followEvery = time.Second
)

// restoreKeys has all bulkheads learn their keys from the journal, before the first
// request.
func (s *Supervisor) restoreKeys(ctx context.Context) {
	stores := keysOf(s.bulkheads())
	if len(stores) == 0 {
		return
	}
	s.keys.restoreAll(ctx, stores)
	since, trimmed, err := journal.NewReader(s.journal.dir).Reach()
	if err == nil && trimmed && time.Since(since) < keyAge(stores) {
		s.log.Warn("journal is shorter than IDEMPOTENCY_MAX_AGE: a start forgets older keys", "since", since.UTC().Format(time.RFC3339))
	}
}

// restorePlanned has the bulkheads of a reload that are to have keys, and have none
// now, learn them in one reading of the journal.
func (s *Supervisor) restorePlanned(ctx context.Context, p *reloadPlan) {
	stores := make(map[string]*idempotency.Store)
	for _, c := range p.revisions {
		if set := c.bulkhead.settings.Load(); c.added {
			c.keys = set.keys
		} else if !c.kept && set.keys == nil {
			c.keys, _ = s.keys.store(c.to.Idempotency, nil) // which only fails after others
		}
		if c.keys != nil {
			stores[c.to.Name] = c.keys
		}
	}
	if ctx.Err() == nil {
		s.keys.restoreAll(ctx, stores)
	}
}

// restoreAll is restore of all that stores have to know.
func (k *keyring) restoreAll(ctx context.Context, stores map[string]*idempotency.Store) {
	k.restore(ctx, stores, time.Now().Add(-keyAge(stores)), nil)
}

// keyAge is the longest age of a key.
func keyAge(stores map[string]*idempotency.Store) (age time.Duration) {
	for _, store := range stores {
		age = max(age, store.Settings().MaxAge)
	}
	return age
}

// followKeys has the bulkheads learn how the requests with keys end that the
// supervisor before this one still has, until it has none or its drain must be
// over. The function it returns ends that.
func (s *Supervisor) followKeys(since time.Time) (stop func()) {
	if len(keysOf(s.bulkheads())) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(s.life, s.config.Load().DrainTimeout+startWait)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for sleep(ctx, followEvery) {
			inFlight, _, err := s.keys.read(ctx, keysOf(s.bulkheads()), since, s.journal.runs())
			if err == nil && inFlight == 0 {
				return
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// keysOf is the stores of bulkheads, by name.
func keysOf(bulkheads []*Bulkhead) map[string]*idempotency.Store {
	stores := make(map[string]*idempotency.Store)
	for _, b := range bulkheads {
		if set := b.settings.Load(); set.keys != nil {
			stores[set.Name] = set.keys
		}
	}
	return stores
}

// restore has stores learn what was recorded since then, but for the entries of the
// runs own, which they know better. Where the journal cannot be read, they refuse the
// keys that they do not know until those would have expired.
func (k *keyring) restore(ctx context.Context, stores map[string]*idempotency.Store, since time.Time, own []string) {
	_, lost, err := k.read(ctx, stores, since, own)
	switch {
	case err != nil:
		k.log.Error("idempotency keys not restored: those that are not known are refused until they would have expired", "error", err)
		for _, store := range stores {
			store.Blind(time.Now())
		}
	case lost > 0:
		k.log.Error("idempotency keys do not all fit: those that are not known are refused until they would have expired", "lost", lost)
	}
}

// read is restore without a consequence: it returns how many of the requests are in
// flight, and how many keys found no room.
func (k *keyring) read(ctx context.Context, stores map[string]*idempotency.Store, since time.Time, own []string) (inFlight, lost int, err error) {
	if len(stores) == 0 {
		return 0, 0, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, restoreWithin, fmt.Errorf("the journal was not read within %v", restoreWithin))
	defer cancel()
	now := time.Now()
	for story, err := range journal.NewReader(JournalDir(k.state)).Keyed(ctx, since) {
		if err != nil {
			return 0, 0, err
		}
		run, _, _ := strings.Cut(story.Entry, ".")
		store := stores[story.Bulkhead]
		if store == nil || slices.Contains(own, run) {
			continue
		}
		at := story.At
		if story.State != journal.Closed {
			at = now.Add(-closeDelay)
		}
		if story.State == journal.InFlight {
			inFlight++
		}
		if store.Restore(story.IdempotencyDigest, story.Outcome, story.Status, at, now) != nil {
			lost++
		}
	}
	return inFlight, lost, nil
}
