package journal

import (
	"sync"
	"time"
)

// Entry is a request whose intent is recorded. Close it once.
type Entry struct {
	j      *Journal
	number uint64
	intent *scratch // the line, to be carried into further segments

	// Guarded by j.mu.
	state      entryState
	prev, next *Entry
}

type entryState int

const (
	pending entryState = iota // its intent is in a batch
	onDisk                    // and now in a segment
	closing                   // its close is in a batch
)

// maxID is more than the longest id of an entry.
const maxID = 40

func (j *Journal) newEntry(r *Record) *Entry {
	e := &Entry{j: j, number: j.number.Add(1), intent: scratches.Get().(*scratch)}
	var id [maxID]byte
	e.intent.b = appendRecord(e.intent.b[:0], KindIntent, j.appendID(id[:0], e.number), time.Now(), r)
	return e
}

// ID is RUN.NUMBER.
func (e *Entry) ID() string { return string(e.j.appendID(nil, e.number)) }

// Close records how it ended: r is all that is known, what the intent said
// included. It never waits: the line is written with the next intent, or a moment
// later. A close is not lost when the disk fails; it waits in memory, while the
// process lives. A second Close panics.
func (e *Entry) Close(r *Record) {
	var id [maxID]byte
	line := scratches.Get().(*scratch)
	defer line.free()
	line.b = appendRecord(line.b[:0], KindClose, e.j.appendID(id[:0], e.number), time.Now(), r)
	j := e.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.state == closing {
		panic("journal: an entry closed twice")
	}
	e.state = closing
	j.filling.close(line.b, e)
	j.idle()
}

// A scratch is memory for one line.
type scratch struct{ b []byte }

var scratches = sync.Pool{New: func() any { return &scratch{b: make([]byte, 0, 1<<10)} }}

// free gives it back, unless a rare long line has made it large.
func (s *scratch) free() {
	if cap(s.b) <= 8<<10 {
		scratches.Put(s)
	}
}

// entryList is the entries whose close is not on disk.
type entryList struct {
	first *Entry
	n     int
}

func (l *entryList) push(e *Entry) {
	if e.next = l.first; e.next != nil {
		e.next.prev = e
	}
	l.first = e
	l.n++
}

func (l *entryList) remove(e *Entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	l.n--
}

// A batch is lines that are committed together.
type batch struct {
	lines []byte
	sync  bool          // they must be confirmed by the disk, where that is asked for at all
	done  chan struct{} // closed when they are on disk, or err says why not
	err   error

	begun, ended []*Entry
	closes       int // lines, with and without an entry
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

func (b *batch) intent(e *Entry) {
	b.lines = append(b.lines, e.intent.b...)
	b.begun = append(b.begun, e)
	b.sync = true
}

func (b *batch) close(line []byte, e *Entry) {
	b.lines = append(b.lines, line...)
	b.closes++
	if e != nil {
		b.ended = append(b.ended, e)
	}
}

func (b *batch) mark(m *mark) { b.lines = appendMark(b.lines, m) }

// waited reports that somebody waits for it.
func (b *batch) waited() bool { return len(b.begun) > 0 }

func (b *batch) empty() bool { return len(b.lines) == 0 }

// keepBuffer bounds what an idle batch keeps of a busy time.
const keepBuffer = 256 << 10

// successor is an empty batch with the memory of b, of which nothing but done and
// err is used any more.
func (b *batch) successor() *batch {
	if cap(b.lines) > keepBuffer {
		return newBatch()
	}
	clear(b.begun)
	clear(b.ended)
	next := &batch{lines: b.lines[:0], begun: b.begun[:0], ended: b.ended[:0], done: make(chan struct{})}
	b.lines, b.begun, b.ended = nil, nil, nil
	return next
}

// absorb appends what stands in late, which was filled later.
func (b *batch) absorb(late *batch) {
	b.lines = append(b.lines, late.lines...)
	b.sync = b.sync || late.sync
	b.begun = append(b.begun, late.begun...)
	b.ended = append(b.ended, late.ended...)
	b.closes += late.closes
}
