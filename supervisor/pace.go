package supervisor

import (
	"net/http"
	"strings"
	"time"
)

const (
	// paceGrace is how far behind the minimum rate a client may fall: room for
	// a TLS record, a lost packet, the way of a 100 Continue. It is that of
	// Kestrel's MinRequestBodyDataRate, as is the default of the rate, 240
	// bytes a second.
	paceGrace = 5 * time.Second
	// paceCredit is how far ahead of it what was moved may put a client, so that
	// the average is that of half a minute and not of all that there was.
	paceCredit = 25 * time.Second
	// paceStep is the most that one tick charges: a watch that comes late was
	// not there to see who was waited for.
	paceStep = 5 * watchEvery
)

// pace is how a client keeps a minimum rate. It is behind by the time for which
// it was waited for, less the time that what it moved would take at the rate:
// who sends nothing has the grace, and what it was ahead. The zero value has
// moved nothing. It is for one goroutine.
type pace struct {
	behind time.Duration
	moved  int64
}

// late reports whether a client that was waited for, for that long since the
// last look, is too slow. moved is what there was of the body so far, in bytes
// that the client sent and bytes that it took; pending is what it was given to
// take since then, of which nobody knows how much it has; rate is in bytes per
// second, above 0. A client that is not waited for is never late.
func (p *pace) late(waited time.Duration, moved, pending, rate int64) bool {
	p.behind = waited + max(p.behind-timeAt(rate, moved-p.moved), -paceCredit)
	p.moved = moved
	return waited > 0 && p.behind-timeAt(rate, pending) > paceGrace
}

// timeAt is how long bytes take at a rate, at most that of 4 GiB.
func timeAt(rate, bytes int64) time.Duration {
	return time.Duration(min(max(bytes, 0), 1<<32)) * time.Second / time.Duration(rate)
}

// lagging reports whether the client of c keeps it waiting for too long.
func (c *call) lagging(since time.Duration, rate int64) bool {
	pending := c.writing.Load() // before moved: what was written by then is in it
	if pending == 0 && c.body == nil || c.ownPace.Load() {
		return false
	}
	moved, waits := c.moved.Load(), pending > 0
	if c.body != nil {
		if x := c.current(); x != nil {
			waits = x.AwaitsBody() || waits // before Uploaded, likewise
			moved += x.Uploaded()
		} else if c.gathering.Load() {
			waits = true
			moved += c.gathered.Load()
		}
	}
	if !waits {
		since = 0
	}
	return c.pace.late(since, moved, pending, rate)
}

// hasOwnPace reports whether an answer is one of messages that come when there is
// something to say, in event streams and in gRPC, there in both directions: that
// little moves says nothing about the client.
func hasOwnPace(h http.Header) bool {
	ct := h["Content-Type"]
	return len(ct) > 0 && (strings.HasPrefix(ct[0], "text/event-stream") || strings.HasPrefix(ct[0], "application/grpc"))
}
