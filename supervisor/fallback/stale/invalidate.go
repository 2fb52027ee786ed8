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
// answer names in Location and Content-Location (RFC 9111 section 4.4). Answers
// of these URLs that are being recorded are not kept. It does nothing for safe
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
	s.end(string(appendURL(space[:0], r.Host, r.RequestURI)), now)
	for _, lines := range [...][]string{h["Location"], h["Content-Location"]} {
		for _, ref := range lines {
			if named, ok := sameHost(r, ref); ok {
				s.end(named, now)
			}
		}
	}
}

// sameHost resolves a reference of the answer to r. Scheme and host make the
// origin, and here one host is one origin.
func sameHost(r *http.Request, ref string) (string, bool) {
	base, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return "", false
	}
	target, err := base.Parse(ref)
	if err != nil || target.Scheme != "" && target.Scheme != "http" && target.Scheme != "https" ||
		target.Host != "" && !strings.EqualFold(target.Host, r.Host) {
		return "", false
	}
	return string(appendURL(nil, r.Host, target.RequestURI())), true
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

// invalidations are the last URLs that were ended, so that a recording can tell
// whether its own was among them since it began. What is older than all of them
// is unknown, and taken for ended.
type invalidations struct {
	count uint64 // in all
	urls  [64]uint64
	since uint64 // recordings that began before this count are void, whatever their URL
}

// urlSeed is of no consequence: a collision has one answer too many not kept.
var urlSeed = maphash.MakeSeed()

func (v *invalidations) note(url string) {
	v.urls[v.count%uint64(len(v.urls))] = maphash.String(urlSeed, url)
	v.count++
}

func (v *invalidations) all() {
	v.count++
	v.since = v.count
}

// voids reports whether url was ended after count was what it says.
func (v *invalidations) voids(url string, count uint64) bool {
	if count == v.count {
		return false
	}
	if count < v.since || v.count-count > uint64(len(v.urls)) {
		return true
	}
	sum := maphash.String(urlSeed, url)
	for i := count; i < v.count; i++ {
		if v.urls[i%uint64(len(v.urls))] == sum {
			return true
		}
	}
	return false
}
