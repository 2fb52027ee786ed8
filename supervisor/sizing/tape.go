package sizing

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// ErrRecording says that the Recorder has a recording under way.
var ErrRecording = errors.New("sizing: a recording of this bulkhead is under way")

const (
	tapeRoom = 1 << 14 // visits that may wait to be written
	tapeTick = 20 * time.Millisecond
)

// A tape is a recording under way.
type tape struct {
	began   time.Time
	visits  chan Visit
	open    atomic.Int64 // arrived and not ended
	dropped atomic.Int64 // because the writer did not keep up
}

// end takes the visit of a ticket. A nil tape takes none.
func (t *tape) end(ticket *Ticket, wait, held time.Duration, fate Fate) {
	if t == nil {
		return
	}
	select {
	case t.visits <- Visit{At: max(ticket.at.Sub(t.began), 0), Wait: wait, Held: held, Fate: fate}:
	default:
		t.dropped.Add(1)
	}
	t.open.Add(-1)
}

// Record writes the visits that arrive within span to w, as a trace that ReadTrace
// reads, and returns when they have ended or grace is over. When ctx is done it
// returns at once, with what there is. Each second w gets what has come. Requests
// never wait for w: what it does not keep up with is dropped and counted, and so
// are visits beyond MaxVisits. h.Began should be now.
//
// While the breaker is not closed no request asks for a slot, so none is
// recorded. It returns ErrRecording when there is another recording, or the error
// of w.
func (r *Recorder) Record(ctx context.Context, w io.Writer, h TraceHeader, span, grace time.Duration) (TraceEnd, error) {
	t := &tape{began: time.Now(), visits: make(chan Visit, tapeRoom)}
	if !r.tape.CompareAndSwap(nil, t) {
		return TraceEnd{}, ErrRecording
	}
	defer r.tape.CompareAndSwap(t, nil)
	out, err := NewTraceWriter(w, h)
	if err != nil {
		return TraceEnd{}, err
	}
	if err := t.copy(ctx, r, out, span, grace); err != nil {
		return TraceEnd{}, err
	}
	return out.Close(t.dropped.Load(), max(t.open.Load(), 0))
}

func (t *tape) copy(ctx context.Context, r *Recorder, out *TraceWriter, span, grace time.Duration) error {
	tick := time.NewTicker(tapeTick)
	defer tick.Stop()
	flush := time.NewTicker(time.Second)
	defer flush.Stop()
	timer := time.NewTimer(span)
	defer timer.Stop()
	over := timer.C
	var deadline time.Time
	for {
		select {
		case v := <-t.visits:
			if err := t.write(out, v); err != nil {
				return err
			}
		case <-over:
			r.tape.CompareAndSwap(t, nil)
			over, deadline = nil, time.Now().Add(grace)
		case <-ctx.Done():
			return t.writeRest(out)
		case <-flush.C:
			if err := out.Flush(); err != nil {
				return err
			}
		case <-tick.C:
			finished := t.open.Load() <= 0 || !time.Now().Before(deadline)
			if over == nil && finished && len(t.visits) == 0 {
				return nil
			}
		}
	}
}

func (t *tape) write(out *TraceWriter, v Visit) error {
	err := out.Write(v)
	if errors.Is(err, ErrTraceFull) {
		t.dropped.Add(1)
		return nil
	}
	return err
}

// writeRest writes what has ended and is not written yet.
func (t *tape) writeRest(out *TraceWriter) error {
	for range len(t.visits) {
		if err := t.write(out, <-t.visits); err != nil {
			return err
		}
	}
	return nil
}
