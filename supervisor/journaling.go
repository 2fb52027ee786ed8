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

// JournalStatus is the journal of the supervisor.
type JournalStatus struct {
	Available   bool   `json:"available"`
	Run         string `json:"run"`          // with which the entries of this process begin
	Open        int    `json:"open"`         // intents without an end
	Intents     uint64 `json:"intents"`      // recorded by this process, as all that follows
	Closes      uint64 `json:"closes"`       //
	Refused     uint64 `json:"refused"`      // requests, because their intent could not be recorded
	Dropped     uint64 `json:"dropped"`      // records without an intent
	Abandoned   uint64 `json:"abandoned"`    // segments, after a failed write
	Segments    int    `json:"segments"`     // in the folder, when the last was begun
	StoredBytes int64  `json:"stored_bytes"` // of them
}

// journaling is the one journal of all bulkheads, from when the first of them
// needs it until the supervisor ends.
type journaling struct {
	dir     string
	log     hclog.Logger
	metrics *metrics
	clients *journal.Clients
	opened  atomic.Pointer[journal.Journal] // nil: nothing was ever recorded
	bodies  bodies
}

func newJournaling(stateDir string, m *metrics, log hclog.Logger) *journaling {
	dir := filepath.Join(stateDir, "journal")
	return &journaling{dir: dir, log: log, metrics: m, clients: journal.NewClients(dir)}
}

// open begins to record as c says, if any bulkhead of it is recorded. It does
// nothing when that was done before, except that it takes other keys. What is open of
// a supervisor that has died is closed; one that hands over to this one still writes.
func (j *journaling) open(c *Config) error {
	if j.opened.Load() != nil {
		return j.bodies.open(j, c)
	}
	on, sync := false, journal.Always
	for _, b := range c.Bulkheads {
		on = on || b.Journal.Scope.on()
		if b.Journal.Scope.intends("POST") && b.Journal.Sync != journal.Always {
			sync = journal.Process
		}
	}
	if !on {
		return nil
	}
	opened, err := journal.Open(j.dir, journal.Options{
		Sync: sync, SegmentBytes: c.Journal.SegmentBytes, SegmentAge: c.Journal.SegmentAge, TotalBytes: c.Journal.TotalBytes,
		Scope: scopeOf(c.Bulkheads), Notify: j.notify,
		Committed: func(took time.Duration) { j.metrics.journalCommit.Observe(took.Seconds()) },
	})
	if err != nil {
		return err
	}
	j.opened.Store(opened)
	return j.bodies.open(j, c)
}

// setScope has the journal know what it now stands for.
func (j *journaling) setScope(bulkheads []BulkheadConfig) {
	if opened := j.opened.Load(); opened != nil {
		opened.SetScope(scopeOf(bulkheads))
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
func (j *journaling) notify(e journal.Event) {
	switch e.Kind {
	case journal.EventUnavailable:
		j.log.Error("journal unavailable: what must be recorded before it is sent is refused", "error", e.Err)
	case journal.EventAvailable:
		j.log.Info("journal available again", "segment", e.Segment)
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

// close ends the run, when the bulkheads have. What is still open then the next
// supervisor closes.
func (j *journaling) close() {
	opened := j.opened.Load()
	if opened == nil {
		return
	}
	defer j.bodies.close()
	ctx, cancel := context.WithTimeout(context.Background(), journalLastCalls)
	defer cancel()
	for opened.Stats().Open > 0 && sleep(ctx, 5*time.Millisecond) {
	}
	ctx, cancel = context.WithTimeoutCause(context.Background(), journalPatience, fmt.Errorf("the disk did not answer within %v", journalPatience))
	defer cancel()
	if err := opened.Close(ctx); err != nil {
		j.log.Error("journal not closed: its last records may be missing", "error", err)
	}
}

// begin records that a request is about to leave.
func (j *journaling) begin(ctx context.Context, r *journal.Record) (*journal.Entry, error) {
	opened := j.opened.Load()
	if opened == nil { // a bulkhead whose settings want one always finds it
		return nil, journal.ErrUnavailable
	}
	return opened.Begin(ctx, r)
}

// write records the end of a request that had no intent.
func (j *journaling) write(r *journal.Record) {
	if opened := j.opened.Load(); opened != nil {
		opened.Write(r)
	}
}

// client is the word for a client, empty when its address is not known. A key that
// cannot be kept is told once a day: the words then end with this process.
func (j *journaling) client(address []string, now time.Time) string {
	if len(address) != 1 {
		return ""
	}
	addr, err := netip.ParseAddr(address[0])
	if err != nil {
		return ""
	}
	word, err := j.clients.Hash(addr, now)
	if err != nil {
		j.log.Warn("journal cannot keep the key of client addresses: a restart will change their words", "error", err)
	}
	return word
}

// runs are those of this process.
func (j *journaling) runs() []string {
	if opened := j.opened.Load(); opened != nil {
		return []string{opened.Run()}
	}
	return nil
}

// status is nil when nothing was ever recorded.
func (j *journaling) status() *JournalStatus {
	opened := j.opened.Load()
	if opened == nil {
		return nil
	}
	s := opened.Stats()
	return &JournalStatus{
		Available: s.Available, Run: opened.Run(), Open: s.Open, Intents: s.Intents, Closes: s.Closes, Refused: s.Refused,
		Dropped: s.Dropped, Abandoned: s.Abandoned, Segments: s.Segments, StoredBytes: s.Stored,
	}
}
