//go:build linux

package main_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// narrow is a backend that works on so many requests at a time, each for so long;
// the others wait in it.
func narrow(t *testing.T, capacity int, each time.Duration) string {
	t.Helper()
	places := make(chan struct{}, capacity)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		defer func() { <-places }()
		work := time.NewTimer(each)
		defer work.Stop()
		select {
		case <-work.C:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(backend.Close)
	return backend.URL
}

// A limit that follows its backend keeps it busy, and keeps waiting out of it.
func TestE2EAdaptiveLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const capacity, each = 16, 40 * time.Millisecond // 400 requests/s
	s := runSite(t, "COORDINATOR_BULKHEADS=a", "BULKHEAD_A_ROUTES=/", "BULKHEAD_A_BACKEND="+narrow(t, capacity, each),
		"BULKHEAD_A_LIMIT=64", "BULKHEAD_A_QUEUE=0", "BULKHEAD_A_UPGRADE_LIMIT=64", "COORDINATOR_LOG_LEVEL=info")
	if b := s.bulkhead("a"); b.LimitMode != "fixed" || b.Adaptive != nil {
		t.Errorf("mode %q, %+v", b.LimitMode, b.Adaptive)
	}
	pids := s.pids("a")
	g := s.generate("/", 600, 5*time.Minute, func(o *load.Options) { o.Poisson = true })
	phase := func(name string, d time.Duration) *load.Result {
		g.Cut(name)
		time.Sleep(d) // the time that is measured
		g.Cut("")
		all := g.Phases()
		r := all[slices.IndexFunc(all, func(r *load.Result) bool { return r.Name == name })]
		t.Logf("%s; answered: p50 %v, p99 %v; limit %d", figures(r), r.Success.Quantile(.5), r.Success.Quantile(.99), s.bulkhead("a").Limit)
		return r
	}
	eventually(t, 10*time.Second, "64 are in flight", func() bool { return s.bulkhead("a").InFlight == 64 })
	fixed := phase("fixed", span(3*time.Second, 10*time.Second))

	s.set("BULKHEAD_A_LIMIT=auto:8-64")
	s.must("reload")
	if b := s.bulkhead("a"); b.LimitMode != "auto" || b.Adaptive == nil || b.Adaptive.Least != 8 || b.Adaptive.Most != 64 || b.Limit != b.Adaptive.Advised {
		t.Errorf("after the reload: %+v, limit %d", b.Adaptive, b.Limit)
	}
	if !slices.Equal(pids, s.pids("a")) {
		t.Error("workers were replaced for a limit")
	}
	took := eventually(t, time.Minute, "the limit has left its lower bound", func() bool {
		b := s.bulkhead("a")
		return b.Adaptive.State == "following" && b.Limit >= capacity
	})
	t.Logf("limit %d after %v", s.bulkhead("a").Limit, took)
	found := phase("auto", span(5*time.Second, 20*time.Second))
	b := s.bulkhead("a")
	if b.Limit < capacity-4 || b.Limit > 2*capacity {
		t.Errorf("limit %d, the backend works on %d", b.Limit, capacity)
	}
	if got := s.metric("coordinator_limit_advised", "bulkhead", "a"); got < 8 || got > 64 {
		t.Errorf("coordinator_limit_advised %v", got)
	}
	if f, a := fixed.Success.Quantile(.99), found.Success.Quantile(.99); a > f*3/4 {
		t.Errorf("p99 %v, with a fixed limit %v", a, f)
	}
	served := func(r *load.Result) float64 { return float64(r.Status[200]) / (r.To - r.From).Seconds() }
	if f, a := served(fixed), served(found); a < 0.8*f {
		t.Errorf("%.0f answered a second, with a fixed limit %.0f", a, f)
	}

	// What an operator says holds until the next reload.
	if said := s.must("resize", "a", "--limit", "40"); !strings.Contains(said, "-> 40, fixed until the next reload (it was auto:8-64)") {
		t.Errorf("it said %q", said)
	}
	if b := s.bulkhead("a"); b.LimitMode != "fixed" || b.Limit != 40 {
		t.Errorf("resized: %q, limit %d", b.LimitMode, b.Limit)
	}

	s.set("BULKHEAD_A_LIMIT=advise:8-64")
	s.must("reload")
	g.Stop()
	light := s.generate("/", 200, time.Minute, func(o *load.Options) { o.Poisson = true })
	eventually(t, 45*time.Second, "an advice", func() bool {
		b := s.bulkhead("a")
		if b.Limit != 64 {
			t.Fatalf("limit %d", b.Limit)
		}
		return b.LimitMode == "advise" && b.Adaptive.State == "following" && b.Adaptive.Advised > 8
	})
	t.Logf("status: %s", s.must("status", "a"))
	light.Stop()
	if !slices.Equal(pids, s.pids("a")) {
		t.Error("workers were replaced for a limit")
	}
}

// The supervisor that takes over goes on with the limit that the one before has found.
func TestE2EAdaptiveLimitOutlivesAnUpgrade(t *testing.T) {
	s := upgradable(t, "COORDINATOR_BULKHEADS=faulty,healthy,a", "BULKHEAD_A_ROUTES=/a", "BULKHEAD_A_BACKEND="+narrow(t, 16, 10*time.Millisecond),
		"BULKHEAD_A_LIMIT=auto:2-16", "BULKHEAD_A_BREAKER_MODE=observe", "BULKHEAD_A_QUEUE=0")
	s.start()
	pid := s.serving()
	g := s.generate("/a", 1000, time.Minute, func(o *load.Options) { o.Poisson = true })
	eventually(t, 40*time.Second, "the limit has left its lower bound", func() bool { return s.bulkhead("a").Limit >= 5 })
	g.Stop()
	before := s.bulkhead("a").Limit
	s.must("upgrade")
	s.replaced(pid)
	if b := s.bulkhead("a"); s.serving() == pid || b.Limit != before || b.Adaptive.State != "learning" {
		t.Errorf("limit %d, %s; before the upgrade %d", b.Limit, b.Adaptive.State, before)
	}
}
