package supervisor

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/hdr"
)

// lapseQuiet is for how long no fallback may have been given for a lapse to be
// over: a backend that recovers is probed first, and what is shed comes in bursts.
const lapseQuiet = 10 * time.Second

// A lapse is a time in which a bulkhead gives fallbacks: from the first of them
// until its backend answers again, and no other followed for lapseQuiet. That
// nobody asks does not end it. Safe for concurrent use.
type lapse struct {
	counts *hdr.Counts // of the last minute's requests, by kindIndex; the last is for those that needed none
	on     atomic.Bool

	mu       sync.Mutex
	first    firstFallback
	last     time.Time // fallback
	answered bool      // by the backend, since then
	given    []int     // by kindIndex
	told     bool      // the log knows that it began
	over     []string  // limits that the log knows to be passed
}

// firstFallback is what a lapse began with.
type firstFallback struct {
	at     time.Time
	kind   fallback.Kind
	reason Reason // "": an answer of the backend that STALE_ON or the stored one has replaced
	id     string // of the request
}

var kinds = fallback.Kinds()

func kindIndex(k fallback.Kind) int { return slices.Index(kinds, k) }

func (l *lapse) init() { l.counts = hdr.NewCounts(len(kinds) + 1) }

// note is told of every call of a bulkhead that has fallbacks, at its end.
func (l *lapse) note(c *call, now time.Time) {
	if c.stoodIn == "" {
		l.counts.Add(now, len(kinds))
		if l.on.Load() && c.reason == "" && c.progress.Begun && !c.set.failed[c.status] {
			l.mu.Lock()
			l.answered = true
			l.mu.Unlock()
		}
		return
	}
	kind := kindIndex(c.stoodIn)
	l.counts.Add(now, kind)
	c.bulkhead.stats.metrics.fallback[kind].Inc()
	if c.rehearsed { // its backend is well
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on.Load() {
		l.first = firstFallback{at: now, kind: c.stoodIn, reason: c.reason, id: requestID(c.r)}
		l.given, l.over, l.told = make([]int, len(kinds)), nil, false
		l.on.Store(true)
	}
	l.given[kind]++
	l.last, l.answered = now, false
}

// share is how much of the last minute's requests were given a fallback, from 0 to
// 1.
func (l *lapse) share(now time.Time) float64 {
	all, given := 0, 0
	for i, n := range l.counts.Sum(now) {
		all += n
		if i < len(kinds) {
			given += n
		}
	}
	return float64(given) / float64(max(all, 1))
}

// The limits of a lapse.
const (
	limitShare = "max_share"
	limitFor   = "max_for"
)

// passed are the limits that a lapse is over now: answers go on, and somebody
// should know.
func (l *lapse) passed(f *fallbacks, now time.Time) (limits []string) {
	if f == nil || !l.on.Load() {
		return nil
	}
	if f.MaxShare > 0 && l.share(now) > f.MaxShare {
		limits = append(limits, limitShare)
	}
	if since, _ := l.present(); f.MaxFor > 0 && now.Sub(since) > f.MaxFor {
		limits = append(limits, limitFor)
	}
	return limits
}

// present is when the lapse began, and what was given since, by kindIndex; the
// zero time when there is none.
func (l *lapse) present() (since time.Time, given []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on.Load() {
		return time.Time{}, nil
	}
	return l.first.at, slices.Clone(l.given)
}

// logFallback writes a line when a lapse begins, when it passes a limit, and when
// it is over. It belongs to the supervisor's watch.
func (b *Bulkhead) logFallback(log hclog.Logger, now time.Time) {
	l := &b.lapse
	if !l.on.Load() {
		return
	}
	set := b.settings.Load()
	log = log.With("bulkhead", set.Name)
	passed := l.passed(set.backed, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	took := now.Sub(l.first.at).Round(time.Millisecond).String()
	if !l.told {
		l.told = true
		b.noted.transition("fallback", "fallback begins: "+string(l.first.kind), string(l.first.reason))
		log.Warn("fallback begins", "kind", string(l.first.kind), "reason", string(l.first.reason), "request_id", l.first.id)
	}
	for _, limit := range passed {
		if !slices.Contains(l.over, limit) {
			l.over = append(l.over, limit)
			log.Error("fallback over its limit: answers go on", append([]any{"limit", limit, "for", took}, l.answers()...)...)
		}
	}
	if set.backed == nil || l.answered && now.Sub(l.last) >= lapseQuiet {
		l.on.Store(false)
		b.noted.transition("fallback", "fallback ended after "+took, "")
		log.Info("fallback ended", append([]any{"for", took}, l.answers()...)...)
	}
}

// answers is what was given, for the log; mu is held.
func (l *lapse) answers() (fields []any) {
	for i, kind := range kinds {
		fields = append(fields, string(kind), l.given[i])
	}
	return fields
}
