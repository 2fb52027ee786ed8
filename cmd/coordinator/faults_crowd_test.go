//go:build linux

package main_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// A crowd is a site with a bulkhead for each kind of slow user, and a healthy one
// beside them.
type crowd struct {
	*clientTrial
	ctx   context.Context
	going sync.WaitGroup // all that the users do
}

// What fills each of the bulkheads: readers and writers, requests a second to the
// slow backend, connections and the streams of each.
const (
	crowdReaders = 16
	crowdRate    = 40
	crowdConns   = 10
	crowdStreams = 100 // as many as the front allows (MaxConcurrentStreams)
)

// TestSlowUsersSideBySide has a slow client, a slow backend and 1,000 HTTP/2
// streams at the same time, each with as much of its bulkhead as it can get. The
// bulkhead beside theirs does not notice.
func TestSlowUsersSideBySide(t *testing.T) {
	beside(t)
	origin := newClientOrigin(t)
	settings := []string{"COORDINATOR_LOG_LEVEL=info", "COORDINATOR_BULKHEADS=slowclient,slowbackend,streams,healthy", "COORDINATOR_DRAIN_TIMEOUT=2s"}
	for name, limits := range map[string][]string{
		"slowclient":  {"LIMIT=32", "QUEUE=0"},
		"slowbackend": {"LIMIT=16", "QUEUE=8"},
		"streams":     {"LIMIT=256", "QUEUE=1024", "QUEUE_TIMEOUT=15s"},
		"healthy":     {"LIMIT=64", "QUEUE=512", "QUEUE_TIMEOUT=5s"},
	} {
		prefix := "BULKHEAD_" + strings.ToUpper(name) + "_"
		settings = append(settings, prefix+"ROUTES=/"+name, prefix+"BACKEND="+origin.url)
		for _, limit := range limits {
			settings = append(settings, prefix+limit)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	c := &crowd{clientTrial: &clientTrial{runSite(t, settings...), origin}, ctx: ctx}
	c.generate("/healthy/slow?ms=100", 0, time.Second, func(o *load.Options) { o.Count, o.Conns = 120, 60 }).Wait()
	const most = 5 * time.Minute
	others := c.generate("/healthy/ok", 100, most, func(o *load.Options) { o.Name, o.Conns = "healthy alone", 32 })
	front := c.generate("/nowhere", 50, most, func(o *load.Options) { o.Name, o.Conns = "no_route", 8 })
	time.Sleep(span(2*time.Second, 10*time.Second))
	before, pids, memory := c.counts(), c.pids("healthy"), c.supervisorMemory()
	before.descriptors += 32 + 16 + 256 // connections to workers stay for 30 s

	others.Cut("healthy while they arrive")
	front.Cut("no_route while they arrive")
	for i := range 2 * crowdReaders {
		c.going.Go(func() { c.slowClient(i%2 == 0) })
	}
	slow := c.generate("/slowbackend/slow?ms=1500", crowdRate, most, func(o *load.Options) { o.Name, o.Conns = "slow backend", 64 })
	streams := c.manyStreams()
	c.full(5 * time.Second)

	others.Cut("healthy beside them")
	front.Cut("no_route beside them")
	for until := time.Now().Add(span(3*time.Second, 20*time.Second)); time.Now().Before(until); {
		c.tooManyStreams()
	}
	c.full(2 * time.Second) // still
	others.Cut("healthy while they leave")
	front.Cut("no_route while they leave")
	t.Logf("RssAnon of the supervisor rose by %d KiB, from %d", c.supervisorMemory()-memory, memory)
	leave()
	c.going.Wait()
	slowly := slow.Stop()
	c.settled(before)

	if others.Stop(); front.Stop() == nil {
		t.Fatal("no result")
	}
	o, n := others.Phases(), front.Phases()
	for _, phase := range o {
		noErrors(t, phase)
	}
	unhurt(t, o[0], o[2], max(n[0].All.Quantile(.99), n[2].All.Quantile(.99)))
	if now := c.pids("healthy"); !slices.Equal(now, pids) {
		t.Errorf("healthy's workers are %v, were %v", now, pids)
	}
	t.Log(figures(slowly))
	if slowly.Status[http.StatusOK] == 0 || slowly.Reasons["queue_full"] == 0 || slowly.TransportErrors() > 0 {
		t.Error("slow backend: want some answers, and queue_full for the others")
	}
	streams(t)
	for _, name := range []string{"slowclient", "slowbackend", "streams", "healthy"} {
		if b := c.bulkhead(name).Breaker; b.State != "closed" {
			t.Errorf("the breaker of %s is %s", name, b.State)
		}
	}
}

// full waits until each of them has all that it can get.
func (c *crowd) full(within time.Duration) {
	c.t.Helper()
	const streams = crowdConns * crowdStreams
	eventually(c.t, within, "all three are full", func() bool {
		client, backend, streamed := c.bulkhead("slowclient"), c.bulkhead("slowbackend"), c.bulkhead("streams")
		return client.InFlight == 2*crowdReaders && backend.InFlight == 16 && backend.QueueDepth > 0 &&
			streamed.InFlight == 256 && streamed.InFlight+streamed.QueueDepth >= streams*9/10 // the others are on their way
	})
}

// slowClient reads an answer, or sends a body, at 5 KB a second, which the minimum
// rate of the front allows. It comes back when it is cut off nevertheless.
func (c *crowd) slowClient(reads bool) {
	begin, piece := "POST /slowclient/sink HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n", make([]byte, 512)
	if reads {
		begin = "GET /slowclient/big?n=67108864 HTTP/1.1\r\nHost: x\r\n\r\n"
	}
	for c.ctx.Err() == nil {
		nc, err := new(net.Dialer).DialContext(c.ctx, "tcp", strings.TrimPrefix(c.url, "http://"))
		if err != nil {
			continue
		}
		_ = nc.(*net.TCPConn).SetReadBuffer(4 << 10)
		_ = nc.SetDeadline(time.Now().Add(time.Minute))
		_, err = io.WriteString(nc, begin)
		for pace := time.NewTicker(100 * time.Millisecond); err == nil; {
			if reads {
				_, err = nc.Read(piece)
			} else {
				_, err = nc.Write(piece)
			}
			select {
			case <-pace.C:
			case <-c.ctx.Done():
				pace.Stop()
				err = c.ctx.Err()
			}
		}
		nc.Close()
	}
}

// manyStreams has clients that use all the streams they may of all their
// connections. What it returns judges what they were answered.
func (c *crowd) manyStreams() (judge func(*testing.T)) {
	var mu sync.Mutex
	answers := make(map[string]int)
	for range crowdConns {
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		tr := &http.Transport{Protocols: protocols, DisableCompression: true, HTTP2: &http.HTTP2Config{StrictMaxConcurrentRequests: true}}
		c.t.Cleanup(tr.CloseIdleConnections)
		for stream := range crowdStreams {
			c.going.Go(func() {
				for n := stream; c.ctx.Err() == nil; n++ {
					answer := c.ask(tr, unevenly(n))
					mu.Lock()
					answers[answer]++
					mu.Unlock()
				}
			})
		}
	}
	return func(t *testing.T) {
		t.Helper()
		t.Logf("answers on %d streams: %v", crowdConns*crowdStreams, answers)
		delete(answers, "left")
		if answers["200 OK"] == 0 || len(answers) != 1 {
			t.Error("want them all to be 200")
		}
	}
}

// unevenly is the path of a request that takes from 0.5 to 1.5 s. Users keep no
// step: if all took a second, what 256 of them cost would fall due at once.
func unevenly(n int) string { return fmt.Sprintf("/streams/slow?ms=%d", 500+n*379%1000) }

// ask sends one request over a connection, and says what came of it.
func (c *crowd) ask(tr *http.Transport, path string) string {
	req, err := http.NewRequestWithContext(c.ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := tr.RoundTrip(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	switch {
	case c.ctx.Err() != nil:
		return "left"
	case err != nil:
		return err.Error()
	}
	return resp.Status
}

// tooManyStreams has a client that opens 1,000 streams on one connection, whatever
// the front says. It gets what is allowed, and a reset for each of the others
// (RFC 9113 section 5.1.2).
func (c *crowd) tooManyStreams() {
	c.t.Helper()
	const most = crowdConns * crowdStreams
	h := c.dialH2(c.t)
	defer h.nc.Close()
	h.settled()
	var ids []uint32
	for i := range most {
		id := uint32(2*i + 1)
		ids = append(ids, id)
		h.ask(id, true, asksH2("GET", unevenly(i))...)
	}
	got, gone := h.answers(ids...)
	words := make(map[string]int)
	for _, id := range ids {
		words[got[id].word()]++
	}
	if gone || words["200"] < crowdStreams || words["200"]+words["RST"] != most {
		c.t.Errorf("%d streams on one connection: %v, gone: %v; want %d answered and the others reset", most, words, gone, crowdStreams)
	}
}
