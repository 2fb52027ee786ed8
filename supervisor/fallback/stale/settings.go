package stale

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Settings bound a Store.
type Settings struct {
	// Bytes is the most memory for what is kept and being recorded; 0: 64 MiB.
	Bytes int64
	// MaxAge is the greatest Age of an answer that is given; 0: 10 minutes.
	MaxAge time.Duration
	// MaxAnswer is the longest body that is kept, in bytes, at most Bytes; 0: an
	// eighth of Bytes.
	MaxAnswer int64
	// PerCredential lists the fields by which users are told apart. Without any,
	// nothing is kept that was asked for with credentials.
	PerCredential []Credential
}

// A Credential is what tells the users of a backend apart: a field of the
// request, or one cookie of its Cookie field. Any field may be listed. Those that
// package credential knows keep an answer out when they are there and not listed; others, such
// as the key field of some API, are unknown here and have to be.
type Credential struct {
	Field  string // in canonical form
	Cookie string // name of the one cookie that counts; "": all of the field
}

// ParseCredential reads "Authorization", "Cookie", "Cookie:NAME" or the name of
// another request field.
func ParseCredential(s string) (Credential, error) {
	field, cookie, one := strings.Cut(s, ":")
	c := Credential{Field: http.CanonicalHeaderKey(field), Cookie: cookie}
	switch {
	case !isToken(field):
		return Credential{}, fmt.Errorf("credential %q: want the name of a request field, or Cookie:NAME", s)
	case one && c.Field != "Cookie":
		return Credential{}, fmt.Errorf("credential %q: only Cookie has parts, as Cookie:NAME", s)
	case one && !isToken(cookie):
		return Credential{}, fmt.Errorf("credential %q: want Cookie:NAME with the name of one cookie", s)
	}
	return c, nil
}

// String is what ParseCredential reads.
func (c Credential) String() string {
	if c.Cookie == "" {
		return c.Field
	}
	return c.Field + ":" + c.Cookie
}

// withDefaults is s with nothing left open, and its list in one order.
func (s Settings) withDefaults() *Settings {
	if s.Bytes <= 0 {
		s.Bytes = 64 << 20
	}
	if s.MaxAge <= 0 {
		s.MaxAge = 10 * time.Minute
	}
	if s.MaxAnswer <= 0 {
		s.MaxAnswer = s.Bytes / 8
	}
	s.MaxAnswer = min(s.MaxAnswer, s.Bytes)
	s.PerCredential = slices.Clone(s.PerCredential)
	slices.SortFunc(s.PerCredential, func(a, b Credential) int {
		return cmp.Or(strings.Compare(a.Field, b.Field), strings.Compare(a.Cookie, b.Cookie))
	})
	s.PerCredential = slices.Compact(s.PerCredential)
	return &s
}

// recordingRoom is how much of Bytes may be held by answers that are being
// recorded, one of which takes up to much: two of the largest, and at least a
// quarter. The rest is safe from answers that are begun and never kept. A sixteenth
// on top is for small ones alone, of which it holds as many as a bulkhead commonly
// lets be in flight: clients that take large answers slowly must not keep all others
// from being remembered.
func (s *Settings) recordingRoom(much int64) int64 {
	room := max(s.Bytes/4, 2*s.MaxAnswer)
	if much <= s.Bytes/16/32 {
		return min(s.Bytes, room+s.Bytes/16)
	}
	return min(s.Bytes-s.Bytes/16, room)
}

// lists reports whether field is listed, in whole or by a cookie.
func (s *Settings) lists(field string) bool {
	for i := range s.PerCredential {
		if s.PerCredential[i].Field == field {
			return true
		}
	}
	return false
}

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// isTokenByte is tchar of RFC 9110 section 5.6.2.
func isTokenByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
