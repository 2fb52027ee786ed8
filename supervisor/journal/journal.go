package journal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUnavailable is the condition of Begin's refusals: the intent is not known to
// be on disk, so the request must not leave. Its message names no path.
var ErrUnavailable = errors.New("journal: unavailable")

// Sync is what a recorded intent survives.
type Sync string

const (
	Process Sync = "process" // the death of the process, by whatever signal
	Always  Sync = "always"  // the death of the machine: fdatasync before a request leaves
)

// Options of a Journal. The zero value of each is its default.
type Options struct {
	Sync         Sync          // Process
	SegmentBytes int64         // 16 MiB: a larger segment is followed by the next
	SegmentAge   time.Duration // 1 h: an older one too
	TotalBytes   int64         // 1 GiB: the oldest segments go; at least two segments
	MaxOpen      int           // 32,768 entries open at a time
	BufferBytes  int           // 4 MiB of lines that wait for the disk
	Patience     time.Duration // 1 s: how long Begin waits for the one who writes

	// Scope is what is recorded of each bulkhead (off, unsafe, failures, all), for
	// the answer to a question about an id that is not here.
	Scope map[string]string
	// Prove is asked at recovery about an open intent. The answer never_sent
	// needs proof that no byte of it reached its backend, nor ever will; any
	// other leaves it at sent_unknown. nil: there is none.
	Prove func(*Record) string
	// Notify is told what an operator should know. It is called by whoever writes,
	// one at a time, and must not block. nil: nobody is.
	Notify func(Event)
	// Committed is told how long each write took, and its fdatasync where there was
	// one. It is called as Notify is. nil: nobody is.
	Committed func(took time.Duration)
}

func (o Options) withDefaults() Options {
	setDefault(&o.Sync, Process)
	setDefault(&o.SegmentBytes, 16<<20)
	setDefault(&o.SegmentAge, time.Hour)
	setDefault(&o.TotalBytes, 1<<30)
	o.TotalBytes = max(o.TotalBytes, 2*o.SegmentBytes)
	setDefault(&o.MaxOpen, 32<<10)
	setDefault(&o.BufferBytes, 4<<20)
	setDefault(&o.Patience, time.Second)
	if o.Prove == nil {
		o.Prove = func(*Record) string { return OutcomeSentUnknown }
	}
	if o.Committed == nil {
		o.Committed = func(time.Duration) {}
	}
	if o.Notify == nil {
		o.Notify = func(Event) {}
	}
	o.Scope = boundedScope(o.Scope)
	return o
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// boundedScope is a copy that fits into a line.
func boundedScope(scope map[string]string) map[string]string {
	bounded := make(map[string]string, min(len(scope), MaxScopes))
	for name, what := range scope {
		if len(bounded) == MaxScopes {
			break
		}
		bounded[cut(name, 64)] = cut(what, 64)
	}
	return bounded
}

// EventKind is what happened to a journal.
type EventKind string

// The events.
const (
	EventAbandoned   EventKind = "abandoned"   // a segment, after a failed write or fsync
	EventUnavailable EventKind = "unavailable" // and no other could be begun
	EventAvailable   EventKind = "available"   // again
	EventRecovered   EventKind = "recovered"   // Count entries of dead runs were closed
	EventUnsettled   EventKind = "unsettled"   // entries of dead runs could not be read
	EventTrimmed     EventKind = "trimmed"     // the oldest segment is gone
)

// Event is one of them.
type Event struct {
	Kind    EventKind
	Segment string // file name, when it is about one
	Count   int
	Err     error // may name paths: for logs
}

// Journal writes. It is safe for concurrent use. Make one with Open.
type Journal struct {
	dir  string
	run  string
	boot string
	o    Options
	disk disk

	number atomic.Uint64 // of the last entry
	wake   chan struct{} // there is something to do for the goroutine
	flush  *time.Timer   // there are lines that nobody waits for
	ending chan struct{} // closed by Close
	ended  chan struct{} // closed when run has returned

	mu         sync.Mutex
	writing    bool // somebody has the pen: w is theirs alone
	wanted     bool // and the goroutine waits for it
	flushing   bool // flush is set
	filling    *batch
	spare      *batch // an empty one
	open       entryList
	scope      map[string]string
	down       error     // why it is unavailable; nil: it is not
	committing time.Time // since when the disk is waited for; zero: it is not
	dropped    loss      // records without an intent, since the last mark
	refused    loss      // intents, since the last mark
	closed     bool
	stats      Stats

	w writer // of whoever has the pen
}

// loss is what could not be recorded.
type loss struct {
	since time.Time
	n     int64
}

func (l *loss) add() {
	if l.n == 0 {
		l.since = time.Now()
	}
	l.n++
}

// Stats is a snapshot of a Journal's counters.
type Stats struct {
	Available bool
	Open      int    // entries whose close is not on disk yet
	Intents   uint64 // recorded
	Closes    uint64 // recorded, with and without an intent before
	Commits   uint64 // writes
	Syncs     uint64
	Bytes     uint64    // written
	Abandoned uint64    // segments
	Refused   uint64    // intents
	Dropped   uint64    // records without an intent
	Segments  int       // in the folder, those of other runs too, when this run last began one
	Stored    int64     // bytes of them
	Counted   time.Time // when that was
}

// Open begins a run in dir, which it makes with mode 0700 if need be, closes what
// dead runs left open, and starts the journal's goroutine, which Close ends.
//
// A disk that takes no segment is no error: the Journal is unavailable and tries
// again. An error is a folder that cannot be made or read.
func Open(dir string, o Options) (*Journal, error) { return open(dir, o, realDisk) }

func open(dir string, o Options, d disk) (*Journal, error) {
	o = o.withDefaults()
	if o.Sync != Process && o.Sync != Always {
		return nil, fmt.Errorf("journal: sync %q: process or always", o.Sync)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if _, err := names(dir); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var id [6]byte
	rand.Read(id[:])
	j := &Journal{
		dir: dir, run: hex.EncodeToString(id[:]), boot: bootID(), o: o, disk: d,
		wake: make(chan struct{}, 1), ending: make(chan struct{}), ended: make(chan struct{}),
		filling: newBatch(), spare: newBatch(), scope: o.Scope, flush: time.NewTimer(closeWithin), flushing: true,
	}
	j.stats.Available = true
	j.w.backoff = firstBackoff
	j.begin()
	go j.serve()
	return j, nil
}

// Run is the id of this run, with which its entries begin.
func (j *Journal) Run() string { return j.run }

// Stats is a snapshot.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Open = j.open.n
	return s
}

// Begin records an intent and returns when it is on disk as Options.Sync says:
// then the request may leave, and the Entry must be closed once. The error is
// ErrUnavailable or context.Cause(ctx); the request must not leave then, the
// journal records that by itself if it can, and there is no Entry.
//
// With Process a caller that finds nobody writing writes itself, for others too, so
// it waits for as long as its write(2) takes; everybody else waits no longer than
// Options.Patience.
//
// r is not kept; its Outcome, Reason and Status belong to closes.
func (j *Journal) Begin(ctx context.Context, r *Record) (*Entry, error) {
	e := j.newEntry(r)
	b, mine, err := j.addIntent(e)
	if err != nil {
		return nil, err
	}
	if mine {
		j.lead(b)
		if b.err != nil {
			return nil, j.withdraw(e, r, b.err, ReasonUnavailable)
		}
		return e, nil
	}
	patience := time.NewTimer(j.o.Patience)
	defer patience.Stop()
	reason := ReasonUnavailable
	select {
	case <-b.done:
		if err = b.err; err == nil {
			return e, nil
		}
	case <-patience.C:
		err = fmt.Errorf("%w: the disk did not answer within %v", ErrUnavailable, j.o.Patience)
	case <-ctx.Done():
		err, reason = context.Cause(ctx), ReasonClientGone
	}
	return nil, j.withdraw(e, r, err, reason)
}

// withdraw records that what e announced has not left. It returns why.
func (j *Journal) withdraw(e *Entry, r *Record, why error, reason string) error {
	withdrawn := *r
	withdrawn.Attempts = nil
	withdrawn.Outcome, withdrawn.Reason, withdrawn.RetrySafe = OutcomeRefused, reason, true
	e.Close(&withdrawn)
	return why
}

func (j *Journal) appendID(b []byte, number uint64) []byte {
	return strconv.AppendUint(append(append(b, j.run...), '.'), number, 10)
}

// addIntent puts e into the batch that it returns, or refuses at once what could
// only wait in vain. mine: the caller has the pen, and has taken the batch with it.
func (j *Journal) addIntent(e *Entry) (b *batch, mine bool, err error) {
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	var why string
	switch {
	case j.closed:
		why = "it is closed"
	case j.down != nil:
		why = "it cannot be written"
	case !j.committing.IsZero() && now.Sub(j.committing) > j.o.Patience:
		why = "the disk does not answer"
	case len(j.filling.lines)+len(e.intent.b) > j.o.BufferBytes:
		why = "the disk does not keep up"
	case j.open.n >= j.o.MaxOpen:
		why = "too many entries are open"
	}
	if why != "" {
		j.refused.add()
		j.stats.Refused++
		return nil, false, fmt.Errorf("%w: %s", ErrUnavailable, why)
	}
	j.filling.intent(e)
	j.open.push(e)
	b = j.filling
	switch {
	case j.writing: // by somebody who looks again afterwards
	case j.o.Sync == Process && j.plain(now):
		j.writing = true
		j.swap(now)
		return b, true, nil
	default:
		j.rouse()
	}
	return b, false, nil
}

// rouse has the goroutine look at the batch. It never blocks.
func (j *Journal) rouse() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// idle has what nobody waits for written within closeWithin, if no intent takes it
// along before. The caller holds j.mu.
func (j *Journal) idle() {
	if !j.flushing {
		j.flushing = true
		j.flush.Reset(closeWithin)
	}
}

// Write records the close of a request that had no intent, as of safe methods. It
// never waits: when the disk does not keep up, the record is dropped, which is
// counted, and noted in the journal.
func (j *Journal) Write(r *Record) {
	var id [maxID]byte
	line := scratches.Get().(*scratch)
	defer line.free()
	line.b = appendRecord(line.b[:0], KindClose, j.appendID(id[:0], j.number.Add(1)), time.Now(), r)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed || j.down != nil || len(j.filling.lines)+len(line.b) > j.o.BufferBytes {
		j.dropped.add()
		j.stats.Dropped++
		return
	}
	j.filling.close(line.b, nil)
	j.idle()
}

// SetScope notes that from now on something else is recorded.
func (j *Journal) SetScope(scope map[string]string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.scope = boundedScope(scope)
	if !j.closed {
		j.filling.mark(&mark{Kind: KindScope, Run: j.run, At: time.Now(), Scope: j.scope})
		j.rouse()
	}
}

// Close writes what waits and ends the run. Every entry should be closed before;
// one that is not is closed by the next run's recovery. It returns
// context.Cause(ctx) when the disk takes longer, and ErrUnavailable when
// something could not be written.
func (j *Journal) Close(ctx context.Context) error {
	j.mu.Lock()
	if !j.closed {
		j.closed = true
		close(j.ending)
	}
	j.mu.Unlock()
	select {
	case <-j.ended:
		return j.w.endErr
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
