package supervisor

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/ipc/exchange"
)

// The log has the first failure of a reason at once, and the others together.
func TestFailuresInTheLog(t *testing.T) {
	b := &Bulkhead{}
	b.settings.Store(newSettings(BulkheadConfig{Name: "orders"}, nil, nil))
	var text bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &text, JSONFormat: true})
	old := failureEvery
	lines := func(at time.Time) []string {
		text.Reset()
		b.logFailures(log, at, old)
		return strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	}
	fail := func(reason Reason, why, id string) {
		b.failures.note(reason, &exchange.Error{Fault: exchange.Fault(reason), Err: errors.New(why)}, id)
	}
	now := time.Now()
	if got := lines(now); got[0] != "" {
		t.Errorf("nothing failed, and %q", got)
	}
	fail(ReasonBackendTLS, "expired", "r1")
	if got := lines(now); len(got) != 1 || !strings.Contains(got[0], `"why":"expired"`) || !strings.Contains(got[0], `"calls":1`) ||
		!strings.Contains(got[0], `"request_id":"r1"`) || !strings.Contains(got[0], `"bulkhead":"orders"`) {
		t.Errorf("got %q", got)
	}
	fail(ReasonBackendTLS, "wrong name", "r2")
	fail(ReasonBackendTLS, "another", "r3")
	fail(ReasonBackendReset, "x"+strings.Repeat("é", failureText), "r4")
	if got := lines(now.Add(failureEvery - 1)); len(got) != 1 || !strings.Contains(got[0], "backend_reset") || len(got[0]) > 2*failureText || strings.ContainsRune(got[0], '\ufffd') {
		t.Errorf("got %q", got)
	}
	if got := lines(now.Add(failureEvery)); len(got) != 1 || !strings.Contains(got[0], "wrong name") || !strings.Contains(got[0], `"calls":2`) {
		t.Errorf("got %q", got)
	}
	if got := lines(now.Add(time.Hour)); got[0] != "" {
		t.Errorf("told twice: %q", got)
	}
	fail(ReasonBackendTLS, "last words", "r5")
	if got := lines(now.Add(failureEvery)); got[0] != "" {
		t.Errorf("told too early: %q", got)
	}
	old = 0 // as at the end
	if got := lines(now.Add(failureEvery)); !strings.Contains(got[0], "last words") {
		t.Errorf("the end tells %q", got)
	}
}
