package supervisor_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"commerce.example/coordinator/supervisor"
)

// serve gives the answer that a client of a real server gets from h.
func serve(t *testing.T, h http.Handler, method string, header http.Header) (*http.Response, []byte, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	req, err := http.NewRequest(method, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	res, err := srv.Client().Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body, nil
}

func TestProblemOfEveryReason(t *testing.T) {
	for _, reason := range supervisor.Reasons() {
		if reason == supervisor.ReasonClientGone {
			continue
		}
		p := &supervisor.Problem{
			Reason: reason, Outcome: supervisor.OutcomeNeverSent,
			RequestID: "r-1", Bulkhead: "orders", Owner: "team \"A\" <a@shop.example> é\n", Runbook: "https://wiki.example/x?a=1&b=2",
		}
		res, body, err := serve(t, p, "GET", http.Header{"Accept": {"text/html"}})
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%s: %v in %s", reason, err, body)
		}
		detail, _ := got["detail"].(string)
		delete(got, "detail")
		want := map[string]any{
			"type": "urn:coordinator:problem:" + string(reason), "title": reason.Title(),
			"status": float64(reason.Status()), "bulkhead": "orders", "reason": string(reason),
			"outcome": "never_sent", "retry_safe": reason != supervisor.ReasonPoisonRequest, "request_id": "r-1",
			"owner": p.Owner, "runbook": p.Runbook,
		}
		if !maps.Equal(got, want) || detail == "" {
			t.Errorf("%s: %v (detail %q), want %v", reason, got, detail, want)
		}
		if res.StatusCode != reason.Status() {
			t.Errorf("%s: status %d", reason, res.StatusCode)
		}
		checkProxyStatus(t, res.Header.Values("Proxy-Status"), reason)
		if (res.Header.Get("Retry-After") != "") != reason.Waiting() {
			t.Errorf("%s: Retry-After %q", reason, res.Header.Get("Retry-After"))
		}
		for name, want := range map[string]string{
			"Content-Type": "application/problem+json", "Cache-Control": "no-store", "X-Request-Id": "r-1",
			"X-Content-Type-Options": "nosniff", "Content-Length": strconv.Itoa(len(body)),
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", reason, name, got, want)
			}
		}
	}
}

func checkProxyStatus(t *testing.T, field []string, reason supervisor.Reason) {
	t.Helper()
	list, err := httpsfv.UnmarshalList(field)
	if err != nil || len(list) != 1 {
		t.Fatalf("%s: Proxy-Status %q: %v", reason, field, err)
	}
	item := list[0].(httpsfv.Item)
	proxyError, _ := item.Params.Get("error")
	details, _ := item.Params.Get("details")
	outcome, _ := item.Params.Get("outcome")
	if item.Value != httpsfv.Token("coordinator") || proxyError != httpsfv.Token(reason.ProxyError()) || details != string(reason) || outcome != httpsfv.Token(supervisor.OutcomeNeverSent) {
		t.Errorf("%s: Proxy-Status %q", reason, field)
	}
}

func TestProblemForHEADIsItsHeader(t *testing.T) {
	p := &supervisor.Problem{Reason: supervisor.ReasonQueueFull, Outcome: supervisor.OutcomeRefused}
	get, body, err := serve(t, p, "GET", nil)
	if err != nil {
		t.Fatal(err)
	}
	head, none, err := serve(t, p, "HEAD", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []http.Header{get.Header, head.Header} {
		h.Del("Date")
		h.Del("Retry-After") // jittered
	}
	if len(body) == 0 || len(none) != 0 || !maps.EqualFunc(get.Header, head.Header, slices.Equal) {
		t.Errorf("HEAD: %d bytes, %v; GET: %d bytes, %v", len(none), head.Header, len(body), get.Header)
	}
}

func TestProblemStatusAndDetailOfTheOccurrence(t *testing.T) {
	p := &supervisor.Problem{
		Reason: supervisor.ReasonBadRequest, Outcome: supervisor.OutcomeRefused,
		Status: http.StatusMethodNotAllowed, Detail: "no TRACE",
	}
	res, body, err := serve(t, p, "POST", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Status    int
		Detail    string
		RetrySafe bool `json:"retry_safe"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 405 || got.Status != 405 || got.Detail != "no TRACE" || !got.RetrySafe || res.Header.Get("Allow") == "" {
		t.Errorf("%d %+v Allow %q", res.StatusCode, got, res.Header.Get("Allow"))
	}
}

func TestProblemOfAClientThatLeftIsNoAnswer(t *testing.T) {
	_, _, err := serve(t, &supervisor.Problem{Reason: supervisor.ReasonClientGone}, "GET", nil)
	if !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want an aborted connection", err)
	}
}

func TestRetryAfterIsJitteredAndNeverEarly(t *testing.T) {
	for _, c := range []struct {
		estimate time.Duration
		min, max int
	}{
		{-time.Second, 1, 1}, {0, 1, 1}, {time.Millisecond, 1, 1}, {5 * time.Second, 5, 7}, {100 * time.Second, 100, 125},
	} {
		seen := make(map[int]bool)
		for range 400 {
			w := httptest.NewRecorder()
			p := &supervisor.Problem{Reason: supervisor.ReasonBreakerOpen, RetryAfter: c.estimate}
			p.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
			if err != nil || seconds < c.min || seconds > c.max {
				t.Fatalf("estimate %v: Retry-After %q", c.estimate, w.Header().Get("Retry-After"))
			}
			seen[seconds] = true
		}
		if c.estimate >= 100*time.Second && len(seen) < 20 {
			t.Errorf("estimate %v: only %d values", c.estimate, len(seen))
		}
	}
}

// blackHole is a ResponseWriter that costs nothing.
type blackHole struct{ header http.Header }

func (b blackHole) Header() http.Header         { return b.header }
func (b blackHole) Write(p []byte) (int, error) { return len(p), nil }
func (b blackHole) WriteHeader(int)             {}

func BenchmarkProblemBreakerOpen(b *testing.B) {
	b.ReportAllocs()
	w := blackHole{make(http.Header)}
	r := httptest.NewRequest("GET", "/", nil)
	for b.Loop() {
		clear(w.header)
		p := supervisor.Problem{
			Reason: supervisor.ReasonBreakerOpen, Outcome: supervisor.OutcomeRefused, RetryAfter: 3 * time.Second,
			RequestID: "0198b2c6-7a3e-7c55-9d6b-1f0a2b3c4d5e", Bulkhead: "orders", Owner: "team-orders",
		}
		p.ServeHTTP(w, r)
	}
}
