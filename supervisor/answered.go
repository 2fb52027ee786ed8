package supervisor

import (
	"hash/maphash"
	"net/http"
	"sync/atomic"
	"time"
)

// answeredFor is how long an answer in full speaks for its request.
const answeredFor = time.Minute

// answered remembers which requests were answered in full of late, as far as
// 2,048 places go, of which each keeps its last: frequent ones are there, and it
// is for those. A place holds 48 bits of a keyed hash and 16 of the time in
// seconds. It is safe for concurrent use.
type answered struct {
	seed   maphash.Seed
	since  time.Time
	places [2048]atomic.Uint64
}

func newAnswered(now time.Time) *answered { return &answered{seed: maphash.MakeSeed(), since: now} }

func (a *answered) find(r *http.Request) (place *atomic.Uint64, hash uint64) {
	var h maphash.Hash
	h.SetSeed(a.seed)
	h.WriteString(r.Method)
	h.WriteByte(0)
	h.WriteString(r.Host)
	h.WriteByte(0)
	h.WriteString(r.RequestURI)
	hash = h.Sum64()
	return &a.places[hash%uint64(len(a.places))], hash &^ 0xffff
}

func (a *answered) seconds(now time.Time) uint16 { return uint16(now.Sub(a.since) / time.Second) }

// note notes that r was answered.
func (a *answered) note(r *http.Request, now time.Time) {
	place, hash := a.find(r)
	if word := hash | uint64(a.seconds(now)); place.Load() != word { // a write costs the other cores a cache miss
		place.Store(word)
	}
}

// lately reports whether r was answered within answeredFor.
func (a *answered) lately(r *http.Request, now time.Time) bool {
	place, hash := a.find(r)
	word := place.Load()
	return word&^0xffff == hash && a.seconds(now)-uint16(word) <= uint16(answeredFor/time.Second)
}
