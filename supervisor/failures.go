package supervisor

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/ipc/exchange"
)

const (
	failureEvery = 10 * time.Second // lines of one reason of one bulkhead
	failureText  = 300              // bytes of what a worker says
)

// failures are the calls that their backend failed, as far as the log has not
// told of them. Clients learn the reason; what exactly was wrong with the backend
// (which field, whose certificate) is for its operators alone. A backend that is
// down fails every call, so there is a line for the first one of each reason and
// then one for all that followed. Safe for concurrent use.
type failures struct {
	mu sync.Mutex
	by map[Reason]*failure
}

type failure struct {
	calls  int    // that the log does not know of
	why    string // of the first of them
	id     string // its request
	logged time.Time
}

// note adds a call that failed for a reason of the backend's.
func (f *failures) note(reason Reason, err error, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	of := f.by[reason]
	if of == nil {
		if f.by == nil {
			f.by = make(map[Reason]*failure)
		}
		of = new(failure)
		f.by[reason] = of
	}
	if of.calls++; of.calls == 1 {
		of.why, of.id = whyOf(err), id
	}
}

// whyOf is what err says beyond its fault, which the reason repeats.
func whyOf(err error) string {
	if e, ok := errors.AsType[*exchange.Error](err); ok && e.Err != nil {
		err = e.Err
	}
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), failureText)], "")
}

// logFailures writes a line for each reason whose last one is that old at least.
func (b *Bulkhead) logFailures(log hclog.Logger, now time.Time, old time.Duration) {
	b.failures.mu.Lock()
	defer b.failures.mu.Unlock()
	for reason, of := range b.failures.by {
		if of.calls == 0 || now.Sub(of.logged) < old {
			continue
		}
		log.Warn("backend failed", "bulkhead", b.settings.Load().Name, "reason", string(reason),
			"why", of.why, "calls", of.calls, "request_id", of.id)
		of.calls, of.logged = 0, now
	}
}
