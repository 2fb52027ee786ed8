// Package fallback is the vocabulary of answers that are given in a backend's
// place: what such an answer is, and where it came from. Who remembers them is
// the subject of stale and backup, below it; when one may be given is the
// bulkhead's.
package fallback

import (
	"net/http"
	"time"
)

// Kind is where an answer came from.
type Kind string

const (
	Stale  Kind = "stale"  // the backend gave it earlier, to the same credentials
	Backup Kind = "backup" // prepared and reviewed, from disk
)

// Kinds is every kind, in the order in which they are tried.
func Kinds() []Kind { return []Kind{Stale, Backup} }

// Answer is one that may stand in. Everything in it is shared: nobody writes to
// Header or Body.
type Answer struct {
	Kind   Kind
	Status int
	Header http.Header // fields of the answer itself: none of a connection, no Set-Cookie, Age or Date
	Body   []byte      // whole, as the backend encoded it; also for HEAD, whose answer leaves it out
	Made   time.Time   // when the backend gave it
	Fresh  time.Time   // until when it was fresh (RFC 9111 section 4.2); not after now when it is given
}

// Age is how old a is (RFC 9111 section 5.1), never below 0.
func (a *Answer) Age(now time.Time) time.Duration { return max(0, now.Sub(a.Made)) }
