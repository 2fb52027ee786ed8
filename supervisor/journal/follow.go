package journal

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"
)

// followEvery is how often Follow looks for more, so at most so late it is.
const followEvery = 250 * time.Millisecond

// maxTold bounds the entries that Follow remembers, so as to tell each once: what
// an abandoned segment has too much stands in the next one again.
const maxTold = 16 << 10

// Follow tells the last n closed stories that f lets through, 0 to MaxTail, then
// each further one when it is closed, until ctx ends, which is no error. What is in
// flight is told at its end: by its coordinator, or by the recovery of the next.
func (r *Reader) Follow(ctx context.Context, f Filter, n int) iter.Seq2[*Story, error] {
	return func(yield func(*Story, error) bool) {
		w := &follower{dir: r.dir, f: f, want: f.want(), at: make(map[string]position), told: make(map[string]bool)}
		err := w.run(ctx, min(max(n, 0), MaxTail), func(s *Story) error {
			if !yield(s, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !stopped(err) && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

// A follower knows how far it has read each segment.
type follower struct {
	dir  string
	f    Filter
	want func(line []byte) bool
	at   map[string]position // by name, of the segments that exist

	told  map[string]bool // entries
	order []string        // of told, oldest first
}

type position struct {
	next int64 // where the line after the last whole one begins
	size int64 // of the file, when it was read
}

func (w *follower) run(ctx context.Context, n int, tell func(*Story) error) error {
	if err := w.begin(ctx, n, tell); err != nil {
		return err
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		segments, err := names(w.dir)
		if err != nil && !isNotExist(err) {
			return err
		}
		if err := w.more(ctx, segments, tell); err != nil {
			return err
		}
	}
}

// begin reads all that is there, and tells the last n of it.
func (w *follower) begin(ctx context.Context, n int, tell func(*Story) error) error {
	segments, err := (&Reader{w.dir}).listOrNothing()
	if err != nil {
		return err
	}
	var last []*Story
	err = w.more(ctx, segments, func(s *Story) error {
		if last = append(last, s); len(last) > 2*n {
			last = latest(last, n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range latest(last, n) {
		if err := tell(s); err != nil {
			return err
		}
	}
	return nil
}

// more tells what has been added to the segments, and forgets those that are gone.
func (w *follower) more(ctx context.Context, segments []*segment, tell func(*Story) error) error {
	at := make(map[string]position, len(segments))
	for _, s := range segments {
		p := w.at[s.name]
		if s.size > p.size {
			var err error
			if p.next, err = w.read(ctx, s, p.next, tell); err != nil {
				return err
			}
			p.size = s.size
		}
		at[s.name] = p
	}
	w.at = at
	return nil
}

// read tells the closes in s from that offset on, and returns where to go on: a
// line that is being written is read when it is whole.
func (w *follower) read(ctx context.Context, s *segment, from int64, tell func(*Story) error) (next int64, err error) {
	f, err := os.Open(filepath.Join(w.dir, s.name))
	if errors.Is(err, fs.ErrNotExist) {
		return from, nil // trimmed
	} else if err != nil {
		return from, err
	}
	defer f.Close()
	next, n := from, 0
	sc := scanner{
		visit: func(offset int64, line []byte) error {
			if n++; n%1024 == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			next = from + offset + int64(len(line)) + 1
			return w.line(s, from+offset, line, tell)
		},
		damaged: func(int64, int64, bool) {}, // Verify tells it
	}
	err = sc.scan(io.NewSectionReader(f, from, s.counts-from))
	return next, err
}

func (w *follower) line(s *segment, offset int64, line []byte, tell func(*Story) error) error {
	kind, entry := peek(line)
	if string(kind) != KindClose || w.told[string(entry)] || !w.want(line) {
		return nil
	}
	r, err := decodeRecord(line)
	if err != nil {
		return err
	}
	story := &Story{Record: *r, State: Closed, Segment: s.name, Offset: offset}
	if !w.f.Match(story) {
		return nil
	}
	w.remember(r.Entry)
	return tell(story)
}

func (w *follower) remember(entry string) {
	if len(w.order) == maxTold {
		delete(w.told, w.order[0])
		w.order = w.order[1:]
	}
	w.told[entry] = true
	w.order = append(w.order, entry)
}
