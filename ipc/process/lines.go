package process

import (
	"bytes"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// splitter cuts a stream into lines of at most limit bytes. A longer line is
// emitted when it reaches the limit, so that an endless one is seen, and the
// rest of it is lost.
type splitter struct {
	limit int
	emit  func(line []byte, cut bool) // must not keep line
	line  []byte                      // the line so far
	over  bool                        // it was emitted; skip to its end
	lost  uint64                      // bytes skipped
}

func (s *splitter) write(b []byte) {
	for len(b) > 0 {
		part, ended := b, false
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			part, b, ended = b[:i], b[i+1:], true
		} else {
			b = nil
		}
		if ended && !s.over && len(s.line) == 0 && len(part) <= s.limit {
			s.emit(part, false) // the usual case, without a copy
			continue
		}
		s.extend(part)
		if ended {
			s.end()
		}
	}
}

func (s *splitter) extend(part []byte) {
	if s.over {
		s.lost += uint64(len(part))
		return
	}
	room := min(len(part), s.limit-len(s.line))
	s.line = append(s.line, part[:room]...)
	if room < len(part) {
		s.emit(s.line, true)
		s.over = true
		s.lost += uint64(len(part) - room)
	}
}

// end emits the line so far as a whole one.
func (s *splitter) end() {
	if !s.over {
		s.emit(s.line, false)
	}
	s.line, s.over = s.line[:0], false
}

// flush emits an unfinished line at the end of the stream.
func (s *splitter) flush() {
	if len(s.line) > 0 {
		s.end()
	}
}

// clean makes a line safe to log: valid UTF-8, without the controls that move
// cursors, clear screens, hide or reorder text. Each offender becomes U+FFFD. A
// tab stays, a carriage return at the end goes.
func clean(b []byte) string {
	b = bytes.TrimSuffix(b, []byte{'\r'})
	if plain(b) {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r != '\t' && !unicode.IsPrint(r) {
			r = utf8.RuneError
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}

func plain(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}

// bucket is a token bucket: burst at once, then rate a second. It starts full.
type bucket struct {
	rate, burst float64

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

func newBucket(rate, burst int, now time.Time) *bucket {
	return &bucket{rate: float64(rate), burst: float64(burst), tokens: float64(burst), last: now}
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := now.Sub(b.last); d > 0 {
		b.tokens = min(b.burst, b.tokens+d.Seconds()*b.rate)
		b.last = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
