package journal

import "time"

// Entry is a request whose intent is recorded. Close it once.
type Entry struct {
	j      *Journal
	id     string
	intent []byte // the line, to be carried into further segments
	sync   bool   // it must survive the machine

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

// ID is RUN.NUMBER.
func (e *Entry) ID() string { return e.id }

// Close records how it ended: r is all that is known, what the intent said
// included. It never waits. A close is not lost when the disk fails; it waits in
// memory, while the process lives. A second Close panics.
func (e *Entry) Close(r *Record) {
	line := appendRecord(make([]byte, 0, 640), KindClose, e.id, time.Now(), r)
	j := e.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.state == closing {
		panic("journal: an entry closed twice")
	}
	e.state = closing
	j.filling.close(line, e)
	j.rouse()
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
	sync  bool          // among them is what must survive the machine
	done  chan struct{} // closed when they are on disk, or err says why not
	err   error

	begun, ended []*Entry
	closes       int // lines, with and without an entry
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

func (b *batch) intent(e *Entry) {
	b.lines = append(b.lines, e.intent...)
	b.begun = append(b.begun, e)
	b.sync = b.sync || e.sync
}

func (b *batch) close(line []byte, e *Entry) {
	b.lines = append(b.lines, line...)
	b.closes++
	if e != nil {
		b.ended = append(b.ended, e)
	}
}

func (b *batch) mark(m *mark) { b.lines = appendMark(b.lines, m) }

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
