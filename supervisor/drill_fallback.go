package supervisor

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/supervisor/fallback"
)

const (
	// compareBytes is the longest body that is compared, as it is sent.
	compareBytes = 256 << 10
	// compareAtOnce bounds the bodies that wait for it, to 8 MiB together.
	compareAtOnce = 32
	// agesKept are enough for a median.
	agesKept = 4096
	// driftsKept are the different drifts that are told apart.
	driftsKept = 50
)

// A rehearsal finds, for a share of the requests of a bulkhead that is well, the
// fallback that would have been given, and compares it with the live answer. The
// client gets the live one, unless give is set. Safe for concurrent use.
type rehearsal struct {
	share float64
	give  bool

	places chan struct{} // taken by each body that is kept to be compared
	trials chan *trial   // to compare; as many as there are places
	quit   chan struct{}
	ended  chan struct{}

	mu       sync.Mutex
	asked    int
	covered  map[fallback.Kind]int
	ages     map[fallback.Kind]*ages
	missing  map[string]int
	skipped  map[Uncompared]int
	compared int
	drifted  int
	drifts   map[string]int
	bytes    struct{ live, fallback int64 } // of those compared
}

func newRehearsal(share float64, give bool) *rehearsal {
	r := &rehearsal{
		share: share, give: give,
		places: make(chan struct{}, compareAtOnce), trials: make(chan *trial, compareAtOnce),
		quit: make(chan struct{}), ended: make(chan struct{}),
		covered: make(map[fallback.Kind]int), ages: make(map[fallback.Kind]*ages),
		missing: make(map[string]int), skipped: make(map[Uncompared]int), drifts: make(map[string]int),
	}
	go r.run()
	return r
}

// run compares, one answer after the other, so that no request waits for it.
func (r *rehearsal) run() {
	defer close(r.ended)
	for {
		select {
		case s := <-r.trials:
			r.conclude(s)
		case <-r.quit:
			for len(r.trials) > 0 {
				r.conclude(<-r.trials)
			}
			return
		}
	}
}

// stop ends it. What is still on its way is left out.
func (r *rehearsal) stop() {
	close(r.quit)
	<-r.ended
}

// ages are those of the answers of one kind: all of them, or else a random choice
// (reservoir sampling, Vitter's algorithm R).
type ages struct {
	seen int
	kept []time.Duration
	max  time.Duration
}

func (a *ages) add(age time.Duration) {
	a.seen++
	a.max = max(a.max, age)
	if len(a.kept) < agesKept {
		a.kept = append(a.kept, age)
	} else if i := rand.IntN(a.seen); i < agesKept {
		a.kept[i] = age
	}
}

func (a *ages) median() time.Duration {
	kept := slices.Sorted(slices.Values(a.kept))
	return kept[len(kept)/2]
}

// rehearse takes the call for a trial, or not, now that the head of its answer is
// there. It reports whether the fallback was given: then the call is over.
func (c *call) rehearse(resp *http.Response) bool {
	r := c.bulkhead.rehearsal.Load()
	if r == nil || rand.Float64() >= r.share {
		return false
	}
	_, framed := resp.Body.(*ipc.Body)
	if c.set.backed == nil || c.r.Method != http.MethodGet || !c.readsOnly() || !framed ||
		resp.StatusCode >= http.StatusInternalServerError || isEventStream(resp.Header) {
		return false
	}
	now := time.Now()
	c.trial = r.trial(c.set.backed.find(c.r, now), resp, now)
	if c.trial.answer == nil {
		c.trial.why = MissingNotSeen // unless the live answer will not be kept either
		if c.set.backed.stale == nil {
			c.trial.why = MissingNotPrepared
		}
		return false
	}
	if !r.give || !mayRehearseInstead(resp) {
		return false
	}
	c.rehearsed = true
	StripHopByHop(resp.Header)
	c.remember(resp) // or else what is given would grow old
	c.discard(resp, unheard{c}, compareBytes)
	c.give(c.trial.answer, resp.StatusCode, []string{structuredItem("received-status", int64(resp.StatusCode), "details", "drill")})
	c.progress.Delivered = !c.abort
	return true
}

// unheard notes an answer that its client does not get.
type unheard struct{ *call }

func (u unheard) Write(p []byte) (int, error) {
	u.note(p)
	return len(p), nil
}

// mayRehearseInstead reports whether a client may do without a live answer: not
// when it is a refusal, which ends what the client may see, nor when it goes on
// with a session.
func mayRehearseInstead(resp *http.Response) bool {
	return resp.StatusCode < http.StatusBadRequest && resp.Header["Set-Cookie"] == nil
}

// rehearsable is why the fallbacks of a bulkhead cannot be rehearsed, or nil.
func (b *Bulkhead) rehearsable() error {
	switch f := b.settings.Load().backed; {
	case f == nil:
		return errors.New("it has no fallback to try: FALLBACK is none")
	case f.Always:
		return errors.New("it has no live answers to compare with: FALLBACK_MODE is always")
	}
	return nil
}
