package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/console"
)

// operator writes down what it is asked to do, and does what does says.
type operator struct {
	mu    sync.Mutex
	calls []string
	does  func(context.Context) supervisor.Report // nil: succeeds at once
	ready bool
}

func (o *operator) do(ctx context.Context, format string, args ...any) supervisor.Report {
	o.mu.Lock()
	o.calls = append(o.calls, fmt.Sprintf(format, args...))
	o.mu.Unlock()
	if o.does != nil {
		return o.does(ctx)
	}
	return supervisor.Report{Action: "tested", Did: "nothing"}
}

// took is the calls since the last took.
func (o *operator) took() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	calls := o.calls
	o.calls = nil
	return calls
}

func (o *operator) Status() supervisor.Status {
	return supervisor.Status{Version: "v1", State: "ready", Bulkheads: []supervisor.BulkheadStatus{{Name: "orders"}, {Name: "catalog"}}}
}

func (o *operator) Detail(b string) (supervisor.BulkheadDetail, bool) {
	for _, known := range o.Status().Bulkheads {
		if known.Name == b {
			return supervisor.BulkheadDetail{Bulkhead: known}, true
		}
	}
	return supervisor.BulkheadDetail{}, false
}

func (o *operator) Ready() (bool, []string, string) {
	if o.ready {
		return true, nil, ""
	}
	return false, []string{"orders"}, "draining"
}

func (o *operator) Restart(ctx context.Context, b string) supervisor.Report {
	return o.do(ctx, "restart %s", b)
}
func (o *operator) Drain(ctx context.Context, b string) supervisor.Report {
	return o.do(ctx, "drain %s", b)
}
func (o *operator) Resume(ctx context.Context, b string) supervisor.Report {
	return o.do(ctx, "resume %s", b)
}
func (o *operator) Resize(ctx context.Context, b string, workers, limit *int) supervisor.Report {
	text := func(n *int) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	return o.do(ctx, "resize %s %s %s", b, text(workers), text(limit))
}
func (o *operator) ForceBreaker(ctx context.Context, b string, m breaker.Mode) supervisor.Report {
	return o.do(ctx, "breaker %s %s", b, m)
}
func (o *operator) Forgive(ctx context.Context, b, fingerprint string) supervisor.Report {
	return o.do(ctx, "forgive %s %q", b, fingerprint)
}

func (o *operator) Drill(ctx context.Context, b string, p supervisor.DrillPlan) supervisor.Report {
	if p.Mode == supervisor.DrillFallback {
		return o.do(ctx, "drill %s fallback %s %v %v %v", b, p.For, p.Share, p.Coverage, p.Give)
	}
	return o.do(ctx, "drill %s %s %s", b, p.Mode, p.For)
}

func (o *operator) Replay(ctx context.Context, b string, p supervisor.ReplayPlan) supervisor.Report {
	return o.do(ctx, "replay %s %s %d %t", b, p.Segment, p.Offset, p.Execute)
}
func (o *operator) Evidence(b string, window time.Duration) (supervisor.BulkheadEvidence, error) {
	o.do(context.Background(), "evidence %s %s", b, window)
	return supervisor.BulkheadEvidence{Bulkhead: b}, nil
}

func (o *operator) Size(ctx context.Context, b string, q supervisor.AdviceQuestion) (supervisor.SizeAdvice, error) {
	o.do(ctx, "size %s %s %v %s", b, q.Window, q.Objective.Refused, q.Objective.WaitP99)
	return supervisor.SizeAdvice{}, ctx.Err()
}

func (o *operator) Record(ctx context.Context, b string, span time.Duration, w io.Writer) error {
	o.do(ctx, "record %s %s", b, span)
	_, err := io.WriteString(w, "recorded\n")
	return err
}

func (o *operator) Reload(ctx context.Context) supervisor.Report  { return o.do(ctx, "reload") }
func (o *operator) Upgrade(ctx context.Context) supervisor.Report { return o.do(ctx, "upgrade") }

func admin(o *operator) *supervisor.Admin {
	return &supervisor.Admin{
		Operator: o,
		Alive:    func(context.Context) error { return nil },
		Metrics:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metrics") }),
		Feed:     console.NewFeed(func(time.Time, console.Want) console.Reading { return console.Reading{} }),
		Token:    "s3cret",
		Listen:   "Coordinator.internal:9901",
	}
}

// serveAdmin serves h on ln until the test ends, and returns a client for it.
func serveAdmin(t *testing.T, ln net.Listener, h http.Handler) *http.Client {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- supervisor.ServeAdmin(ctx, ln, h) }()
	addr := ln.Addr()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func overTCP(t *testing.T, a *supervisor.Admin) *http.Client {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveAdmin(t, ln, a.OverTCP())
}

func overSocket(t *testing.T, a *supervisor.Admin) *http.Client {
	t.Helper()
	ln, err := supervisor.ListenAdminSocket(filepath.Join(t.TempDir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	return serveAdmin(t, ln, a.OverSocket())
}

// ask sends a request, with fields as name, value, name, value; Host among them.
func ask(t *testing.T, c *http.Client, method, path, body string, fields ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		}
		r.Header.Set(fields[i], fields[i+1])
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

func TestAdminReads(t *testing.T) {
	o := &operator{}
	a := admin(o)
	dead := false
	a.Alive = func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); dead || !bounded {
			return errors.New("no answer from the loop")
		}
		return nil
	}
	for name, c := range map[string]*http.Client{"tcp": overTCP(t, a), "socket": overSocket(t, a)} {
		for _, test := range []struct {
			path   string
			ready  bool
			dead   bool
			status int
			want   string
		}{
			{"/metrics", true, false, 200, "metrics"},
			{"/healthz", true, false, 200, "ok\n"},
			{"/healthz", true, true, 503, `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The supervisor does not answer: no answer from the loop"}` + "\n"},
			{"/readyz", true, false, 200, `{"ready":true,"degraded":[],"why":""}` + "\n"},
			{"/readyz", false, false, 503, `{"ready":false,"degraded":["orders"],"why":"draining"}` + "\n"},
		} {
			o.ready, dead = test.ready, test.dead
			if answer, body := ask(t, c, "GET", test.path, ""); answer.StatusCode != test.status || body != test.want {
				t.Errorf("%s %s: %d %q, want %d %q", name, test.path, answer.StatusCode, body, test.status, test.want)
			}
		}
		answer, body := ask(t, c, "GET", "/v1/status", "")
		var status supervisor.Status
		if err := json.Unmarshal([]byte(body), &status); err != nil || status.Version != "v1" || len(status.Bulkheads) != 2 {
			t.Errorf("%s: %v, %q", name, err, body)
		}
		if h := answer.Header; h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", name, h)
		}
	}
}

const asJSON, bearerToken = "application/json", "Bearer s3cret"

func TestAdminChanges(t *testing.T) {
	o := &operator{}
	socket, tcp := overSocket(t, admin(o)), overTCP(t, admin(o))
	for _, test := range []struct{ path, body, want string }{
		{"/v1/reload", "", "reload"},
		{"/v1/bulkheads/orders/restart", "", "restart orders"},
		{"/v1/bulkheads/catalog/drain", "", "drain catalog"},
		{"/v1/bulkheads/orders/resume", "", "resume orders"},
		{"/v1/bulkheads/orders/resize", `{"workers":3}`, "resize orders 3 -"},
		{"/v1/bulkheads/orders/resize", `{"limit":64}`, "resize orders - 64"},
		{"/v1/bulkheads/orders/resize", `{"workers":1,"limit":1000000}` + "\n", "resize orders 1 1000000"},
		{"/v1/bulkheads/orders/breaker", `{"mode":"observe"}`, "breaker orders observe"},
		{"/v1/bulkheads/orders/forgive", ``, `forgive orders ""`},
		{"/v1/bulkheads/orders/forgive", `{"fingerprint":"00112233445566778899aabbccddeeff"}`, `forgive orders "00112233445566778899aabbccddeeff"`},
		{"/v1/bulkheads/orders/drill", `{"mode":"backend-down","for_ms":1500}`, "drill orders backend-down 1.5s"},
		{"/v1/bulkheads/orders/replay", `{"segment":"journal-1.jsonl","offset":7}`, "replay orders journal-1.jsonl 7 false"},
		{"/v1/bulkheads/orders/replay", `{"segment":"journal-1.jsonl","offset":0,"execute":true}`, "replay orders journal-1.jsonl 0 true"},
		{"/v1/bulkheads/orders/drill", `{"mode":"fallback","for_ms":1500}`, "drill orders fallback 1.5s 0.1 0.9 false"},
		{"/v1/bulkheads/orders/drill", `{"mode":"fallback","for_ms":1500,"share":1,"coverage":0,"give":true}`, "drill orders fallback 1.5s 1 0 true"},
	} {
		for name, c := range map[string]*http.Client{"socket": socket, "tcp": tcp} {
			fields := []string{"Content-Type", asJSON}
			if name == "tcp" {
				fields = append(fields, "Authorization", bearerToken)
			}
			answer, body := ask(t, c, "POST", test.path, test.body, fields...)
			var report map[string]any
			if err := json.Unmarshal([]byte(body), &report); err != nil || answer.StatusCode != 200 || report["did"] != "nothing" ||
				report["took_ms"].(float64) <= 0 || len(report["bulkheads"].([]any)) != 0 {
				t.Errorf("%s %s: %d %v %q", name, test.path, answer.StatusCode, err, body)
			}
			if got := o.took(); !slices.Equal(got, []string{test.want}) {
				t.Errorf("%s %s: the supervisor was asked for %q, want %q", name, test.path, got, test.want)
			}
			for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
				if answer, _ := ask(t, c, method, test.path, "", fields...); answer.StatusCode != 405 || answer.Header.Get("Allow") != "POST" {
					t.Errorf("%s %s %s: %d, Allow %q", name, method, test.path, answer.StatusCode, answer.Header.Get("Allow"))
				}
			}
			if got := o.took(); got != nil {
				t.Errorf("%s %s: another method than POST did %q", name, test.path, got)
			}
		}
	}
}

func TestAdminFailedChange(t *testing.T) {
	o := &operator{does: func(context.Context) supervisor.Report {
		return supervisor.Report{Action: "restart", Bulkheads: []string{"orders"}, Did: "1 of 2", TookMS: 12, Error: "the second did not start"}
	}}
	answer, body := ask(t, overSocket(t, admin(o)), "POST", "/v1/bulkheads/orders/restart", "")
	const want = `{"action":"restart","bulkheads":["orders"],"did":"1 of 2","took_ms":12,"error":"the second did not start"}` + "\n"
	if answer.StatusCode != 500 || answer.Header.Get("Content-Type") != asJSON || body != want {
		t.Errorf("%d %q", answer.StatusCode, body)
	}
}

// Whatever is refused reaches no supervisor.
func TestAdminRefusesBodies(t *testing.T) {
	o := &operator{}
	c := overSocket(t, admin(o))
	const resize, force = "/v1/bulkheads/orders/resize", "/v1/bulkheads/orders/breaker"
	for _, test := range []struct {
		path, media, body string
		status            int
	}{
		{"/v1/bulkheads/order/resize", asJSON, `{"workers":1}`, 404},
		{"/v1/bulkheads/%2e%2e/restart", asJSON, "", 404},
		{"/v1/bulkheads/orders/kill", asJSON, "", 404},
		{"/v2/reload", asJSON, "", 404},
		{resize, "text/plain", `{"workers":1}`, 415},
		{resize, "", `{"workers":1}`, 415},
		{resize, asJSON, "", 400},
		{resize, asJSON, "{}", 400},
		{resize, asJSON, "null", 400},
		{resize, asJSON, `{"workers":0}`, 400},
		{resize, asJSON, `{"workers":1,"limit":-1}`, 400},
		{resize, asJSON, `{"limit":1000001}`, 400},
		{resize, asJSON, `{"workers":1001}`, 400}, // as many as a slip of the finger, and the machine is gone
		{resize, asJSON, `{"limit":1.5}`, 400},
		{resize, asJSON, `{"limit":"1"}`, 400},
		{resize, asJSON, `{"worker":1}`, 400},
		{resize, asJSON, `{"workers":1}{"workers":2}`, 400},
		{resize, asJSON, `{"workers":1`, 400},
		{resize, asJSON, `{"workers":` + strings.Repeat(" ", 5000) + `1}`, 413},
		{resize, asJSON, `{"workers":1}` + strings.Repeat(" ", 5000), 413},
		{force, asJSON, `{"mode":"shut"}`, 400},
		{force, asJSON, `{}`, 400},
		{"/v1/bulkheads/orders/drill", asJSON, `{"mode":"flood","for_ms":1500}`, 400},
		{"/v1/bulkheads/orders/drill", asJSON, `{"mode":"kill","for_ms":999}`, 400},
		{"/v1/bulkheads/orders/drill", asJSON, `{"mode":"kill","for_ms":600001}`, 400},
		{"/v1/bulkheads/orders/drill", asJSON, `{"mode":"kill"}`, 400},
		{"/v1/bulkheads/orders/drill", asJSON, `{"mode":"kill","for_ms":1500,"share":0.1}`, 400},
		{"/v1/bulkheads/orders/drill", asJSON, `{"mode":"kill","for_ms":1500,"give":true}`, 400},
		{"/v1/bulkheads/orders/drill", asJSON, `{"mode":"fallback","for_ms":1500,"share":0}`, 400},
		{"/v1/bulkheads/orders/drill", asJSON, `{"mode":"fallback","for_ms":1500,"share":1.1}`, 400},
		{"/v1/bulkheads/orders/drill", asJSON, `{"mode":"fallback","for_ms":1500,"coverage":-0.1}`, 400},
	} {
		answer, body := ask(t, c, "POST", test.path, test.body, "Content-Type", test.media)
		var p struct{ Type, Title, Detail string }
		if err := json.Unmarshal([]byte(body), &p); err != nil || answer.StatusCode != test.status || p.Detail == "" || p.Title == "" ||
			answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %.40q: %d %v %q", test.path, test.body, answer.StatusCode, err, body)
		}
		if got := o.took(); got != nil {
			t.Errorf("%s %.40q: did %q", test.path, test.body, got)
		}
	}
}

func TestAdminNamesTheKnownBulkheads(t *testing.T) {
	_, body := ask(t, overSocket(t, admin(&operator{})), "POST", "/v1/bulkheads/order/drain", "")
	const want = `{"type":"urn:coordinator:problem:unknown_bulkhead","title":"Unknown bulkhead","status":404,` +
		`"detail":"No bulkhead \"order\"; known: orders, catalog.","known":["orders","catalog"]}` + "\n"
	if body != want {
		t.Errorf("got %s", body)
	}
}

func TestAdminServesTheConsole(t *testing.T) {
	for name, c := range map[string]*http.Client{"TCP": overTCP(t, admin(&operator{})), "socket": overSocket(t, admin(&operator{}))} {
		if answer, _ := ask(t, c, "GET", "/", ""); answer.StatusCode != 303 || answer.Header.Get("Location") != "/console/" {
			t.Errorf("%s: %d %v", name, answer.StatusCode, answer.Header)
		}
		if answer, body := ask(t, c, "GET", "/console/", ""); answer.StatusCode != 200 || !strings.Contains(body, "<title>Coordinator</title>") {
			t.Errorf("%s: %d %s", name, answer.StatusCode, body)
		}
		for _, path := range []string{"/console/", "/", "/v1/events", "/v1/bulkheads/orders"} {
			if answer, _ := ask(t, c, "POST", path, ""); answer.StatusCode != 405 {
				t.Errorf("%s: POST %s: %d", name, path, answer.StatusCode)
			}
		}
		if answer, body := ask(t, c, "GET", "/v1/bulkheads/orders", ""); answer.StatusCode != 200 || !strings.Contains(body, `"name":"orders"`) {
			t.Errorf("%s: %d %s", name, answer.StatusCode, body)
		}
		if answer, body := ask(t, c, "GET", "/v1/bulkheads/none", ""); answer.StatusCode != 404 || !strings.Contains(body, `"known":["orders","catalog"]`) {
			t.Errorf("%s: %d %s", name, answer.StatusCode, body)
		}
		for _, path := range []string{"/", "/console/", "/v1/events", "/v1/bulkheads/orders"} {
			if answer, _ := ask(t, c, "GET", path, "", "Host", "evil.example"); answer.StatusCode != 421 {
				t.Errorf("%s: %s of a page whose name leads here: %d", name, path, answer.StatusCode)
			}
		}
	}
}
