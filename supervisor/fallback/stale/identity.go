package stale

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"commerce.example/coordinator/ipc/credential"
)

// An identity is who asks: a keyed digest of the listed credentials. The zero
// one has none.
type identity [sha256.Size]byte

// digests makes identities. Its key is random and known to nobody else: what is
// in memory cannot be tried against lists of guessed credentials elsewhere.
type digests struct {
	states sync.Pool // of *digest
}

type digest struct {
	mac hash.Hash
	buf []byte // what is hashed; cleared after each use
	sum []byte
}

func newDigests() *digests {
	key := make([]byte, sha256.BlockSize)
	rand.Read(key) // never fails
	return &digests{states: sync.Pool{New: func() any { return &digest{mac: hmac.New(sha256.New, key)} }}}
}

// identify tells who asks with h, or that h has credentials that are not listed.
//
// Each credential is written as the number of its values, then each with its
// length before it, in the order of the list: no two requests with different
// values write the same.
func (d *digests) identify(h http.Header, set *Settings) (identity, Why) {
	for field := range h {
		if credential.NamesUser(field) && !set.lists(field) {
			return identity{}, WhyCredentials
		}
	}
	if len(set.PerCredential) == 0 {
		return identity{}, ""
	}
	state := d.states.Get().(*digest)
	defer d.states.Put(state)
	b, some := state.buf[:0], false
	for _, c := range set.PerCredential {
		b = append(b, c.Field...)
		b = append(append(append(b, ':'), c.Cookie...), 0)
		if c.Cookie == "" {
			b = appendValues(b, h[c.Field])
			some = some || len(h[c.Field]) > 0
			continue
		}
		before := len(b)
		b = appendCookie(b, h[c.Field], c.Cookie)
		some = some || len(b) > before
	}
	var who identity
	if some {
		state.mac.Reset()
		state.mac.Write(b)
		state.sum = state.mac.Sum(state.sum[:0])
		copy(who[:], state.sum)
	}
	clear(b) // no credential stays behind in the pool
	state.buf = b
	if cap(state.buf) > 64<<10 {
		state.buf = nil
	}
	return who, ""
}

func appendValues(b []byte, values []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(values)))
	for _, v := range values {
		b = appendValue(b, v)
	}
	return b
}

func appendValue(b []byte, v string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// appendCookie writes every value of the cookie called name, or nothing when
// there is none. Backends read cookies in their own ways: without regard to case,
// with escapes in names, with commas between. Where one could see that cookie and
// this function does not, the whole field counts instead, which is safe and
// seldom repeats.
func appendCookie(b []byte, lines []string, name string) []byte {
	begin := len(b)
	for _, line := range lines {
		for more := true; more; {
			var pair string
			pair, line, more = strings.Cut(line, ";")
			key, value, ok := strings.Cut(trimOWS(pair), "=")
			if !isPlainCookieName(key) && (key != "" || ok) || assigns(value, name) {
				return appendValues(append(b[:begin], "whole:"...), lines)
			}
			if sameCookieName(key, name) {
				b = appendValue(append(append(b, key...), '='), value)
			}
		}
	}
	return b
}

// sameCookieName compares as the most lenient backend: without regard to case, and
// with a dot that stands for an underscore (PHP).
func sameCookieName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if x, y := a[i], b[i]; x != y && (x != '.' && x != '_' || y != '.' && y != '_') && !strings.EqualFold(a[i:i+1], b[i:i+1]) {
			return false
		}
	}
	return true
}

// isPlainCookieName is narrower than RFC 6265: nothing that some backend unescapes.
func isPlainCookieName(s string) bool {
	return httpguts.ValidHeaderFieldName(s) && !strings.ContainsAny(s, "%+")
}

// assigns reports whether name and an equals sign stand somewhere in s.
func assigns(s, name string) bool {
	for {
		i := strings.IndexByte(s, '=')
		if i < 0 {
			return false
		}
		before := strings.TrimRight(s[:i], " \t")
		if len(before) >= len(name) && sameCookieName(before[len(before)-len(name):], name) {
			return true
		}
		s = s[i+1:]
	}
}
