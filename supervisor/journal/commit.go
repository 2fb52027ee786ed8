package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	aliveEvery   = 10 * time.Second // so a crash is known to that
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// writer is what the journal's goroutine alone knows.
type writer struct {
	file    file // nil: the journal is unavailable
	name    string
	seq     uint64
	size    int64 // of what is committed: the rest of the file does not count
	opened  time.Time
	wrote   time.Time // last
	started bool      // the run has a segment
	named   bool      // its name survives the machine

	held    *batch // what could not be written, for the next segment; nil: nothing
	backoff time.Duration
	retryAt time.Time // the next segment is not tried before
	endErr  error     // for Close
}

// serve is the goroutine.
func (j *Journal) serve() {
	defer close(j.ended)
	timer := time.NewTimer(j.due())
	defer timer.Stop()
	for {
		select {
		case <-j.wake:
		case <-timer.C:
		case <-j.ending:
			j.finish()
			return
		}
		j.step()
		timer.Reset(j.due())
	}
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

// step does all that is due.
func (j *Journal) step() {
	w, now := &j.w, time.Now()
	if w.file == nil {
		if !now.Before(w.retryAt) {
			j.comeBack()
		}
		return
	}
	j.rotate(now)
	b := j.take()
	if b.empty() && now.Sub(w.wrote) >= aliveEvery {
		b.mark(&mark{Kind: KindAlive, Run: j.run, At: now})
	}
	j.commit(b)
}

// take is the batch of now. Whoever adds to the journal fills another.
func (j *Journal) take() *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.filling
	now := time.Now()
	for _, l := range []struct {
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
	if b.sync {
		if err := w.file.Sync(); err != nil {
			return err
		}
		if !w.named { // it was begun before anybody asked
			if err := j.disk.syncDir(j.dir); err != nil {
				return err
			}
			w.named = true
		}
	}
	w.size += int64(len(b.lines))
	w.wrote = time.Now()
	j.o.Committed(w.wrote.Sub(begun))
	return nil
}

// syncs reports whether something of this run must survive the machine.
func (j *Journal) syncs() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.synced
}

// settle tells everybody that b is on disk.
func (j *Journal) settle(b *batch) {
	j.mu.Lock()
	for _, e := range b.begun {
		if e.state == pending {
			e.state = onDisk
		}
	}
	for _, e := range b.ended {
		j.open.remove(e)
	}
	if !b.empty() {
		j.stats.Commits++
		j.stats.Bytes += uint64(len(b.lines))
		j.stats.Intents += uint64(len(b.begun))
		j.stats.Closes += uint64(b.closes)
		if b.sync {
			j.stats.Syncs++
		}
	}
	close(b.done)
	j.committing = time.Time{}
	j.spare = b.successor()
	j.mu.Unlock()
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

// abandon gives the segment up, for good.
func (j *Journal) abandon(err error) {
	_ = j.w.file.Close() // what it says is about bytes that do not count
	j.w.file = nil
	j.mu.Lock()
	j.stats.Abandoned++
	j.mu.Unlock()
	j.o.Notify(Event{Kind: EventAbandoned, Segment: j.w.name, Err: err})
}

// rotate goes over to the next segment when this one is large or old enough.
// When there is none the old one goes on, up to twice its size.
func (j *Journal) rotate(now time.Time) {
	w := &j.w
	if w.size < j.o.SegmentBytes && now.Sub(w.opened) < j.o.SegmentAge || now.Before(w.retryAt) {
		return
	}
	old := w.file
	if err := j.next(nil, true); err != nil {
		w.retryAt = now.Add(lastBackoff)
		if w.size >= 2*j.o.SegmentBytes {
			j.abandon(err)
			j.goDown(err)
		}
		return
	}
	if j.syncs() {
		_ = old.Sync() // closes that no intent came after; without them: sent_unknown
	}
	_ = old.Close()
}

// next begins a segment: head, the intents that are still open, and b. It is there
// as a whole or not at all. recovering: dead runs are closed in it too.
func (j *Journal) next(b *batch, recovering bool) (err error) {
	w, now := &j.w, time.Now()
	existing, err := names(j.dir)
	if err != nil {
		return err
	}
	seq := w.seq + 1
	if n := len(existing); n > 0 {
		seq = max(seq, existing[n-1].seq+1)
	}
	name := segmentName(seq, now)
	lines := j.firstLines(now, recovering)
	if b != nil {
		lines = append(lines, b.lines...)
	}
	f, err := j.disk.create(filepath.Join(j.dir, name))
	if err != nil {
		return err
	}
	synced := j.syncs()
	if _, err = f.Write(lines); err == nil && synced {
		if err = f.Sync(); err == nil {
			err = j.disk.syncDir(j.dir)
		}
	}
	if err != nil {
		_ = f.Close()
		_ = j.disk.remove(filepath.Join(j.dir, name)) // or each retry would leave one
		return err
	}
	*w = writer{
		file: f, name: name, seq: seq, size: int64(len(lines)), opened: now, wrote: now, started: true, named: synced,
		held: w.held, backoff: firstBackoff,
	}
	j.trim()
	return nil
}

// firstLines are the head of the next segment and what goes with it.
func (j *Journal) firstLines(now time.Time, recovering bool) []byte {
	head := mark{Kind: KindStart, Run: j.run, At: now, Pid: os.Getpid(), Boot: j.boot, Sync: string(j.o.Sync)}
	if j.w.started {
		head.Kind = KindContinue
		head.After = &place{Segment: j.w.name, Bytes: j.w.size}
	}
	var recovered []byte
	if recovering {
		recovered, head.Settles = j.recoverDead(now)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	head.Scope = j.scope
	var carried []byte
	for e := j.open.first; e != nil; e = e.next {
		if e.state == onDisk {
			carried = append(carried, e.intent...)
			head.Carried++
		}
	}
	return append(append(appendMark(nil, &head), carried...), recovered...)
}

// trim removes the oldest segments, so that this one has room to grow within the
// bound. Those that another process writes stay.
func (j *Journal) trim() {
	segments, err := names(j.dir)
	if err != nil {
		return // the next segment tries again
	}
	room, count := j.o.TotalBytes-j.o.SegmentBytes, len(segments)
	for _, s := range segments {
		room -= s.size
	}
	defer func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.stats.Segments, j.stats.Stored = count, j.o.TotalBytes-j.o.SegmentBytes-room
	}()
	for _, s := range segments {
		if room >= 0 {
			return
		}
		path := filepath.Join(j.dir, s.name)
		if held, err := locked(path); s.name == j.w.name || held || err != nil {
			continue
		}
		if err := j.disk.remove(path); err == nil {
			room += s.size
			count--
			j.o.Notify(Event{Kind: EventTrimmed, Segment: s.name})
		}
	}
}

// finish writes the last batch and ends the run.
func (j *Journal) finish() {
	if j.w.file == nil {
		j.comeBack()
	}
	b := j.take()
	j.mu.Lock()
	left := j.open.n - len(b.ended)
	j.mu.Unlock()
	b.mark(&mark{Kind: KindStop, Run: j.run, At: time.Now(), Open: left})
	b.sync = j.syncs()
	j.commit(b)
	if j.w.file == nil {
		j.w.endErr = b.err
		return
	}
	if err := j.w.file.Close(); err != nil {
		j.w.endErr = fmt.Errorf("%w: %w", ErrUnavailable, cause{err})
	}
}
