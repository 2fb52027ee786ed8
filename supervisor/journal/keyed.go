package journal

import (
	"bytes"
	"context"
	"iter"
	"time"
)

// Keyed tells the requests with an IdempotencyDigest of which anything was recorded
// since then, as Find does: as they were closed, then those that were not. It reads
// no file that was last written to before, and decodes no other lines, so that it
// may be asked while a client waits.
func (r *Reader) Keyed(ctx context.Context, since time.Time) iter.Seq2[*Story, error] {
	member := appendName(nil, "idempotency_digest")
	want := func(line []byte) bool { return bytes.Contains(line, member) }
	return func(yield func(*Story, error) bool) {
		segments, err := r.listOrNothing()
		if err == nil {
			err = r.stories(ctx, writtenSince(segments, since), want, func(s *Story) error {
				if s.IdempotencyDigest == "" || s.State == Closed && s.At.Before(since) || yield(s, nil) {
					return nil
				}
				return errStop
			})
		}
		if err != nil && !stopped(err) {
			yield(nil, err)
		}
	}
}

// Reach is how far back the journal goes, by the name of its oldest file, and
// whether it went further back before its Options.TotalBytes were used up. It is
// zero where nothing was ever recorded.
func (r *Reader) Reach() (since time.Time, trimmed bool, err error) {
	segments, err := names(r.dir)
	if isNotExist(err) || err == nil && len(segments) == 0 {
		return time.Time{}, false, nil
	} else if err != nil {
		return time.Time{}, false, err
	}
	oldest := segments[0]
	since, err = oldest.begun()
	return since, oldest.seq > 1, err
}
