package orders_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/target"
	"commerce.example/coordinator/workers/orders"
)

// record is an order as a shop knows it, before it has the shape of a service.
type record struct {
	number, date, basicDate, currency string
	minor                             int64
	digits                            int
	amount                            string // of minor and digits
	items                             []item
}

type item struct {
	Title       string `json:"title"`
	Quantity    int    `json:"quantity"`
	Description string `json:"description"`
}

// history is what user alice has bought, newest first: every kind of amount.
func history(n int) []record {
	amounts := []record{
		{currency: "USD", minor: 14900, digits: 2, amount: "149.00"},
		{currency: "USD", minor: 5, digits: 2, amount: "0.05"},
		{currency: "EUR", minor: -1250, digits: 2, amount: "-12.50"},
		{currency: "JPY", minor: 7900, digits: 0, amount: "7900"},
		{currency: "KWD", minor: 12345, digits: 3, amount: "12.345"},
	}
	all := make([]record, n)
	for i := range all {
		r := amounts[i%len(amounts)]
		r.number = fmt.Sprintf("TEST-%d", 100000+n-i)
		r.date, r.basicDate = fmt.Sprintf("2022-11-%02dT14:03:11Z", 1+i%28), fmt.Sprintf("202211%02dT140311Z", 1+i%28)
		for j := range i % 3 {
			r.items = append(r.items, item{fmt.Sprintf("日本語 & <Seat> %d", j), j, "of \"" + r.number + "\"\u2028"})
		}
		all[i] = r
	}
	return all
}

// contract is a record as clients get it.
func (r record) contract() map[string]any {
	lines := r.items
	if lines == nil {
		lines = []item{}
	}
	return map[string]any{
		"number": r.number, "date_placed": r.date, "currency": r.currency, "total_excl_tax": r.amount, "lines": lines,
	}
}

// legacyService and vendorService hold the same orders, each in its own shape.
func legacyService(w http.ResponseWriter, r *http.Request, all []record) {
	if r.URL.Path != "/api/v2/orders/" {
		http.Error(w, "no such path "+r.URL.Path, http.StatusTeapot)
		return
	}
	page, size := atoi(r, "page", 1), min(atoi(r, "page_size", 20), 100)
	last := max((len(all)+size-1)/size, 1)
	if page > last {
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"detail":"Invalid page."}`)
		return
	}
	link := func(to int) any {
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(to))
		if to == 1 {
			q.Del("page")
		}
		if to < 1 || to > last {
			return nil
		}
		return "http://internal.legacy:8000/api/v2/orders/?" + q.Encode()
	}
	results := []any{}
	for _, o := range all[(page-1)*size : min(page*size, len(all))] {
		c := o.contract()
		var lines []any
		for _, l := range o.items {
			lines = append(lines, map[string]any{"title": l.Title, "quantity": l.Quantity, "description": l.Description, "product": map[string]any{"id": 7001}})
		}
		if lines == nil {
			lines = []any{}
		}
		c["lines"], c["user"], c["vouchers"] = lines, map[string]any{"email": "alice@example.com"}, nil
		results = append(results, c)
	}
	answer(w, map[string]any{"count": len(all), "next": link(page + 1), "previous": link(page - 1), "results": results})
}

func vendorService(w http.ResponseWriter, r *http.Request, all []record) {
	if r.URL.Path != "/v3/purchases" {
		http.Error(w, "no such path "+r.URL.Path, http.StatusTeapot)
		return
	}
	from, limit := min(atoi(r, "offset", 0), len(all)), atoi(r, "limit", 50)
	purchases := []any{}
	for _, o := range all[from:min(from+limit, len(all))] {
		items := []any{}
		for _, l := range o.items {
			items = append(items, map[string]any{"name": l.Title, "details": l.Description, "units": l.Quantity, "sku": "x"})
		}
		purchases = append(purchases, map[string]any{
			"reference": o.number, "placedAt": o.basicDate, "items": items, "buyer": map[string]any{"mail": "alice@example.com"},
			"total": map[string]any{"minor": o.minor, "digits": o.digits, "currency": o.currency},
		})
	}
	answer(w, map[string]any{
		"data":  map[string]any{"purchases": purchases},
		"slice": map[string]any{"offset": atoi(r, "offset", 0), "limit": limit, "total": len(all)},
	})
}

func atoi(r *http.Request, name string, otherwise int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		return n
	}
	return otherwise
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// service is a backend of one shape: serve answers unless instead is set.
type service struct {
	srv *httptest.Server

	mu      sync.Mutex
	asked   []*http.Request
	instead http.HandlerFunc
}

func (s *service) play(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instead, s.asked = h, nil
}

// requests are those since play.
func (s *service) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// shop is the worker before a service of one shape.
type shop struct {
	t       *testing.T
	service *service
	front   *httptest.Server
}

// eachAdapter runs a test of the contract for every shape of backend. The one user
// with orders is alice.
func eachAdapter(t *testing.T, all []record, test func(t *testing.T, s *shop)) {
	services := map[string]func(http.ResponseWriter, *http.Request, []record){"legacy": legacyService, "vendor": vendorService}
	if names := orders.Adapters(); len(names) != len(services) {
		t.Fatalf("adapters %v: each needs a service to be tested with", names)
	}
	for name, serve := range services {
		t.Run(name, func(t *testing.T) {
			test(t, newShop(t, name, func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				if q.Get("username") == "alice" || q.Get("customerId") == "alice" {
					serve(w, r, all)
				} else {
					serve(w, r, nil)
				}
			}))
		})
	}
}

func newShop(t *testing.T, adapter string, serve http.HandlerFunc, change ...func(*orders.Settings)) *shop {
	t.Helper()
	back := &service{}
	back.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		back.mu.Lock()
		back.asked = append(back.asked, r)
		h := back.instead
		back.mu.Unlock()
		if h == nil {
			h = serve
		}
		h(w, r)
	}))
	settings := orders.Settings{Settings: target.Settings{Backend: back.srv.URL}, Adapter: adapter}
	for _, c := range change {
		c(&settings)
	}
	h, err := orders.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, service: back, front: httptest.NewServer(failing(h))}
	t.Cleanup(func() {
		s.front.Close()
		if err := h.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
		back.srv.Close()
	})
	return s
}

// failing stands in for the SDK: a failed exchange becomes a 599 that tells it.
func failing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&failer{w}, r) })
}

type failer struct{ http.ResponseWriter }

func (f *failer) Unwrap() http.ResponseWriter { return f.ResponseWriter }

func (f *failer) Fail(err error) {
	f.Header().Set("X-Fault", string(exchange.FaultOf(err)))
	f.WriteHeader(599)
	io.WriteString(f, err.Error())
}

// do asks the worker; fields are pairs of name and value.
func (s *shop) do(method, pathAndQuery string, fields ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.front.URL+pathAndQuery, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

func historyPath(query url.Values) string { return orders.Path + "?" + query.Encode() }

// list is a page of the contract, nothing else allowed in it.
type list struct {
	Count          int
	Next, Previous *string
	Results        []struct {
		Number       string
		DatePlaced   string `json:"date_placed"`
		Currency     string
		TotalExclTax string `json:"total_excl_tax"`
		Lines        []item
	}
}

func listOf(t *testing.T, body string) (l list) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		t.Fatalf("%v in %.300s", err, body)
	}
	return l
}
