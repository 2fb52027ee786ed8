package journal

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"time"
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Filter picks stories. The zero value of a field lets all through.
type Filter struct {
	RequestID, Bulkhead, Method, Outcome, Reason string
	IdempotencyDigest                            string
	ReplayOf                                     string // request id
	Replays                                      bool   // of whatever request
	Sealed                                       bool   // and kept, unless it was dropped since
	State                                        State
	StatusMin, StatusMax                         int       // of what the client was told; both are in
	Since, Until                                 time.Time // by Arrived; Until itself is out
}

// texts are members that every line of a story of f has, so that other lines need
// not be decoded.
func (f *Filter) texts() [][]byte {
	var texts [][]byte
	for _, m := range []struct{ name, value string }{
		{"request_id", f.RequestID}, {"bulkhead", f.Bulkhead}, {"method", f.Method}, {"idempotency_digest", f.IdempotencyDigest},
		{"replay_of", f.ReplayOf},
	} {
		if m.value != "" {
			texts = append(texts, appendText(nil, m.name, m.value, MaxTextBytes))
		}
	}
	if f.Replays {
		texts = append(texts, appendName(nil, "replay_of_entry"))
	}
	if f.Sealed {
		texts = append(texts, appendName(nil, "sealed"))
	}
	return texts
}

func (f *Filter) want() func(line []byte) bool {
	texts := f.texts()
	return func(line []byte) bool {
		for _, text := range texts {
			if !bytes.Contains(line, text) {
				return false
			}
		}
		return true
	}
}

// Match reports whether s passes. It compares what was recorded: text that was
// cut matches only what is cut likewise.
func (f *Filter) Match(s *Story) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	arrived := s.arrived()
	return is(f.RequestID, s.RequestID) && is(f.Bulkhead, s.Bulkhead) && is(f.Method, s.Method) &&
		is(f.Outcome, s.Outcome) && is(f.Reason, s.Reason) && is(f.IdempotencyDigest, s.IdempotencyDigest) &&
		is(f.ReplayOf, s.ReplayOf) && (!f.Replays || s.ReplayOfEntry != "") && (!f.Sealed || s.Sealed != "") &&
		is(string(f.State), string(s.State)) &&
		s.Status >= f.StatusMin && (f.StatusMax == 0 || s.Status <= f.StatusMax) &&
		!arrived.Before(f.Since) && (f.Until.IsZero() || arrived.Before(f.Until))
}

func (r *Record) arrived() time.Time {
	if r.Arrived.IsZero() {
		return r.At
	}
	return r.Arrived
}

// Find tells the stories that f lets through, as they were closed, then those that
// were not. The iteration ends with the first error.
func (r *Reader) Find(ctx context.Context, f Filter) iter.Seq2[*Story, error] {
	return func(yield func(*Story, error) bool) {
		segments, err := r.listOrNothing()
		if err == nil {
			segments = writtenSince(segments, f.Since)
			err = r.stories(ctx, segments, f.want(), func(s *Story) error {
				if f.Match(s) && !yield(s, nil) {
					return errStop
				}
				return nil
			})
		}
		if err != nil && !stopped(err) {
			yield(nil, err)
		}
	}
}

// writtenSince leaves out segments that were last written to before: what arrived
// since is in others. A minute is for file systems with coarse clocks.
func writtenSince(segments []*segment, since time.Time) []*segment {
	return slices.DeleteFunc(segments, func(s *segment) bool { return s.last.Add(time.Minute).Before(since) })
}

// MaxTail bounds Tail.
const MaxTail = 10_000

// Tail is the last n stories that f lets through, 1 to MaxTail, by the time of
// their last record.
func (r *Reader) Tail(ctx context.Context, f Filter, n int) ([]*Story, error) {
	n = min(max(n, 1), MaxTail)
	var last []*Story
	for s, err := range r.Find(ctx, f) {
		if err != nil {
			return nil, err
		}
		if last = append(last, s); len(last) >= 2*n { // half of it, now and then
			last = latest(last, n)
		}
	}
	return latest(last, n), nil
}

func latest(stories []*Story, n int) []*Story {
	slices.SortStableFunc(stories, func(a, b *Story) int { return a.At.Compare(b.At) })
	over := max(0, len(stories)-n)
	return slices.Delete(stories, 0, over)
}
