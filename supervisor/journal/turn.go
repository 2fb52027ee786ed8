package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// rotate goes over to the next segment. When there is none the old one goes on, up
// to twice its size.
func (j *Journal) rotate(now time.Time) {
	w := &j.w
	old := w.file
	if err := j.next(nil, true); err != nil {
		w.retryAt = now.Add(lastBackoff)
		if w.size >= 2*j.o.SegmentBytes {
			j.abandon(err)
			j.goDown(err)
		}
		return
	}
	if j.o.Sync == Always {
		_ = old.Sync() // closes that no intent came after; without them: sent_unknown
	}
	_ = old.Close()
}

// next begins a segment: head, the intents that are still open, and b. It is there
// as a whole or not at all. recovering: dead runs are closed in it too.
func (j *Journal) next(b *batch, recovering bool) error {
	w, now := &j.w, time.Now()
	lines := j.firstLines(now, recovering)
	if b != nil {
		lines = append(lines, b.lines...)
	}
	f, name, seq, err := j.create(now)
	if err != nil {
		return err
	}
	if _, err = f.Write(lines); err == nil && j.o.Sync == Always {
		if err = f.Sync(); err == nil {
			err = j.disk.syncDir(j.dir)
		}
	}
	if err != nil {
		_ = f.Close()
		_ = j.disk.remove(filepath.Join(j.dir, name)) // or each retry would leave one
		return err
	}
	w.forsake()
	*w = writer{
		file: f, name: name, seq: seq, size: int64(len(lines)), opened: now, wrote: now, started: true,
		held: w.held, backoff: firstBackoff,
	}
	j.trim()
	return nil
}

// create makes the file of the next segment. Other runs make theirs in the same
// folder; two that take one name at a time are told apart by the next number.
func (j *Journal) create(now time.Time) (f file, name string, seq uint64, err error) {
	existing, err := names(j.dir)
	if err != nil {
		return nil, "", 0, err
	}
	seq = j.w.seq + 1
	if n := len(existing); n > 0 {
		seq = max(seq, existing[n-1].seq+1)
	}
	for last := seq + 8; ; seq++ {
		name = segmentName(seq, now)
		f, err = j.disk.create(filepath.Join(j.dir, name))
		if !errors.Is(err, fs.ErrExist) || seq == last {
			return f, name, seq, err
		}
	}
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
			carried = append(carried, e.intent.b...)
			head.Carried++
		}
	}
	return append(append(appendMark(nil, &head), carried...), recovered...)
}

// trim removes the oldest segments, so that those that are being written have room
// to grow within the bound. Those of another run that lives stay.
func (j *Journal) trim() {
	segments, err := names(j.dir)
	if err != nil {
		return // the next segment tries again
	}
	used, stored, count := int64(0), int64(0), len(segments)
	for _, s := range segments {
		held, err := locked(filepath.Join(j.dir, s.name))
		s.live = held || err != nil || s.name == j.w.name
		stored += s.size
		if used += s.size; s.live {
			used += max(0, j.o.SegmentBytes-s.size)
		}
	}
	for _, s := range segments {
		if used <= j.o.TotalBytes {
			break
		}
		if s.live {
			continue
		}
		if err := j.disk.remove(filepath.Join(j.dir, s.name)); err == nil {
			used, stored, count = used-s.size, stored-s.size, count-1
			j.o.Notify(Event{Kind: EventTrimmed, Segment: s.name})
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Segments, j.stats.Stored, j.stats.Counted = count, stored, time.Now()
}
