package demo_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

const anOrder = "/api/v2/orders/TEST-100001/"

func TestDownRefusesAndResetsAndComesBack(t *testing.T) {
	s := open(t, demo.Orders, quick)
	idle, r := s.conn(anOrder)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	s.turn("mode=hang")
	_, waiting := s.conn(anOrder)
	wait(t, "the request to hang", func() bool { return s.stats().InFlight == 1 })

	s.turn("mode=down")
	if _, err := net.Dial("tcp", s.Listen); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect: %v, want refused", err)
	}
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("idle connection: %v, want reset", err)
	}
	if _, err := waiting.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("waiting connection: %v, want reset", err)
	}
	s.turn("mode=down") // twice is once
	s.turn("mode=up")
	if res, _ := s.do("GET", anOrder, ""); res.StatusCode != 200 {
		t.Errorf("up again: %s", res.Status)
	}
}

func TestHangAnswersAllAtOnceWhenItIsUpAgain(t *testing.T) {
	// The first request is at work when the service starts to hang.
	s := open(t, demo.Orders, demo.Options{Latency: 200 * time.Millisecond, Spread: -1})
	const requests = 8
	heads := make(chan string, requests)
	ask := func() {
		_, r := s.conn(anOrder)
		go func() {
			head, err := r.ReadString('\n')
			if err != nil {
				head = err.Error()
			}
			heads <- head
		}()
	}
	ask()
	wait(t, "the first request", func() bool { return s.stats().InFlight == 1 })
	s.turn("mode=hang")
	for range requests - 1 {
		ask()
	}
	wait(t, "all requests", func() bool { return s.stats().InFlight == requests })
	select {
	case head := <-heads:
		t.Fatalf("answered %q while hung", head)
	case <-time.After(400 * time.Millisecond): // beyond every latency
	}
	began := time.Now()
	s.turn("mode=up")
	for range requests {
		if head := <-heads; !strings.HasPrefix(head, "HTTP/1.1 200") {
			t.Errorf("%q", head)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("answered %v after it was up", took)
	}
}

func TestHungReadIsForgottenWhenItsClientLeaves(t *testing.T) {
	s := open(t, demo.Orders, quick)
	s.turn("mode=hang")
	c, _ := s.conn(anOrder)
	wait(t, "the request", func() bool { return s.stats().InFlight == 1 })
	c.Close()
	wait(t, "the request to be forgotten", func() bool { st := s.stats(); return st.InFlight == 0 && st.Gone == 1 })
}

// The client's outcome is unknown, and the payment is made: the case that a
// coordinator must not answer by sending it again.
func TestHungPaymentIsMadeThoughItsClientLeft(t *testing.T) {
	s := open(t, demo.Payments, quick)
	s.turn("mode=hang")
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "POST", "http://"+s.Listen+"/api/payments/", strings.NewReader(`{"order":"TEST-1","amount":3,"currency":"EUR"}`))
	req.Header.Set("Content-Type", "application/json")
	left := make(chan struct{})
	go func() { defer close(left); client.Do(req) }()
	wait(t, "the payment to arrive", func() bool { return s.stats().InFlight == 1 })
	cancel()
	<-left
	ledger := func() int {
		_, text := do(t, "GET", "http://"+s.Control+"/ledger", "")
		return strings.Count(text, `"id"`)
	}
	if n := ledger(); n != 0 {
		t.Errorf("%d payments made while hung", n)
	}
	s.turn("mode=up")
	wait(t, "the payment", func() bool { return ledger() == 1 })
}

func TestSlowIsSlowUntilItIsUp(t *testing.T) {
	s := open(t, demo.Orders, quick)
	s.turn("mode=slow&delay=150ms")
	began := time.Now()
	s.do("GET", anOrder, "")
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
	s.turn("mode=slow&delay=9m")
	_, r := s.conn(anOrder)
	wait(t, "the request", func() bool { return s.stats().InFlight == 1 })
	s.turn("mode=up")
	if head, err := r.ReadString('\n'); !strings.HasPrefix(head, "HTTP/1.1 200") {
		t.Errorf("%q %v", head, err)
	}
}

func TestErrorsTakeTheirShare(t *testing.T) {
	s := open(t, demo.Orders, quick)
	s.turn("mode=errors&rate=0.3")
	r, err := load.Run(t.Context(), load.Options{Target: load.Target{URL: "http://" + s.Listen + anOrder}, For: time.Minute, Count: 1000, Conns: 4})
	if err != nil {
		t.Fatal(err)
	}
	// 300 of 1000 expected; 60 is four standard deviations.
	if n := r.ServerErrors(); n < 240 || n > 360 || r.TransportErrors() != 0 {
		t.Errorf("%d of %d failed, %v", n, r.Done, r.Errors)
	}
	if d := r.Status[500] - r.Status[503]; d < -1 || d > 1 {
		t.Errorf("%d pages, %d JSON", r.Status[500], r.Status[503])
	}
	s.turn("mode=errors")
	types := map[string]bool{}
	for range 2 {
		res, body := s.do("GET", anOrder, "")
		types[res.Header.Get("Content-Type")] = true
		if res.StatusCode < 500 || body == "" {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	}
	if !types["application/json"] || !types["text/html; charset=utf-8"] {
		t.Errorf("%v", types)
	}
}

func TestGarbageIsNotHTTP(t *testing.T) {
	s := open(t, demo.Payments, quick)
	s.turn("mode=garbage")
	_, r := s.conn("/api/payments/")
	text, err := io.ReadAll(r)
	if err != nil || len(text) == 0 || strings.Contains(string(text), "HTTP/") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestResetMidBody(t *testing.T) {
	s := open(t, demo.Catalog, quick)
	path := "/api/catalog/" + demo.SKU(0) + "/"
	_, whole := s.do("GET", path, "")
	s.turn("mode=reset-mid-body")
	_, r := s.conn(path)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 200 || res.ContentLength != int64(len(whole)) {
		t.Fatal(res, err)
	}
	half, err := io.ReadAll(res.Body)
	if string(half) != whole[:len(whole)/2] || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%d of %d bytes, then %v", len(half), len(whole), err)
	}
}

// Every mode in turn under load: each request ends one way, and after the last
// switch all are answered.
func TestSwitchingUnderLoad(t *testing.T) {
	s := open(t, demo.Orders, demo.Options{Latency: 2 * time.Millisecond})
	g, err := load.Start(t.Context(), load.Options{
		Target: load.Target{URL: "http://" + s.Listen + anOrder}, Rate: 400, For: 3 * time.Second, Conns: 32, Timeout: 2 * time.Second, NewConnShare: 0.2,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, m := range demo.Modes() {
			s.turn("mode=" + string(m) + "&rate=0.5&delay=20ms")
			<-time.After(60 * time.Millisecond)
		}
	}
	s.turn("mode=up")
	wait(t, "those that waited", func() bool { return s.stats().InFlight < 16 })
	g.Cut("repaired")
	r := g.Wait()
	if r.Due != r.Done+r.TransportErrors()+r.Dropped || r.Due != 1200 {
		t.Errorf("due %d, done %d, errors %v, dropped %d", r.Due, r.Done, r.Errors, r.Dropped)
	}
	for _, kind := range []string{load.Refused, load.Protocol, load.Truncated} {
		if r.Errors[kind] == 0 {
			t.Errorf("no error %q in %v", kind, r.Errors)
		}
	}
	p := g.Phases()[1]
	if p.Done == 0 || p.Failed() != 0 || p.Status[200] != p.Done {
		t.Errorf("repaired: done %d of %d, %v, %v", p.Done, p.Due, p.Errors, p.Status)
	}
}
