package supervisor_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/fallback"
)

// whileRehearsing runs ask over and over while the fallbacks of a are drilled, and
// returns what came of it.
func whileRehearsing(t *testing.T, r *running, p supervisor.DrillPlan, ask func(i int)) supervisor.Report {
	t.Helper()
	p.Mode, p.For = supervisor.DrillFallback, time.Second
	if p.Share == 0 {
		p.Share = 1
	}
	if p.Coverage == 0 {
		p.Coverage = supervisor.DefaultDrillCoverage
	}
	ended := make(chan supervisor.Report, 1)
	go func() { ended <- r.Drill(t.Context(), "a", p) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case report := <-ended:
			if report.DrillResult == nil || report.Fallback == nil {
				t.Fatalf("%q", report.Error)
			}
			f := report.Fallback
			t.Logf("%s: asked %d, covered %v, missing %v, %d compared, %v not, %d drifted %q; %q %q; %.0f and %.0f bytes, ages %v", report.Verdict,
				f.Asked, f.Covered, f.Missing, f.Compared, f.NotCompared, f.Drifted, f.Drifts, report.Findings, report.Notes, f.LiveBytes, f.StoredBytes, f.Ages)
			return report
		case <-tick.C:
			ask(i)
		}
	}
}

// heldUp reports whether all that is wrong is that this machine is slow.
func heldUp(report supervisor.Report) bool {
	for _, finding := range report.Findings {
		if !strings.Contains(finding, "the p99 of") {
			return false
		}
	}
	return true
}

// What would be given is found and compared, and nobody gets it.
func TestDrillFallback(t *testing.T) {
	t.Parallel()
	c, _ := legacyOf(t, "a", withBackup(t, "critical", prepared))
	r := start(t, []supervisor.BulkheadConfig{c})
	asks := []string{
		"/a/legacy/page?json=1", "/a/legacy/text", "/a/legacy/private?Cache-Control=no-store", "/a/legacy/critical?Cache-Control=no-store",
	}
	for _, target := range asks {
		r.get(target)
	}
	report := whileRehearsing(t, r, supervisor.DrillPlan{Coverage: 0.5}, func(i int) {
		target := asks[i%len(asks)]
		if i%10 == 9 {
			target = fmt.Sprintf("/a/legacy/new?i=%d", i)
		}
		var fields []string
		if i%8 == 0 {
			fields = []string{"Accept-Encoding", "gzip", "Authorization", "me"}
		}
		if resp, _ := r.get(target, fields...); resp.StatusCode != 200 || resp.Header.Get("Cache-Status") != "" {
			t.Errorf("%s: %s %v", target, resp.Status, resp.Header)
		}
		r.reason("POST", "/a/legacy/other", nil)
	})
	f := report.Fallback
	// How many a starved machine asks in that second is not the subject: of ten each is there.
	if f.Asked < 10 || f.Covered[fallback.Stale] < 3 || f.Covered[fallback.Backup] < 2 || f.Missing["no_store"] < 2 || f.Missing["not_seen"] < 1 {
		t.Errorf("%+v", f)
	}
	// The prepared answer is a text, as is the live one.
	if f.Compared+f.NotCompared[supervisor.UncomparedBusy] != f.Covered[fallback.Stale]+f.Covered[fallback.Backup] || f.Drifted != 0 || f.LiveBytes == 0 || f.StoredBytes == 0 {
		t.Errorf("%+v", f)
	}
	if f.Coverage == nil || *f.Coverage < 0.5 || *f.Coverage > 0.9 || f.Ages[fallback.Stale].MaxSeconds > 20 || f.Ages[fallback.Backup].P50Seconds < 3600 {
		t.Errorf("coverage %v, ages %v", f.Coverage, f.Ages)
	}
	if report.Verdict != supervisor.VerdictHeld && !heldUp(report) {
		t.Errorf("%s: %q", report.Verdict, report.Findings)
	}
	if n := r.sample(`coordinator_fallback_total{bulkhead="a",kind="stale"}`); n != 0 {
		t.Errorf("%v were given", n)
	}
}

// With Give the client gets it, marked, once the live answer is there; what is
// remembered is renewed, and the bulkhead is well all the time.
func TestDrillFallbackGives(t *testing.T) {
	t.Parallel()
	c, set := legacyOf(t, "a")
	r := start(t, []supervisor.BulkheadConfig{c})
	r.get("/a/legacy/page?json=1")
	r.get("/a/legacy/session?Set-Cookie=a=b")
	given := 0
	report := whileRehearsing(t, r, supervisor.DrillPlan{Give: true}, func(int) {
		resp, body := r.get("/a/legacy/page?json=1")
		if resp.StatusCode != 200 || !strings.HasPrefix(body, `{"at":`) {
			t.Errorf("%s %q", resp.Status, body)
		}
		if resp.Header.Get("Cache-Status") == "" {
			return
		}
		given++
		wantParams(t, resp.Header, "Proxy-Status", map[string]any{"received-status": int64(200), "details": "drill"})
		if m := member(t, resp.Header, "Cache-Status"); m["detail"] != httpsfv.Token("stale") || m["fwd-status"] != int64(200) {
			t.Errorf("%v", m)
		}
		if s := r.bulkhead("a"); s.State != "ready" || s.Fallback.Since != nil {
			t.Errorf("%s %+v", s.State, s.Fallback)
		}
		if resp, _ := r.get("/a/legacy/session?Set-Cookie=a=b"); resp.Header.Get("Cache-Status") != "" || resp.Header.Get("Set-Cookie") != "a=b" {
			t.Errorf("a session: %v", resp.Header)
		}
	})
	f := report.Fallback
	if given < 3 || f.Covered[fallback.Stale] < given || f.Ages[fallback.Stale].MaxSeconds > 5 || f.Compared == 0 || f.Drifted != 0 {
		t.Errorf("%d given: %+v", given, f)
	}
	if n := r.sample(`coordinator_fallback_total{bulkhead="a",kind="stale"}`); n != float64(given) {
		t.Errorf("%v are counted, %d were given", n, given)
	}
	eventually(t, 5*time.Second, "their answers are done", func() bool {
		return r.bulkhead("a").InFlight == 0 && r.sample(`coordinator_requests_total{bulkhead="a",code="200",outcome="done"}`) >= float64(given)
	})

	// Nobody is given what the backend refuses him now.
	p := supervisor.DrillPlan{Give: true}
	report = whileRehearsing(t, r, p, func(i int) {
		set([]string{"403", ""}[i%2])
		if resp, _ := r.get("/a/legacy/page?json=1"); i%2 == 0 && resp.StatusCode != 403 {
			t.Errorf("%s", resp.Status)
		}
	})
	if report.Fallback.Missing["not_seen"] == 0 { // a 403 ends what was remembered
		t.Errorf("%+v", report.Fallback)
	}
}

// A shape that is not what it was breaks the promise, as does too little coverage.
func TestDrillFallbackBreaks(t *testing.T) {
	t.Parallel()
	c, _ := legacyOf(t, "a", withBackup(t, "critical", strings.Replace(prepared, "text/plain", "text/html", 1)))
	r := start(t, []supervisor.BulkheadConfig{c})
	report := whileRehearsing(t, r, supervisor.DrillPlan{}, func(i int) {
		switch i % 3 {
		case 0:
			r.get("/a/legacy/drifts?json=1")
		case 1:
			r.get("/a/legacy/critical?Cache-Control=no-store")
		default:
			r.get("/a/legacy/x?Cache-Control=private")
		}
	})
	found := strings.Join(report.Findings, "\n")
	if report.Verdict != supervisor.VerdictBroken || !strings.Contains(found, "differ in status, media type or shape") ||
		!strings.Contains(found, "repeated requests would have been answered, 90.0 % are wanted") {
		t.Errorf("%s: %q", report.Verdict, report.Findings)
	}
	drifts := strings.Join(report.Fallback.Drifts, "\n")
	for _, want := range []string{".at was", `Content-Type was "text/html" and is "text/plain"`} {
		if !strings.Contains(drifts, want) {
			t.Errorf("no %q in %q", want, drifts)
		}
	}
	if strings.Contains(found, ".at") {
		t.Errorf("%q", found)
	}
}

func TestDrillFallbackIsRefused(t *testing.T) {
	t.Parallel()
	plain := bulkhead("a")
	r := start(t, []supervisor.BulkheadConfig{plain, bulkhead("b")})
	report := r.Drill(t.Context(), "a", supervisor.DrillPlan{Mode: supervisor.DrillFallback, For: time.Second, Share: 1})
	if report.DrillResult != nil || !strings.Contains(report.Error, "FALLBACK is none") {
		t.Errorf("%q", report.Error)
	}
}

// It ends with who asked for it, and judges nothing.
func TestDrillFallbackInterrupted(t *testing.T) {
	t.Parallel()
	c, _ := legacyOf(t, "a")
	r := start(t, []supervisor.BulkheadConfig{c})
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan supervisor.Report, 1)
	go func() {
		ended <- r.Drill(ctx, "a", supervisor.DrillPlan{Mode: supervisor.DrillFallback, For: time.Minute, Share: 1, Give: true})
	}()
	eventually(t, 15*time.Second, "a fallback is given", func() bool {
		resp, _ := r.get("/a/legacy/x")
		return resp.Header.Get("Cache-Status") != ""
	})
	leave()
	report := <-ended
	if report.DrillResult == nil || report.Verdict != supervisor.VerdictNotJudged || report.Fallback.Asked == 0 {
		t.Errorf("%q, %+v", report.Error, report.DrillResult)
	}
	if resp, _ := r.get("/a/legacy/x"); resp.Header.Get("Cache-Status") != "" {
		t.Error("it goes on")
	}
}
