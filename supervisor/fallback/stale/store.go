package stale

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"commerce.example/coordinator/supervisor/fallback"
)

// Store has the last good answers of one bulkhead. It is safe for concurrent use
// and runs no goroutine. Make one with New.
type Store struct {
	settings atomic.Pointer[Settings] // replaced under mu
	digests  *digests
	dates    dates

	mu        sync.Mutex
	index     index
	line      line
	kept      int64 // bytes of entries
	recording int64 // bytes held by recordings
	ended     invalidations
	stats     Stats // the counters
}

// Stats is a Store at one moment; the counters go up from New on.
type Stats struct {
	Entries     int       // answers that are kept
	Bytes       int64     // that they cost
	Recording   int64     // bytes that answers cost that are being recorded
	Oldest      time.Time // when the one was received that the backend gave longest ago; zero: none
	Evicted     uint64    // entries that made room for others
	Expired     uint64    // entries that reached MaxAge
	Invalidated uint64    // entries ended by an unsafe request, or by an answer that may not be kept
}

// New returns an empty Store.
func New(s Settings) *Store {
	store := &Store{digests: newDigests(), index: newIndex()}
	store.settings.Store(s.withDefaults())
	return store
}

// Apply changes the settings and keeps what still fits. Another PerCredential
// ends everything, also what is being recorded: whom an answer is for would be
// read off other fields than those it was kept under.
func (s *Store) Apply(settings Settings, now time.Time) {
	next := settings.withDefaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.settings.Swap(next)
	all := !slices.Equal(before.PerCredential, next.PerCredential)
	if all {
		s.ended.all()
	}
	for e := s.line.oldest; e != nil; {
		newer := e.newer
		if all || int64(len(e.body)) > next.MaxAnswer {
			s.remove(e)
		}
		e = newer
	}
	if all { // maps never shrink
		s.index = newIndex()
	}
	for s.line.oldest != nil && s.expired(s.line.oldest, now) {
		s.remove(s.line.oldest)
		s.stats.Expired++
	}
	s.evict(0)
}

// Find is the answer kept for r, which must be a GET or HEAD without a body, as
// the front cleaned it: of any age within MaxAge and what the answer says itself.
// The caller knows that the backend failed. Range and conditions of r are not
// looked at: the answer is always whole. An answer that is still fresh counts as
// fresh until now.
func (s *Store) Find(r *http.Request, now time.Time) (*fallback.Answer, bool) {
	return s.find(r, now, false)
}

// StaleIfError is Find for answers that carry stale-if-error themselves: the
// origin permits that they replace its own 500, 502, 503 or 504 (RFC 5861 section
// 4).
func (s *Store) StaleIfError(r *http.Request, now time.Time) (*fallback.Answer, bool) {
	return s.find(r, now, true)
}

func (s *Store) find(r *http.Request, now time.Time, explicit bool) (*fallback.Answer, bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || hasBody(r) {
		return nil, false
	}
	set := s.settings.Load()
	who, why := s.digests.identify(r.Header, set)
	if why != "" {
		return nil, false
	}
	atMost := absent
	if lines := r.Header["Cache-Control"]; len(lines) > 0 {
		atMost = parseDirectives(lines).staleIfError
	}
	var space [512]byte
	url := appendURL(space[:0], r, r.RequestURI)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	shelf := s.index.shelves[place{string(url), who}]
	if shelf == nil || set != s.settings.Load() { // a reload went between: who is not what it was
		return nil, false
	}
	e := shelf.find(r.Header)
	if e == nil || explicit && !e.staleIfError || !e.givable(now, set.MaxAge, atMost) {
		return nil, false
	}
	fresh := e.fresh
	if fresh.After(now) {
		fresh = now
	}
	return &fallback.Answer{
		Kind: fallback.Stale, Status: e.status, Header: e.header, Body: e.body, Made: e.made, Fresh: fresh,
	}, true
}

// Stats may be called at any time.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Entries, stats.Bytes, stats.Recording = s.line.n, s.kept, s.recording
	if s.line.oldest != nil {
		stats.Oldest = s.line.oldest.received
	}
	return stats
}

// hasBody reports whether r has content, which the place of its answer would have
// to name.
func hasBody(r *http.Request) bool { return r.ContentLength != 0 }

// All below is called with mu held.

// expiredAtOnce bounds how long one call frees what others left.
const expiredAtOnce = 64

func (s *Store) expire(now time.Time) {
	for range expiredAtOnce {
		e := s.line.oldest
		if e == nil || !s.expired(e, now) {
			return
		}
		s.remove(e)
		s.stats.Expired++
	}
}

func (s *Store) expired(e *entry, now time.Time) bool {
	return now.Sub(e.received) >= s.settings.Load().MaxAge
}

// evict makes room for more bytes.
func (s *Store) evict(more int64) {
	for s.line.oldest != nil && s.kept+s.recording+more > s.settings.Load().Bytes {
		s.remove(s.line.oldest)
		s.stats.Evicted++
	}
}

func (s *Store) remove(e *entry) {
	s.line.remove(e)
	s.kept -= e.cost
	shelf := e.shelf
	e.shelf = nil
	i := slices.Index(shelf.variants, e)
	shelf.variants = slices.Delete(shelf.variants, i, i+1)
	if len(shelf.variants) == 0 {
		s.index.remove(shelf)
	}
}

// put keeps e at url for who, as the newest of its variants and of all, in the
// place of the one for the same requests. If that one was made later, it stays
// (RFC 9111 section 4: the most recent is used).
func (s *Store) put(e *entry, url string, who identity) {
	shelf := s.index.add(url, who)
	if i := slices.IndexFunc(shelf.variants, e.replaces); i >= 0 {
		old := shelf.variants[i]
		if old.made.After(e.made) {
			return
		}
		shelf.variants = slices.Insert(shelf.variants, 0, e) // so that the shelf is never empty
		s.remove(old)
	} else {
		shelf.variants = slices.Insert(shelf.variants, 0, e)
	}
	e.shelf = shelf
	s.line.push(e)
	s.kept += e.cost
	if len(shelf.variants) > maxVariants {
		s.remove(shelf.variants[maxVariants])
		s.stats.Evicted++
	}
	s.evict(0)
}

// renew notes that the backend gave e again.
func (s *Store) renew(e *entry, v verdict, now time.Time) {
	if v.made.Before(e.made) {
		return
	}
	e.verdict, e.received = v, now
	if s.line.newest != e {
		s.line.remove(e)
		s.line.push(e)
	}
}
