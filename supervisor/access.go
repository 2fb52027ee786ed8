package supervisor

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/accesslog"
	"commerce.example/coordinator/supervisor/fallback"
)

// AccessConfig is the access log. The zero value is none.
type AccessConfig struct {
	Sampling accesslog.Sampling
	File     string // path; empty: Options.Stdout
}

// access is the access log of all requests, of whichever file it is. It is off by
// default: the failures of an outage come by the thousand a second, and to have
// them fill a disk that nobody planned for would be an outage of its own.
type access struct {
	stdout  io.Writer
	log     hclog.Logger
	journal *journaling // which has the words for clients
	counts  accesslog.Counts
	current atomic.Pointer[accesslog.Log] // nil: off
	config  AccessConfig                  // its; for whoever starts, reloads and stops, one at a time

	// For the watch.
	saidDropped uint64
	saidAt      time.Time
}

// accessPatience is how long a sink is waited for that takes nothing.
const accessPatience = time.Second

// apply makes c the access log. With an error the one that was goes on.
func (a *access) apply(c AccessConfig) error {
	old := a.current.Load()
	if old != nil && !c.Sampling.Off() && c.File == a.config.File {
		old.SetSampling(c.Sampling)
		a.config = c
		return nil
	}
	if !c.Sampling.Off() {
		// A journal that is off has no folder, and the key of the words for clients
		// is kept there. Without it they end with this process, which is said then.
		_ = os.MkdirAll(a.journal.dir, 0o700)
	}
	next, err := accesslog.Open(accesslog.Options{
		Sampling: c.Sampling, Path: c.File, Stdout: a.stdout, Counts: &a.counts,
		Report: func(err error) { a.log.Warn("access log not written", "error", err) },
	})
	if err != nil {
		return err
	}
	a.current.Store(next)
	a.config = c
	a.end(old)
	return nil
}

// sampled is the log if a request gets a line in it, and for how many that stands:
// 0 if it gets none. A nil access is one that is off.
func (a *access) sampled(status int, reason Reason, stoodIn fallback.Kind) (*accesslog.Log, uint32) {
	if a == nil {
		return nil, 0
	}
	log := a.current.Load()
	return log, log.Sample(accesslog.Failed(status, string(reason), string(stoodIn)))
}

// reopen follows a file that was moved away. It returns what to say.
func (a *access) reopen(ctx context.Context) (said []string) {
	ctx, cancel := context.WithTimeoutCause(ctx, accessPatience, fmt.Errorf("it took nothing for %v", accessPatience))
	defer cancel()
	if err := a.current.Load().Reopen(ctx); err != nil {
		said = append(said, fmt.Sprintf("COORDINATOR_ACCESS_LOG_FILE is not opened anew, and the old file goes on: %v", err))
	}
	return said
}

// close ends it, when no request is left.
func (a *access) close() { a.end(a.current.Swap(nil)) }

func (a *access) end(l *accesslog.Log) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), accessPatience, fmt.Errorf("it took nothing for %v", accessPatience))
	defer cancel()
	if err := l.Close(ctx); err != nil {
		a.log.Warn("access log not written", "error", err)
	}
}

// accessLossEvery is how often the log says at most that lines were lost.
const accessLossEvery = 10 * time.Second

// logDropped belongs to the watch.
func (a *access) logDropped(now time.Time) {
	dropped := a.counts.Stats().Dropped
	if dropped > a.saidDropped && now.Sub(a.saidAt) >= accessLossEvery {
		a.log.Warn("access log lines dropped", "lines", dropped-a.saidDropped)
		a.saidDropped, a.saidAt = dropped, now
	}
}
