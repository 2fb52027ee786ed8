package stale

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"commerce.example/coordinator/ipc/credential"
)

// A verdict is what an answer's head says about keeping it.
type verdict struct {
	made         time.Time     // received, less its age (RFC 9111 section 4.2.3)
	fresh        time.Time     // until then
	staleFor     time.Duration // beyond fresh: 0 when it must be revalidated, absent when nothing is said
	staleIfError bool          // stale-if-error permits it explicitly, on answers of the backend
}

// statuses that are kept: what RFC 9110 section 15.1 lets caches keep without
// being told, less 206, which is a part, and those that are about the request
// (405, 414) or the backend (501).
func keepsStatus(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 410:
		return true
	}
	return false
}

// endsAccess reports whether a client that gets status has lost what it was given
// earlier under the same credentials; pages redirect to their login.
func endsAccess(status int) bool {
	switch status {
	case 302, 303, 307, 401, 403, 451:
		return true
	}
	return false
}

// judge decides by the fields of request and answer, and computes how old the
// answer is, received at now. Vary is the business of its own file.
func judge(r *http.Request, who identity, status int, h http.Header, set *Settings, dates *dates, now time.Time) (verdict, exclusions, Why) {
	if lines := r.Header["Cache-Control"]; len(lines) > 0 && parseDirectives(lines).noStore {
		return verdict{}, nil, WhyNoStore // section 5.2.1.5
	}
	if !keepsStatus(status) {
		return verdict{}, nil, WhyStatus
	}
	d := parseDirectives(h["Cache-Control"])
	switch {
	case d.noStore && !d.mustUnderstand:
		return verdict{}, nil, WhyNoStore
	case d.private && who == identity{}:
		return verdict{}, nil, WhyPrivate
	case d.noCache:
		return verdict{}, nil, WhyNoCache
	case who == identity{} && !d.public && beginsSession(h):
		return verdict{}, nil, WhySetCookie
	}

	date := dates.of(h["Date"], now)
	v := verdict{made: now.Add(-initialAge(h, date, now)), staleFor: d.staleIfError}
	v.fresh = v.made.Add(freshnessLifetime(&d, h, date))
	v.staleIfError = d.staleIfError != absent
	if d.revalidate || d.sMaxAge != absent {
		v.staleFor, v.staleIfError = 0, false
		if !v.fresh.After(now) {
			return verdict{}, nil, WhyRevalidate
		}
	}
	if !v.givable(now, set.MaxAge, absent) {
		return verdict{}, nil, WhyTooOld
	}
	without := exclusions(d.fields)
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			without = append(without, trimOWS(name))
		}
	}
	return v, without, ""
}

// givable reports whether an answer may be given: not older than maxAge, and not
// stale for longer than it says itself, or the request (atMost; absent: no limit).
func (v *verdict) givable(now time.Time, maxAge, atMost time.Duration) bool {
	stale := now.Sub(v.fresh)
	return now.Sub(v.made) < maxAge &&
		(v.staleFor == absent || stale < 0 || v.staleFor > 0 && stale <= v.staleFor) &&
		(atMost == absent || stale <= atMost)
}

// initialAge is corrected_initial_age of section 4.2.3, with a response delay of
// 0. Both clocks of the apparent age are walls', since that is what Date is.
func initialAge(h http.Header, date, now time.Time) time.Duration {
	age := max(0, now.Sub(date))
	if lines := h["Age"]; len(lines) > 0 {
		first, _, _ := strings.Cut(lines[0], ",") // section 5.1
		if t, ok := parseSeconds(trimOWS(first)); ok {
			age = max(age, t)
		}
	}
	return age
}

// freshnessLifetime follows sections 4.2.1 and 4.2.2.
func freshnessLifetime(d *directives, h http.Header, date time.Time) time.Duration {
	switch {
	case d.sMaxAge != absent:
		return d.sMaxAge
	case d.maxAge != absent:
		return d.maxAge
	}
	if lines := h["Expires"]; len(lines) > 0 {
		expires, err := http.ParseTime(lines[0])
		if err != nil || len(lines) > 1 { // section 5.3: "0" is in the past
			return 0
		}
		return max(0, min(expires.Sub(date), maxSeconds*time.Second))
	}
	if lines := h["Last-Modified"]; len(lines) == 1 {
		if modified, err := http.ParseTime(lines[0]); err == nil {
			return max(0, date.Sub(modified)/10)
		}
	}
	return 0
}

// dates reads Date fields. Answers of one second have the same, so the last one
// is remembered: reading it is a fifth of what a recording costs.
type dates struct {
	last atomic.Pointer[knownDate]
}

type knownDate struct {
	text string
	time time.Time
}

// of is the time of a Date field, or now where there is none (RFC 9110 section
// 6.6.1).
func (d *dates) of(lines []string, now time.Time) time.Time {
	if len(lines) != 1 {
		return now
	}
	if known := d.last.Load(); known != nil && known.text == lines[0] {
		return known.time
	}
	date, err := http.ParseTime(lines[0])
	if err != nil {
		return now
	}
	d.last.Store(&knownDate{strings.Clone(lines[0]), date})
	return date
}

// beginsSession reports whether an answer with the fields h gives its client something
// to come back with.
func beginsSession(h http.Header) bool {
	for field := range h {
		if credential.IsIssued(field) {
			return true
		}
	}
	return false
}
