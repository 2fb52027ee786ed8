package idempotency

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Store has the keys of one bulkhead. It is safe for concurrent use and runs no
// goroutine. Make one with New.
type Store struct {
	digests *digests
	eras    atomic.Pointer[[]*era] // the present one first; replaced under mu

	mu        sync.Mutex
	settings  Settings
	keys      map[digest]*entry
	line      line
	kept      int64     // bytes of answers
	recording int64     // bytes held by claims
	blind     time.Time // until then a key may be known that found no room
	stats     Stats     // the counters
}

// Stats is a Store at one moment; the counters go up from New on.
type Stats struct {
	Keys       int       // remembered in all
	InProgress int       // of them
	Answers    int       // that are kept
	Bytes      int64     // that they cost
	Recording  int64     // bytes that answers cost that are being recorded
	Oldest     time.Time // end of the request whose key is next to expire; zero: none
	Evicted    uint64    // answers that made room for others
	Dropped    uint64    // answers that came whole and were not kept: too large, or no room
	Expired    uint64    // keys that reached MaxAge
}

// minSecret is what RFC 2104 section 3 advises: the length of the hash.
const minSecret = 32

// New returns an empty Store. The secret has at least 32 bytes from a random
// source, and is the same at each start of a coordinator with the same journal; a
// shorter one panics.
func New(s Settings, secret []byte) *Store {
	if len(secret) < minSecret {
		panic("idempotency: a secret of fewer than 32 bytes")
	}
	store := &Store{digests: newDigests(secret), settings: s.withDefaults(), keys: make(map[digest]*entry)}
	store.eras.Store(&[]*era{{scope: store.settings.Scope}})
	return store
}

// maxEras bounds what a request with a new key costs.
const maxEras = 4

// ErrScopes is returned by Apply when too many changes of Scope lie within MaxAge.
var ErrScopes = errors.New("keys of too many earlier scopes are still remembered")

// Apply changes the settings, and answers that no longer fit go; those that are
// being recorded keep what they have. Keys do not go: with
// another Scope they are looked for under the earlier ones too, while any is left.
// At most four may be alive at a time: then Apply returns ErrScopes and changes
// nothing. Over a restart earlier scopes are not known.
func (s *Store) Apply(settings Settings, now time.Time) error {
	next := settings.withDefaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now) // which may end an era
	eras := slices.Clone(*s.eras.Load())
	if i := slices.IndexFunc(eras, func(e *era) bool { return slices.Equal(e.scope, next.Scope) }); i > 0 {
		eras[0], eras[i] = eras[i], eras[0]
	} else if i < 0 {
		eras = slices.Insert(eras, 0, &era{scope: next.Scope})
	}
	if eras = living(eras); len(eras) > maxEras {
		return ErrScopes
	}
	s.eras.Store(&eras)
	s.settings = next
	for e := s.line.oldest; e != nil; e = e.newer {
		if e.answer != nil && int64(len(e.answer.Body)) > next.MaxAnswer {
			s.evict(e)
		}
	}
	s.makeRoom(0)
	return nil
}

// living is the present era and those of which a key is left.
func living(eras []*era) []*era {
	present := eras[0]
	return slices.DeleteFunc(eras, func(e *era) bool { return e != present && e.keys == 0 })
}

// Begin rules on r, as the front cleaned it. It reads of the body of a repeat what
// there is to compare, and nothing of any other's. A First has the key from then
// on, until its Claim is Done.
func (s *Store) Begin(r *http.Request, now time.Time) Ruling { return s.begin(r, now, false) }

// Resend is Begin for a request that an operator sends again to a backend that knows
// repeats: for it alone Settings.BackendIdempotent holds whatever the settings say.
func (s *Store) Resend(r *http.Request, now time.Time) Ruling { return s.begin(r, now, true) }

func (s *Store) begin(r *http.Request, now time.Time, resent bool) Ruling {
	lines := r.Header["Idempotency-Key"]
	if len(lines) == 0 || isSafe(r.Method) {
		return Ruling{Verdict: Unkeyed}
	}
	key, ok := parseKey(lines)
	if !ok {
		return Ruling{Verdict: Malformed}
	}
	head := s.digests.ofHead(r)
	for {
		eras := s.eras.Load()
		var space [maxEras]digest
		names := space[:0]
		for _, era := range *eras {
			names = append(names, s.digests.ofKey(key, era.scope, r.Header))
		}
		ruling, compare, ok := s.rule(r, eras, names, head, now, resent)
		if !ok {
			continue
		}
		ruling.Digest = names[0].String()
		if compare != nil {
			ruling = compare.settle(r, ruling)
		}
		return ruling
	}
}

// settle is the ruling on a repeat with the body of r.
func (c content) settle(r *http.Request, ruling Ruling) Ruling {
	same, err := c.matches(r)
	switch {
	case err != nil:
		return Ruling{Verdict: Unread, Digest: ruling.Digest, Err: err}
	case !same:
		return Ruling{Verdict: Mismatch, Digest: ruling.Digest}
	}
	return ruling
}

// rule rules on r by its head, and gives what its body is to be compared with: nil
// for nothing. It reports false when a reload went between, and names are not what
// they were.
func (s *Store) rule(r *http.Request, eras *[]*era, names []digest, head digest, now time.Time, resent bool) (Ruling, *content, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if eras != s.eras.Load() {
		return Ruling{}, nil, false
	}
	s.expire(now)
	e := s.find(names, now)
	switch {
	case e == nil:
		return s.first(r, names[0], head, now), nil, true
	case !e.restored && e.head != head:
		return Ruling{Verdict: Mismatch}, nil, true
	case e.inProgress():
		return Ruling{Verdict: InProgress}, nil, true
	case (resent || s.settings.BackendIdempotent) && e.repeatable():
		return s.again(e, r, head), nil, true
	}
	ruling := Ruling{Verdict: Known, Outcome: e.outcome, Status: e.status}
	if e.answer != nil {
		ruling.Verdict, ruling.Answer, ruling.Status = Repeat, e.answer, 0
	}
	if e.restored {
		return ruling, nil, true
	}
	compare := e.content
	return ruling, &compare, true
}

// Restore remembers a key of the journal: its digest, how its request ended, with
// what status (0: none is known), and when, by the wall clock. One that was refused
// or never_sent, or whose status is one of Undone, is free, and is not remembered;
// any word that is unknown here counts as sent_unknown. The order does not matter;
// of two requests with one key the later counts. Keys that the Store knows itself
// stay as they are.
//
// An error says that the digest is none, or that there is no room. In the second
// case Begin refuses all keys that it does not know until the one that was not
// remembered has expired.
func (s *Store) Restore(name, outcome string, status int, at, now time.Time) error {
	d, ok := parseDigest(name)
	if !ok {
		return fmt.Errorf("%q is not the digest of a key", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at = now.Add(-max(0, now.Sub(at))) // a clock that was set back makes nothing older
	if harmless(outcome) || slices.Contains(s.settings.Undone, status) || now.Sub(at) >= s.settings.MaxAge {
		return nil
	}
	if e := s.keys[d]; e != nil {
		if !e.restored || e.inProgress() || e.at.After(at) {
			return nil
		}
		s.forget(e)
	}
	if len(s.keys) >= s.settings.Keys {
		s.forgot(at)
		return fmt.Errorf("no room for more than %d keys", s.settings.Keys)
	}
	e := s.add(d)
	e.restored, e.outcome, e.status, e.at = true, taken(outcome), status, at
	older := s.line.newest
	for older != nil && older.at.After(at) { // a journal is in order, nearly
		older = older.older
	}
	s.line.insert(e, older)
	return nil
}

// Settings are those in effect, without anything left open. Nobody writes to their
// lists.
func (s *Store) Settings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings
}

// Blind says that keys may be missing whose requests ended until now: all that the
// Store does not know are refused until they would have expired.
func (s *Store) Blind(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgot(now)
}

// Stats may be called at any time.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Keys, stats.Bytes, stats.Recording = len(s.keys), s.kept, s.recording
	if s.line.oldest != nil {
		stats.Oldest = s.line.oldest.at
	}
	return stats
}
