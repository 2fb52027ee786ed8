package load_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

func run(t *testing.T, o load.Options) *load.Result {
	t.Helper()
	r, err := load.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	account(t, r)
	return r
}

// account checks that no request is missing from the books.
func account(t *testing.T, r *load.Result) {
	t.Helper()
	if r.Due != r.Sent+r.Dropped {
		t.Errorf("due %d, sent %d + dropped %d", r.Due, r.Sent, r.Dropped)
	}
	if r.Sent != r.Done+r.TransportErrors()+r.Canceled {
		t.Errorf("sent %d, done %d + errors %v + canceled %d", r.Sent, r.Done, r.Errors, r.Canceled)
	}
	if n := int(r.All.Count()); n != r.Due-r.Canceled {
		t.Errorf("%d latencies of %d requests, %d canceled", n, r.Due, r.Canceled)
	}
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// raw answers every request on every connection with the same bytes, then closes
// the connection if told to.
func raw(t *testing.T, answer string, closing bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					io.WriteString(c, answer)
					if closing {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return "http://" + l.Addr().String()
}

// One request in three hundred years is one, not as many as possible.
func TestLowestRate(t *testing.T) {
	url := serve(t, func(http.ResponseWriter, *http.Request) {})
	for _, rate := range []float64{1e-10, 1e-300} { // of the latter a gap is more than a number holds
		for _, poisson := range []bool{false, true} {
			r := run(t, load.Options{Target: load.Target{URL: url}, Rate: rate, Poisson: poisson, Seed: 1, For: 100 * time.Millisecond})
			if r.Due > 1 {
				t.Errorf("rate %v, poisson %v: %d requests fell due", rate, poisson, r.Due)
			}
		}
	}
}

func TestRateIsKept(t *testing.T) {
	var mu sync.Mutex
	var arrivals []time.Time
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		mu.Lock()
		arrivals = append(arrivals, now)
		mu.Unlock()
	})
	const rate = 1000
	r := run(t, load.Options{Target: load.Target{URL: url}, Rate: rate, For: time.Second})
	if r.Done != rate || r.Failed() != 0 || len(arrivals) != rate {
		t.Fatalf("done %d, failed %d, arrived %d, want %d", r.Done, r.Failed(), len(arrivals), rate)
	}
	slices.SortFunc(arrivals, time.Time.Compare)
	got := float64(rate-1) / arrivals[rate-1].Sub(arrivals[0]).Seconds()
	if math.Abs(got/rate-1) > 0.02 {
		t.Errorf("%.1f requests a second arrived, want %d within 2 %%", got, rate)
	}
	t.Logf("arrived at %.1f/s; lag p50 %v p99 %v; latency p50 %v p99 %v", got,
		r.Lag.Quantile(0.5), r.Lag.Quantile(0.99), r.All.Quantile(0.5), r.All.Quantile(0.99))
}

func TestPoissonGapsAreExponential(t *testing.T) {
	url := serve(t, func(http.ResponseWriter, *http.Request) {})
	places := func(seed uint64) []time.Duration {
		var mu sync.Mutex
		var at []time.Duration
		run(t, load.Options{
			Target: load.Target{URL: url}, Rate: 4000, Poisson: true, Seed: seed, For: 500 * time.Millisecond,
			Observe: func(s load.Sample) { mu.Lock(); at = append(at, s.At); mu.Unlock() },
		})
		slices.Sort(at)
		return at
	}
	at := places(7)
	var sum, squares float64
	for i := 1; i < len(at); i++ {
		gap := (at[i] - at[i-1]).Seconds()
		sum += gap
		squares += gap * gap
	}
	n := float64(len(at) - 1)
	mean := sum / n
	deviation := math.Sqrt(squares/n - mean*mean)
	// 2,000 gaps: four standard errors of mean and deviation are 9 % and 13 %.
	if math.Abs(mean*4000-1) > 0.09 {
		t.Errorf("mean gap %.1f µs, want about 250", mean*1e6)
	}
	if v := deviation / mean; math.Abs(v-1) > 0.13 {
		t.Errorf("coefficient of variation %.2f, want about 1", v)
	}
	if !slices.Equal(at, places(7)) {
		t.Error("the same seed gave another schedule")
	}
	if slices.Equal(at, places(8)) {
		t.Error("another seed gave the same schedule")
	}
}

// A service that stalls for 300 ms hurts every request that falls due meanwhile,
// not just the four that were on the wire.
func TestStallCountsForAllWhoWaited(t *testing.T) {
	var arrived atomic.Int64
	var stall sync.RWMutex
	url := serve(t, func(http.ResponseWriter, *http.Request) {
		if arrived.Add(1) == 50 {
			stall.Lock()
			<-time.After(300 * time.Millisecond)
			stall.Unlock()
			return
		}
		stall.RLock()
		defer stall.RUnlock()
	})
	r := run(t, load.Options{Target: load.Target{URL: url}, Rate: 200, For: time.Second, Conns: 4})
	if r.Done != 200 {
		t.Fatalf("done %d of 200: %v", r.Done, r.Errors)
	}
	// 60 requests fall due in the stall; those of its first 200 ms, a fifth of
	// all, wait for 100 ms and more.
	if q := r.All.Quantile(0.83); q < 100*time.Millisecond {
		t.Errorf("p83 is %v: waiting for a connection was left out", q)
	}
	if q := r.All.Quantile(0.5); q > 50*time.Millisecond {
		t.Errorf("p50 is %v, want the unstalled half to be quick", q)
	}
	if r.Lag.Max() < 200*time.Millisecond {
		t.Errorf("lag at most %v, want to see the wait for connections", r.Lag.Max())
	}
}

func TestExhaustedConnectionsDropAndSaySo(t *testing.T) {
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	began := time.Now()
	r := run(t, load.Options{
		Target: load.Target{URL: url}, Rate: 200, For: 500 * time.Millisecond, Conns: 2, Timeout: 200 * time.Millisecond,
	})
	if r.Due != 100 || r.Dropped == 0 || r.Errors[load.Timeout] != r.Sent || r.Done != 0 {
		t.Errorf("due %d dropped %d sent %d errors %v done %d", r.Due, r.Dropped, r.Sent, r.Errors, r.Done)
	}
	if r.Failed() != r.Due {
		t.Errorf("%d of %d failed", r.Failed(), r.Due)
	}
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("took %v, want at most For + 2 x Timeout", took)
	}
}

func TestFailuresByKind(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()
	for _, c := range []struct{ name, url, kind string }{
		{"refused", closed, load.Refused},
		{"closed", raw(t, "", true), load.Closed},
		{"half a status line", raw(t, "HTTP/1.1 2", true), load.Truncated},
		{"half a head", raw(t, "HTTP/1.1 200 OK\r\nContent-", true), load.Truncated},
		{"half a body", raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", true), load.Truncated},
		{"half a chunk", raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", true), load.Truncated},
		{"no last chunk", raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true), load.Truncated},
		{"garbage", raw(t, "\x16\x03\x01 what\r\n", true), load.Protocol},
		{"bare LF", raw(t, "HTTP/1.1 200 OK\nContent-Length: 0\n\n", true), load.Protocol},
		{"two lengths", raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", true), load.Protocol},
		{"both framings", raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true), load.Protocol},
		{"bad chunk", raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", true), load.Protocol},
		{"answer nobody asked for", raw(t, "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 204 No\r\n\r\n", false), load.Protocol},
		{"endless interim", raw(t, strings.Repeat("HTTP/1.1 103 Hints\r\n\r\n", 20), false), load.Protocol},
		{"silence", raw(t, "", false), load.Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, load.Options{
				Target: load.Target{URL: c.url}, Rate: 200, For: 50 * time.Millisecond, Timeout: 300 * time.Millisecond, Conns: 20,
			})
			if r.Sent != 10 || r.Errors[c.kind] != 10 || r.Done != 0 || r.Success.Count() != 0 {
				t.Errorf("sent %d, errors %v, done %d; want 10 %s", r.Sent, r.Errors, r.Done, c.kind)
			}
		})
	}
}

func TestAnswersOfEveryFraming(t *testing.T) {
	for _, c := range []struct {
		name, method, answer string
		closing              bool
		status               int
	}{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, 200},
		{"chunks and trailers", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n", false, 200},
		{"until close", "GET", "HTTP/1.1 200 OK\r\n\r\nhello", true, 200},
		{"connection close", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", true, 200},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", true, 200},
		{"head", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, 200},
		{"no content", "DELETE", "HTTP/1.1 204 \r\n\r\n", false, 204},
		{"not modified", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, 304},
		{"interim", "GET", "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, 200},
		{"error", "GET", "HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nhello", false, 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, load.Options{
				Target: load.Target{URL: raw(t, c.answer, c.closing), Method: c.method}, Rate: 400, For: 50 * time.Millisecond, Conns: 2,
			})
			if r.Done != 20 || r.Status[c.status] != 20 {
				t.Errorf("done %d, status %v, errors %v", r.Done, r.Status, r.Errors)
			}
			if want := int64(20 * strings.Count(c.answer, "hello") * len("hello")); r.Bytes != want {
				t.Errorf("%d bytes, want %d", r.Bytes, want)
			}
			if ok := c.status < 400; ok != (r.Success.Count() == 20) || ok != (r.Failed() == 0) {
				t.Errorf("%d successes, %d failed at status %d", r.Success.Count(), r.Failed(), c.status)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	const problem = "HTTP/1.1 503 No\r\nContent-Type: application/problem+json\r\n"
	for _, c := range []struct{ name, answer, want string }{
		{"details token", "HTTP/1.1 503 No\r\nContent-Length: 0\r\nProxy-Status: coordinator; error=connection_limit_reached; details=queue_full\r\n\r\n", "queue_full"},
		{"details string", "HTTP/1.1 503 No\r\nContent-Length: 0\r\nProxy-Status: edge, coordinator; error=x; details=\"breaker_open\"\r\n\r\n", "breaker_open"},
		{"somebody else's", "HTTP/1.1 503 No\r\nContent-Length: 0\r\nProxy-Status: edge; details=queue_full\r\n\r\n", ""},
		{"body", problem + "Content-Length: 23\r\n\r\n{\"reason\":\"queue_full\"}", "queue_full"},
		{"chunked body", problem + "Transfer-Encoding: chunked\r\n\r\n10\r\n{\"reason\":\"queue\r\n7\r\n_full\"}\r\n0\r\n\r\n", "queue_full"},
		{"none", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, load.Options{Target: load.Target{URL: raw(t, c.answer, false)}, Rate: 100, For: 50 * time.Millisecond})
			want := map[string]int{}
			if c.want != "" {
				want[c.want] = 5
			}
			if fmt.Sprint(r.Reasons) != fmt.Sprint(want) || r.Done != 5 {
				t.Errorf("reasons %v, want %v; done %d", r.Reasons, want, r.Done)
			}
		})
	}
	r := run(t, load.Options{
		Target: load.Target{URL: raw(t, "HTTP/1.1 200 OK\r\nX-Served: stale\r\nContent-Length: 0\r\n\r\n", false)}, Rate: 100, For: 50 * time.Millisecond,
		Classify: func(status int, h http.Header) string { return fmt.Sprint(status, h.Get("X-Served")) },
	})
	if r.Reasons["200stale"] != 5 {
		t.Errorf("classified %v", r.Reasons)
	}
}

func TestPhasesOwnWhatWasDueInThem(t *testing.T) {
	var slow atomic.Bool
	release := make(chan struct{})
	url := serve(t, func(http.ResponseWriter, *http.Request) {
		if slow.Load() {
			<-release
		}
	})
	reached := make(chan struct{})
	var once sync.Once
	g, err := load.Start(t.Context(), load.Options{
		Target: load.Target{Name: "orders", URL: url}, Rate: 200, For: 600 * time.Millisecond,
		Observe: func(s load.Sample) {
			if s.Number == 30 {
				once.Do(func() { close(reached) })
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-reached
	slow.Store(true)
	g.Cut("hang")
	<-time.After(150 * time.Millisecond)
	slow.Store(false)
	g.Cut("repaired")
	close(release) // the hang's answers arrive in the phase after it
	all := g.Wait()
	account(t, all)
	phases := g.Phases()
	if len(phases) != 3 || phases[1].Name != "hang" || phases[2].Name != "repaired" || all.Name != "orders" {
		t.Fatalf("phases %v", phases)
	}
	sum := 0
	for _, p := range phases {
		account(t, p)
		sum += p.Due
		if want := (p.To - p.From).Seconds() * 200; p != phases[2] && math.Abs(float64(p.Due)-want) > 2 {
			t.Errorf("phase %q: %d due in %v", p.Name, p.Due, p.To-p.From)
		}
	}
	if sum != all.Due || all.Due != 120 {
		t.Errorf("%d due in phases, %d in all, want 120", sum, all.Due)
	}
	if phases[1].Done != phases[1].Due || phases[1].All.Max() < 100*time.Millisecond {
		t.Errorf("hang: done %d of %d, slowest %v", phases[1].Done, phases[1].Due, phases[1].All.Max())
	}
}

func TestClosedLoopIsBoundedByCountAndTime(t *testing.T) {
	var busy, most, arrived atomic.Int64
	url := serve(t, func(http.ResponseWriter, *http.Request) {
		arrived.Add(1)
		now := busy.Add(1)
		defer busy.Add(-1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
	})
	r := run(t, load.Options{Target: load.Target{URL: url}, For: 10 * time.Second, Count: 500, Conns: 4})
	if r.Done != 500 || arrived.Load() != 500 || most.Load() > 4 {
		t.Errorf("done %d, arrived %d, at most %d at once", r.Done, arrived.Load(), most.Load())
	}
	r = run(t, load.Options{Target: load.Target{URL: url}, For: 100 * time.Millisecond, Conns: 2})
	if r.Done == 0 || r.To < 100*time.Millisecond || r.To > time.Second {
		t.Errorf("done %d until %v", r.Done, r.To)
	}
}

func TestConnectionsAreReusedOrFreshAsAsked(t *testing.T) {
	var fresh atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			fresh.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	for _, c := range []struct {
		share    float64
		min, max int64
	}{{0, 1, 3}, {0.5, 60, 140}, {1, 200, 200}} {
		fresh.Store(0)
		r := run(t, load.Options{Target: load.Target{URL: s.URL}, Rate: 1000, For: 200 * time.Millisecond, Conns: 3, NewConnShare: c.share})
		if n := fresh.Load(); n < c.min || n > c.max || r.Done != 200 {
			t.Errorf("share %v: %d connections, want %d to %d; done %d %v", c.share, n, c.min, c.max, r.Done, r.Errors)
		}
	}
}

// A service that closes idle connections is within its rights.
func TestIdleConnectionClosedByServiceIsNoError(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.IdleTimeout = 10 * time.Millisecond
	s.Start()
	defer s.Close()
	r := run(t, load.Options{Target: load.Target{URL: s.URL}, Rate: 20, For: 400 * time.Millisecond, Conns: 1})
	if r.Done != 8 || r.Failed() != 0 {
		t.Errorf("done %d, errors %v", r.Done, r.Errors)
	}
}

func TestNumbersAreUnique(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := r.Header.Get("Idempotency-Key")
		mu.Lock()
		defer mu.Unlock()
		if seen[n] || len(n) != 16 || string(body) != `{"order":"T-`+n+`"}` || r.URL.RequestURI() != "/p%20q/"+n+"?a=%7B"+n+";b" || r.Host != "shop.example" {
			t.Errorf("%s %s %q %s", r.URL.RequestURI(), n, body, r.Host)
		}
		seen[n] = true
		w.WriteHeader(http.StatusCreated)
	})
	r := run(t, load.Options{
		Target: load.Target{
			Method: "POST", URL: url + "/p%20q/{n}?a=%7B{n};b", Body: []byte(`{"order":"T-{n}"}`),
			Header: http.Header{"Idempotency-Key": {"{n}"}, "Host": {"shop.example"}},
		},
		Rate: 1000, For: 100 * time.Millisecond,
	})
	if r.Status[http.StatusCreated] != 100 || len(seen) != 100 {
		t.Errorf("status %v, %d numbers, errors %v", r.Status, len(seen), r.Errors)
	}
}

// goroutinesReturn waits until no more goroutines run than before.
func goroutinesReturn(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestCancelStopsAtOnceAndLeaksNothing(t *testing.T) {
	for _, rate := range []float64{0, 500} {
		before := runtime.NumGoroutine()
		inside := make(chan struct{}, 1000)
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			inside <- struct{}{}
			<-r.Context().Done()
		}))
		ctx, cancel := context.WithCancel(t.Context())
		g, err := load.Start(ctx, load.Options{Target: load.Target{URL: s.URL}, Rate: rate, For: time.Minute, Timeout: time.Minute, Conns: 8})
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			<-inside
		}
		began := time.Now()
		cancel()
		r := g.Wait()
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("rate %v: stopped after %v", rate, took)
		}
		account(t, r)
		if r.Canceled != 8 || r.TransportErrors() != 0 {
			t.Errorf("rate %v: canceled %d, errors %v", rate, r.Canceled, r.Errors)
		}
		s.Close()
		goroutinesReturn(t, before)
	}
}

func TestStopBetweenTwoPlaces(t *testing.T) {
	url := serve(t, func(http.ResponseWriter, *http.Request) {})
	first := make(chan struct{})
	g, err := load.Start(t.Context(), load.Options{
		Target: load.Target{URL: url}, Rate: 0.1, For: time.Hour,
		Observe: func(load.Sample) { close(first) },
	})
	if err != nil {
		t.Fatal(err)
	}
	<-first
	began := time.Now()
	r := g.Stop()
	if took := time.Since(began); took > 500*time.Millisecond || r.Due != 1 || r.Done != 1 {
		t.Errorf("stopped after %v: due %d, done %d", took, r.Due, r.Done)
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	for _, url := range []string{"http://192.0.2.1/", "http://example.com/", "http://[2001:db8::1]:80/", "http://0.0.0.0/", "http://127.0.0.1.example.com/"} {
		if _, err := load.Run(t.Context(), load.Options{Target: load.Target{URL: url}, For: time.Second}); !errors.Is(err, load.ErrNotLoopback) {
			t.Errorf("%s: %v", url, err)
		}
	}
	good := load.Target{URL: "http://127.0.0.1:1/"}
	for name, o := range map[string]load.Options{
		"scheme":    {Target: load.Target{URL: "https://127.0.0.1/"}, For: time.Second},
		"method":    {Target: load.Target{URL: good.URL, Method: "GE T"}, For: time.Second},
		"header":    {Target: load.Target{URL: good.URL, Header: http.Header{"X": {"a\r\nb"}}}, For: time.Second},
		"no end":    {Target: good},
		"too long":  {Target: good, For: 2 * time.Hour},
		"rate":      {Target: good, For: time.Second, Rate: math.NaN()},
		"count":     {Target: good, For: time.Second, Count: -1},
		"conns":     {Target: good, For: time.Second, Conns: 1 << 20},
		"share":     {Target: good, For: time.Second, NewConnShare: 1.1},
		"share NaN": {Target: good, For: time.Second, NewConnShare: math.NaN()},
	} {
		if r, err := load.Run(t.Context(), o); err == nil {
			t.Errorf("%s: ran: %+v", name, r)
		}
	}
}

// The price of one request, client side and server side together: compare with
// the standard client's.
func BenchmarkClosedLoop(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 456)) }))
	defer s.Close()
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		r, err := load.Run(b.Context(), load.Options{Target: load.Target{URL: s.URL}, For: time.Minute, Count: b.N, Conns: 8})
		if err != nil || r.Done != b.N {
			b.Fatal(err, r)
		}
	})
	b.Run("net/http", func(b *testing.B) {
		b.ReportAllocs()
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
		defer client.CloseIdleConnections()
		var left atomic.Int64
		left.Store(int64(b.N))
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() {
				for left.Add(-1) >= 0 {
					res, err := client.Get(s.URL)
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
		}
		workers.Wait()
	})
}
