//go:build linux

package main_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
)

// historyOf is how a page asks for the orders of a user.
func historyOf(user string) probe {
	return get("/api/v2/orders/?username="+user+"&page=1&page_size=20").with("Authorization", "JWT of "+user)
}

const criticalOrder = "GET /api/v2/orders/?username={}&page=1&page_size=20\nmade 2026-01-02T03:04:05Z\nstatus 200\nContent-Type: application/json\n\n" +
	`{"count": 0, "next": null, "previous": null, "results": []}` + "\n"

// backupFolder is the default folder of the site's orders.
func (s *site) backupFolder(answer string) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "state", "backup", "orders")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "history.answer"), []byte(answer), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// quantile of some, in any order.
func quantile(of []time.Duration, q float64) time.Duration {
	of = slices.Sorted(slices.Values(of))
	return of[int(q*float64(len(of)-1))]
}

// The orders service is killed after everybody has asked once: everybody goes on
// getting the own orders, quickly, and is told that they are old. It comes back,
// and so do live answers.
func TestE2EStaleOrders(t *testing.T) {
	beside(t)
	s, orders, _ := shop(t, "COORDINATOR_LOG_LEVEL=info", "BULKHEAD_ORDERS_FALLBACK=stale", "BULKHEAD_ORDERS_STALE_PER_CREDENTIAL=Authorization",
		"BULKHEAD_ORDERS_BREAKER_MIN_CALLS=5", "BULKHEAD_ORDERS_BREAKER_OPEN_FOR=2s")
	client := newClient(t)
	const users = 40
	live := make(map[string]string)
	for i := range users {
		user := demo.Username(i)
		for range 2 { // a healthy backend answers each time
			a, err := historyOf(user).ask(client, s.url)
			if err != nil || a.status != "200 OK" || a.header.Get("Cache-Status") != "" || !strings.Contains(a.body, user) {
				t.Fatalf("%s: %v %s", user, err, a.status)
			}
			live[user] = a.body
		}
	}
	if n := s.metric("coordinator_fallback_total", "bulkhead", "orders", "kind", "stale"); n != 0 {
		t.Fatalf("%v fallbacks while all was well", n)
	}
	if err := orders.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-orders.Exited()
	wrong := func(a answer, user string, err error) bool {
		return err != nil || a.status != "200 OK" || a.body != live[user] || !strings.Contains(a.header.Get("Cache-Status"), "detail=stale")
	}
	for i := 0; s.bulkhead("orders").Breaker.State != "open"; i++ {
		if a, err := historyOf(demo.Username(i%users)).ask(client, s.url); wrong(a, demo.Username(i%users), err) {
			t.Fatalf("before it opened: %v %s %v", err, a.status, a.header)
		}
	}

	const each = 400
	var (
		took, noise [4][]time.Duration
		asking      sync.WaitGroup
	)
	for g := range took {
		client := newClient(t)
		asking.Go(func() {
			for i := range each {
				user := demo.Username((g*each + i) % users)
				begun := time.Now()
				a, err := historyOf(user).ask(client, s.url)
				took[g] = append(took[g], time.Since(begun))
				if wrong(a, user, err) {
					t.Errorf("%s: %v %s %v", user, err, a.status, a.header)
					return
				}
				begun = time.Now()
				if _, err := get("/nowhere").ask(client, s.url); err != nil {
					t.Error(err)
				}
				noise[g] = append(noise[g], time.Since(begun))
			}
		})
	}
	asking.Wait()
	p99, floor := quantile(slices.Concat(took[:]...), .99), quantile(slices.Concat(noise[:]...), .99)
	t.Logf("%d answers, p99 %v (no_route %v)", len(took)*each, p99, floor)
	if quiet(t, floor) && p99 > 10*time.Millisecond {
		t.Errorf("p99 of the answers is %v, want 10 ms; no_route took %v at the same time", p99, floor)
	}
	a, err := historyOf(demo.Username(0)).with("Authorization", "JWT of another").ask(client, s.url)
	if err != nil || a.header.Get("Cache-Status") != "" {
		t.Fatalf("%v: somebody else: %s %s", err, a.status, a.body)
	}
	post, err := send(http.MethodPost, "/api/v2/orders/", "application/json", "{}").ask(client, s.url)
	if err != nil || !strings.HasPrefix(post.status, "50") || !strings.Contains(post.body, `"outcome"`) {
		t.Errorf("a write: %v %s %s", err, post.status, post.body)
	}
	if status, body, err := s.adminGet("/readyz"); err != nil || status != http.StatusOK || !bytes.Contains(body, []byte(`"degraded":["orders"]`)) {
		t.Errorf("readyz: %d %s %v", status, body, err)
	}
	if out := s.must("status"); !strings.Contains(out, "stale=") || !strings.Contains(out, "of the last minute's requests") {
		t.Error("status does not say so")
	}
	b := s.bulkhead("orders")
	t.Logf("%+v, breaker %+v", b.Fallback, b.Breaker)

	if err := orders.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "a live answer", func() bool {
		a, err := historyOf(demo.Username(1)).ask(client, s.url)
		return err == nil && a.status == "200 OK" && a.header.Get("Cache-Status") == ""
	})
	eventually(t, 20*time.Second, "the lapse is over", func() bool {
		_, _ = historyOf(demo.Username(1)).ask(client, s.url)
		return s.bulkhead("orders").Fallback.Since == nil
	})
	text, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	if begins, ends := bytes.Count(text, []byte("fallback begins")), bytes.Count(text, []byte("fallback ended")); begins != 1 || ends != 1 {
		t.Errorf("the log says %d times that it begins, %d times that it ended", begins, ends)
	}
}

// A supervisor that starts while the orders service is dead has what was prepared,
// and problems for the rest; a mistake in it changes nothing that runs.
func TestE2EColdBackup(t *testing.T) {
	beside(t)
	orders, catalog := fake(t, demo.Orders, demo.Options{}), fake(t, demo.Catalog, demo.Options{})
	fault(t, orders, demo.Down)
	s := newSite(t, append(shopSettings(orders, catalog), "COORDINATOR_LOG_LEVEL=info", "BULKHEAD_ORDERS_FALLBACK=stale,backup",
		"BULKHEAD_ORDERS_BREAKER_MIN_CALLS=5", "BULKHEAD_ORDERS_BREAKER_OPEN_FOR=1m")...)
	s.backupFolder(criticalOrder)
	s.start()
	client := newClient(t)
	want := `{"count":0,"next":null,"previous":null,"results":[]}`
	history := func() answer {
		t.Helper()
		a, err := historyOf("anybody").ask(client, s.url)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for i := range 20 {
		if a := history(); a.status != "200 OK" || a.body != want || !strings.Contains(a.header.Get("Cache-Status"), "detail=backup") {
			t.Fatalf("%d: %s %q %v", i, a.status, a.body, a.header)
		}
	}
	if b := s.bulkhead("orders"); b.Breaker.State != "open" || b.Breaker.Calls > 6 {
		t.Errorf("%+v", b.Breaker)
	}
	a, err := get(ordersPath).ask(client, s.url)
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, a, 503, "breaker_open", "refused", true)
	if a := history(); a.header.Get("Cache-Status") != "coordinator; hit; detail=backup" {
		t.Errorf("Cache-Status %q", a.header.Get("Cache-Status"))
	}

	if code, out := s.cli("check"); code != 0 || !strings.Contains(out, "BACKUP_MAX_AGE") {
		t.Errorf("check of old data: %d %s", code, out)
	}
	s.backupFolder(strings.Replace(criticalOrder, "status 200", "status 500", 1))
	if code, out := s.cli("check"); code != 2 || !strings.Contains(out, "history.answer:3") {
		t.Errorf("check: %d %s", code, out)
	}
	if code, out := s.cli("reload"); code == 0 || !strings.Contains(out, "history.answer:3") {
		t.Errorf("reload: %d %s", code, out)
	}
	if a := history(); a.body != want {
		t.Errorf("after a refused reload: %q", a.body)
	}
	s.backupFolder(strings.Replace(criticalOrder, `"count": 0`, `"count": 1`, 1))
	s.must("reload")
	if a := history(); a.body == want || a.status != "200 OK" {
		t.Errorf("after a reload: %s %q", a.status, a.body)
	}
}

// Without a backend a bulkhead has what was prepared and no worker.
func TestE2EFallbackAlways(t *testing.T) {
	beside(t)
	s := newSite(t, "COORDINATOR_BULKHEADS=orders", "BULKHEAD_ORDERS_ROUTES=/api/v2/orders/",
		"BULKHEAD_ORDERS_FALLBACK=backup", "BULKHEAD_ORDERS_FALLBACK_MODE=always")
	s.backupFolder(criticalOrder)
	s.start()
	a, err := historyOf("anybody").ask(newClient(t), s.url)
	if err != nil || a.status != "200 OK" || a.header.Get("Cache-Status") != "coordinator; hit; detail=backup" {
		t.Errorf("%v %s %v", err, a.status, a.header)
	}
	if b := s.bulkhead("orders"); len(b.Workers) != 0 || !b.Fallback.Always {
		t.Errorf("%+v", b)
	}
	if status, body, err := s.adminGet("/readyz"); err != nil || status != http.StatusOK {
		t.Errorf("readyz: %d %s %v", status, body, err)
	}
	s.must("status")
	s.must("restart", "orders")
}
