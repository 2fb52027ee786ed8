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

// Record writes the visits that arrive until ctx is done to w, as a trace that
// ReadTrace reads, and returns when they have ended or grace is over. Requests
// never wait for w: what it does not keep up with is dropped and counted, and so
// are visits beyond MaxVisits. h.Began should be now.
//
// While the breaker is not closed no request asks for a slot, so none is
// recorded. It returns ErrRecording when there is another recording, or the error
// of w.
func (r *Recorder) Record(ctx context.Context, w io.Writer, h TraceHeader, grace time.Duration) (TraceEnd, error) {
	t := &tape{began: time.Now(), visits: make(chan Visit, tapeRoom)}
	if !r.tape.CompareAndSwap(nil, t) {
		return TraceEnd{}, ErrRecording
	}
	defer r.tape.CompareAndSwap(t, nil)
	out, err := NewTraceWriter(w, h)
	if err != nil {
		return TraceEnd{}, err
	}
	if err := t.copy(ctx, r, out, grace); err != nil {
		return TraceEnd{}, err
	}
	return out.Close(t.dropped.Load(), max(t.open.Load(), 0))
}

func (t *tape) copy(ctx context.Context, r *Recorder, out *TraceWriter, grace time.Duration) error {
	tick := time.NewTicker(tapeTick)
	defer tick.Stop()
	over := ctx.Done()
	var deadline time.Time
	for {
		select {
		case v := <-t.visits:
			if err := out.Write(v); errors.Is(err, ErrTraceFull) {
				t.dropped.Add(1)
			} else if err != nil {
				return err
			}
		case <-over:
			r.tape.CompareAndSwap(t, nil)
			over, deadline = nil, time.Now().Add(grace)
		case <-tick.C:
			finished := t.open.Load() <= 0 || !time.Now().Before(deadline)
			if over == nil && finished && len(t.visits) == 0 {
				return nil
			}
		}
	}
}
