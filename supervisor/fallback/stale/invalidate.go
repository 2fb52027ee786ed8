package stale

import (
	"hash/maphash"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Invalidate ends what is kept of the URLs that an unsafe request has changed,
// for everybody and in all variants: its own, and those of the same host that its
// answer names in Location and Content-Location (RFC 9111 section 4.4). Answers of
// these URLs to what was sent before are not kept either. It does nothing for safe
// methods and for answers other than 2xx and 3xx, so it may be called with any.
func (s *Store) Invalidate(r *http.Request, status int, h http.Header, now time.Time) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return
	}
	if status < 200 || status > 399 {
		return
	}
	var space [512]byte
	s.end(string(appendURL(space[:0], r, r.RequestURI)), now)
	for _, lines := range [...][]string{h["Location"], h["Content-Location"]} {
		for _, ref := range lines {
			if named, ok := sameHost(r, ref); ok {
				s.end(named, now)
			}
		}
	}
}

// sameHost resolves a reference of the answer to r. Its host is that of r, or the
// one that a proxy in front has for it; the scheme is taken to be the same.
func sameHost(r *http.Request, ref string) (string, bool) {
	base, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return "", false
	}
	target, err := base.Parse(ref)
	if err != nil || target.Scheme != "" && target.Scheme != "http" && target.Scheme != "https" ||
		target.Host != "" && !strings.EqualFold(target.Host, r.Host) && !strings.EqualFold(target.Host, r.Header.Get("X-Forwarded-Host")) {
		return "", false
	}
	return string(appendURL(nil, r, target.RequestURI())), true
}

// end removes what is kept of a URL, and notes that this happened.
func (s *Store) end(url string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	s.ended.note(url)
	for shelf := s.index.byURL[url]; shelf != nil; {
		next := shelf.next
		for n := len(shelf.variants); n > 0; n-- {
			s.remove(shelf.variants[n-1])
			s.stats.Invalidated++
		}
		shelf = next
	}
}

// forget ends e, where a newer answer that is not kept has taken its place.
func (s *Store) forget(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.shelf != nil {
		s.remove(e)
		s.stats.Invalidated++
	}
}

// A Mark is a moment in the life of a Store. Take one when a request is sent: what
// its answer says may be from then. The zero Mark is before all.
type Mark uint64

// Mark is now.
func (s *Store) Mark() Mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended.now
}

// invalidations are when URLs were ended, so that a recording can tell whether its
// own was since its request was sent. Of the URLs that share a place it is the last
// one: a collision has an answer too many not kept.
type invalidations struct {
	now    Mark // after each there is another
	places [4096]Mark
	every  Mark // when all were
}

var urlSeed = maphash.MakeSeed()

func (v *invalidations) place(url string) *Mark {
	return &v.places[maphash.String(urlSeed, url)%uint64(len(v.places))]
}

func (v *invalidations) note(url string) {
	v.now++
	*v.place(url) = v.now
}

func (v *invalidations) all() {
	v.now++
	v.every = v.now
}

// voids reports whether url was ended after since.
func (v *invalidations) voids(url string, since Mark) bool {
	return v.now != since && (v.every > since || *v.place(url) > since)
}
