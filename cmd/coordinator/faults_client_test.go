//go:build linux

package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// A clientFault is one fault of clients, by its number in the catalogue. What
// all have in common is told by what TestFaultsOfClients does.
type clientFault struct {
	number  int
	name    string
	cause   func(*clientTrial)
	counted []string // the metric that counts it, and its labels
}

// A clientTrial is a site with bulkheads for the faults to happen in, and a
// healthy one beside them that is under load.
type clientTrial struct {
	*site
	origin *clientOrigin
}

// clientSite is that site, not started.
func clientSite(t *testing.T) *clientTrial {
	t.Helper()
	origin := newClientOrigin(t)
	settings := []string{"COORDINATOR_LOG_LEVEL=info", "COORDINATOR_BULKHEADS=faulty,healthy,narrow,unread,hoard", "COORDINATOR_DRAIN_TIMEOUT=2s"}
	bulkhead := func(name, backend string, more ...string) {
		prefix := "BULKHEAD_" + strings.ToUpper(name) + "_"
		settings = append(settings, prefix+"ROUTES=/"+name, prefix+"BACKEND="+backend, prefix+"BREAKER_MIN_CALLS=1")
		for _, m := range more {
			settings = append(settings, prefix+m)
		}
	}
	bulkhead("faulty", origin.url, "LIMIT=64", "QUEUE=512", "TIMEOUT=2s", "IDLE_TIMEOUT=1s")
	bulkhead("healthy", origin.url, "LIMIT=64", "QUEUE=512", "QUEUE_TIMEOUT=5s")
	bulkhead("narrow", origin.url, "LIMIT=1", "QUEUE=4", "QUEUE_TIMEOUT=10s", "MAX_BODY=1MiB", "WORKERS=1")
	bulkhead("unread", origin.deaf(t), "LIMIT=64", "BREAKER_MODE=observe", "WORKERS=1")
	bulkhead("hoard", origin.url, "UPGRADE_LIMIT=8", "WORKERS=1")
	return &clientTrial{newSite(t, settings...), origin}
}

// TestFaultsOfClients is the part of the catalogue that clients cause. In each
// the healthy bulkhead has no error, the counts come back to what they were, no
// breaker takes it for a failure of the backend, and a metric tells of it. Row 28
// is TestHygieneCorpus.
func TestFaultsOfClients(t *testing.T) {
	beside(t)
	f := clientSite(t)
	f.start()
	f.prime()
	const most = 5 * time.Minute
	others := f.generate("/healthy/ok", 100, most, func(o *load.Options) { o.Name, o.Conns = "healthy alone", 32 })
	front := f.generate("/nowhere", 50, most, func(o *load.Options) { o.Name, o.Conns = "no_route", 8 })
	time.Sleep(span(1500*time.Millisecond, 10*time.Second))
	for _, row := range clientFaults {
		t.Run(fmt.Sprintf("%02d %s", row.number, row.name), func(t *testing.T) {
			parent := f.t
			f.t = t
			defer func() { f.t = parent }()
			others.Cut(fmt.Sprintf("healthy beside %d", row.number))
			front.Cut(fmt.Sprintf("no_route beside %d", row.number))
			row.run(f)
		})
	}
	others.Stop()
	front.Stop()
	o, n := others.Phases(), front.Phases()
	for i, phase := range o {
		noErrors(t, phase)
		if i > 0 {
			unhurt(t, o[0], phase, max(n[0].All.Quantile(.99), n[i].All.Quantile(.99)))
		}
	}
}

func (row *clientFault) run(f *clientTrial) {
	before, others := f.counts(), f.pids("healthy")
	counted := f.metric(row.counted[0], row.counted[1:]...)
	memory := f.supervisorMemory()
	begun := time.Now()
	row.cause(f)
	f.t.Logf("the fault and its outcome took %v", time.Since(begun))
	f.settled(before)
	if f.metric(row.counted[0], row.counted[1:]...) <= counted {
		f.t.Errorf("%v was %v and still is", row.counted, counted)
	}
	grown := f.supervisorMemory() - memory
	f.t.Logf("RssAnon of the supervisor grew by %d KiB, from %d", grown, memory)
	if grown > 32<<10 && !raced {
		f.t.Errorf("RssAnon of the supervisor grew by %d KiB, want less than 32 MiB", grown)
	}
	for _, name := range []string{"faulty", "healthy", "narrow", "hoard"} {
		if b := f.bulkhead(name).Breaker; b.State != "closed" || b.Failures != 0 {
			f.t.Errorf("the breaker of %s is %s with %d failures", name, b.State, b.Failures)
		}
	}
	if now := f.pids("healthy"); fmt.Sprint(now) != fmt.Sprint(others) {
		f.t.Errorf("healthy's workers are %v, were %v", now, others)
	}
}

// supervisorMemory is its RssAnon in KiB.
func (f *clientTrial) supervisorMemory() int {
	f.t.Helper()
	return proc(f.t, f.cmd.Process.Pid, "RssAnon")
}

// dial opens a connection to the front and writes what it is to begin with.
func (f *clientTrial) dial(begin string) net.Conn {
	f.t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(nc, begin); err != nil {
		f.t.Fatal(err)
	}
	return nc
}

// well asks for what has to be answered at once.
func (f *clientTrial) well(target string) {
	f.t.Helper()
	client := newClient(f.t)
	defer client.CloseIdleConnections()
	begun := time.Now()
	a, err := get(target).ask(client, f.url)
	if err != nil || a.status != "200 OK" {
		f.t.Errorf("%s: %s %v", target, a.status, err)
	}
	if took := time.Since(begun); took > time.Second {
		f.t.Errorf("%s took %v", target, took)
	}
}

// idle waits until nothing is in flight or queued in a bulkhead.
func (f *clientTrial) idle(name string, within time.Duration) time.Duration {
	f.t.Helper()
	return eventually(f.t, within, name+" holds nothing", func() bool {
		b := f.bulkhead(name)
		return b.InFlight == 0 && b.QueueDepth == 0
	})
}

var clientFaults = []*clientFault{
	{24, "slow heads", slowHeads, []string{"coordinator_requests_total", "bulkhead", "narrow", "code", "200"}},
	{24, "slow bodies and reads", slowBodies, []string{"coordinator_refused_total", "bulkhead", "faulty", "reason", "client_timeout"}},
	{25, "leaves", leaves, []string{"coordinator_refused_total", "bulkhead", "narrow", "reason", "client_gone"}},
	{26, "huge", huge, []string{"coordinator_refused_total", "reason", "body_too_large"}},
	{27, "1,000 pipelined requests", pipelines, []string{"coordinator_requests_total", "bulkhead", "faulty", "code", "200"}},
	{29, "HTTP/2 floods", floods, []string{"coordinator_refused_total", "bulkhead", "narrow", "reason", "client_gone"}},
	{40, "unread uploads on a shared connection", unreadUploads, []string{"coordinator_refused_total", "bulkhead", "unread", "reason", "client_gone"}},
	{40, "unread downloads on a shared connection", unreadDownloads, []string{"coordinator_refused_total", "bulkhead", "faulty", "reason", "client_timeout"}},
	{41, "WebSockets and event streams hoarded", hoarded, []string{"coordinator_refused_total", "bulkhead", "hoard", "reason", "too_many_connections"}},
}

// slowHeads has clients that never finish a head, and some that never begin one.
func slowHeads(f *clientTrial) {
	type end struct {
		spoke bool
		text  string
		took  time.Duration
	}
	const each = 10
	ends := make(chan end, 2*each)
	for i := range 2 * each {
		begin := "GET /narrow/ok HTTP/1.1\r\nHost: x\r\n"
		if i < each {
			begin = ""
		}
		nc := f.dial(begin)
		begun := time.Now()
		go func() { // ends when the connection does
			for begin != "" {
				if _, err := io.WriteString(nc, "X-A: b\r\n"); err != nil {
					return
				}
				time.Sleep(500 * time.Millisecond) // that is its pace
			}
		}()
		go func() {
			text, _ := io.ReadAll(nc)
			ends <- end{begin != "", string(text), time.Since(begun)}
		}()
	}
	for range 5 {
		if b := f.bulkhead("narrow"); b.InFlight+b.QueueDepth > 0 {
			f.t.Errorf("they hold %d slots and %d places", b.InFlight, b.QueueDepth)
		}
		f.well("/narrow/ok")
	}
	for range 2 * each {
		e := <-ends
		if e.took < 9*time.Second || e.took > 12*time.Second {
			f.t.Errorf("closed after %v, want 10 s", e.took)
		}
		if (e.text != "" || e.spoke) && !strings.HasPrefix(e.text, "HTTP/1.1 408 ") { // RFC 9110 section 15.5.9
			f.t.Errorf("the answer is %q", e.text)
		}
	}
}

// slowBodies has clients that send their bodies, or read their answers, by and
// by or not at all.
func slowBodies(f *clientTrial) {
	const each = 4
	answers := make(chan string, 3*each)
	for i := range 2 * each {
		nc := f.dial("POST /faulty/sink HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
		go func() {
			for i < each { // the others send nothing
				if _, err := io.WriteString(nc, "b"); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond) // that is its pace
			}
		}()
		go func() { answers <- statusOf(nc) }()
	}
	h2 := f.dialH2(f.t)
	for i := range uint32(each) {
		h2.ask(2*i+1, false, asksH2("POST", "/faulty/sink", "content-length", "100000")...)
	}
	for range 2 * each {
		if status := <-answers; status != "408" {
			f.t.Errorf("a slow body got %s, want 408", status)
		}
	}
	got, _ := h2.answers(1, 3, 5, 7)
	for i := range uint32(each) {
		if word := got[2*i+1].word(); !strings.HasPrefix(word, "408") {
			f.t.Errorf("a slow body on HTTP/2 got %s, want 408", word)
		}
	}
	f.idle("faulty", 3*time.Second)

	var slow []net.Conn
	for range each {
		nc := f.dial("GET /faulty/big?n=67108864 HTTP/1.1\r\nHost: x\r\n\r\n")
		slow = append(slow, nc)
	}
	eventually(f.t, 2*time.Second, "the answers wait for their readers", func() bool { return f.bulkhead("faulty").InFlight == each })
	f.well("/faulty/ok")
	f.t.Logf("slots of unread answers were free after %v", f.idle("faulty", 4*time.Second))
	for _, nc := range slow {
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			f.t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err == nil {
			f.t.Errorf("an answer that was cut after %d bytes looks whole", n)
		}
	}
}

// statusOf is the status of the first answer, or why there is none.
func statusOf(nc net.Conn) string {
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return err.Error()
	}
	return resp.Status[:3]
}

// leaves has clients of both protocols leave, one in flight and one queued.
func leaves(f *clientTrial) {
	gone := f.metric("coordinator_refused_total", "bulkhead", "narrow", "reason", "client_gone")
	ask := map[string]func() (leave func()){
		"HTTP/1.1": func() func() {
			nc := f.dial(asks("GET /narrow/hang"))
			return func() { nc.Close() }
		},
		"HTTP/2": func() func() {
			c := f.dialH2(f.t)
			c.ask(1, true, asksH2("GET", "/narrow/hang")...)
			return func() { c.wrote(c.fr.WriteRSTStream(1, 8)) }
		},
	}
	for protocol, ask := range ask {
		leave := ask()
		<-f.origin.hung
		dequeue := ask()
		eventually(f.t, time.Second, "another is queued", func() bool { return f.bulkhead("narrow").QueueDepth == 1 })
		dequeue()
		took := eventually(f.t, time.Second, "it left the queue", func() bool { return f.bulkhead("narrow").QueueDepth == 0 })
		at := time.Now()
		leave()
		cancelled := (<-f.origin.left).Sub(at)
		f.t.Logf("%s: the place was free after %v, the backend cancelled after %v", protocol, took, cancelled)
		if cancelled > 100*time.Millisecond {
			f.t.Errorf("%s: the backend was cancelled after %v, want 100 ms", protocol, cancelled)
		}
		f.idle("narrow", time.Second)
	}
	eventually(f.t, 2*time.Second, "all four are counted", func() bool {
		return f.metric("coordinator_refused_total", "bulkhead", "narrow", "reason", "client_gone") == gone+4
	})
}

// huge has requests without end. Each is answered before it is read to one.
func huge(f *clientTrial) {
	const most = 64 << 20
	for _, c := range []struct{ name, begin, more, status string }{
		{"value", "GET /narrow/ok HTTP/1.1\r\nHost: x\r\nX-A: ", "aaaaaaaaaaaaaaaa", "431"},
		{"field count", "GET /narrow/ok HTTP/1.1\r\nHost: x\r\n", "X-A: b\r\n", "431"},
		{"field name", "GET /narrow/ok HTTP/1.1\r\nHost: x\r\nX-", "aaaaaaaaaaaaaaaa", "431"},
		{"target", "GET /narrow/", "aaaaaaaaaaaaaaaa", "431 414"},
		{"method", "G", "GGGGGGGGGGGGGGGG", "431 400"},
		{"announced body", "POST /narrow/sink HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n", "", "413"},
		{"body", "POST /narrow/sink HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n", "bbbbbbbbbbbbbbbb", "413"},
		{"chunked body", "POST /narrow/sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "10\r\nbbbbbbbbbbbbbbbb\r\n", "413"},
	} {
		nc := f.dial(c.begin)
		written := make(chan int, 1)
		go func() {
			piece, n := []byte(strings.Repeat(c.more, 1024)), 0
			for len(piece) > 0 && n < most {
				m, err := nc.Write(piece)
				if n += m; err != nil {
					break
				}
			}
			written <- n
		}()
		begun := time.Now()
		status := statusOf(nc)
		nc.Close()
		n := <-written
		f.t.Logf("%s: %s after %v and %d KiB", c.name, status, time.Since(begun), n>>10)
		if !strings.Contains(c.status, status) || n >= most/2 {
			f.t.Errorf("%s: %s after %d bytes, want %s long before", c.name, status, n, c.status)
		}
	}
	f.idle("narrow", 2*time.Second)
}

// pipelines has one client send 1,000 requests before it reads.
func pipelines(f *clientTrial) {
	const count = 1000
	var wire strings.Builder
	for i := range count {
		wire.WriteString(asks(fmt.Sprint("GET /faulty/alone?n=", i)))
	}
	nc := f.dial("")
	go func() { _, _ = io.WriteString(nc, wire.String()) }()
	br := bufio.NewReader(nc)
	for i := range count {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			f.t.Fatalf("answer %d: %v", i, err)
		}
		body, err := io.ReadAll(resp.Body)
		if string(body) != fmt.Sprint(i) || err != nil {
			f.t.Fatalf("answer %d is %s %q (%v)", i, resp.Status, body, err)
		}
	}
	if most := f.origin.most.Load(); most != 1 {
		f.t.Errorf("up to %d of them were with the backend at a time, want 1", most)
	}
}
