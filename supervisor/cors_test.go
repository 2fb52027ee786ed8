package supervisor_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"commerce.example/coordinator/supervisor"
)

const shop = "https://shop.example"

func TestCORSAllow(t *testing.T) {
	listed := supervisor.NewCORS([]string{shop, "https://admin.example:8443"})
	allowed := http.Header{
		"Access-Control-Allow-Origin": {shop}, "Access-Control-Allow-Credentials": {"true"},
		"Access-Control-Expose-Headers": {"X-Request-Id, Retry-After, Proxy-Status, Cache-Status, Age"}, "Vary": {"Origin"},
	}
	vary := http.Header{"Vary": {"Origin"}}
	for _, c := range []struct {
		name   string
		cors   *supervisor.CORS
		origin []string
		want   http.Header
	}{
		{"listed", listed, []string{shop}, allowed},
		{"not configured", nil, []string{shop}, http.Header{}},
		{"empty list", supervisor.NewCORS(nil), []string{shop}, http.Header{}},
		{"no origin", listed, nil, vary},
		{"another", listed, []string{"https://shop.example.evil"}, vary},
		{"another scheme", listed, []string{"http://shop.example"}, vary},
		{"null", listed, []string{"null"}, vary},
		{"two", listed, []string{shop, shop}, vary},
		{"asterisk is no origin", supervisor.NewCORS([]string{"*"}), []string{shop}, vary},
	} {
		answer := make(http.Header)
		ok := c.cors.Allow(answer, http.Header{"Origin": c.origin})
		if !maps.EqualFunc(answer, c.want, slices.Equal) || ok != (len(c.want) > 1) {
			t.Errorf("%s: %v %v, want %v", c.name, ok, answer, c.want)
		}
	}
	answer := http.Header{"Vary": {"Accept-Encoding"}}
	listed.Allow(answer, http.Header{"Origin": {shop}})
	if got := answer["Vary"]; !slices.Equal(got, []string{"Accept-Encoding", "Origin"}) {
		t.Errorf("Vary %q", got)
	}
}

// A page of a listed origin must be able to read a problem, status and all.
func TestCORSOfAProblem(t *testing.T) {
	cors := supervisor.NewCORS([]string{shop})
	res, _, err := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cors.Allow(w.Header(), r.Header)
		p := supervisor.Problem{Reason: supervisor.ReasonBreakerOpen, Outcome: supervisor.OutcomeRefused, RequestID: "r"}
		p.ServeHTTP(w, r)
	}), "GET", http.Header{"Origin": {shop}})
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 503 || res.Header.Get("Access-Control-Allow-Origin") != shop || res.Header.Get("Vary") != "Origin" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

func TestCORSPreflight(t *testing.T) {
	cors := supervisor.NewCORS([]string{shop})
	preflight := func(change func(*http.Request)) *http.Request {
		r := with(request("OPTIONS", "/api/orders/"), "Origin", shop, "Access-Control-Request-Method", "PUT",
			"Access-Control-Request-Headers", "authorization, x-csrftoken")
		change(r)
		return r
	}
	w := httptest.NewRecorder()
	r := preflight(func(*http.Request) {})
	if supervisor.PreflightMethod(r) != "PUT" || !cors.Preflight(w, r) || w.Code != http.StatusNoContent {
		t.Fatalf("not answered: %d", w.Code)
	}
	want := http.Header{
		"Access-Control-Allow-Origin": {shop}, "Access-Control-Allow-Credentials": {"true"}, "Access-Control-Allow-Methods": {"PUT"},
		"Access-Control-Allow-Headers": {"authorization, x-csrftoken"}, "Access-Control-Max-Age": {"0"}, "Cache-Control": {"no-store"},
		"Vary": {"Origin", "Access-Control-Request-Method, Access-Control-Request-Headers"},
	}
	if got := w.Header(); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%v, want\n%v", got, want)
	}
	for name, r := range map[string]*http.Request{
		"not OPTIONS":     preflight(func(r *http.Request) { r.Method = "GET" }),
		"another origin":  preflight(func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }),
		"no origin":       preflight(func(r *http.Request) { r.Header.Del("Origin") }),
		"no method":       preflight(func(r *http.Request) { r.Header.Del("Access-Control-Request-Method") }),
		"no token":        preflight(func(r *http.Request) { r.Header.Set("Access-Control-Request-Method", "P T") }),
		"header no token": preflight(func(r *http.Request) { r.Header.Set("Access-Control-Request-Headers", "a, b\"c") }),
	} {
		w := httptest.NewRecorder()
		if cors.Preflight(w, r) || len(w.Header()) != 0 {
			t.Errorf("%s: answered %v", name, w.Header())
		}
	}
	if (*supervisor.CORS)(nil).Preflight(httptest.NewRecorder(), r) {
		t.Error("answered without a list")
	}
}
