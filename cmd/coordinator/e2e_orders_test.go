//go:build linux

package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
)

const historyPath = "/orders/order_history/?username="

// The order history is the same whoever holds the orders, and a backend that breaks
// is known for what it did.
func TestE2EOrders(t *testing.T) {
	quick := demo.Options{Latency: -1}
	legacy, vendor := fake(t, demo.Orders, quick), fake(t, demo.OrdersVendor, quick)
	odd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"count":1,"next":null,"previous":null,"results":[{"number":"TEST-1","secret":"s3cret"}]}`)
	}))
	t.Cleanup(odd.Close)
	settings := []string{"COORDINATOR_BULKHEADS=a,b,odd", "BULKHEAD_B_ENV_ORDERS_ADAPTER=vendor"}
	for name, backend := range map[string]string{"a": legacy.URL(), "b": vendor.URL(), "odd": odd.URL} {
		prefix := "BULKHEAD_" + strings.ToUpper(name) + "_"
		settings = append(settings, prefix+"WORKER=orders", prefix+"WORKERS=1", prefix+"BACKEND="+backend, prefix+"BREAKER_MODE=closed",
			prefix+"ROUTES=/"+name+"/", prefix+"STRIP_PREFIX=/"+name)
	}
	s := runSite(t, settings...)
	ask := func(path string, fields ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}

	for _, user := range []int{0, 7, 199} {
		for pages := 1; ; pages++ {
			query := demo.Username(user) + fmt.Sprintf("&page_size=4&page=%d", pages)
			_, old := ask("/a" + historyPath + query)
			_, other := ask("/b" + historyPath + query)
			if strings.ReplaceAll(old, s.url+"/a/", "/") != strings.ReplaceAll(other, s.url+"/b/", "/") {
				t.Fatalf("%s:\n%s\n%s", query, old, other)
			}
			var page struct {
				Next    *string
				Results []any
			}
			if err := json.Unmarshal([]byte(old), &page); err != nil || len(page.Results) == 0 {
				t.Fatalf("%s: %v in %s", query, err, old)
			}
			if page.Next == nil {
				break
			}
			at := strings.TrimPrefix(*page.Next, s.url)
			if want := "/a" + historyPath + demo.Username(user) + fmt.Sprintf("&page_size=4&page=%d", pages+1); at != want {
				t.Fatalf("next is %s, want %s", at, want)
			}
		}
	}
	for _, name := range []string{"a", "b"} {
		if resp, body := ask("/"+name+historyPath+demo.Username(7), "Cookie", demo.SessionCookie+"="+demo.Username(8)); resp.StatusCode != http.StatusForbidden {
			t.Errorf("somebody else's orders at %s: %s %.100s", name, resp.Status, body)
		}
		if resp, body := ask("/" + name + historyPath + demo.Username(7) + "&page=abc"); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, `"bulkhead":"`+name+`"`) {
			t.Errorf("page=abc at %s: %s %s", name, resp.Status, body)
		}
	}
	for mode, reason := range map[demo.Mode]string{demo.Down: "backend_refused", demo.Garbage: "backend_protocol", demo.ResetMidBody: "backend_reset"} {
		fault(t, legacy, mode)
		if resp, body := ask("/a" + historyPath + demo.Username(7)); resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, `"reason":"`+reason+`"`) {
			t.Errorf("%s: %s %s, want %s", mode, resp.Status, body, reason)
		}
	}
	resp, body := ask("/odd" + historyPath + "x")
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, `"reason":"backend_protocol"`) || strings.Contains(body, "s3cret") {
		t.Errorf("an answer of another shape: %s %s", resp.Status, body)
	}
}
