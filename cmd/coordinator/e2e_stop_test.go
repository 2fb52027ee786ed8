//go:build linux

package main_test

import (
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// A stop under load loses nothing: what is in flight is answered, and every
// connection learns from an answer that it ends.
func TestE2EStopUnderLoad(t *testing.T) {
	for range int(span(1, 5)) {
		s, orders, _ := shop(t, "COORDINATOR_DRAIN_DELAY=300ms", "COORDINATOR_LOG_LEVEL=info")
		if err := orders.Fault(t.Context(), demo.Fault{Mode: demo.Slow, Rate: .1, Delay: time.Second}); err != nil {
			t.Fatal(err)
		}
		few := func(name string, fresh float64) func(*load.Options) {
			return func(o *load.Options) { o.Name, o.Conns, o.NewConnShare = name, 32, fresh }
		}
		running := []*load.Generator{
			s.generate(ordersPath, 50, time.Minute, few("orders", .1)),
			s.generate(catalogPath, 150, time.Minute, few("catalog on kept connections", 0)),
			s.generate(catalogPath, 50, time.Minute, few("catalog on new connections", 1)),
		}
		time.Sleep(span(1500*time.Millisecond, 5*time.Second))
		if n := s.bulkhead("orders").InFlight; n == 0 {
			t.Error("no request is in flight at the stop")
		}
		begun := time.Now()
		s.signal(syscall.SIGTERM)
		code := s.exit(15 * time.Second)
		t.Logf("exit code %d, %v after SIGTERM", code, time.Since(begun))
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
		for _, g := range running {
			r := g.Stop()
			t.Log(figures(r))
			// A connect in the instant of the close is one that came too late, too:
			// the kernel had completed it already and resets it.
			late := r.Errors[load.Refused] + min(1, r.Errors[load.Reset])
			if bad := r.TransportErrors() - late + r.ServerErrors(); bad > 0 || late == 0 {
				t.Errorf("%s: %d errors other than %d refused connects", r.Name, bad, late)
			}
		}
	}
}

func TestE2EStopWithHungRequest(t *testing.T) {
	beside(t)
	const drain = 2 * time.Second
	s, orders, _ := shop(t, "COORDINATOR_DRAIN_TIMEOUT="+drain.String(), "BULKHEAD_ORDERS_TIMEOUT=1m")
	answered := hangOne(t, s, orders)
	begun := time.Now()
	s.signal(syscall.SIGTERM)
	code := s.exit(drain + 2*time.Second)
	t.Logf("exit code %d, %v after SIGTERM with a drain timeout of %v", code, time.Since(begun), drain)
	if took := time.Since(begun); code != 0 || took < drain {
		t.Errorf("exit code %d after %v", code, took)
	}
	a := <-answered
	t.Logf("the hung request got %s %s", a.status, a.body)
	wantProblem(t, a, 504, "backend_timeout", "sent_unknown", true)
}

func TestE2ESecondSignalEndsAtOnce(t *testing.T) {
	beside(t)
	s, orders, _ := shop(t, "COORDINATOR_DRAIN_TIMEOUT=1m", "BULKHEAD_ORDERS_TIMEOUT=1m")
	answered := hangOne(t, s, orders)
	s.signal(syscall.SIGTERM)
	eventually(t, 2*time.Second, "it drains", func() bool {
		st, err := s.tryStatus()
		return err == nil && st.State == "draining"
	})
	if status, body, err := s.adminGet("/readyz"); err != nil || status != 503 {
		t.Errorf("/readyz while draining: %d %s %v", status, body, err)
	}
	begun := time.Now()
	s.signal(syscall.SIGTERM)
	code := s.exit(3 * time.Second)
	t.Logf("exit code %d, %v after the second SIGTERM; the hung request got %s", code, time.Since(begun), (<-answered).status)
}

// hangOne has one request wait for orders, and returns where its answer comes.
func hangOne(t *testing.T, s *site, orders *demo.Service) <-chan answer {
	t.Helper()
	fault(t, orders, demo.Hang)
	answered := make(chan answer, 1)
	client := newClient(t)
	go func() {
		a, err := get(ordersPath).ask(client, s.url)
		if err != nil {
			a.status = err.Error()
		}
		answered <- a
	}()
	eventually(t, 2*time.Second, "the request is in flight", func() bool { return s.bulkhead("orders").InFlight == 1 })
	return answered
}
