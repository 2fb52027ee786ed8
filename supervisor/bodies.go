package supervisor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/journal"
	"commerce.example/coordinator/supervisor/journal/kept"
)

// bodies is the requests that are kept to be sent again, of all bulkheads.
//
// What is there has not been sent again: a replay's intent is on disk before the
// file of the first request is removed, and that before the replay leaves. Where a
// crash came between the two, settle removes it, from what the journal says. Only
// one supervisor replays, the one beside whom nobody writes, so that nothing can be
// recorded that settle did not see.
type bodies struct {
	store  atomic.Pointer[kept.Store] // nil: there is no key
	log    hclog.Logger
	failed atomic.Bool // the last one could not be kept, and the log says so

	mu      sync.Mutex
	settled bool
	sending map[string]bool // names of those that are being sent again
}

// shareOfTotal is which part of the journal's bound kept requests may have besides.
const shareOfTotal = 4

// open begins to keep, if that was not done before.
func (b *bodies) open(j *journaling, c *Config) error {
	if c.JournalKeys == nil || b.store.Load() != nil {
		return nil
	}
	total := c.Journal.TotalBytes
	if total == 0 {
		total = 1 << 30 // as journal.Options
	}
	store, err := kept.Open(filepath.Join(j.dir, "kept"), total/shareOfTotal, c.JournalKeys)
	if err != nil {
		return err
	}
	b.log = j.log
	b.store.Store(store)
	b.trim(j.dir)
	return nil
}

// setKeys has other keys in force from now on; nil: those that there are.
func (b *bodies) setKeys(keys *kept.Keys) {
	if store := b.store.Load(); store != nil && keys != nil {
		store.SetKeys(keys)
	}
}

// close bounds its wait as that for the journal.
func (b *bodies) close() {
	store := b.store.Load()
	if store == nil {
		return
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), journalPatience, fmt.Errorf("the disk did not answer within %v", journalPatience))
	defer cancel()
	if err := store.Close(ctx); err != nil {
		b.log.Error("journal may still keep requests that are done", "error", err)
	}
}

// trim forgets what the journal no longer tells of.
func (b *bodies) trim(dir string) {
	store := b.store.Load()
	if store == nil {
		return
	}
	if oldest, err := journal.Oldest(dir); err == nil && !oldest.IsZero() {
		store.Forget(oldest)
	}
}

// keep returns the name, and none when the request could not be kept, which the log
// tells when it begins and when it is over.
func (b *bodies) keep(id string, r *kept.Request, sync bool) (name string) {
	store := b.store.Load()
	if store == nil {
		return ""
	}
	name, err := store.Keep(id, r, sync)
	switch {
	case err != nil && !b.failed.Swap(true):
		b.log.Error("journal cannot keep requests to be sent again: they go on without", "error", err)
	case err == nil && b.failed.Load() && b.failed.Swap(false):
		b.log.Info("journal keeps requests to be sent again, again")
	}
	return name
}

func (b *bodies) drop(name string) {
	if store := b.store.Load(); store != nil {
		store.DropSoon(name)
	}
}

var (
	errNoKey  = errors.New("COORDINATOR_JOURNAL_KEY_FILE is not set: nothing that was kept can be opened")
	errBeside = errors.New("an earlier supervisor still finishes its requests: try again when it has ended")
)

// settle removes what has been sent again already, once in the life of a supervisor.
func (b *bodies) settle(ctx context.Context, j *journaling) error {
	store := b.store.Load()
	if store == nil {
		return errNoKey
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.settled {
		return nil
	}
	r := journal.NewReader(j.dir)
	if beside, err := r.WrittenBeside(j.runs()...); err != nil {
		return err
	} else if beside {
		return errBeside
	}
	replayed, err := r.Replays(ctx)
	if err != nil {
		return err
	}
	if len(replayed) > 0 {
		for s, err := range r.Find(ctx, journal.Filter{Sealed: true}) {
			if err == nil && replayed[s.Entry] != nil {
				err = store.Drop(s.Sealed)
			}
			if err != nil {
				return err
			}
		}
	}
	b.settled = true
	return nil
}

// claim reserves what has that name for one replay; release gives it back.
func (b *bodies) claim(name string) (release func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sending[name] {
		return nil, false
	}
	if b.sending == nil {
		b.sending = make(map[string]bool)
	}
	b.sending[name] = true
	return func() {
		b.mu.Lock()
		delete(b.sending, name)
		b.mu.Unlock()
	}, true
}
