package supervisor_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/fallback/backup"
	"commerce.example/coordinator/supervisor/fallback/stale"
)

// legacyOf is a bulkhead with fallbacks whose backend does as set says: "" is
// well, a status is what it answers, and a fault how it fails.
func legacyOf(t testing.TB, name string, change ...func(*supervisor.BulkheadConfig)) (c supervisor.BulkheadConfig, set func(state string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "legacy")
	set = func(state string) {
		t.Helper()
		err := os.WriteFile(file+".new", []byte(state), 0o600)
		if err == nil {
			err = os.Rename(file+".new", file)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set("")
	c = bulkhead(name, func(c *supervisor.BulkheadConfig) {
		c.Worker.Env["LEGACY"] = file
		c.Breaker.MinCalls = 1000 // closed, unless the test is about it
		c.Fallback.Kinds = []fallback.Kind{fallback.Stale}
		c.Fallback.Stale = stale.Settings{Bytes: 16 << 20, MaxAge: time.Minute, PerCredential: []stale.Credential{{Field: "Authorization"}}}
	})
	for _, f := range change {
		f(&c)
	}
	return c, set
}

// withBackup reads answers, written as name and text in turn.
func withBackup(t testing.TB, files ...string) func(*supervisor.BulkheadConfig) {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]+backup.Suffix), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := backup.Load(dir, backup.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *supervisor.BulkheadConfig) {
		c.Fallback.Kinds = append(c.Fallback.Kinds, fallback.Backup)
		c.Fallback.Backup = set
	}
}

const prepared = "GET /a/legacy/critical?{...}\nmade 2026-01-02T03:04:05Z\nstatus 200\nContent-Type: text/plain\n\nprepared"

// sample is the value of a series; 0 when there is none.
func (r *running) sample(series string) float64 {
	r.t.Helper()
	text := r.metric(series)
	if text == "" {
		return 0
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// member is the parameters of the last one of a list of intermediaries.
func member(t *testing.T, h http.Header, field string) map[string]any {
	t.Helper()
	list, err := httpsfv.UnmarshalList(h.Values(field))
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: %q: %v", field, h.Values(field), err)
	}
	item := list[len(list)-1].(httpsfv.Item)
	if item.Value != httpsfv.Token("coordinator") {
		t.Errorf("%s is of %v", field, item.Value)
	}
	params := map[string]any{}
	for _, name := range item.Params.Names() {
		params[name], _ = item.Params.Get(name)
	}
	return params
}

func wantParams(t *testing.T, h http.Header, field string, want map[string]any) {
	t.Helper()
	got := member(t, h, field)
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s %q: %s is %v, want %v", field, h.Values(field), name, got[name], value)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s %q: has %s", field, h.Values(field), name)
		}
	}
}

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

// Over the wire, at the same time, with a backend that comes and goes: nobody
// ever gets an answer of somebody else.
func TestFallbackNeverCrosses(t *testing.T) {
	c, set := legacyOf(t, "a", func(c *supervisor.BulkheadConfig) { c.Limit, c.Queue, c.QueueTimeout = 16, 16, 5*time.Second })
	r := start(t, []supervisor.BulkheadConfig{c})
	stop := make(chan struct{})
	var flapping, users sync.WaitGroup
	flapping.Go(func() {
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
				set([]string{"", "backend_reset"}[n%2])
			}
		}
	})
	var standIns atomic.Int64
	for user := range 6 {
		users.Go(func() {
			auth := fmt.Sprintf("Bearer %d", user/2) // each twice; 0 has none
			if user < 2 {
				auth = ""
			}
			client := http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			rnd := rand.New(rand.NewPCG(1, uint64(user)))
			for range 500 {
				req, _ := http.NewRequest("GET", fmt.Sprintf("http://%s/a/legacy/orders?page=%d", r.addr, rnd.IntN(3)), nil)
				if auth != "" {
					req.Header.Set("Authorization", auth)
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.Header.Get("Cache-Status") != "" {
					standIns.Add(1)
				}
				if resp.StatusCode == 200 && !strings.HasPrefix(string(body), fmt.Sprintf("/a/legacy/orders of %q at ", auth)) {
					t.Errorf("%q was given %q", auth, body)
				}
			}
		})
	}
	users.Wait()
	close(stop)
	flapping.Wait()
	if standIns.Load() < 100 {
		t.Errorf("only %d answers were fallbacks", standIns.Load())
	}
	t.Logf("%d fallbacks among 3000 answers", standIns.Load())
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

// A coding that the client does not name is not given to it, Vary or not.
func TestFallbackCoding(t *testing.T) {
	c, set := legacyOf(t, "a")
	r := start(t, []supervisor.BulkheadConfig{c})
	const target = "/a/legacy/x?Content-Encoding=gzip"
	r.get(target, "Accept-Encoding", "gzip")
	set("backend_reset")
	for accept, want := range map[string]int{
		"gzip": 200, "br, x-gzip;q=0.5": 200, "*": 200, "GZIP": 200,
		"br": 502, "gzip;q=0": 502, "gzip;q=0, *": 502, "*;q=0.0": 502, "identity": 502,
	} {
		if resp, _ := r.get(target, "Accept-Encoding", accept); resp.StatusCode != want {
			t.Errorf("%q: %d", accept, resp.StatusCode)
		}
	}
	if resp, _ := r.get(target); resp.StatusCode != 502 {
		t.Errorf("no Accept-Encoding: %d", resp.StatusCode)
	}
}

// What a page of another origin can read of a fallback: what the backend let it
// read, and what says that it is one.
func TestFallbackCORS(t *testing.T) {
	c, set := legacyOf(t, "a", func(c *supervisor.BulkheadConfig) { c.CORSOrigins = []string{"https://shop.example"} })
	r := start(t, []supervisor.BulkheadConfig{c})
	const target = "/a/legacy/x?Access-Control-Allow-Origin=https://shop.example&Access-Control-Expose-Headers=X-Stock&Vary=Origin"
	r.get(target, "Origin", "https://shop.example")
	set("backend_reset")
	for range 2 { // what is added to shared fields must not stay there
		resp, _ := r.get(target, "Origin", "https://shop.example")
		h := resp.Header
		if resp.StatusCode != 200 || h.Get("Access-Control-Allow-Origin") != "https://shop.example" || h.Get("Access-Control-Allow-Credentials") != "true" {
			t.Fatalf("%d %v", resp.StatusCode, h)
		}
		exposed := strings.Join(h.Values("Access-Control-Expose-Headers"), ", ")
		if exposed != "X-Stock, X-Request-Id, Retry-After, Proxy-Status, Cache-Status, Age" || len(h.Values("Vary")) != 2 {
			t.Errorf("%q, Vary %q", exposed, h.Values("Vary"))
		}
	}
}

// A reload keeps what is remembered, takes new data, and ends both.
func TestReloadFallback(t *testing.T) {
	c, set := legacyOf(t, "a", withBackup(t, "critical", prepared))
	r, next, _ := reloadable(t, c)
	reload := func(change ...func(*supervisor.BulkheadConfig)) {
		t.Helper()
		before := pids(r.bulkhead("a"))
		changed := c
		for _, f := range change {
			f(&changed)
		}
		*next = []supervisor.BulkheadConfig{changed}
		if rep := r.Reload(t.Context()); rep.Error != "" || fmt.Sprint(pids(r.bulkhead("a"))) != fmt.Sprint(before) {
			t.Fatalf("%+v", rep)
		}
	}
	_, was := r.get("/a/legacy/x")
	set("backend_reset")

	anew := withBackup(t, "critical", strings.Replace(prepared, "\n\nprepared", "\n\nprepared anew", 1))
	reload(func(c *supervisor.BulkheadConfig) {
		c.Fallback.Kinds, c.Fallback.Stale.MaxAge = []fallback.Kind{fallback.Stale}, 2*time.Minute
		anew(c)
	})
	if _, is := r.get("/a/legacy/x"); is != was {
		t.Errorf("%q, want %q", is, was)
	}
	if _, is := r.get("/a/legacy/critical"); is != "prepared anew" {
		t.Errorf("%q", is)
	}
	reload(func(c *supervisor.BulkheadConfig) { c.Fallback = supervisor.FallbackConfig{} })
	if got := r.reason("GET", "/a/legacy/x", nil); got != "backend_reset" || r.bulkhead("a").Fallback != nil {
		t.Errorf("none: %s", got)
	}
	eventually(t, 5*time.Second, "not degraded", func() bool { _, degraded, _ := r.Ready(); return len(degraded) == 0 })
	reload()
	if got := r.reason("GET", "/a/legacy/x", nil); got != "backend_reset" {
		t.Errorf("what was forgotten came back: %s", got)
	}
}

// Without a backend there are no workers, and what was prepared is all there is.
func TestFallbackAlways(t *testing.T) {
	r := start(t, one("a", withBackup(t, "critical", prepared), func(c *supervisor.BulkheadConfig) { c.Fallback.Always, c.Workers = true, 0 }))
	resp, body := r.get("/a/legacy/critical")
	if resp.StatusCode != 200 || body != "prepared" {
		t.Fatalf("%d %q", resp.StatusCode, body)
	}
	wantParams(t, resp.Header, "Cache-Status", map[string]any{"hit": true, "detail": httpsfv.Token("backup")})
	if got := r.reason("GET", "/a/other", nil) + " " + r.reason("POST", "/a/legacy/critical", nil); got != "no_worker no_worker" {
		t.Error(got)
	}
	if ok, degraded, why := r.Ready(); !ok || len(degraded) != 1 {
		t.Errorf("%v %v %v", ok, degraded, why)
	}
	two := 2
	if rep := r.Resize(t.Context(), "a", &two, nil); rep.Error == "" {
		t.Errorf("%+v", rep)
	}
	if s := r.bulkhead("a"); !s.Fallback.Always || len(s.Workers) != 0 {
		t.Errorf("%+v", s)
	}
}

// A client that does not read its fallback holds no slot, and not for ever.
func TestSlowReaderOfFallback(t *testing.T) {
	c, set := legacyOf(t, "a", func(c *supervisor.BulkheadConfig) {
		c.Limit, c.Queue, c.IdleTimeout = 1, 0, 300*time.Millisecond
		c.Fallback.Stale.Bytes, c.Fallback.Stale.MaxAnswer = 64<<20, 32<<20
	})
	r := start(t, []supervisor.BulkheadConfig{c})
	const target = "/a/legacy/x?n=16777216" // more than the kernel holds for it
	_, was := r.get(target)
	set("backend_reset")
	_, br := r.raw("GET " + target + " HTTP/1.1\r\nHost: " + r.addr + "\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Cache-Status") == "" {
		t.Fatalf("%v %v", resp, err)
	}
	if n := r.bulkhead("a").InFlight; n != 0 {
		t.Errorf("%d slots are held", n)
	}
	if _, is := r.get(target); is != was {
		t.Error("another client did not get the answer")
	}
	eventually(t, 10*time.Second, "the reader is given up", func() bool {
		return r.sample(`coordinator_requests_total{bulkhead="a",code="499",outcome="sent_unknown"}`) == 1
	})
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("the answer ended cleanly after %d bytes", n)
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
