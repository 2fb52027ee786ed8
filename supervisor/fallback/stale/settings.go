package stale

import (
	"time"

	"commerce.example/coordinator/ipc/credential"
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
	// nothing is kept that was asked for with credentials. Any field may be listed:
	// those that credential.NamesUser knows keep an answer out when they are there and not listed;
	// others, such as the key field of some API, are unknown here and have to be.
	PerCredential []credential.Name
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
	s.PerCredential = credential.Set(s.PerCredential)
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
