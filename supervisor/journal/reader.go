package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Reader reads the journal in a folder, beside those who write it. It holds no
// state, is safe for concurrent use, and takes memory for one line and for what is
// open at a time. Segments are read in the order of their numbers, so records of
// two runs that wrote at the same time, of either Sync or during an upgrade, are not
// in the order of time.
type Reader struct{ dir string }

// NewReader reads dir, which need not exist yet: an empty journal.
func NewReader(dir string) *Reader { return &Reader{dir: dir} }

// State is how far the record of a request got.
type State string

// The states.
const (
	Closed     State = "closed"     // the outcome is recorded
	InFlight   State = "in_flight"  // its writer lives and has not closed it
	Unrecorded State = "unrecorded" // its writer died, or the close is damaged: sent_unknown
)

// Story is what the journal knows of one request: its close, or else its intent.
type Story struct {
	Record
	State   State  `json:"state"`
	Segment string `json:"segment"` // where the line stands
	Offset  int64  `json:"offset"`
}

// maxJoin bounds the intents that wait for their close while reading: a journal
// that needs more has lost its closes.
const maxJoin = 128 << 10

// listOrNothing takes a folder that does not exist for an empty one.
func (r *Reader) listOrNothing() ([]*segment, error) {
	segments, err := list(r.dir)
	if isNotExist(err) {
		return nil, nil
	}
	return segments, err
}

// walk reads all whole lines and tells the damage between them.
func (r *Reader) walk(ctx context.Context, segments []*segment, visit func(s *segment, offset int64, line []byte) error, damaged func(*segment, Damage)) error {
	for _, s := range segments {
		n := 0
		err := s.scan(r.dir, func(offset int64, line []byte) error {
			if n++; n%1024 == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return visit(s, offset, line)
		}, func(d Damage) {
			if damaged != nil {
				damaged(s, d)
			}
		})
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// A join brings intents and closes together.
type join struct {
	want func(line []byte) bool // of a request's line, before it is decoded
	tell func(*Story) error
	open map[string]*waiting
	seen int // numbers waiting
}

// waiting is an intent without a close so far.
type waiting struct {
	line   []byte
	at     *segment // where it stands, or was carried to last
	offset int64
	number int
}

func newJoin(want func(line []byte) bool, tell func(*Story) error) *join {
	return &join{want: want, tell: tell, open: make(map[string]*waiting)}
}

func (j *join) visit(s *segment, offset int64, line []byte) error {
	kind, entry := peek(line)
	if !isRequest(kind) {
		return nil
	}
	if string(kind) == KindIntent {
		if w, carried := j.open[string(entry)]; carried {
			w.at, w.offset = s, offset
			return nil
		}
		if !j.want(line) {
			return nil
		}
		if len(j.open) == maxJoin {
			return fmt.Errorf("journal: more than %d intents wait for their close", maxJoin)
		}
		j.seen++
		j.open[string(entry)] = &waiting{line: slices.Clone(line), at: s, offset: offset, number: j.seen}
		return nil
	}
	delete(j.open, string(entry))
	if !j.want(line) {
		return nil
	}
	return j.story(line, Closed, s, offset)
}

func (j *join) story(line []byte, state State, s *segment, offset int64) error {
	r, err := decodeRecord(line)
	if err != nil {
		return err
	}
	if state == Unrecorded {
		r.Outcome = OutcomeSentUnknown
	}
	return j.tell(&Story{Record: *r, State: state, Segment: s.name, Offset: offset})
}

// rest tells what was never closed, oldest first. What a live run has in its last
// two segments may be closed at this moment.
func (j *join) rest(segments []*segment) error {
	inFlight := make(map[*segment]bool)
	for _, run := range lastOfLive(segments) {
		for _, s := range run {
			inFlight[s] = true
		}
	}
	open := make([]*waiting, 0, len(j.open))
	for _, w := range j.open {
		open = append(open, w)
	}
	slices.SortFunc(open, func(a, b *waiting) int { return cmp.Compare(a.number, b.number) })
	for _, w := range open {
		state := Unrecorded
		if inFlight[w.at] {
			state = InFlight
		}
		if err := j.story(w.line, state, w.at, w.offset); err != nil {
			return err
		}
	}
	return nil
}

// lastOfLive is the last two segments of each run that has a living writer.
func lastOfLive(segments []*segment) map[string][]*segment {
	last := make(map[string][]*segment)
	for i, s := range slices.Backward(segments) {
		if s.live && last[s.run] == nil {
			last[s.run] = []*segment{s}
			for _, before := range slices.Backward(segments[:i]) {
				if before.run == s.run {
					last[s.run] = append(last[s.run], before)
					break
				}
			}
		}
	}
	return last
}

// stories tells each request that want lets through, at its close, and at the end
// those that have none.
func (r *Reader) stories(ctx context.Context, segments []*segment, want func(line []byte) bool, tell func(*Story) error) error {
	j := newJoin(want, tell)
	if err := r.walk(ctx, segments, j.visit, nil); err != nil {
		return err
	}
	return j.rest(segments)
}

// RetryAdvice is whether a client may repeat the request, and why, as a sentence
// without its end.
func (s *Story) RetryAdvice() (safe bool, why string) {
	switch {
	case s.State == InFlight:
		return false, "it is still in flight: its outcome is not known yet"
	case s.Fallback == FallbackReplay:
		return true, "with the same idempotency key it is given the same answer again, and is not sent"
	case s.Reason == ReasonConflict && !s.RetrySafe:
		return false, "it was one itself, of a request whose work may have been done; with the same idempotency key it is not sent"
	case s.Outcome == OutcomeRefused && s.RetrySafe:
		return true, "it never left the coordinator"
	case s.Outcome == OutcomeNeverSent && s.RetrySafe:
		return true, "no byte of it reached the backend"
	case s.RetrySafe:
		return true, s.Method + " is idempotent: doing it twice is doing it once"
	}
	switch s.Outcome {
	case OutcomeRefused, OutcomeNeverSent:
		return false, "workers died with it"
	case OutcomeSentUnknown:
		return false, "it may have been sent and no answer was seen, so the work may have been done"
	case OutcomePartial:
		return false, "the backend had begun to answer, so the work may have been done"
	case OutcomeUndelivered:
		return false, s.workDone() + "; only its answer was lost"
	}
	return false, s.workDone() + ", and the client has the answer"
}

// workDone is what an answer in full says of the work: an error is the backend's word,
// and may come before or after it.
func (s *Story) workDone() string {
	if s.Status >= 400 {
		return fmt.Sprintf("the backend has answered it with %d: whether that did the work, it knows", s.Status)
	}
	return "the backend has done the work"
}

// stopped reports that the one who reads has enough.
func stopped(err error) bool { return errors.Is(err, errStop) }
