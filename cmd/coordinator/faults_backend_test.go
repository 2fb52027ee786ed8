//go:build linux

package main_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// ask of the faulty bulkhead, of which an answer of any kind is expected.
func (f *faultTrial) ask(client *http.Client, method, target string) answer {
	f.t.Helper()
	a, err := probe{method: method, target: target}.with("X-Name", "probe").ask(client, f.url)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

// breakerIs waits until the faulty bulkhead's breaker is in a state.
func (f *faultTrial) breakerIs(state string, within time.Duration) time.Duration {
	f.t.Helper()
	return eventually(f.t, within, "the breaker is "+state, func() bool { return f.site.bulkhead("faulty").Breaker.State == state })
}

// noWorkerLost wants a sick backend to have cost no worker.
func (f *faultTrial) noWorkerLost() {
	f.t.Helper()
	if n := f.metric("coordinator_worker_restarts_total"); n != 0 {
		f.t.Errorf("%v workers were replaced: a sick backend is no sick worker", n)
	}
}

// FAULTS 15: a backend that refuses.
func TestFault15BackendRefuses(t *testing.T) {
	beside(t)
	b := startRogue(t)
	(&faultRow{
		settings: b.behind("BULKHEAD_FAULTY_BREAKER_OPEN_FOR=1s"),
		hurts:    []string{"backend_refused", "backend_reset", "breaker_open"},
		log:      []string{"backend failed", "backend_refused", `"bulkhead":"faulty"`},
		counted:  []string{"coordinator_breaker_transitions_total", "bulkhead", "faulty", "to", "open"},
		cause: func(f *faultTrial) {
			client := newClient(t)
			defer client.CloseIdleConnections()
			f.must("breaker", "faulty", "closed") // for the time being
			b.down()
			for _, method := range []string{"GET", "POST"} {
				for range 10 {
					begun := time.Now()
					a := f.ask(client, method, "/faulty/ok")
					took := time.Since(begun)
					if strings.Contains(a.body, "backend_reset") {
						continue // on a connection of before
					}
					wantProblem(t, a, 502, "backend_refused", "never_sent", true)
					if took > 50*time.Millisecond+slack() {
						t.Errorf("it took %v, want 50 ms", took)
					}
				}
			}
			f.must("breaker", "faulty", "auto")
			opened := f.breakerIs("open", 3*time.Second)
			wantProblem(t, f.ask(client, "GET", "/faulty/ok"), 503, "breaker_open", "refused", true)
			refused := func() float64 {
				return f.metric("coordinator_refused_total", "bulkhead", "faulty", "reason", "backend_refused")
			}
			n := refused()
			time.Sleep(2500 * time.Millisecond) // of being open, with 50 requests a second
			if probes := refused() - n; probes < 1 || probes > 9 {
				t.Errorf("%v probes in 2.5 s, want 3 in each OPEN_FOR", probes)
			}
			b.up()
			closed := f.breakerIs("closed", 2*time.Second+slack()) // OPEN_FOR + 1 s
			t.Logf("open after %v; closed %v after the repair", opened, closed)
			if a := f.ask(client, "GET", "/faulty/ok"); a.status != "200 OK" {
				t.Errorf("repaired: %s", a.status)
			}
			f.noWorkerLost()
		},
	}).run(t)
}

// FAULTS 16 to 21: answers that do not come, are none, do not end, come too early
// or unasked.
func TestFault16To21BackendAnswers(t *testing.T) {
	beside(t)
	b := startRogue(t)
	(&faultRow{
		settings: b.behind(
			"COORDINATOR_BULKHEADS=faulty,healthy,lone,hole",
			"BULKHEAD_FAULTY_TIMEOUT=2s", "BULKHEAD_FAULTY_QUEUE_TIMEOUT=1s", "BULKHEAD_FAULTY_IDLE_TIMEOUT=1s",
			"BULKHEAD_FAULTY_BREAKER_MODE=closed", "BULKHEAD_FAULTY_BREAKER_WINDOW=5m", // it counts and never acts
			"BULKHEAD_LONE_ROUTES=/lone", "BULKHEAD_LONE_BACKEND=http://"+b.addr, "BULKHEAD_LONE_WORKERS=1",
			"BULKHEAD_HOLE_ROUTES=/hole", "BULKHEAD_HOLE_BACKEND="+blackhole(t), "BULKHEAD_HOLE_WORKERS=1",
			"BULKHEAD_HOLE_TIMEOUT=2s", "BULKHEAD_HOLE_QUEUE_TIMEOUT=1s", "BULKHEAD_HOLE_LIMIT=8", "BULKHEAD_HOLE_QUEUE=0",
			"BULKHEAD_HOLE_BREAKER_MODE=observe", "BULKHEAD_HOLE_BREAKER_MIN_CALLS=8",
		),
		log:         []string{"backend failed", `"reason":"backend_protocol"`, `"why":"`, `"bulkhead":"faulty"`},
		counted:     []string{"coordinator_refused_total", "bulkhead", "faulty", "reason", "backend_protocol"},
		connections: 10, // hole's and lone's

		cause: func(f *faultTrial) {
			r := &answersRow{f, b, newClient(t), clientH2(t)}
			defer r.h1.CloseIdleConnections()
			defer r.h2.CloseIdleConnections()
			r.late()
			r.none()
			r.cut()
			r.flat()
			r.early()
			r.unasked()
			f.noWorkerLost()
			if n := f.metric("coordinator_retries_total", "bulkhead", "faulty"); n > 8 {
				t.Errorf("%v retries", n) // of the few that were reset
			}
		},
	}).run(t)
}

type answersRow struct {
	*faultTrial
	b      *rogue
	h1, h2 *http.Client
}

// failures is what the breaker has counted against the backend.
func (r *answersRow) failures() int { return r.site.bulkhead("faulty").Breaker.Failures }

// counts has the breaker count n failures for what do does.
func (r *answersRow) counting(what string, n int, do func()) {
	r.t.Helper()
	before := r.failures()
	do()
	eventually(r.t, 2*time.Second, fmt.Sprintf("%s: the breaker counts %d failures", what, n), func() bool { return r.failures() >= before+n })
	if got := r.failures() - before; got != n {
		r.t.Errorf("%s: the breaker counted %d failures, want %d", what, got, n)
	}
}

// late is rows 16 and 17.
func (r *answersRow) late() {
	const calls = 8
	var asking sync.WaitGroup
	at := func(target string, n int, judge func(answer, error, time.Duration)) {
		for range n {
			asking.Go(func() {
				begun := time.Now()
				a, err := get(target).with("X-Name", "probe").ask(r.h1, r.url)
				judge(a, err, time.Since(begun))
			})
		}
	}
	timeout := func(outcome string) func(answer, error, time.Duration) {
		return func(a answer, err error, took time.Duration) {
			if err != nil {
				r.t.Error(err)
				return
			}
			wantProblem(r.t, a, 504, "backend_timeout", outcome, true)
			if took < 1800*time.Millisecond || took > 2100*time.Millisecond+slack() {
				r.t.Errorf("told after %v, want TIMEOUT = 2 s", took)
			}
		}
	}
	r.counting("late answers", 2*calls+1, func() {
		at("/faulty/hang", calls, timeout("sent_unknown"))
		at("/faulty/slow-head", calls, timeout("partial"))
		at("/hole/x", calls, timeout("never_sent"))
		at("/faulty/stall", 1, func(_ answer, err error, took time.Duration) {
			if err == nil || took > 1500*time.Millisecond+slack() {
				r.t.Errorf("a body that stalls: %v after %v, want an abort after IDLE_TIMEOUT = 1 s", err, took)
			}
		})
		at("/faulty/drip", 1, func(a answer, err error, took time.Duration) {
			if err != nil || a.body != "drop by drop" || took < 2500*time.Millisecond {
				r.t.Errorf("a slow and honest body: %q %v after %v", a.body, err, took)
			}
		})
		asking.Wait()
	})
	eventually(r.t, time.Second, "the slots of a backend that cannot be connected to come back", func() bool { return r.site.bulkhead("hole").InFlight == 0 })
	eventually(r.t, 2*time.Second, "the slots come back", func() bool { return r.site.bulkhead("faulty").InFlight < calls })
}

// none is the part of rows 18 and 19 of which a client sees no answer.
func (r *answersRow) none() {
	for _, c := range []struct{ what, reason, outcome string }{
		{"empty", "backend_reset", "sent_unknown"}, {"reset", "backend_reset", "sent_unknown"}, {"half-close", "backend_reset", "sent_unknown"},
		{"half-status", "backend_reset", "sent_unknown"}, {"half-head", "backend_reset", "partial"},
		{"garbage", "backend_protocol", "sent_unknown"}, {"letters", "backend_protocol", "sent_unknown"}, {"bare-lf", "backend_protocol", "sent_unknown"},
		{"two-lengths", "backend_protocol", "partial"}, {"length-coding", "backend_protocol", "partial"}, {"folded", "backend_protocol", "partial"},
		{"nul", "backend_protocol", "partial"}, {"huge-field", "backend_protocol", "partial"}, {"many-fields", "backend_protocol", "partial"},
	} {
		r.counting(c.what, 2, func() {
			for n, method := range []string{"GET", "POST"} {
				name := fmt.Sprint(c.what, n)
				a, err := probe{method: method, target: "/faulty/" + c.what}.with("X-Name", name).ask([]*http.Client{r.h1, r.h2}[n], r.url)
				if err != nil {
					r.t.Errorf("%s %s: %v", method, c.what, err)
					continue
				}
				wantProblem(r.t, a, 502, c.reason, c.outcome, method == "GET")
				if most := 1; r.b.seen.of(name) > most && (method != "GET" || c.reason != "backend_reset") {
					r.t.Errorf("%s %s: sent %d times", method, c.what, r.b.seen.of(name))
				}
			}
		})
	}
}

// cut is the part of rows 18 and 19 of which a client sees a part: no client may
// take it for the whole.
func (r *answersRow) cut() {
	for _, what := range []string{"short", "short-chunked", "in-a-chunk", "reset-length", "reset-chunked", "reset-close", "bad-chunk", "endless-size", "endless-trailer"} {
		r.counting(what, 3, func() {
			for _, client := range []*http.Client{r.h1, r.h2} {
				a, err := get("/faulty/"+what).with("X-Name", "probe").ask(client, r.url)
				if err == nil || !strings.HasPrefix(a.status, "200") || a.body != "half" {
					r.t.Errorf("%s: %s %q, %v; want 200 and what there was, and no clean end", what, a.status, a.body, err)
				}
			}
			r.cutForHTTP10(what)
		})
	}
}

// cutForHTTP10 asks in HTTP/1.0, where the end of a connection is that of an
// answer without a length.
func (r *answersRow) cutForHTTP10(what string) {
	nc := r.dial()
	defer nc.Close()
	fmt.Fprintf(nc, "GET /faulty/%s HTTP/1.0\r\nHost: x\r\nX-Name: probe\r\n\r\n", what)
	text, err := io.ReadAll(nc)
	head, body, _ := strings.Cut(string(text), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.0 200") || !strings.Contains("half", body) {
		r.t.Errorf("%s in HTTP/1.0: %q", what, text)
	}
	if err == nil && !strings.Contains(head, "Content-Length: 100") {
		r.t.Errorf("%s in HTTP/1.0: a clean end behind %q", what, text)
	}
}

// dial opens a connection to the front.
func (r *answersRow) dial() net.Conn {
	r.t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		r.t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	return nc
}

// flat is row 19's other half: what does not end takes no memory.
func (r *answersRow) flat() {
	const most = 32 << 10 // KiB
	flood := func(rounds int, size int64) {
		for range rounds {
			for _, what := range []string{"huge-field", "many-fields", "endless-early", "endless-size", "endless-trailer"} {
				_, _ = get("/faulty/"+what).with("X-Name", "probe").ask(r.h1, r.url)
			}
			r.endless(size)
		}
	}
	flood(2, 16<<20)
	pids := append([]int{r.pid}, r.pids("faulty")...)
	memory := func() (kib []int) {
		for _, pid := range pids {
			kib = append(kib, proc(r.t, pid, "RssAnon"))
		}
		return kib
	}
	before := memory()
	flood(int(span(3, 10)), int64(span(32<<20, 256<<20)))
	after := memory()
	r.t.Logf("RssAnon of the supervisor and the workers: %v KiB, after floods %v KiB", before, after)
	for i := range pids {
		if after[i]-before[i] > most {
			r.t.Errorf("process %d grew by %d KiB, want 32 MiB", pids[i], after[i]-before[i])
		}
	}

	// At most 5 informational answers are passed on, of however many.
	for _, client := range []*http.Client{r.h1, r.h2} {
		for what, status := range map[string]int{"hints": 200, "endless-early": 502} {
			passed := 0
			trace := &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { passed++; return nil }}
			req, err := http.NewRequestWithContext(httptrace.WithClientTrace(r.t.Context(), trace), "GET", r.url+"/faulty/"+what, nil)
			if err != nil {
				r.t.Fatal(err)
			}
			req.Header.Set("X-Name", "probe")
			resp, err := client.Do(req)
			if err != nil {
				r.t.Errorf("%s: %v", what, err)
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != status || passed != 5 {
				r.t.Errorf("%s: %s behind %d informational answers, want %d behind 5", what, resp.Status, passed, status)
			}
		}
	}
}

// endless reads so much of a body that does not end, and leaves.
func (r *answersRow) endless(size int64) {
	r.t.Helper()
	ctx, leave := context.WithCancel(r.t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, "GET", r.url+"/faulty/endless", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.h1.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.CopyN(io.Discard, resp.Body, size); err != nil {
		r.t.Errorf("%d bytes of an endless body: %v", n, err)
	}
	r.drain()
	leave()
	select {
	case <-r.b.gone:
	case <-time.After(2 * time.Second):
		r.t.Error("the backend still writes an answer whose client has left")
	}
}

// drain forgets which connections have ended.
func (r *answersRow) drain() {
	for len(r.b.gone) > 0 {
		<-r.b.gone
	}
}

// early is row 20.
func (r *answersRow) early() {
	// The last word comes while the client still uploads.
	for _, client := range []*http.Client{r.h1, r.h2} {
		body, upload := io.Pipe()
		req, err := http.NewRequestWithContext(r.t.Context(), "POST", r.url+"/faulty/early", body)
		if err != nil {
			r.t.Fatal(err)
		}
		go func() { // until the client closes the other end
			for {
				if _, err := upload.Write(make([]byte, 1000)); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond) // it is slow
			}
		}()
		begun := time.Now()
		resp, err := client.Do(req)
		if err != nil {
			r.t.Errorf("early: %v", err)
			body.Close()
			continue
		}
		text, err := io.ReadAll(resp.Body)
		took := time.Since(begun)
		resp.Body.Close()
		body.Close()
		if resp.StatusCode != 413 || string(text) != "enough." || err != nil || took > time.Second+slack() {
			r.t.Errorf("%s: %s %q %v after %v", resp.Proto, resp.Status, text, err, took)
		}
		if a := r.ask(client, "GET", "/faulty/ok?say=next"); a.body != "nextok" {
			r.t.Errorf("the next one: %s %q", a.status, a.body)
		}
	}

	// A body is announced, and refused.
	nc := r.dial()
	defer nc.Close()
	br := bufio.NewReader(nc)
	fmt.Fprintf(nc, "POST /faulty/expect HTTP/1.1\r\nHost: x\r\nX-Name: probe\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		r.t.Errorf("expect: %v", err)
		return
	}
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode != 417 || string(text) != "no" || err != nil {
		r.t.Errorf("expect: %s %q %v", resp.Status, text, err)
	}
	if resp.Close {
		return // clean as well
	}
	fmt.Fprintf(nc, "GET /faulty/ok?say=next HTTP/1.1\r\nHost: x\r\nX-Name: probe\r\n\r\n")
	if resp, err = http.ReadResponse(br, nil); err != nil {
		r.t.Errorf("behind a refused body: %v", err)
		return
	}
	if text, err = io.ReadAll(resp.Body); string(text) != "nextok" {
		r.t.Errorf("behind a refused body: %s %q %v", resp.Status, text, err)
	}
}

// unasked is row 21, in a bulkhead of its own: its one worker surely takes the
// connection again that it used last.
func (r *answersRow) unasked() {
	for n, what := range slices.Repeat([]string{"together", "afterwards", "farewell"}, 5) {
		r.drain()
		if a := r.ask(r.h1, "GET", "/lone/"+what); a.status != "200 OK" || a.body != "ok" {
			r.t.Errorf("%s: %s %q", what, a.status, a.body)
		}
		select {
		case <-r.b.gone: // it has said all it wanted
		case <-time.After(5 * time.Second):
			r.t.Fatalf("%s has not ended", what)
		}
		for _, method := range []string{"POST", "GET"} { // a POST would not be repeated
			say := fmt.Sprint(method, n)
			if a := r.ask(r.h1, method, "/lone/ok?say="+say); a.status != "200 OK" || a.body != say+"ok" {
				r.t.Errorf("%s behind %s: %s %q", method, what, a.status, a.body)
			}
		}
	}
}

// FAULTS 22: nothing but 503, and a backend that is up one second and down the
// next.
func TestFault22BackendFlaps(t *testing.T) {
	beside(t)
	const minCalls, probes, rate = 10, 3, 50
	b := startRogue(t)
	(&faultRow{
		settings: b.behind("BULKHEAD_FAULTY_BREAKER_OPEN_FOR=1s", fmt.Sprint("BULKHEAD_FAULTY_BREAKER_MIN_CALLS=", minCalls)),
		hurts:    []string{"backend_refused", "backend_reset", "breaker_open"},
		passed:   func() int { return int(b.sickened.Load()) },
		log:      []string{"breaker open", `"bulkhead":"faulty"`},
		counted:  []string{"coordinator_breaker_transitions_total", "bulkhead", "faulty", "to", "open"},
		cause: func(f *faultTrial) {
			client := newClient(t)
			defer client.CloseIdleConnections()
			b.sick.Store(true)
			if a := f.ask(client, "GET", "/faulty/ok"); a.status != "503 Service Unavailable" || a.header.Get("Retry-After") != "7" || a.body != "sick" {
				t.Errorf("the backend's own answer: %s %v %q", a.status, a.header, a.body)
			}
			f.breakerIs("open", 3*time.Second)
			wantProblem(t, f.ask(client, "GET", "/faulty/ok"), 503, "breaker_open", "refused", true)
			n, sick := b.requests.Load(), span(2*time.Second, 20*time.Second)
			time.Sleep(sick)
			asked := b.requests.Load() - n
			t.Logf("a backend that is ill for %v got %d requests of %v", sick, asked, rate*sick.Seconds())
			if most := int64(probes * (sick.Seconds() + 1)); asked > most || asked == 0 {
				t.Errorf("%d requests reached it, want at most %d", asked, most)
			}
			if n := f.metric("coordinator_retries_total"); n != 0 {
				t.Errorf("%v retries: never because an answer was bad", n)
			}
			b.sick.Store(false)
			f.breakerIs("closed", 2*time.Second+slack())

			turns := int(span(2, 15))
			refused := func() float64 {
				m := f.metrics()
				return m.sum("coordinator_refused_total", "bulkhead", "faulty", "reason", "backend_refused") +
					m.sum("coordinator_refused_total", "bulkhead", "faulty", "reason", "backend_reset")
			}
			before := refused()
			for range turns {
				b.down()
				time.Sleep(time.Second)
				b.up()
				time.Sleep(time.Second)
			}
			failed := refused() - before
			t.Logf("%v calls failed in %d turns of a second", failed, turns)
			// What opens it, two rounds of probes, and what was under way.
			if most := float64(turns * (minCalls + 2*probes + 4)); failed > most || failed == 0 {
				t.Errorf("%v calls failed, want at most %v", failed, most)
			}
			closed := f.breakerIs("closed", 2*time.Second+slack())
			t.Logf("closed %v after the last turn", closed)
			if retries := f.metric("coordinator_retries_total"); retries > float64(turns*rate)/10+10 {
				t.Errorf("%v retries, want a tenth of the requests", retries)
			}
			f.noWorkerLost()
		},
	}).run(t)
}

// FAULTS 45: three times of what the backend takes, then half of it.
func TestFault45Overload(t *testing.T) {
	beside(t)
	const limit, takes = 4, 40 * time.Millisecond // 100 requests a second
	b := startRogue(t)
	b.lag = takes
	refusals := []string{"queue_full", "queue_timeout"}
	(&faultRow{
		settings: b.behind(fmt.Sprint("BULKHEAD_FAULTY_LIMIT=", limit), "BULKHEAD_FAULTY_QUEUE=64", "BULKHEAD_FAULTY_QUEUE_TIMEOUT=1s"),
		hurts:    refusals,
		counted:  []string{"coordinator_refused_total", "bulkhead", "faulty", "reason", "queue_full"},
		cause: func(f *faultTrial) {
			g := f.generate("/faulty/ok", 250, 2*time.Minute, func(o *load.Options) { o.Name, o.Conns = "3x", 200 })
			time.Sleep(span(4*time.Second, time.Minute))
			r := g.Stop()
			dropped := time.Now()
			t.Log(figures(r))
			if told := r.Reasons["queue_full"] + r.Reasons["queue_timeout"]; told == 0 || told != r.ServerErrors() {
				t.Errorf("3x: %d refusals, %d failures", told, r.ServerErrors())
			}
			if good := r.Status[200]; float64(good) < 0.3*float64(r.Done)*.6 {
				t.Errorf("3x: %d of %d succeeded: the bulkhead is to serve what it can", good, r.Done)
			}
			refused := func() (n float64) {
				m := f.metrics()
				for _, reason := range refusals {
					n += m.sum("coordinator_refused_total", "bulkhead", "faulty", "reason", reason)
				}
				return n
			}
			last, at := refused(), time.Duration(0)
			for time.Since(dropped) < span(3*time.Second, 10*time.Second) {
				if n := refused(); n != last {
					last, at = n, time.Since(dropped)
				}
				time.Sleep(20 * time.Millisecond) // between two looks
			}
			t.Logf("the last refusal was %v after the drop", at)
			if at > 2*time.Second {
				t.Errorf("refusals stopped %v after the drop, want 2 s", at)
			}
			if state := f.site.bulkhead("faulty").Breaker.State; state != "closed" {
				t.Errorf("the breaker is %s: overload is no failure of the backend", state)
			}
			f.noWorkerLost()
		},
	}).run(t)
}
