//go:build linux

package main_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// A reload changes what it must, loses nothing, and refuses what is bad.
func TestE2EReload(t *testing.T) {
	beside(t)
	s, orders, catalog := shop(t, "COORDINATOR_LOG_LEVEL=info")
	other := fake(t, demo.Catalog, demo.Options{})
	names := []string{"orders", "catalog"}
	pids := func() map[string][]int {
		all := map[string][]int{}
		for _, name := range names {
			all[name] = s.pids(name)
		}
		return all
	}
	same := func(t *testing.T, before, after map[string][]int, names ...string) {
		t.Helper()
		for _, name := range names {
			if !slices.Equal(before[name], after[name]) {
				t.Errorf("%s: workers %v, were %v", name, after[name], before[name])
			}
		}
	}
	running := []*load.Generator{
		s.generate(ordersPath, 100, 2*time.Minute, func(o *load.Options) { o.Name = "orders" }),
		s.generate(catalogPath, 100, 2*time.Minute, func(o *load.Options) { o.Name = "catalog" }),
	}

	before := pids()
	s.set("BULKHEAD_ORDERS_LIMIT=77", "BULKHEAD_ORDERS_OWNER=new owner", "BULKHEAD_CATALOG_BREAKER_OPEN_FOR=9s")
	s.must("reload")
	if b := s.bulkhead("orders"); b.Limit != 77 || b.Owner != "new owner" {
		t.Errorf("limit %d, owner %q", b.Limit, b.Owner)
	}
	same(t, before, pids(), names...)

	before = pids()
	s.set("BULKHEAD_CATALOG_BACKEND=" + other.URL())
	s.must("reload")
	same(t, before, pids(), "orders")
	if !s.anew("catalog", before["catalog"])() {
		t.Errorf("catalog's workers %v, were %v", s.pids("catalog"), before["catalog"])
	}
	eventually(t, 2*time.Second, "the new backend is called", func() bool { st, err := other.Stats(t.Context()); return err == nil && st.Requests > 0 })

	before = pids()
	s.set("BULKHEAD_CATALOG_WORKER=/bin/false")
	code, output := s.cli("reload")
	t.Logf("a worker that exits at once: %d %s", code, output)
	if code != 1 || !strings.Contains(output, "catalog") {
		t.Errorf("exit code %d: %s", code, output)
	}
	same(t, before, pids(), names...)

	s.set("BULKHEAD_CATALOG_WORKER=", "BULKHEAD_ORDERS_LIMIT=5", "BULKHEAD_ORDERS_TIMEOUT=soon", "BULKHEAD_CATALOG_LIMITT=3")
	code, output = s.cli("reload")
	t.Logf("two mistakes: %d %s", code, output)
	if code != 1 || !strings.Contains(output, "BULKHEAD_ORDERS_TIMEOUT") || !strings.Contains(output, "BULKHEAD_CATALOG_LIMITT") {
		t.Errorf("exit code %d: %s", code, output)
	}
	if b := s.bulkhead("orders"); b.Limit != 77 {
		t.Errorf("limit %d of a refused configuration", b.Limit)
	}
	same(t, before, pids(), names...)

	s.set("BULKHEAD_ORDERS_LIMIT=77", "BULKHEAD_ORDERS_TIMEOUT=", "BULKHEAD_CATALOG_LIMITT=", "COORDINATOR_BULKHEADS=orders,catalog,extra",
		"BULKHEAD_EXTRA_ROUTES=/api/extra", "BULKHEAD_EXTRA_BACKEND="+catalog.URL(), "BULKHEAD_EXTRA_WORKERS=1")
	s.must("reload")
	client := newClient(t)
	if a, err := get("/api/extra").ask(client, s.url); err != nil || a.header.Get("Proxy-Status") != "" {
		t.Errorf("the added bulkhead: %v %v", a.status, err)
	}
	gone := s.pids("extra")
	same(t, before, pids(), names...)

	s.set("COORDINATOR_BULKHEADS=orders,catalog", "BULKHEAD_EXTRA_ROUTES=", "BULKHEAD_EXTRA_BACKEND=", "BULKHEAD_EXTRA_WORKERS=")
	s.must("reload")
	a, err := get("/api/extra").ask(client, s.url)
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, a, 404, "no_route", "refused", true)
	eventually(t, 5*time.Second, "the removed bulkhead's worker is gone", func() bool { return !slices.ContainsFunc(gone, alive) })
	same(t, before, pids(), names...)

	s.set("BULKHEAD_ORDERS_LIMIT=66")
	s.signal(syscall.SIGHUP)
	eventually(t, 5*time.Second, "SIGHUP reloads", func() bool { return s.bulkhead("orders").Limit == 66 })
	same(t, before, pids(), names...)
	for _, g := range running {
		noErrors(t, g.Stop())
	}
	if st, err := orders.Stats(t.Context()); err != nil || st.Requests == 0 {
		t.Errorf("orders saw %d requests, %v", st.Requests, err)
	}
}

// What a command says it did is so.
func TestE2ECommands(t *testing.T) {
	beside(t)
	s, orders, _ := shop(t, "BULKHEAD_ORDERS_BREAKER_MIN_CALLS=2", "BULKHEAD_ORDERS_QUEUE=8")
	client := newClient(t)
	ask := func() answer {
		t.Helper()
		a, err := get(ordersPath).ask(client, s.url)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	well := func() {
		t.Helper()
		if a := ask(); a.status != "200 OK" {
			t.Errorf("%s %s", a.status, a.body)
		}
	}
	overview := func(words ...string) {
		t.Helper()
		_, text := s.cli("status")
		for _, word := range words {
			if !strings.Contains(text, word) {
				t.Errorf("status does not say %q:\n%s", word, text)
			}
		}
	}
	well()
	s.must("drain", "orders")
	wantProblem(t, ask(), 503, "draining", "refused", true)
	overview("draining")
	s.must("resume", "orders")
	well()

	s.must("breaker", "orders", "open")
	wantProblem(t, ask(), 503, "breaker_open", "refused", true)
	overview("forced")
	s.must("breaker", "orders", "closed")
	fault(t, orders, demo.Errors)
	for range 5 {
		if a := ask(); a.header.Get("Proxy-Status") != "" { // it is never opened
			t.Errorf("forced closed: %s %s", a.status, a.body)
		}
	}
	s.must("breaker", "orders", "observe")
	for range 5 {
		if a := ask(); a.header.Get("Proxy-Status") != "" {
			t.Errorf("observe: %s %s", a.status, a.body)
		}
	}
	s.must("breaker", "orders", "auto")
	eventually(t, 5*time.Second, "the breaker opens by itself", func() bool {
		return strings.Contains(ask().body, "breaker_open")
	})
	fault(t, orders, demo.Up)
	s.must("breaker", "orders", "closed")
	well()

	before := s.pids("orders")
	s.must("resize", "orders", "--workers", "4", "--limit", "9")
	if b := s.bulkhead("orders"); b.Limit != 9 || len(b.Workers) != 4 || !slices.Equal(s.pids("orders")[:2], before) {
		t.Errorf("limit %d, workers %v, were %v", b.Limit, s.pids("orders"), before)
	}
	all := s.pids("orders")
	s.must("resize", "orders", "--workers", "1")
	eventually(t, 5*time.Second, "the other workers are gone", func() bool { return !slices.ContainsFunc(all[1:], alive) })
	if now := s.pids("orders"); !slices.Equal(now, all[:1]) {
		t.Errorf("workers %v, want %v", now, all[:1])
	}
	well()

	for _, bad := range [][]string{{"restart", "nobody"}, {"resize", "orders"}, {"resize", "orders", "--limit", "0"}, {"breaker", "orders", "ajar"}} {
		if code, output := s.cli(bad...); code != 2 {
			t.Errorf("%q: exit code %d: %s", bad, code, output)
		}
	}
}
