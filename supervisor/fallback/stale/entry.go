package stale

import (
	"net/http"
	"slices"
	"time"
)

// A place is where an answer is kept: a URL and who asked.
type place struct {
	url string
	who identity
}

// A shelf has the variants of one place, newest first, and is chained to the
// others of its URL.
type shelf struct {
	place
	variants   []*entry
	next, prev *shelf
}

// find is the newest variant that h selects (RFC 9111 section 4.1), or nil.
func (s *shelf) find(h http.Header) *entry {
	for _, e := range s.variants {
		if selects(h, e.vary, e.variant) {
			return e
		}
	}
	return nil
}

// An entry is an answer that is kept. All but the verdict, and where it stands,
// is immutable and shared with those it was given to.
type entry struct {
	status  int
	header  http.Header
	body    []byte
	vary    []string
	variant string
	cost    int64 // bytes

	// Guarded by Store.mu.
	verdict
	received     time.Time
	shelf        *shelf // nil: it is not kept any more
	older, newer *entry
}

// replaces reports whether e is for the same requests as old.
func (e *entry) replaces(old *entry) bool {
	return e.variant == old.variant && slices.Equal(e.vary, old.vary)
}

// What an entry costs besides its own bytes, on a 64-bit machine: measured by
// TestCostCoversHeap, with the places of both indexes at their worst load.
const (
	entryOverhead = 640
	fieldOverhead = 80 // of each field, for its slot in the map and its value
	valueOverhead = 16
)

// headCost is what an entry costs without its body.
func headCost(url string, head headSize, vary []string, variant string) int64 {
	n := entryOverhead + len(url) + head.fields*fieldOverhead + head.values*valueOverhead + head.bytes + len(variant)
	for _, name := range vary {
		n += len(name) + valueOverhead
	}
	return int64(n + n/8) // size classes of the allocator
}

// originFields are what backends take for the scheme, the authority and the root of
// the URL that the client has, since only a proxy in front knows them: of one target
// they may make the shop of another host, or a redirect to https. The front sets
// them, and lets trusted proxies alone say something else.
var originFields = [...]string{"X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix"}

// appendURL writes what names the resource of r, or another one of the same origin:
// the origin, and uri. Hosts do not depend on case, and cannot contain the slash that
// follows; no value can contain the bytes 0 and 1.
func appendURL(b []byte, r *http.Request, uri string) []byte {
	for _, name := range originFields {
		for _, value := range r.Header[name] {
			b = append(appendLower(b, value), 1)
		}
		b = append(b, 0)
	}
	return append(appendLower(b, r.Host), uri...)
}

func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c)
	}
	return b
}

// line has the entries in the order in which the backend gave them.
type line struct {
	oldest, newest *entry
	n              int
}

func (l *line) push(e *entry) {
	e.older, e.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = e
	} else {
		l.oldest = e
	}
	l.newest = e
	l.n++
}

func (l *line) remove(e *entry) {
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		l.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		l.newest = e.older
	}
	e.older, e.newer = nil, nil
	l.n--
}

// index finds shelves by place and by URL.
type index struct {
	shelves map[place]*shelf
	byURL   map[string]*shelf // the first of a chain
}

func newIndex() index {
	return index{shelves: make(map[place]*shelf), byURL: make(map[string]*shelf)}
}

// add is the shelf of url and who; url must not be a part of something larger.
func (x *index) add(url string, who identity) *shelf {
	if s := x.shelves[place{url, who}]; s != nil {
		return s
	}
	first := x.byURL[url]
	if first != nil {
		url = first.url // one copy for all
	}
	s := &shelf{place: place{url, who}, next: first}
	if first != nil {
		first.prev = s
	}
	x.byURL[url] = s
	x.shelves[s.place] = s
	return s
}

func (x *index) remove(s *shelf) {
	delete(x.shelves, s.place)
	switch {
	case s.prev != nil:
		s.prev.next = s.next
	case s.next != nil:
		x.byURL[s.url] = s.next
	default:
		delete(x.byURL, s.url)
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
}
