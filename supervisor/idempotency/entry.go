package idempotency

import (
	"net/http"
	"time"

	"commerce.example/coordinator/ipc/credential"
)

// An entry is a key that is taken. Guarded by Store.mu.
type entry struct {
	digest digest
	era    *era
	past

	answer       *Answer // nil: none is kept
	cost         int64   // bytes of answer
	older, newer *entry
}

// past is what is known of the request that took a key.
type past struct {
	outcome  string // "": in progress
	status   int    // of the answer; 0: none is known
	at       time.Time
	head     digest
	content  content // once it is over
	restored bool    // from the journal: head and content are not known
}

func (p *past) inProgress() bool { return p.outcome == "" }

// repeatable reports whether it may be sent again to a backend that knows repeats:
// nobody has its answer.
func (p *past) repeatable() bool {
	return p.outcome == outcomeSentUnknown || p.outcome == outcomePartial
}

// An era is a time with one scope. It lasts while any key of it is remembered.
type era struct {
	scope []credential.Name
	keys  int // guarded by Store.mu
}

// What a remembered key costs in all, and an answer besides its own bytes, on a
// 64-bit machine: measured by TestCostCoversHeap.
const (
	answerOverhead = 320
	fieldOverhead  = 80 // of each field, for its slot in the map and its value
	valueOverhead  = 16
)

// headCost is at least what fields take, with the size classes of the allocator.
func headCost(fields http.Header) int64 {
	n := answerOverhead
	for name, values := range fields {
		n += fieldOverhead + len(name)
		for _, v := range values {
			n += valueOverhead + len(v)
		}
	}
	return int64(n + n/8)
}

// roomFor is at least what the allocator takes for n bytes: its size classes are
// an eighth apart, and above 32 KiB it takes pages of 8 KiB.
func roomFor(n int) int64 {
	if n > 32<<10 {
		return int64(n) + 8<<10
	}
	return int64(n) + int64(n/8) + 16
}

// copyFields copies fields whole: names and values may be parts of a head that is
// much larger.
func copyFields(fields http.Header) http.Header {
	kept := make(http.Header, len(fields))
	for name, values := range fields {
		copies := make([]string, len(values))
		for i, v := range values {
			copies[i] = string(append([]byte(nil), v...))
		}
		kept[string(append([]byte(nil), name...))] = copies
	}
	return kept
}

// line has the entries that are over, in the order in which they ended. Those
// before full have no answer.
type line struct {
	oldest, newest *entry
	full           *entry // nil: none has an answer
}

func (l *line) push(e *entry) { l.insert(e, l.newest) }

// insert puts e behind older, or first when that is nil.
func (l *line) insert(e, older *entry) {
	e.older = older
	if older != nil {
		e.newer, older.newer = older.newer, e
	} else {
		e.newer, l.oldest = l.oldest, e
	}
	if e.newer != nil {
		e.newer.older = e
	} else {
		l.newest = e
	}
	if l.full == nil && e.answer != nil {
		l.full = e
	}
}

func (l *line) remove(e *entry) {
	if l.full == e {
		l.full = e.newer
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		l.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		l.newest = e.older
	}
	e.older, e.newer = nil, nil
}

// nextFull is the oldest entry with an answer, or nil.
func (l *line) nextFull() *entry {
	for l.full != nil && l.full.answer == nil {
		l.full = l.full.newer
	}
	return l.full
}
