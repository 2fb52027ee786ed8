package supervisor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/sizing"
)

func (r *running) measured(name string) supervisor.BulkheadEvidence {
	r.t.Helper()
	e, err := r.Evidence(name, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

// Each way through the limiter is in the evidence once, and what does not take
// one of its slots is not.
func TestEvidenceIsOfTheLimiter(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Limit, c.Queue, c.QueueTimeout = 2, 1, 300*time.Millisecond }))
	if got := r.reason("GET", "/a/status?code=500", nil); got != "500" {
		t.Fatal(got)
	}
	release := r.hang("a", 2)
	queued := make(chan string, 1)
	go func() { queued <- r.reason("GET", "/a", nil) }()
	eventually(t, 5*time.Second, "one queued", func() bool { return r.bulkhead("a").QueueDepth == 1 })
	r.reason("GET", "/a", nil)
	<-queued
	leaves, _ := r.raw("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, 5*time.Second, "another queued", func() bool { return r.bulkhead("a").QueueDepth == 1 })
	leaves.Close()
	eventually(t, 5*time.Second, "and gone", func() bool { return r.bulkhead("a").QueueDepth == 0 })
	release()

	upgraded, br := r.raw("GET /a/upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v %v", resp, err)
	}
	defer upgraded.Close()
	_, br = r.raw("GET /a/events HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}

	var e sizing.Evidence
	eventually(t, 5*time.Second, "all slots back but those of upgrades", func() bool {
		e = r.measured("a").Evidence
		return e.Holding.Count == 4
	})
	if e.Arrivals != 7 || e.Admitted != 4 || e.Full != 1 || e.TimedOut != 1 || e.Gone != 1 || e.Failed != 1 || e.Peak != 2 {
		t.Errorf("%d arrivals, %d admitted, %d full, %d timed out, %d gone, %d failed, peak %d",
			e.Arrivals, e.Admitted, e.Full, e.TimedOut, e.Gone, e.Failed, e.Peak)
	}
	if longest := e.Holding.Shape.Quantile(1); longest < 300*time.Millisecond || longest > 5*time.Second {
		t.Errorf("the longest slot was held for %v", longest)
	}
	set := r.measured("a").Setting
	if set.Limit != 2 || set.Queue != 1 || set.QueueTimeoutMS != 300 || set.Workers != 1 || set.TimeoutMS != 10_000 {
		t.Errorf("%+v", set)
	}
}

// With the breaker open, and while it drains, a bulkhead has no arrivals, and no
// time in which there are none.
func TestEvidenceLeavesOutWhatIsRefusedOtherwise(t *testing.T) {
	for name, refuse := range map[string]func(r *running){
		"breaker": func(r *running) { r.ForceBreaker(t.Context(), "a", breaker.Open) },
		"drain":   func(r *running) { r.Drain(t.Context(), "a") },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, one("a"))
			r.get("/a")
			refuse(r)
			eventually(t, 5*time.Second, "time is left out", func() bool {
				r.get("/a")
				return r.measured("a").Evidence.Left > 100*time.Millisecond
			})
			if e := r.measured("a").Evidence; e.Arrivals != 1 {
				t.Errorf("%d arrivals", e.Arrivals)
			}
		})
	}
}

func TestEvidenceSurvivesReloadAndTellsOfResize(t *testing.T) {
	c := bulkhead("a")
	r := start(t, []supervisor.BulkheadConfig{c}, func(o *supervisor.Options) {
		o.Load = func() (supervisor.Config, error) {
			next := o.Config
			c.Worker.Env = quick("NEW_WORKERS")
			next.Bulkheads = []supervisor.BulkheadConfig{c}
			return next, nil
		}
	})
	r.get("/a")
	if report := r.Reload(t.Context()); report.Error != "" {
		t.Fatal(report.Error)
	}
	r.get("/a")
	eventually(t, 5*time.Second, "both are there", func() bool { return r.measured("a").Evidence.Holding.Count == 2 })
	before := r.measured("a").Setting.UnchangedS
	limit := 5
	r.Resize(t.Context(), "a", nil, &limit)
	set := r.measured("a").Setting
	if set.Limit != 5 || set.UnchangedS >= before {
		t.Errorf("limit %d for %v s, before it was %v s", set.Limit, set.UnchangedS, before)
	}
	if _, err := r.Evidence("b", 0); err == nil {
		t.Error("there is evidence of no bulkhead")
	}
}

// The CPU time of workers per request, where the system tells, is what requests
// took and not the start of the process.
func TestEvidenceHasWorkersCPU(t *testing.T) {
	r := start(t, one("a"))
	if r.bulkhead("a").Workers[0].MemoryBytes == 0 {
		t.Skip("this system tells nothing of processes")
	}
	r.measured("a") // from here on it counts
	eventually(t, 20*time.Second, "CPU time of the worker is seen", func() bool {
		r.get("/a/bytes?n=1000000")
		return r.measured("a").Setting.CPUPerRequest > 0
	})
	if set := r.measured("a").Setting; set.CPUPerRequest > 0.1 || set.Memory == 0 {
		t.Errorf("%v s a request, %d bytes", set.CPUPerRequest, set.Memory)
	}
}

func (r *running) admin() *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", r.socket)
	}, DisableKeepAlives: true}
	return &http.Client{Transport: transport}
}

// The curve is what the console draws: its fields are a contract.
func TestSizeAnswersWithACurve(t *testing.T) {
	r := start(t, one("a"))
	for range 20 {
		r.get("/a")
	}
	path := "/v1/bulkheads/a/size?window=10m&refuse=0.5%25&wait_p99=20ms"
	answer, body := ask(t, r.admin(), "GET", path, "")
	var got struct {
		Bulkhead  string
		WindowS   float64 `json:"window_s"`
		Arrivals  float64 `json:"arrivals_per_s"`
		Offered   float64 `json:"offered_load"`
		Predicted struct {
			Model   string
			Refused float64 `json:"refused_share"`
		}
		Recommended struct{ Limit, Queue, Workers int }
		Objective   struct {
			Refused float64 `json:"refused_share"`
			WaitP99 float64 `json:"wait_p99_ms"`
		}
		Setting struct {
			Limit, Queue int
			QueueTimeout float64 `json:"queue_timeout_ms"`
		}
		Present sizing.Point
		Curve   []sizing.Point
		Notes   []sizing.Note
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || answer.StatusCode != 200 {
		t.Fatalf("%d %v: %s", answer.StatusCode, err, body)
	}
	if got.Bulkhead != "a" || got.Arrivals <= 0 || got.Offered <= 0 || got.Recommended.Limit < 1 || got.Predicted.Model == "" ||
		got.Objective.Refused != 0.005 || got.Objective.WaitP99 != 20 || got.Setting.Limit != 8 || got.Setting.QueueTimeout != 1000 {
		t.Errorf("%+v", got)
	}
	if got.Present.Limit != 8 || got.Present.Refused != got.Predicted.Refused || len(got.Curve) < 2 || len(got.Curve) > 33 {
		t.Errorf("present %+v, %d points", got.Present, len(got.Curve))
	}
	for i, p := range got.Curve[1:] {
		if last := got.Curve[i]; p.Limit <= last.Limit || p.Refused > last.Refused+1e-9 || math.IsNaN(p.WaitP99) {
			t.Errorf("%+v after %+v", p, last)
		}
	}
	for _, member := range []string{`"limit":1,"refused_share":`, `"wait_p99_ms":`, `"holding_mean_ms":`, `"utilisation":`, `"saturation_rate":`, `"measured":{`} {
		if !strings.Contains(body, member) {
			t.Errorf("no %s in %s", member, body)
		}
	}
	r.get("/a")
	if _, again := ask(t, r.admin(), "GET", path, ""); again != body {
		t.Error("the same question is computed anew within a moment")
	}
}

func TestAdminSizes(t *testing.T) {
	o := &operator{}
	socket, tcp := overSocket(t, admin(o)), overTCP(t, admin(o))
	for path, want := range map[string]string{
		"/v1/bulkheads/orders/evidence":                                    "evidence orders 0s",
		"/v1/bulkheads/orders/evidence?window=90s":                         "evidence orders 1m30s",
		"/v1/bulkheads/orders/size":                                        "size orders 0s 0 0s",
		"/v1/bulkheads/orders/size?window=10m&refuse=0.1%25&wait_p99=50ms": "size orders 10m0s 0.001 50ms",
		"/v1/bulkheads/catalog/size?refuse=0.25":                           "size catalog 0s 0.25 0s",
	} {
		for _, c := range []*http.Client{socket, tcp} { // to read needs no token
			if answer, body := ask(t, c, "GET", path, ""); answer.StatusCode != 200 || !slices.Equal(o.took(), []string{want}) {
				t.Errorf("%s: %d %s", path, answer.StatusCode, body)
			}
		}
	}
	for path, status := range map[string]int{
		"/v1/bulkheads/nobody/size":                     404,
		"/v1/bulkheads/nobody/evidence":                 404,
		"/v1/bulkheads/orders/size?window=2h":           400,
		"/v1/bulkheads/orders/size?window=-1s":          400,
		"/v1/bulkheads/orders/size?window=1m&window=1m": 400,
		"/v1/bulkheads/orders/size?refuse=0":            400,
		"/v1/bulkheads/orders/size?refuse=NaN":          400,
		"/v1/bulkheads/orders/size?refuse=200%25":       400,
		"/v1/bulkheads/orders/size?wait_p99=forever":    400,
		"/v1/bulkheads/orders/size?limit=3":             400,
		"/v1/bulkheads/orders/size?%zz":                 400,
		"/v1/bulkheads/orders/evidence?refuse=0.1":      400,
		"/v1/bulkheads/orders/evidence?window=":         400,
	} {
		answer, body := ask(t, tcp, "GET", path, "")
		if answer.StatusCode != status || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d", path, answer.StatusCode, body, status)
		}
	}
	if got := o.took(); got != nil {
		t.Errorf("the supervisor was asked for %q", got)
	}
}

func TestAdminRecords(t *testing.T) {
	o := &operator{}
	tcp := overTCP(t, admin(o))
	post := func(body string, fields ...string) (int, string) {
		answer, text := ask(t, tcp, "POST", "/v1/bulkheads/orders/record", body, append(fields, "Content-Type", asJSON)...)
		return answer.StatusCode, text
	}
	if status, _ := post(`{"for_ms":1000}`); status != 401 {
		t.Errorf("without the token: %d", status)
	}
	token := []string{"Authorization", bearerToken}
	for _, body := range []string{`{"for_ms":999}`, `{"for_ms":3600001}`, `{}`, `{"for":1000}`, ``} {
		if status, _ := post(body, token...); status != 400 {
			t.Errorf("%s: %d", body, status)
		}
	}
	if answer, _ := ask(t, tcp, "GET", "/v1/bulkheads/orders/record", ""); answer.StatusCode != 405 {
		t.Errorf("GET: %d", answer.StatusCode)
	}
	if answer, _ := ask(t, tcp, "POST", "/v1/bulkheads/nobody/record", `{"for_ms":1000}`, append(token, "Content-Type", asJSON)...); answer.StatusCode != 404 {
		t.Errorf("of nobody: %d", answer.StatusCode)
	}
	if got := o.took(); got != nil {
		t.Errorf("the supervisor was asked for %q", got)
	}
	if status, body := post(`{"for_ms":1000}`, token...); status != 200 || body != "recorded\n" || !slices.Equal(o.took(), []string{"record orders 1s"}) {
		t.Errorf("%d %q", status, body)
	}
}

// A recording of live requests, one at a time, that a client may leave and the end
// of the supervisor ends.
func TestRecordLive(t *testing.T) {
	t.Parallel()
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Limit, c.Queue = 1, 0 }))
	record := func(ctx context.Context, span string) *http.Response {
		req, err := http.NewRequestWithContext(ctx, "POST", "http://localhost/v1/bulkheads/a/record", strings.NewReader(`{"for_ms":`+span+`}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", asJSON)
		answer, err := r.admin().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	ctx, leave := context.WithCancel(t.Context())
	left := record(ctx, "3600000")
	defer left.Body.Close()
	busy := record(t.Context(), "1000")
	busy.Body.Close()
	if left.StatusCode != 200 || busy.StatusCode != http.StatusConflict {
		t.Fatalf("%d, then %d", left.StatusCode, busy.StatusCode)
	}
	leave()
	var whole *http.Response
	eventually(t, 5*time.Second, "a recording whose client left makes room", func() bool {
		whole = record(t.Context(), "1500")
		if whole.StatusCode != 200 {
			whole.Body.Close()
		}
		return whole.StatusCode == 200
	})
	r.get("/a")
	release := r.hang("a", 1)
	if got := r.reason("GET", "/a", nil); got != "queue_full" {
		t.Error(got)
	}
	release()
	text, err := io.ReadAll(whole.Body)
	whole.Body.Close()
	trace, bad := sizing.ReadTrace(bytes.NewReader(text))
	if err != nil || bad != nil || trace.End != (sizing.TraceEnd{Visits: 3}) || trace.Header.Bulkhead != "a" || trace.Header.Limit != 1 {
		t.Errorf("%v %v %+v %+v", err, bad, trace.Header, trace.End)
	}
	last := record(t.Context(), "3600000")
	defer last.Body.Close()
	r.get("/a")
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begun); d > 4*time.Second {
		t.Errorf("a recording held up the stop for %v", d)
	}
	if cut, err := sizing.ReadTrace(last.Body); err != nil && !errors.Is(err, sizing.ErrTruncated) || len(cut.Visits) != 1 {
		t.Errorf("at the stop: %v, %d visits", err, len(cut.Visits))
	}
}
