package idempotency

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// A Claim is the first request with a key, from Begin to Done. It belongs to one
// goroutine; only what Body returns may be read by another. Done has to be called
// exactly once, however the request ends: until then all others with the key are
// InProgress.
type Claim struct {
	store  *Store
	entry  *entry // nil: it is done
	over   *entry // what entry was
	before *past  // the request with the key before this one; nil: there was none
	sent   *body  // nil: nothing is known of the body
	length int64  // of the request's body, or -1
	none   bool   // the request has no body

	answer *Answer // being recorded; nil: not, or no more
	status int     // of the answer; 0: none was recorded
	want   int64   // Content-Length of the answer, or -1
	held   int64   // bytes reserved
	room   int64   // of them, for the body
}

func newClaim(s *Store, e *entry, r *http.Request) *Claim {
	return &Claim{
		store: s, entry: e, length: r.ContentLength, none: r.Body == nil || r.Body == http.NoBody,
	}
}

// Body is b, the body of the request, and remembers a digest of what is read of
// it. A request whose body goes without it is compared by its head alone.
func (c *Claim) Body(b io.ReadCloser) io.ReadCloser {
	if c.none {
		return b
	}
	c.sent = newBody(b, c.length)
	return c.sent
}

// Record begins to keep the answer, of which status and h have come, as they go to
// the client. Call it once, and not for informational answers. It keeps neither h
// nor its values.
func (c *Claim) Record(status int, h http.Header) {
	c.status, c.want = status, -1
	if lines := h["Content-Length"]; len(lines) > 0 {
		n, err := strconv.ParseInt(lines[0], 10, 64)
		if err != nil || n < 0 {
			return
		}
		c.want = n
	}
	if c.want <= c.store.maxAnswer() && c.reserve(headCost(h)) {
		c.answer = &Answer{Status: status, Header: copyFields(h)}
	}
}

// Wants reports whether an answer, or more of it, is of use: the reason to go on
// waiting for it when its client has left.
func (c *Claim) Wants() bool { return c.status == 0 || c.answer != nil }

// Write takes the next piece of the answer and copies it.
func (c *Claim) Write(p []byte) {
	if c.answer == nil || len(p) == 0 {
		return
	}
	a := c.answer
	n := len(a.Body) + len(p)
	if c.want >= 0 && int64(n) > c.want { // two lengths: neither is to be believed
		c.giveUp()
		return
	}
	if n > cap(a.Body) && !c.grow(n) {
		return
	}
	a.Body = append(a.Body, p...)
}

// grow makes room for a body of n bytes. A length that is announced is not given
// room before it comes.
func (c *Claim) grow(n int) bool {
	limit := c.store.maxAnswer()
	if int64(n) > limit {
		c.giveUp()
		return false
	}
	if c.want >= 0 {
		limit = c.want
	}
	a := c.answer
	size := max(n, int(min(2*int64(cap(a.Body)), limit)))
	room := roomFor(size)
	if !c.reserve(room - c.room) {
		c.giveUp()
		return false
	}
	c.room = room
	a.Body = append(slices.Grow([]byte(nil), size), a.Body...)
	return true
}

// Trailer keeps the trailer of the answer, when its body is over.
func (c *Claim) Trailer(h http.Header) {
	if c.answer == nil || len(h) == 0 {
		return
	}
	if !c.reserve(headCost(h)) {
		c.giveUp()
		return
	}
	c.answer.Trailer = copyFields(h)
}

func (c *Claim) giveUp() {
	c.answer = nil
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recording -= c.held
	c.held = 0
}

// reserve takes n more bytes of the Store's, of which recordings have half: the
// rest is safe from answers that are begun and never kept.
func (c *Claim) reserve(n int64) bool {
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recording+n > s.settings.Bytes/2 {
		return false
	}
	s.makeRoom(n)
	s.recording += n
	c.held += n
	return true
}

func (s *Store) maxAnswer() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings.MaxAnswer
}

// Done ends the claim with the outcome of its request. After refused and
// never_sent, and after a status of Settings.Undone, the key is free. After done
// and undelivered repeats get the answer, if it was recorded and fitted; otherwise,
// and after any other outcome, they get the outcome. A second Done panics.
func (c *Claim) Done(outcome string, now time.Time) {
	if c.entry == nil {
		panic("idempotency: a claim done twice")
	}
	answer, cost := c.wholeAnswer(outcome, now)
	sent := content{all: c.none}
	if c.sent != nil {
		sent = c.sent.seen()
	}
	e, s := c.entry, c.store
	c.entry, c.over, c.answer = nil, e, nil

	s.mu.Lock()
	defer s.mu.Unlock()
	s.recording -= c.held
	c.held = 0
	s.stats.InProgress--
	undone := harmless(outcome) || slices.Contains(s.settings.Undone, c.status)
	switch {
	case undone && c.before == nil:
		s.release(e)
		return
	case undone:
		e.past = *c.before
	default:
		e.outcome, e.status, e.content = taken(outcome), c.status, sent
		if answer != nil && !s.keep(e, answer, cost) {
			answer = nil
		}
		if answer == nil && c.status != 0 && whole(outcome) {
			s.stats.Dropped++
		}
	}
	e.at = now
	s.line.push(e)
}

// Delivered says of a claim that was done as undelivered that its client has the
// answer after all. It is done as soon as the answer is whole, so that a repeat need
// not wait for a client that takes it slowly.
func (c *Claim) Delivered() {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if c.over != nil && c.over.outcome == outcomeUndelivered {
		c.over.outcome = outcomeDone
	}
}

// wholeAnswer is the answer as it is kept, and what it costs; nil unless it came
// whole. A body that has much more memory than it needs is copied.
func (c *Claim) wholeAnswer(outcome string, now time.Time) (*Answer, int64) {
	a := c.answer
	if a == nil || !whole(outcome) || c.want >= 0 && int64(len(a.Body)) != c.want {
		return nil, 0
	}
	a.At = now
	cost := c.held
	if room := roomFor(len(a.Body)); int64(cap(a.Body)) > room {
		cost -= c.room - room
		a.Body = append([]byte(nil), a.Body...)
	}
	return a, cost
}
