package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// maxReplays bounds how many replays are remembered while reading.
const maxReplays = 1 << 18

// ErrNoClose is At's answer where no close of a request stands.
var ErrNoClose = errors.New("journal: no close of a request stands there")

// At reads the close that stands in a segment at that offset, as a Story has them.
// The error is ErrNoClose, fs.ErrNotExist for a segment that was trimmed, or the
// file system's.
func (r *Reader) At(name string, offset int64) (*Story, error) {
	if _, ok := seqOf(name); !ok || name != filepath.Base(name) || offset < 0 {
		return nil, ErrNoClose
	}
	f, err := os.Open(filepath.Join(r.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	line, err := io.ReadAll(io.NewSectionReader(f, offset, maxLine+1))
	if err != nil {
		return nil, err
	}
	line, _, _ = bytes.Cut(line, []byte{'\n'})
	if kind, _ := peek(line); string(kind) != KindClose || !whole(line) {
		return nil, ErrNoClose
	}
	record, err := decodeRecord(line)
	if err != nil {
		return nil, err
	}
	return &Story{Record: *record, State: Closed, Segment: name, Offset: offset}, nil
}

// Replays is, by the entry of each request that was sent again, the last request
// that was sent in its place. One that was refused never left, and does not count.
func (r *Reader) Replays(ctx context.Context) (map[string]*Story, error) {
	of := make(map[string]*Story)
	for s, err := range r.Find(ctx, Filter{Replays: true}) {
		if err != nil {
			return nil, err
		}
		if s.Outcome == OutcomeRefused {
			continue
		}
		if of[s.ReplayOfEntry] = s; len(of) > maxReplays {
			return nil, fmt.Errorf("journal: more than %d replays", maxReplays)
		}
	}
	return of, nil
}

// WrittenBeside reports whether a run other than those writes the journal.
func (r *Reader) WrittenBeside(runs ...string) (bool, error) {
	segments, err := r.listOrNothing()
	for _, s := range segments {
		if s.live && !slices.Contains(runs, s.run) {
			return true, nil
		}
	}
	return false, err
}

// Oldest is when the oldest segment in dir was begun, as its name says; the zero
// time when there is none.
func Oldest(dir string) (time.Time, error) {
	segments, err := names(dir)
	if err != nil || len(segments) == 0 {
		return time.Time{}, err
	}
	return segments[0].begun()
}
