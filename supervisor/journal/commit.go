package journal

import (
	"fmt"
	"time"
)

const (
	aliveEvery   = 10 * time.Second // so a crash is known to that
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
	// closeWithin is how long a close waits for an intent to be written with. A
	// process that is killed meanwhile leaves sent_unknown of what was done.
	closeWithin = 2 * time.Millisecond
)

// writer is what only he who has the pen may touch: who has set Journal.writing.
type writer struct {
	file    file // nil: the journal is unavailable
	gone    file // the abandoned one, open for its lock alone until the next holds one
	name    string
	seq     uint64
	size    int64 // of what is committed: the rest of the file does not count
	opened  time.Time
	wrote   time.Time // last
	started bool      // the run has a segment

	held    *batch // what could not be written, for the next segment; nil: nothing
	backoff time.Duration
	retryAt time.Time // the next segment is not tried before
	endErr  error     // for Close
}

// serve is the goroutine: it writes what no caller does, and turns the segments.
func (j *Journal) serve() {
	defer close(j.ended)
	defer j.flush.Stop()
	timer := time.NewTimer(j.step())
	defer timer.Stop()
	for {
		select {
		case <-j.wake:
		case <-j.flush.C:
			j.mu.Lock()
			j.flushing = false
			j.mu.Unlock()
		case <-timer.C:
		case <-j.ending:
			j.finish()
			return
		}
		timer.Reset(j.step())
	}
}

// seize takes the pen, for the goroutine.
func (j *Journal) seize() {
	for {
		j.mu.Lock()
		free := !j.writing
		j.writing, j.wanted = true, !free
		j.mu.Unlock()
		if free {
			return
		}
		<-j.wake
	}
}

// release gives the pen back. What has come meanwhile the goroutine writes. The
// caller holds j.mu.
func (j *Journal) release() {
	j.writing = false
	if j.wanted || j.filling.waited() {
		j.rouse()
	}
}

// lead writes b for its caller, who has the pen. It does so once more for those who
// came meanwhile, which spares them a change of goroutines, and then leaves.
func (j *Journal) lead(b *batch) {
	j.commit(b)
	now := time.Now()
	j.mu.Lock()
	if j.filling.waited() && !j.wanted && j.plain(now) {
		b = j.swap(now)
		j.mu.Unlock()
		j.commit(b)
		j.mu.Lock()
	}
	j.release()
	j.mu.Unlock()
}

// plain reports that nothing is due but to write. The caller has the pen, or holds
// j.mu while nobody has it.
func (j *Journal) plain(now time.Time) bool { return j.w.file != nil && !j.full(now) }

// full reports that it is time for the next segment.
func (j *Journal) full(now time.Time) bool {
	w := &j.w
	return (w.size >= j.o.SegmentBytes || now.Sub(w.opened) >= j.o.SegmentAge) && !now.Before(w.retryAt)
}

// due is when something has to be done even if nobody asks.
func (j *Journal) due() time.Duration {
	w, now := &j.w, time.Now()
	if w.file == nil {
		return w.retryAt.Sub(now)
	}
	rotate := w.opened.Add(j.o.SegmentAge)
	if rotate.Before(w.retryAt) {
		rotate = w.retryAt
	}
	return min(rotate.Sub(now), w.wrote.Add(aliveEvery).Sub(now))
}

// begin begins the run.
func (j *Journal) begin() {
	if err := j.next(nil, true); err != nil {
		j.goDown(err)
	}
}

// step does all that is due, and returns when something is again.
func (j *Journal) step() time.Duration {
	j.seize()
	j.work()
	due := j.due()
	j.mu.Lock()
	j.release()
	j.mu.Unlock()
	return due
}

func (j *Journal) work() {
	w, now := &j.w, time.Now()
	if w.file == nil {
		if now.Before(w.retryAt) {
			j.commit(j.take()) // is held, and who waits for it is told
		} else {
			j.comeBack()
		}
		return
	}
	if j.full(now) {
		j.rotate(now)
	}
	b := j.take()
	if b.empty() && now.Sub(w.wrote) >= aliveEvery {
		b.mark(&mark{Kind: KindAlive, Run: j.run, At: now})
	}
	j.commit(b)
}

// take is the batch of now. Whoever adds to the journal fills another. The caller
// has the pen.
func (j *Journal) take() *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.swap(time.Now())
}

// swap is take for a caller that holds j.mu.
func (j *Journal) swap(now time.Time) *batch {
	b := j.filling
	for _, l := range [...]struct {
		kind string
		loss *loss
	}{{KindDropped, &j.dropped}, {KindUnavailable, &j.refused}} {
		if l.loss.n > 0 {
			b.mark(&mark{Kind: l.kind, Run: j.run, At: now, From: l.loss.since, Lost: l.loss.n})
			*l.loss = loss{}
		}
	}
	if j.filling = j.spare; j.filling == nil {
		j.filling = newBatch()
	}
	j.spare = nil
	j.committing = now
	return b
}

// commit writes b, into the next segment if this one fails.
func (j *Journal) commit(b *batch) {
	if j.w.file == nil {
		j.hold(b, j.down)
		return
	}
	err := j.write(b)
	if err != nil {
		j.abandon(err)
		if err = j.next(b, false); err != nil {
			j.goDown(err)
			j.hold(b, err)
			return
		}
	}
	j.settle(b)
}

// write appends to the segment. Only what succeeds as a whole counts.
func (j *Journal) write(b *batch) error {
	w := &j.w
	if b.empty() {
		return nil
	}
	begun := time.Now()
	if _, err := w.file.Write(b.lines); err != nil {
		return err
	}
	if b.sync && j.o.Sync == Always {
		if err := w.file.Sync(); err != nil {
			return err
		}
	}
	w.size += int64(len(b.lines))
	w.wrote = time.Now()
	j.o.Committed(w.wrote.Sub(begun))
	return nil
}

// settle tells everybody that b is on disk.
func (j *Journal) settle(b *batch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range b.begun {
		if e.state == pending {
			e.state = onDisk
		}
	}
	for _, e := range b.ended {
		j.open.remove(e)
		e.intent.free()
		e.intent = nil
	}
	if !b.empty() {
		j.stats.Commits++
		j.stats.Bytes += uint64(len(b.lines))
		j.stats.Intents += uint64(len(b.begun))
		j.stats.Closes += uint64(b.closes)
		if b.sync && j.o.Sync == Always {
			j.stats.Syncs++
		}
	}
	close(b.done)
	j.committing = time.Time{}
	j.spare = b.successor()
}

// hold refuses the intents of b, and keeps its lines: there may be closes among
// them, and the refusals are recorded behind their intents.
func (j *Journal) hold(b *batch, why error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.w.held == nil {
		j.w.held = newBatch()
	}
	j.w.held.absorb(b)
	j.stats.Refused += uint64(len(b.begun))
	b.err = fmt.Errorf("%w: %w", ErrUnavailable, cause{why})
	close(b.done)
	j.committing = time.Time{}
}

// cause keeps an error for errors.Is, and its text, which names paths, out of
// messages that may reach a client.
type cause struct{ error }

func (c cause) Error() string { return "it cannot be written" }
func (c cause) Unwrap() error { return c.error }

// goDown makes the journal unavailable until a segment can be begun.
func (j *Journal) goDown(err error) {
	j.w.retryAt = time.Now().Add(j.w.backoff)
	j.w.backoff = min(2*j.w.backoff, lastBackoff)
	j.mu.Lock()
	first := j.down == nil
	j.down, j.stats.Available = err, false
	j.mu.Unlock()
	j.rouse() // the goroutine knows of another time to come back
	if first {
		j.o.Notify(Event{Kind: EventUnavailable, Err: err})
	}
}

// comeBack tries a segment again, with all that was held.
func (j *Journal) comeBack() {
	j.commit(j.take()) // is held
	b := j.w.held
	b.done = make(chan struct{}) // nobody waits for it any more
	if err := j.next(b, !j.w.started); err != nil {
		j.goDown(err)
		return
	}
	j.w.held = nil
	j.mu.Lock()
	j.down, j.stats.Available = nil, true
	j.mu.Unlock()
	j.settle(b)
	j.o.Notify(Event{Kind: EventAvailable, Segment: j.w.name})
}

// abandon gives the segment up, for good. Its lock stays: without one the run
// would be taken for dead.
func (j *Journal) abandon(err error) {
	j.w.file, j.w.gone = nil, j.w.file
	j.mu.Lock()
	j.stats.Abandoned++
	j.mu.Unlock()
	j.o.Notify(Event{Kind: EventAbandoned, Segment: j.w.name, Err: err})
}

// forsake lets the lock of the abandoned segment go, if there is one.
func (w *writer) forsake() {
	if w.gone != nil {
		_ = w.gone.Close() // what it says is about bytes that do not count
		w.gone = nil
	}
}

// finish writes the last batch and ends the run. It keeps the pen: nobody writes
// after it.
func (j *Journal) finish() {
	j.seize()
	if j.w.file == nil {
		j.comeBack()
	}
	b := j.take()
	j.mu.Lock()
	left := j.open.n - len(b.ended)
	j.mu.Unlock()
	b.mark(&mark{Kind: KindStop, Run: j.run, At: time.Now(), Open: left})
	b.sync = true
	j.commit(b)
	if j.w.file == nil {
		j.w.endErr = b.err
		j.w.forsake()
		return
	}
	if err := j.w.file.Close(); err != nil {
		j.w.endErr = fmt.Errorf("%w: %w", ErrUnavailable, cause{err})
	}
}
