package demo_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
)

// The vendor has the orders of the legacy service, one for one.
func TestVendorHasTheSameOrders(t *testing.T) {
	old, vendor := open(t, demo.Orders, quick), open(t, demo.OrdersVendor, quick)
	for _, i := range []int{0, 7, 199} {
		user := demo.Username(i)
		_, text := old.do("GET", "/api/v2/orders/?page_size=100&username="+user, "")
		var want, got []string
		for _, raw := range pageOf(t, text).Results {
			var o struct {
				Number   string
				Currency string
				Total    string `json:"total_excl_tax"`
				Lines    []struct{ Title string }
			}
			if err := json.Unmarshal(raw, &o); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintf("%s %s %s %v", o.Number, o.Currency, strings.Replace(o.Total, ".", "", 1), o.Lines))
		}
		for offset := 0; offset < len(want)+4; offset += 4 {
			res, text := vendor.do("GET", fmt.Sprintf("/v3/purchases?limit=4&offset=%d&customerId=%s", offset, user), "")
			var a struct {
				Data struct {
					Purchases []struct {
						Reference string
						Total     struct {
							Minor, Digits int
							Currency      string
						}
						Items []struct{ Name string }
					}
				}
				Slice struct{ Offset, Limit, Total int }
			}
			if err := json.Unmarshal([]byte(text), &a); err != nil || res.StatusCode != 200 {
				t.Fatalf("%s %v: %s", res.Status, err, text)
			}
			if a.Slice.Offset != offset || a.Slice.Limit != 4 || a.Slice.Total != len(want) || len(a.Data.Purchases) != max(0, min(4, len(want)-offset)) {
				t.Errorf("%s from %d: %+v with %d", user, offset, a.Slice, len(a.Data.Purchases))
			}
			for _, p := range a.Data.Purchases {
				got = append(got, fmt.Sprintf("%s %s %d %v", p.Reference, p.Total.Currency, p.Total.Minor, p.Items))
			}
		}
		if len(want) == 0 || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %v\nwant %v", user, got, want)
		}
	}
	for path, status := range map[string]int{
		"/v3/purchases": 422, "/v3/purchases?customerId=x&offset=-1": 422, "/v3/purchases?customerId=x&limit=1000": 422,
		"/v3/purchases?customerId=nobody": 200, "/v3/else": 404,
	} {
		if res, text := vendor.do("GET", path, ""); res.StatusCode != status {
			t.Errorf("%s: %s %s", path, res.Status, text)
		}
	}
	if res, _ := vendor.do("POST", "/v3/purchases?customerId=x", ""); res.StatusCode != 405 {
		t.Errorf("POST: %s", res.Status)
	}
}

// Who is signed in sees his own orders and nobody else's.
func TestSessions(t *testing.T) {
	for kind, path := range map[demo.Kind]string{demo.Orders: "/api/v2/orders/?username=", demo.OrdersVendor: "/v3/purchases?customerId="} {
		s := open(t, kind, quick)
		for cookie, status := range map[string]int{"": 200, "theme=dark": 200, demo.SessionCookie + "=test_learner_8": 200, demo.SessionCookie + "=test_learner_9": 403} {
			res, body := s.do("GET", path+demo.Username(7), "", "Cookie", cookie)
			if res.StatusCode != status || strings.Contains(body, "TEST-") != (status == 200) {
				t.Errorf("%s with %q: %s %.100s", kind, cookie, res.Status, body)
			}
		}
	}
}
