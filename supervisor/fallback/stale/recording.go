package stale

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A Recording is an answer on its way to being kept. It belongs to one goroutine,
// and Done has to be called exactly once, however the answer ends: it gives back
// what the Recording holds, and itself, to be used for another.
//
// As long as the answer is the one that is kept already, it is only compared.
type Recording struct {
	store  *Store
	url    string
	who    identity
	sent   Mark   // its request was
	like   *entry // kept for the same request; nil: none
	renews bool   // it is a 304, and has like's body
	asLike bool   // status, header and variant are like's

	verdict
	status  int
	header  http.Header
	vary    []string
	variant string
	cost    int64 // of all but the body
	length  int64 // Content-Length, or -1

	same int    // so many bytes of like's body are those of this one
	body []byte // unless all are

	held   int64 // bytes reserved
	failed Why
}

// recordings saves each healthy request an allocation of a third of a KiB.
var recordings = sync.Pool{New: func() any { return new(Recording) }}

// free ends the use of rec; nothing of its answer stays in the pool.
func (rec *Recording) free() {
	*rec = Recording{}
	recordings.Put(rec)
}

// Record begins to record the answer to r, as the front cleaned it and sent it to
// the backend at sent, of which status and h have arrived at now. It keeps neither
// r nor h. It returns nil, and why, when the answer is not kept.
func (s *Store) Record(r *http.Request, sent Mark, status int, h http.Header, now time.Time) (*Recording, Why) {
	if r.Method != http.MethodGet || hasBody(r) {
		return nil, WhyMethod
	}
	set := s.settings.Load()
	who, why := s.digests.identify(r.Header, set)
	if why != "" {
		return nil, why
	}
	rec := recordings.Get().(*Recording)
	*rec = Recording{store: s, who: who, sent: sent, status: status, length: -1}
	if !rec.meet(r, set, now) {
		rec.free()
		return nil, WhyInvalidated
	}
	if status == http.StatusNotModified && rec.like != nil && validates(rec.like.header, h) {
		h = renewed(rec.like.header, h)
		rec.renews, rec.status = true, rec.like.status
	}
	if why := rec.head(r, h, set, now); why != "" {
		if rec.like != nil && (endsAccess(status) || keepsStatus(rec.status) && why.ends() && !forbidsStore(r)) {
			s.forget(rec.like)
		}
		rec.free()
		return nil, why
	}
	return rec, ""
}

// meet finds what is kept for r already. It reports false when a reload went
// between, and who is not what it was.
func (rec *Recording) meet(r *http.Request, set *Settings, now time.Time) bool {
	var space [512]byte
	url := appendURL(space[:0], r, r.RequestURI)
	s := rec.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if shelf := s.index.shelves[place{string(url), rec.who}]; shelf != nil {
		rec.url = shelf.url
		rec.like = shelf.find(r.Header)
	} else {
		rec.url = string(url)
	}
	return set == s.settings.Load()
}

// ends reports whether an answer that is not kept for this reason ends the one
// that was: the backend does not want it kept any more.
func (w Why) ends() bool {
	switch w {
	case WhyNoStore, WhyNoCache, WhyPrivate, WhyVary, WhyRevalidate:
		return true
	}
	return false
}

// forbidsStore reports whether it is r that has its answer not kept, which says
// nothing of those to others.
func forbidsStore(r *http.Request) bool {
	return parseDirectives(r.Header["Cache-Control"]).noStore
}

// head decides by the head of the answer, and takes of it what is kept.
func (rec *Recording) head(r *http.Request, h http.Header, set *Settings, now time.Time) Why {
	var without exclusions
	var why Why
	if rec.verdict, without, why = judge(r, rec.who, rec.status, h, set, &rec.store.dates, now); why != "" {
		return why
	}
	if lines := h["Content-Length"]; len(lines) > 0 && !rec.renews {
		n, err := strconv.ParseInt(lines[0], 10, 64)
		if err != nil || n < 0 {
			return WhyCut
		}
		rec.length = n
	}
	if rec.length > set.MaxAnswer {
		return WhyTooLarge
	}
	if like := rec.like; like != nil && like.status == rec.status && sameFields(like.header, h, without) {
		rec.asLike = true
		rec.header, rec.vary, rec.variant = like.header, like.vary, like.variant
		rec.cost = like.cost - int64(cap(like.body))
		return ""
	}
	var ok bool
	if rec.vary, ok = varies(h["Vary"], r.Header, set); !ok {
		return WhyVary
	}
	var space [256]byte
	variant := appendVariant(space[:0], r.Header, rec.vary)
	if len(variant) > maxVariantSize {
		return WhyVary
	}
	rec.variant = string(variant)
	rec.cost = headCost(rec.url, measure(h, without), rec.vary, rec.variant)
	if why := rec.reserve(rec.cost); why != "" {
		return why
	}
	rec.header = copyFields(h, without)
	return ""
}

// Write takes the next piece of the body and copies what it keeps of it. Beyond
// the bounds it gives up, which Done reports.
func (rec *Recording) Write(p []byte) {
	switch {
	case rec.failed != "" || rec.renews || len(p) == 0:
		return
	case rec.length >= 0 && int64(rec.size()+len(p)) > rec.length:
		rec.giveUp(WhyCut) // two lengths: neither is to be believed
		return
	case rec.body == nil && rec.like != nil && bytes.HasPrefix(rec.like.body[rec.same:], p):
		rec.same += len(p)
		return
	}
	if !rec.grow(rec.size() + len(p)) {
		return
	}
	if rec.same > 0 {
		rec.body = append(rec.body, rec.like.body[:rec.same]...)
		rec.same = 0
	}
	rec.body = append(rec.body, p...)
}

// size is how much of the body has come.
func (rec *Recording) size() int {
	if rec.renews {
		return len(rec.like.body)
	}
	return rec.same + len(rec.body) // one of them is 0
}

// grow makes room for a body of n bytes. A length that is announced is not given
// room before it comes.
func (rec *Recording) grow(n int) bool {
	if rec.body != nil && n <= cap(rec.body) {
		return true
	}
	limit := rec.store.settings.Load().MaxAnswer
	if int64(n) > limit {
		rec.giveUp(WhyTooLarge)
		return false
	}
	if rec.length >= 0 {
		limit = rec.length
	}
	size := max(n, int(min(2*int64(cap(rec.body)), limit)))
	need := roomFor(size) - rec.held
	if !rec.asLike {
		need += rec.cost
	}
	if why := rec.reserve(need); why != "" {
		rec.giveUp(why)
		return false
	}
	rec.body = append(slices.Grow([]byte(nil), size), rec.body...)
	return true
}

// roomFor is at least what the allocator takes for n bytes: its size classes are
// an eighth apart, and above 32 KiB it takes pages of 8 KiB.
func roomFor(n int) int64 {
	if n > 32<<10 {
		return int64(n) + 8<<10
	}
	return int64(n) + int64(n/8) + 16
}

// reserve takes n more bytes of the Store's, or says why it cannot.
func (rec *Recording) reserve(n int64) Why {
	s := rec.store
	s.mu.Lock()
	defer s.mu.Unlock()
	room := s.settings.Load().recordingRoom(rec.held + n)
	switch {
	case n <= 0:
		return ""
	case rec.held+n > room:
		return WhyTooLarge
	case s.recording+n > room:
		return WhyNoRoom
	}
	s.evict(n)
	s.recording += n
	rec.held += n
	return ""
}

func (rec *Recording) giveUp(why Why) {
	rec.failed = why
	rec.body, rec.header, rec.like = nil, nil, nil
	rec.store.mu.Lock()
	defer rec.store.mu.Unlock()
	rec.release()
}

// release gives back what is held, with Store.mu held.
func (rec *Recording) release() {
	rec.store.recording -= rec.held
	rec.held = 0
}

// Done ends the recording: the answer is kept if it is complete, which means that
// the backend ended it properly, or Done says why not.
func (rec *Recording) Done(now time.Time, complete bool) Why {
	defer rec.free()
	var e *entry
	switch {
	case rec.failed != "":
	case !complete || rec.length >= 0 && int64(rec.size()) != rec.length:
		rec.failed = WhyCut
	case !rec.asLike || !rec.bodyIsLikes():
		e = rec.entry(now)
	}
	s := rec.store
	s.mu.Lock()
	defer s.mu.Unlock()
	rec.release()
	if rec.failed == "" && s.ended.voids(rec.url, rec.sent) {
		rec.failed = WhyInvalidated
	}
	switch {
	case rec.failed != "":
		return rec.failed
	case e != nil:
		s.put(e, rec.url, rec.who)
	case rec.like.shelf != nil:
		s.renew(rec.like, rec.verdict, now)
	default: // replaced or evicted meanwhile
		s.put(rec.entry(now), rec.url, rec.who)
	}
	return ""
}

// bodyIsLikes reports whether the body is all of like's.
func (rec *Recording) bodyIsLikes() bool {
	return rec.renews || rec.body == nil && rec.like != nil && rec.same == len(rec.like.body)
}

// entry is what is kept. A body that is a part of like's, or has much more memory
// than it needs, is copied.
func (rec *Recording) entry(now time.Time) *entry {
	body := rec.body
	switch {
	case rec.bodyIsLikes():
		body = rec.like.body
	case rec.same > 0:
		body = append([]byte(nil), rec.like.body[:rec.same]...)
	case int64(cap(body)) > roomFor(len(body)):
		body = append([]byte(nil), body...)
	}
	return &entry{
		status: rec.status, header: rec.header, body: body, vary: rec.vary, variant: rec.variant,
		cost: rec.cost + int64(cap(body)), verdict: rec.verdict, received: now,
	}
}
