package supervisor_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/fallback/stale"
)

// Whatever keeps the bulkhead from answering, a safe request gets what was
// answered before, and is told so; one that is not safe gets its problem.
func TestStaleStandsIn(t *testing.T) {
	for reason, cause := range map[supervisor.Reason]func(r *running, set func(string)){
		supervisor.ReasonBackendRefused: func(_ *running, set func(string)) { set("backend_refused") },
		supervisor.ReasonBackendReset:   func(_ *running, set func(string)) { set("backend_reset") },
		supervisor.ReasonBackendTimeout: func(_ *running, set func(string)) { set("backend_timeout") },
		supervisor.ReasonDraining:       func(r *running, _ func(string)) { r.Drain(t.Context(), "a") },
		supervisor.ReasonBreakerOpen:    func(r *running, _ func(string)) { r.ForceBreaker(t.Context(), "a", breaker.Open) },
		supervisor.ReasonQueueFull:      func(r *running, _ func(string)) { r.hang("a", 8) },
	} {
		t.Run(string(reason), func(t *testing.T) {
			c, set := legacyOf(t, "a", func(c *supervisor.BulkheadConfig) { c.Queue = 0 })
			r := start(t, []supervisor.BulkheadConfig{c})
			const target = "/a/legacy/orders?Etag=%22x%22&Cache-Control=max-age=0"
			live, was := r.get(target)
			if live.Header.Get("Cache-Status") != "" || live.Header.Get("Age") != "" || live.Header.Get("Cache-Control") != "max-age=0" {
				t.Errorf("a live answer says %v", live.Header)
			}
			cause(r, set)
			got, is := r.get(target, "If-None-Match", `"x"`, "Range", "bytes=0-3", "X-Request-Id", "me")
			if got.StatusCode != 200 || is != was {
				t.Fatalf("%d %q, want %q", got.StatusCode, is, was)
			}
			forwarded := reason.CountsAgainstBackend()
			want := map[string]any{"detail": httpsfv.Token("stale"), "ttl": member(t, got.Header, "Cache-Status")["ttl"]}
			if forwarded {
				want["fwd"], want["fwd-status"] = httpsfv.Token("stale"), int64(reason.Status())
			} else {
				want["hit"] = true
			}
			wantParams(t, got.Header, "Cache-Status", want)
			if ttl := want["ttl"].(int64); ttl > 0 || ttl < -10 {
				t.Errorf("ttl=%d", ttl)
			}
			outcome := supervisor.OutcomeRefused
			switch reason {
			case supervisor.ReasonBackendRefused:
				outcome = supervisor.OutcomeNeverSent
			case supervisor.ReasonBackendReset, supervisor.ReasonBackendTimeout:
				outcome = supervisor.OutcomeSentUnknown
			}
			wantParams(t, got.Header, "Proxy-Status", map[string]any{
				"error": httpsfv.Token(reason.ProxyError()), "details": string(reason), "outcome": httpsfv.Token(outcome),
			})
			h := got.Header
			if h.Get("Cache-Control") != "no-store" || h.Get("X-Request-Id") != "me" || h.Get("Etag") != `"x"` || h.Get("Content-Length") != strconv.Itoa(len(was)) {
				t.Errorf("%v", h)
			}
			if age, err := strconv.Atoi(h.Get("Age")); err != nil || age > 10 {
				t.Errorf("Age %q", h.Get("Age"))
			}
			if date, err := http.ParseTime(h.Get("Date")); err != nil || time.Since(date) > 10*time.Second {
				t.Errorf("Date %q", h.Get("Date"))
			}
			head, empty := r.do("HEAD", target, nil)
			if head.StatusCode != 200 || empty != "" || head.ContentLength != int64(len(was)) {
				t.Errorf("HEAD: %v %q", head, empty)
			}
			for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
				if problem := r.reason(method, target, nil); problem != string(reason) {
					t.Errorf("%s: %s", method, problem)
				}
			}
			if other := r.reason("GET", target+"&more=1", nil); other != string(reason) {
				t.Errorf("what nobody asked for before: %s", other)
			}
			if n := r.sample(`coordinator_fallback_total{bulkhead="a",kind="stale"}`); n != 2 {
				t.Errorf("%v counted", n)
			}
			if n := r.sample(`coordinator_refused_total{bulkhead="a",reason="` + string(reason) + `"}`); n != 7 {
				t.Errorf("%v failures are visible, want 7", n)
			}
			if _, degraded, _ := r.Ready(); len(degraded) != 1 {
				t.Errorf("degraded: %v", degraded)
			}
			if s := r.bulkhead("a").Fallback; s.Since == nil || s.Given[fallback.Stale] != 2 || s.Stale.Answers != 1 || s.Share <= 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// While all is well every answer is the backend's.
func TestNoFallbackWhileHealthy(t *testing.T) {
	c, _ := legacyOf(t, "a", withBackup(t, "critical", prepared))
	r := start(t, []supervisor.BulkheadConfig{c})
	seen := map[string]bool{}
	for i := range 400 {
		resp, body := r.get([]string{"/a/legacy/critical", "/a/legacy/x?Cache-Control=max-age=3600"}[i%2])
		if resp.StatusCode != 200 || resp.Header.Get("Cache-Status") != "" || seen[body] {
			t.Fatalf("%d %q %v", resp.StatusCode, body, resp.Header)
		}
		seen[body] = true
	}
	if s := r.bulkhead("a").Fallback; s.Since != nil || s.Share != 0 || s.Stale.Answers != 2 || s.Backup.Answers != 1 {
		t.Errorf("%+v", s)
	}
	for _, kind := range fallback.Kinds() {
		if n := r.sample(fmt.Sprintf(`coordinator_fallback_total{bulkhead="a",kind="%s"}`, kind)); n != 0 {
			t.Errorf("%v of %s", n, kind)
		}
	}
}

// Stale comes first, then what was prepared, then the problem.
func TestBackupStandsIn(t *testing.T) {
	c, set := legacyOf(t, "a", withBackup(t, "critical", prepared))
	r := start(t, []supervisor.BulkheadConfig{c})
	set("backend_reset")
	resp, body := r.get("/a/legacy/critical")
	if resp.StatusCode != 200 || body != "prepared" {
		t.Fatalf("%d %q", resp.StatusCode, body)
	}
	wantParams(t, resp.Header, "Cache-Status", map[string]any{"fwd": httpsfv.Token("miss"), "fwd-status": int64(502), "detail": httpsfv.Token("backup")})
	if age, _ := strconv.Atoi(resp.Header.Get("Age")); time.Duration(age)*time.Second < 24*time.Hour {
		t.Errorf("Age %q", resp.Header.Get("Age"))
	}
	if got := r.reason("GET", "/a/legacy/other", nil) + " " + r.reason("POST", "/a/legacy/critical", nil); got != "backend_reset backend_reset" {
		t.Error(got)
	}
	r.Drain(t.Context(), "a")
	resp, _ = r.get("/a/legacy/critical")
	wantParams(t, resp.Header, "Cache-Status", map[string]any{"hit": true, "detail": httpsfv.Token("backup")})
	r.Resume(t.Context(), "a")

	set("")
	_, live := r.get("/a/legacy/critical")
	set("backend_reset")
	if resp, body := r.get("/a/legacy/critical"); body != live || member(t, resp.Header, "Cache-Status")["detail"] != httpsfv.Token("stale") {
		t.Errorf("%q, want %q", body, live)
	}
}

// What the bulkhead refuses for itself is nothing to the breaker, and a failed
// call is one failure, whatever its client was given.
func TestFallbackAndBreaker(t *testing.T) {
	c, set := legacyOf(t, "a", func(c *supervisor.BulkheadConfig) {
		c.Breaker.MinCalls, c.Breaker.OpenFor = 3, time.Minute
		c.Fallback.StaleOn = []int{503}
	})
	r := start(t, []supervisor.BulkheadConfig{c})
	_, was := r.get("/a/legacy/x")
	for i, state := range []string{"backend_reset", "503"} {
		set(state)
		if _, is := r.get("/a/legacy/x"); is != was {
			t.Errorf("%s: %q", state, is)
		}
		// A call is counted when its answer is out.
		eventually(t, time.Second, "call counted", func() bool { return r.bulkhead("a").Breaker.Calls == i+2 })
	}
	if b := r.bulkhead("a").Breaker; b.State != "open" || b.Failures != 2 {
		t.Fatalf("%+v", b)
	}
	for range 20 {
		if _, is := r.get("/a/legacy/x"); is != was {
			t.Errorf("open: %q", is)
		}
	}
	if b := r.bulkhead("a").Breaker; b.Calls != 3 || b.Failures != 2 {
		t.Errorf("answers given while it was open count: %+v", b)
	}
}

// An answer of the backend is replaced only where it or the configuration says so.
func TestAnswerReplaced(t *testing.T) {
	c, set := legacyOf(t, "a", func(c *supervisor.BulkheadConfig) { c.Fallback.StaleOn = []int{503} }, withBackup(t, "critical", prepared))
	r := start(t, []supervisor.BulkheadConfig{c})
	const plain, allows = "/a/legacy/plain", "/a/legacy/allows?Cache-Control=max-age=0,stale-if-error=60"
	_, plainBody := r.get(plain)
	_, allowsBody := r.get(allows)
	for _, test := range []struct {
		status, target string
		want           string // empty: the backend's
	}{
		{"503", plain, plainBody},
		{"503", allows, allowsBody},
		{"503", "/a/legacy/critical", "prepared"},
		{"503", "/a/legacy/new", ""},
		{"500", plain, ""},
		{"500", allows, allowsBody},
		{"504", allows, allowsBody},
		{"501", allows, ""}, // RFC 5861 section 4 names four
		{"404", allows, ""},
	} {
		set(test.status)
		resp, body := r.get(test.target)
		if test.want == "" {
			if resp.Status[:3] != test.status || body != "this is no answer\n" || resp.Header.Get("Cache-Status") != "" {
				t.Errorf("%v: %s %q %v", test, resp.Status, body, resp.Header)
			}
			continue
		}
		if resp.StatusCode != 200 || body != test.want {
			t.Errorf("%v: %s %q", test, resp.Status, body)
		}
		status, _ := strconv.ParseInt(test.status, 10, 64)
		wantParams(t, resp.Header, "Proxy-Status", map[string]any{"received-status": status, "outcome": httpsfv.Token("undelivered")})
		if got := member(t, resp.Header, "Cache-Status")["fwd-status"]; got != status {
			t.Errorf("fwd-status=%v", got)
		}
	}
	eventually(t, time.Second, "slots back", func() bool { return r.bulkhead("a").InFlight == 0 })
}

// A write ends what was remembered of its target.
func TestWriteEndsStale(t *testing.T) {
	c, set := legacyOf(t, "a")
	r := start(t, []supervisor.BulkheadConfig{c})
	r.get("/a/legacy/x")
	r.get("/a/legacy/y")
	if got := r.reason("POST", "/a/legacy/x", nil); got != "200" {
		t.Fatal(got)
	}
	set("backend_reset")
	if got := r.reason("GET", "/a/legacy/x", nil) + " " + r.reason("GET", "/a/legacy/y", nil); got != "backend_reset 200" {
		t.Error(got)
	}
}

// An answer that breaks off, or whose client leaves, is not remembered; nor is
// what another answer must not be made of.
func TestOnlyWholeAnswersAreKept(t *testing.T) {
	c, _ := legacyOf(t, "a")
	r := start(t, []supervisor.BulkheadConfig{c})
	notKept := func(why stale.Why) float64 {
		return r.sample(`coordinator_fallback_not_kept_total{bulkhead="a",why="` + string(why) + `"}`)
	}
	nc, br := r.raw("GET /a/stall HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	eventually(t, 5*time.Second, "cut counted", func() bool { return notKept(stale.WhyCut) == 1 })
	r.get("/a/legacy/x", "Cookie", "a=b")
	r.get("/a/legacy/x?Cache-Control=no-store")
	r.get("/a/status?code=500")
	if a, b, c := notKept(stale.WhyCredentials), notKept(stale.WhyNoStore), notKept(stale.WhyStatus); a != 1 || b != 1 || c != 1 {
		t.Errorf("credentials %v, no_store %v, status %v", a, b, c)
	}
	ev, br := r.raw("GET /a/events HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	ev.Close()
	eventually(t, 5*time.Second, "stream over", func() bool { return r.bulkhead("a").Upgrades == 0 })
	if s := r.bulkhead("a").Fallback.Stale; s.Answers != 0 {
		t.Errorf("%+v", s)
	}
	status, err := json.Marshal(r.bulkhead("a").Fallback)
	if err != nil || !strings.Contains(string(status), `"kinds":["stale"]`) {
		t.Errorf("%s %v", status, err)
	}
}
