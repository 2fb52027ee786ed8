package supervisor_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
)

// Other operations do not wait for a drain, and resume ends it.
func TestDrainKeepsNoOperationWaiting(t *testing.T) {
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a")})
	release := r.hold("a", 1)
	defer release()
	drained := make(chan supervisor.Report, 1)
	go func() { drained <- r.Drain(context.Background(), "a") }()
	eventually(t, 10*time.Second, "the drain waits", func() bool { return r.bulkhead("a").State == "draining" })

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	two := 2
	for _, rep := range []supervisor.Report{
		r.ForceBreaker(ctx, "a", breaker.Open), r.Forgive(ctx, "a", ""), r.Resize(ctx, "a", nil, &two), r.Restart(ctx, "a"),
	} {
		if rep.Error != "" {
			t.Errorf("%+v", rep)
		}
	}
	if len(drained) != 0 {
		t.Fatalf("it did not wait: %+v", <-drained)
	}
	if rep := r.Resume(ctx, "a"); rep.Error != "" || rep.Did != "takes requests again" {
		t.Errorf("%+v", rep)
	}
	if rep := <-drained; !strings.Contains(rep.Error, "resume") || !strings.Contains(rep.Error, "1 request") {
		t.Errorf("%+v", rep)
	}
	if s := r.bulkhead("a"); s.State == "draining" || s.Limit != 2 || s.Breaker.State != "forced_open" {
		t.Errorf("%+v", s)
	}
}
