package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor/journal"
	"commerce.example/coordinator/supervisor/journal/kept"
)

// ReplayPlan is one request of the journal that is to be sent again.
type ReplayPlan struct {
	Segment string // where the close of the request stands
	Offset  int64
	Execute bool // false: only say what would be done
}

// ReplayResult is what came of it.
type ReplayResult struct {
	RequestID string `json:"request_id"` // of the first request
	Entry     string `json:"entry"`
	BodyBytes int    `json:"body_bytes"`

	Why    NoReplay `json:"why,omitempty"`    // it was not sent; "": it was, or would be
	Detail string   `json:"detail,omitempty"` // Why, as a sentence without its end

	ReplayID string  `json:"replay_id,omitempty"` // request id of the replay; empty: none was made
	Outcome  Outcome `json:"outcome,omitempty"`   // of the replay
	Reason   Reason  `json:"reason,omitempty"`
	Status   int     `json:"status,omitempty"` // that a client would have been told; 0: none
	TookMS   float64 `json:"took_ms,omitempty"`
}

// NoReplay is why a request is not sent again.
type NoReplay string

const (
	NoReplayOutcome  NoReplay = "outcome"        // not provably harmless, or needless
	NoReplayUnsure   NoReplay = "not_idempotent" // it may have been done, and the backend does not know repeats
	NoReplayDeadly   NoReplay = "workers_died"   // with it
	NoReplayNotKept  NoReplay = "not_kept"
	NoReplayTooLarge NoReplay = "too_large" // to be kept
	NoReplayGone     NoReplay = "gone"      // it was sent again, or its file was removed for room
	NoReplayKey      NoReplay = "no_key"
	NoReplayDamaged  NoReplay = "damaged"
	NoReplayBusy     NoReplay = "being_sent"   // at this moment
	NoReplayJournal  NoReplay = "not_recorded" // a replay would leave no trace
	NoReplayRepeated NoReplay = "repeated"     // by its client, with its idempotency key
)

// detail is n as a sentence without its end.
func (n NoReplay) detail(s *journal.Story) string {
	switch n {
	case NoReplayOutcome:
		return "its outcome is " + s.Outcome + ": only never_sent and sent_unknown are sent again"
	case NoReplayUnsure:
		return "it may have been done, and BACKEND_IDEMPOTENT does not say that twice is once"
	case NoReplayDeadly:
		return "workers died with it"
	case NoReplayNotKept:
		if s.Body == journal.BodyLost {
			return "it could not be kept: there was no room, or the disk failed"
		}
		return "it was not kept: JOURNAL_BODY was off"
	case NoReplayTooLarge:
		return "it was not kept: its body was larger than JOURNAL_BODY"
	case NoReplayGone:
		return "it is no longer kept: it was sent again, or is too old"
	case NoReplayKey:
		return "it is sealed with a key that is not in COORDINATOR_JOURNAL_KEY_FILE"
	case NoReplayDamaged:
		return "what was kept of it is damaged"
	case NoReplayBusy:
		return "it is being sent at this moment"
	case NoReplayRepeated:
		return "it has been repeated with its idempotency key"
	case NoReplayJournal:
		return "JOURNAL no longer records such requests, so a replay would leave no trace"
	}
	return ""
}

// noReplay is why what the journal says of a request, and the configuration of its
// bulkhead, keep it from being sent again; "": they do not.
func noReplay(s *journal.Story, c *BulkheadConfig) NoReplay {
	switch {
	case !sendableAgain(Outcome(s.Outcome)):
		return NoReplayOutcome
	case s.Outcome == journal.OutcomeNeverSent && !s.RetrySafe:
		return NoReplayDeadly
	case s.Body == journal.BodyTooLarge:
		return NoReplayTooLarge
	case s.Sealed == "":
		return NoReplayNotKept
	case s.Outcome == journal.OutcomeSentUnknown && !c.BackendIdempotent:
		return NoReplayUnsure
	case !c.Journal.Scope.intends(s.Method):
		return NoReplayJournal
	}
	return ""
}

// notOpened is why what is kept cannot be used; "": nobody knows.
func notOpened(err error) NoReplay {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return NoReplayGone
	case errors.Is(err, kept.ErrKey):
		return NoReplayKey
	case errors.Is(err, kept.ErrDamaged):
		return NoReplayDamaged
	}
	return ""
}

// A replay is what a call knows of the request that it is sent again for.
type replay struct {
	of      *journal.Story
	request *kept.Request
	store   *kept.Store
}

// leave is called when the intent of the replay is on disk, before it is handed to
// a worker: from here on the first request must not be sent again. A nil replay is
// none.
func (p *replay) leave() error {
	if p == nil {
		return nil
	}
	if err := p.store.Drop(p.of.Sealed); err != nil {
		return errors.Join(journal.ErrUnavailable, err)
	}
	return nil
}

// Replay sends a request of the journal again, through the limits and the breaker
// of its bulkhead, as a request of its own with its own id. The first is replaced by
// it: whatever becomes of the replay, the first is never sent again, unless the
// replay was refused before it left.
//
// The report has a ReplayResult unless it has an error. That nobody waits for it any
// more does not end a replay that has begun: the time that ctx had does.
func (s *Supervisor) Replay(ctx context.Context, name string, p ReplayPlan) Report {
	begun := time.Now()
	r := Report{Action: "replay", Bulkheads: []string{name}}
	result, err := s.replay(ctx, name, p)
	r.took(begun)
	r.Replay = result
	switch {
	case err != nil:
		r.Error = err.Error()
		s.log.Error("operation failed", "action", r.Action, "bulkhead", name, "error", err, "took_ms", r.TookMS)
	case result.Why != "":
		r.Did = fmt.Sprintf("%s is not sent again: %s", result.RequestID, result.Detail)
	case result.ReplayID == "":
		r.Did = fmt.Sprintf("%s would be sent again, with a body of %s", result.RequestID, plural(result.BodyBytes, "byte"))
	default:
		r.Did = fmt.Sprintf("%s was sent again as %s: %s", result.RequestID, result.ReplayID, result.Outcome)
		s.log.Info("replayed", "bulkhead", name, "request_id", result.ReplayID, "replay_of", result.RequestID,
			"outcome", result.Outcome, "reason", result.Reason, "status", result.Status, "took_ms", result.TookMS)
	}
	if p.Execute {
		s.metrics.operated(r.Action, err)
		s.noteReplay(name, &r)
	}
	return r
}

// noteReplay has the console show what was sent, or failed: what was not to be sent
// again has changed nothing.
func (s *Supervisor) noteReplay(name string, r *Report) {
	if b := s.find(name); b != nil && (r.Error != "" || r.Replay.ReplayID != "") {
		b.noted.transition("operator", strings.TrimSuffix(r.Action+": "+r.Did, ": "), r.Error)
	}
}

func (s *Supervisor) replay(ctx context.Context, name string, p ReplayPlan) (*ReplayResult, error) {
	b := s.find(name)
	switch state := *s.state.Load(); {
	case state != stateReady:
		return nil, fmt.Errorf("the supervisor is %s", state)
	case b == nil:
		return nil, fmt.Errorf("there is no bulkhead %q", name)
	case len(s.journal.runs()) == 0:
		return nil, errors.New("no bulkhead keeps a journal")
	}
	if err := s.journal.bodies.settle(ctx, s.journal); err != nil {
		return nil, err
	}
	story, err := journal.NewReader(s.journal.dir).At(p.Segment, p.Offset)
	switch {
	case errors.Is(err, fs.ErrNotExist): // trimmed
		return &ReplayResult{Why: NoReplayGone, Detail: NoReplayGone.detail(nil)}, nil
	case err != nil:
		return nil, err
	case story.Bulkhead != name:
		return nil, fmt.Errorf("it is a request of %s", story.Bulkhead)
	}
	result := &ReplayResult{RequestID: story.RequestID, Entry: story.Entry}
	not := func(why NoReplay) (*ReplayResult, error) {
		result.Why, result.Detail = why, why.detail(story)
		return result, nil
	}
	set := b.settings.Load()
	if why := noReplay(story, &set.BulkheadConfig); why != "" {
		return not(why)
	}
	release, ok := s.journal.bodies.claim(claimed(story))
	if !ok {
		return not(NoReplayBusy)
	}
	defer release()
	store := s.journal.bodies.store.Load()
	request, err := store.Read(story.RequestID, story.Sealed)
	if why := notOpened(err); why != "" {
		return not(why)
	}
	if err != nil {
		return nil, err
	}
	result.BodyBytes = len(request.Body)
	if again, ok, err := b.repeats.find(ctx, journal.NewReader(s.journal.dir), set, story); err != nil {
		return nil, err
	} else if ok {
		result.Why, result.Detail = again.why()
		return result, nil
	}
	if !p.Execute {
		return result, nil
	}
	if err := s.sendAgain(ctx, b, &replay{of: story, request: request, store: store}, result); err != nil {
		return nil, err
	}
	return result, nil
}

// claimed is what one replay at a time may send: a request, or one of those with its
// idempotency key.
func claimed(s *journal.Story) string {
	if s.IdempotencyDigest != "" {
		return s.Bulkhead + " " + s.IdempotencyDigest
	}
	return s.Sealed
}

// sendAgain has the bulkhead serve the request, to a client that takes all and keeps
// nothing. One that its client has repeated since is not sent, and not kept if that
// was done.
func (s *Supervisor) sendAgain(ctx context.Context, b *Bulkhead, p *replay, result *ReplayResult) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	deadline, bounded := ctx.Deadline()
	ctx = context.WithoutCancel(ctx)
	if bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	result.ReplayID = s.front.ids.next()
	r, err := p.httpRequest(ctx, result.ReplayID)
	if err != nil {
		return err
	}
	defer s.drill.bar("a replay")() // which would be judged with it
	c := b.begin(&taker{header: make(http.Header)}, r)
	c.trace = s.front.trace(r)
	c.journaled.replay, c.keyed.digest = p, p.of.IdempotencyDigest // which the journal knows also with keys off
	b.serveWhole(c)
	if result.Why, result.Detail = c.keyTaken(); result.Why != "" {
		result.ReplayID = ""
		if c.keyed.did() {
			return p.store.Drop(p.of.Sealed)
		}
		return nil
	}
	if e := c.journaled.entry; e != nil {
		b.repeats.note(p.of.IdempotencyDigest, repeat{e.ID(), result.ReplayID, c.progress.Outcome(), c.begun})
	}
	result.Outcome, result.Reason, result.Status = c.progress.Outcome(), c.reason, c.told
	result.TookMS = float64(time.Since(c.begun).Microseconds()) / 1000
	b.stats.metrics.all.replays.WithLabelValues(c.set.Name, string(result.Outcome)).Inc()
	return nil
}

// serveWhole is handle for a caller that is no server: an answer that is cut ends here.
func (b *Bulkhead) serveWhole(c *call) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	b.handle(c)
}

// httpRequest is the first request as a client of HTTP/1.1 would send it again.
func (p *replay) httpRequest(ctx context.Context, id string) (*http.Request, error) {
	again := p.request
	target, err := url.ParseRequestURI(again.Target)
	if err != nil {
		return nil, fmt.Errorf("its target cannot be read: %w", err)
	}
	r := &http.Request{
		Method: again.Method, URL: target, RequestURI: again.Target, Host: again.Host, RemoteAddr: again.RemoteAddr,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: again.Header, Trailer: again.Trailer, Body: http.NoBody, ContentLength: int64(len(again.Body)),
	}
	if len(again.Body) > 0 || len(again.Trailer) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(again.Body))
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	r.Header["X-Request-Id"] = []string{id}
	r.Pattern = p.of.Route
	return r.WithContext(ctx), nil
}

// A taker is the client of a replay. It never waits for anything.
type taker struct{ header http.Header }

func (t *taker) Header() http.Header              { return t.header }
func (t *taker) WriteHeader(int)                  {}
func (t *taker) Write(p []byte) (int, error)      { return len(p), nil }
func (t *taker) Flush()                           {}
func (t *taker) SetReadDeadline(time.Time) error  { return nil }
func (t *taker) SetWriteDeadline(time.Time) error { return nil }
