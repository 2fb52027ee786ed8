package idempotency

import (
	"net/http"
	"slices"
	"time"

	"commerce.example/coordinator/ipc/credential"
)

// Settings bound a Store, and say what it may rely on.
type Settings struct {
	// Bytes is the most memory for answers, kept and being recorded; 0: 64 MiB.
	Bytes int64
	// MaxAge is how long a key is remembered from the end of its request on; 0: an
	// hour.
	MaxAge time.Duration
	// MaxAnswer is the longest body that is kept, in bytes, at most half of Bytes;
	// 0: 1 MiB, or half of Bytes.
	MaxAnswer int64
	// Keys is how many keys are remembered; 0: 262,144, enough for 72 a second with
	// the default of MaxAge.
	Keys int
	// Scope lists the fields by which clients are told apart; empty: Authorization,
	// Cookie, X-Api-Key and X-Auth-Token.
	Scope []credential.Name
	// Undone lists statuses with which the backend says that it did nothing, so
	// that the key is free again. nil: 401, 421 and 425, of which RFC 9110 sections
	// 15.5.2 and 15.5.20 and RFC 8470 section 5.2 say so; others, such as 429 and
	// 503, are between client and backend. Empty and not nil: none.
	Undone []int
	// BackendIdempotent declares that the backend itself knows repeats: a key of
	// which no whole answer came (sent_unknown, partial) may be sent again.
	BackendIdempotent bool
}

// withDefaults is s with nothing left open, and its lists its own. The order and
// the repetitions of Scope mean nothing.
func (s Settings) withDefaults() Settings {
	s.Bytes = orDefault(s.Bytes, 64<<20)
	s.MaxAge = orDefault(s.MaxAge, time.Hour)
	s.MaxAnswer = min(orDefault(s.MaxAnswer, 1<<20), s.Bytes/2)
	s.Keys = orDefault(s.Keys, 1<<18)
	if len(s.Scope) == 0 {
		s.Scope = []credential.Name{{Field: "Authorization"}, {Field: "Cookie"}, {Field: "X-Api-Key"}, {Field: "X-Auth-Token"}}
	}
	s.Scope = credential.Set(s.Scope)
	if s.Undone == nil {
		s.Undone = []int{http.StatusUnauthorized, http.StatusMisdirectedRequest, http.StatusTooEarly}
	}
	s.Undone = slices.Clone(s.Undone)
	return s
}

func orDefault[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}
