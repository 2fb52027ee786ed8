package supervisor

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/journal"
)

// JournalScope is which requests of a bulkhead are recorded, and how.
type JournalScope string

const (
	JournalOff JournalScope = "off"
	// JournalUnsafe is those whose repeat could do work twice: their intent is on
	// disk before a worker gets them. Reads cost nothing.
	JournalUnsafe JournalScope = "unsafe"
	// JournalAll is reads too, which then need the journal as writes do.
	JournalAll JournalScope = "all"
	// JournalFailures is what did not end as done, when it ends: a crash leaves
	// nothing of what was in flight, and nothing waits for the disk.
	JournalFailures JournalScope = "failures"
)

// JournalScopes is every scope; a new slice each time.
func JournalScopes() []JournalScope {
	return []JournalScope{JournalOff, JournalUnsafe, JournalAll, JournalFailures}
}

// intends reports whether a request must be on disk before it leaves.
func (s JournalScope) intends(method string) bool {
	return s == JournalAll || s == JournalUnsafe && !SafeMethod(method)
}

// wants reports whether the end of a request is recorded.
func (s JournalScope) wants(method string, o Outcome) bool {
	return s.intends(method) || s == JournalFailures && o != OutcomeDone
}

func (s JournalScope) on() bool { return s != JournalOff && s != "" }

// Writer is of which journal it is that records as c says, empty: of none. What
// waits for nothing needs no disk to confirm it.
func (c RecordConfig) Writer() journal.Sync {
	if !c.Scope.on() {
		return ""
	}
	if c.Sync == journal.Always && c.Scope != JournalFailures {
		return journal.Always
	}
	return journal.Process
}

// RecordConfig is what of a bulkhead's requests is recorded.
type RecordConfig struct {
	Scope   JournalScope // empty: off
	Sync    journal.Sync // what an intent survives; empty: the death of the process
	Query   bool         // queries too: they may hold secrets
	Headers journal.AllowList
	// BodyBytes is up to which size requests that may do work are kept, sealed, so
	// that they can be sent again; 0: none is.
	BodyBytes int64
}

// keeps reports whether a request of that method is kept.
func (c *RecordConfig) keeps(method string) bool {
	return c.BodyBytes > 0 && c.Scope.intends(method) && !SafeMethod(method)
}

// JournalConfig bounds the journal. Zero values are those of journal.Options.
type JournalConfig struct {
	SegmentBytes int64
	SegmentAge   time.Duration
	TotalBytes   int64
}

// JournalStatus is the journal of the supervisor, both syncs together.
type JournalStatus struct {
	Available   bool     `json:"available"`    // all of it
	Unavailable []string `json:"unavailable"`  // the syncs that cannot be recorded now
	Runs        []string `json:"runs"`         // with which the entries of this process begin
	Open        int      `json:"open"`         // intents without an end
	Intents     uint64   `json:"intents"`      // recorded by this process, as all that follows
	Closes      uint64   `json:"closes"`       //
	Refused     uint64   `json:"refused"`      // requests, because their intent could not be recorded
	Dropped     uint64   `json:"dropped"`      // records without an intent
	Abandoned   uint64   `json:"abandoned"`    // segments, after a failed write
	Segments    int      `json:"segments"`     // in the folder, when the last was begun
	StoredBytes int64    `json:"stored_bytes"` // of them
}

// journaling is the journal of all bulkheads: in one folder a writer for each sync
// that any of them has asked for, from then until the supervisor ends. So no
// intent that the death of the process must not lose waits for the fdatasync of
// one that the death of the machine must not.
type journaling struct {
	dir     string
	log     hclog.Logger
	metrics *metrics
	clients *journal.Clients
	process atomic.Pointer[journal.Journal] // nil: nothing ever needed it
	always  atomic.Pointer[journal.Journal]
	bodies  bodies
}

func newJournaling(stateDir string, m *metrics, log hclog.Logger) *journaling {
	dir := JournalDir(stateDir)
	return &journaling{dir: dir, log: log, metrics: m, clients: journal.NewClients(dir)}
}

// JournalDir is the folder of the journal below a state directory.
func JournalDir(stateDir string) string { return filepath.Join(stateDir, "journal") }

// runs are the ids of this supervisor's entries.
func (j *journaling) runs() []string {
	var ids []string
	for _, o := range j.opened() {
		ids = append(ids, o.Run())
	}
	return ids
}

func (j *journaling) of(s journal.Sync) *atomic.Pointer[journal.Journal] {
	if s == journal.Always {
		return &j.always
	}
	return &j.process
}

// opened is those that are.
func (j *journaling) opened() []*journal.Journal {
	var all []*journal.Journal
	for _, p := range []*atomic.Pointer[journal.Journal]{&j.process, &j.always} {
		if o := p.Load(); o != nil {
			all = append(all, o)
		}
	}
	return all
}

// open begins to record as c says, and to keep with its keys, where that was not begun
// before. What is open of a supervisor that has died is closed; one that hands over
// to this one still writes.
func (j *journaling) open(c *Config) error {
	for _, b := range c.Bulkheads {
		sync := b.Journal.Writer()
		if p := j.of(sync); sync != "" && p.Load() == nil {
			opened, err := journal.Open(j.dir, journal.Options{
				Sync: sync, SegmentBytes: c.Journal.SegmentBytes, SegmentAge: c.Journal.SegmentAge, TotalBytes: c.Journal.TotalBytes,
				Scope: scopeOf(c.Bulkheads), Notify: func(e journal.Event) { j.notify(sync, e) },
				Committed: func(took time.Duration) { j.metrics.journalCommit.Observe(took.Seconds()) },
			})
			if err != nil {
				return err
			}
			p.Store(opened)
		}
	}
	if len(j.opened()) == 0 {
		return nil
	}
	return j.bodies.open(j, c)
}

// setScope has the journal know what it now stands for.
func (j *journaling) setScope(bulkheads []BulkheadConfig) {
	for _, o := range j.opened() {
		o.SetScope(scopeOf(bulkheads))
	}
}

func scopeOf(bulkheads []BulkheadConfig) map[string]string {
	scope := make(map[string]string, len(bulkheads))
	for _, b := range bulkheads {
		if scope[b.Name] = string(JournalOff); b.Journal.Scope.on() {
			scope[b.Name] = string(b.Journal.Scope)
		}
	}
	return scope
}

// notify logs what an operator should know.
func (j *journaling) notify(sync journal.Sync, e journal.Event) {
	switch e.Kind {
	case journal.EventUnavailable:
		j.log.Error("journal unavailable: what must be recorded before it is sent is refused", "sync", sync, "error", e.Err)
	case journal.EventAvailable:
		j.log.Info("journal available again", "sync", sync, "segment", e.Segment)
	case journal.EventAbandoned:
		j.log.Error("journal segment abandoned: the next one goes on", "segment", e.Segment, "error", e.Err)
	case journal.EventRecovered:
		j.log.Warn("journal closed what a supervisor left open that has died", "entries", e.Count)
	case journal.EventUnsettled:
		j.log.Error("journal cannot read what a supervisor left that has died", "error", e.Err)
	case journal.EventTrimmed:
		j.bodies.trim(j.dir)
		j.log.Debug("journal removed its oldest segment", "segment", e.Segment)
	}
}

const (
	journalLastCalls = 500 * time.Millisecond // for calls that the drain has cut
	journalPatience  = 2 * time.Second        // for the disk, when the supervisor stops
)

// close ends the runs, when the bulkheads have. What is still open then the next
// supervisor closes.
func (j *journaling) close() {
	defer j.bodies.close()
	defer j.clients.Close(journalLastCalls)
	calls, cancel := context.WithTimeout(context.Background(), journalLastCalls)
	defer cancel()
	for _, o := range j.opened() {
		for o.Stats().Open > 0 && sleep(calls, 5*time.Millisecond) {
		}
	}
	disk, cancel := context.WithTimeoutCause(context.Background(), journalPatience, fmt.Errorf("the disk did not answer within %v", journalPatience))
	defer cancel()
	for _, o := range j.opened() {
		if err := o.Close(disk); err != nil {
			j.log.Error("journal not closed: its last records may be missing", "error", err)
		}
	}
}

// begin records that a request is about to leave.
func (j *journaling) begin(ctx context.Context, c *RecordConfig, r *journal.Record) (*journal.Entry, error) {
	o := j.of(c.Writer()).Load()
	if o == nil { // a bulkhead whose settings want one always finds it
		return nil, journal.ErrUnavailable
	}
	return o.Begin(ctx, r)
}

// write records the end of a request that had no intent.
func (j *journaling) write(c *RecordConfig, r *journal.Record) {
	if o := j.of(c.Writer()).Load(); o != nil {
		o.Write(r)
	}
}

// client is the word for a client, empty when its address is not known.
func (j *journaling) client(address []string, now time.Time) string {
	if len(address) != 1 {
		return ""
	}
	addr, _ := netip.ParseAddr(address[0])
	return j.clientOf(addr, now)
}

// clientOf is that of an address. A key that cannot be kept is told once a day: the
// words then end with this process.
func (j *journaling) clientOf(addr netip.Addr, now time.Time) string {
	if !addr.IsValid() {
		return ""
	}
	word, err := j.clients.Hash(addr, now)
	if err != nil {
		j.log.Warn("journal cannot keep the key of client addresses: a restart will change their words", "error", err)
	}
	return word
}

// stats are those of all together, and the syncs of those that are unavailable;
// known is false when nothing was ever recorded.
func (j *journaling) stats() (sum journal.Stats, unavailable []string, known bool) {
	unavailable = []string{} // and not null
	for _, sync := range []journal.Sync{journal.Process, journal.Always} {
		o := j.of(sync).Load()
		if o == nil {
			continue
		}
		s := o.Stats()
		if known = true; !s.Available {
			unavailable = append(unavailable, string(sync))
		}
		sum.Open += s.Open
		sum.Intents += s.Intents
		sum.Closes += s.Closes
		sum.Syncs += s.Syncs
		sum.Bytes += s.Bytes
		sum.Abandoned += s.Abandoned
		sum.Refused += s.Refused
		sum.Dropped += s.Dropped
		if s.Counted.After(sum.Counted) { // each counts the whole folder
			sum.Segments, sum.Stored, sum.Counted = s.Segments, s.Stored, s.Counted
		}
	}
	sum.Available = len(unavailable) == 0
	return sum, unavailable, known
}

// status is nil when nothing was ever recorded.
func (j *journaling) status() *JournalStatus {
	s, unavailable, known := j.stats()
	if !known {
		return nil
	}
	return &JournalStatus{
		Runs:      j.runs(),
		Available: s.Available, Unavailable: unavailable, Open: s.Open, Intents: s.Intents, Closes: s.Closes, Refused: s.Refused,
		Dropped: s.Dropped, Abandoned: s.Abandoned, Segments: s.Segments, StoredBytes: s.Stored,
	}
}
