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
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// A cashier sends payments to a site, and breaks something at one step of their way.
type cashier struct {
	*site
	*ledger
	t *testing.T
}

// step is one of them. The request that it makes has that id; what it ends as is
// one of outcomes, the last part of the way that the truth can be known of.
type step struct {
	name     string
	outcomes string
	done     int // works; -1: the outcome says
	run      func(c *cashier, id string)
}

var steps = []step{
	{"nothing happens", "done", 1, func(c *cashier, id string) { c.asks(id, "pay", "x").wait() }},
	{"the client leaves the queue", "refused", 0, func(c *cashier, id string) {
		first := c.asks(id+"-first", "narrow", "hold")
		c.works(id + "-first")
		queued := c.asks(id, "narrow", "bare")
		c.until("it is queued", func() bool { return c.bulkhead("narrow").QueueDepth == 1 })
		queued.leave()
		c.until("it is out", func() bool { return c.bulkhead("narrow").QueueDepth == 0 })
		close(c.gate(id + "-first"))
		first.wait()
	}},
	{"the client leaves while the backend works", "sent_unknown", 1, func(c *cashier, id string) {
		asked := c.asks(id, "pay", "hold")
		c.works(id)
		asked.leave()
	}},
	{"the client leaves in mid-answer", "partial", 1, func(c *cashier, id string) { c.reads(id).leave() }},
	{"the client reads nothing and leaves", "done partial undelivered", 1, nil}, // of many sizes: see readsNothing
	{"the worker dies before it sends", "never_sent done", -1, func(c *cashier, id string) {
		c.signals("pay", syscall.SIGSTOP)
		asked := c.asks(id, "pay", "x")
		c.until("it has left", func() bool { return c.open() == 1 })
		c.signals("pay", syscall.SIGKILL)
		asked.wait()
	}},
	{"the worker dies after it sent", "sent_unknown", 1, func(c *cashier, id string) {
		asked := c.asks(id, "pay", "hold")
		c.works(id)
		c.signals("pay", syscall.SIGKILL)
		asked.wait()
	}},
	{"the worker dies in mid-answer", "partial", 1, func(c *cashier, id string) {
		asked := c.reads(id)
		c.signals("pay", syscall.SIGKILL)
		asked.wait()
	}},
	{"the backend refuses", "never_sent", 0, func(c *cashier, id string) { c.asks(id, "dark", "x").wait() }},
	{"the backend dies after the work", "sent_unknown", 1, func(c *cashier, id string) { c.asks(id, "pay", "cut").wait() }},
	{"the backend answers garbage", "sent_unknown", 1, func(c *cashier, id string) { c.asks(id, "pay", "garbage").wait() }},
	{"the backend dies in mid-answer", "partial", 1, func(c *cashier, id string) { c.asks(id, "pay", "part").wait() }},
	{"the supervisor dies before it is sent", "sent_unknown", 0, func(c *cashier, id string) {
		c.signals("pay", syscall.SIGSTOP)
		asked := c.asks(id, "pay", "x")
		c.until("it has left", func() bool { return c.open() == 1 })
		c.crash()
		asked.wait()
	}},
	{"the supervisor dies while the backend works", "sent_unknown", 1, func(c *cashier, id string) {
		asked := c.asks(id, "pay", "hold")
		c.works(id)
		c.crash()
		asked.wait()
	}},
	{"the supervisor dies in mid-answer", "sent_unknown", 1, func(c *cashier, id string) {
		asked := c.reads(id)
		c.crash()
		asked.wait()
	}},
}

// Whatever dies or leaves, and at whatever step: what the journal says is what the
// backend did.
func TestJournalAgreesAtEveryStep(t *testing.T) {
	rounds := 1
	if long {
		rounds = 20
	}
	l := newLedger(t)
	s := newSite(t, payments(l)...)
	s.set("COORDINATOR_BULKHEADS=pay,narrow,dark", "COORDINATOR_LISTEN=127.0.0.1:0,unix:"+s.dir+"/front.sock",
		"BULKHEAD_NARROW_ROUTES=/narrow/", "BULKHEAD_NARROW_BACKEND="+l.URL, "BULKHEAD_NARROW_LIMIT=1", "BULKHEAD_NARROW_QUEUE=4",
		"BULKHEAD_NARROW_QUEUE_TIMEOUT=20s", "BULKHEAD_NARROW_WORKERS=1",
		"BULKHEAD_DARK_ROUTES=/dark/", "BULKHEAD_DARK_BACKEND="+closedPort(t), "BULKHEAD_DARK_BREAKER_MODE=closed", "BULKHEAD_DARK_WORKERS=1")
	s.start()
	c := &cashier{s, l, t}
	truth := make(map[string]step)
	undelivered := 0
	for round := range rounds {
		for i, step := range steps {
			c.until("the workers are there", func() bool { return c.staffed("pay") })
			var ids []string
			if step.run == nil {
				ids = c.readsNothing(round, i)
			} else {
				ids = []string{fmt.Sprintf("r%d-s%d", round, i)}
				step.run(c, ids[0])
			}
			for _, id := range ids {
				truth[id] = step
				var story *journal.Story
				c.until(step.name+": its end is recorded", func() bool { story = c.story(id); return story != nil && story.State == journal.Closed })
				if !slices.Contains(strings.Fields(step.outcomes), story.Outcome) || step.done >= 0 && c.count(id) != step.done {
					t.Errorf("%s: %s, done %d times: %+v", step.name, story.Outcome, c.count(id), story)
				}
				if story.Outcome == "undelivered" {
					undelivered++
				}
			}
		}
	}
	s.signal(syscall.SIGTERM)
	s.exit(20 * time.Second)
	told := s.told()
	for id, story := range told {
		agrees(t, id, story.Outcome, l.count(id))
	}
	for id, step := range truth {
		if told[id] == nil {
			t.Errorf("%s: %s is not in the journal", step.name, id)
		}
	}
	t.Logf("%d requests at %d steps agree; %d undelivered", len(told), len(steps), undelivered)
}

func (c *cashier) until(what string, is func() bool) {
	c.t.Helper()
	eventually(c.t, 20*time.Second, what, is)
}

// works waits until the backend has done it.
func (c *cashier) works(id string) {
	c.t.Helper()
	c.until("the backend has it", func() bool { return c.count(id) == 1 })
}

// open is how many entries are; of a supervisor that answers.
func (c *cashier) open() int {
	st, err := c.tryStatus()
	if err != nil || st.Journal == nil {
		return -1
	}
	return st.Journal.Open
}

func (c *cashier) signals(bulkhead string, sig syscall.Signal) {
	for _, pid := range c.pids(bulkhead) {
		_ = syscall.Kill(pid, sig)
	}
}

// crash has the supervisor die, and another one take over.
func (c *cashier) crash() {
	c.t.Helper()
	_ = c.cmd.Process.Kill()
	<-c.exited
	c.start()
}

func (c *cashier) story(id string) *journal.Story {
	c.t.Helper()
	x, err := journal.NewReader(c.dir+"/state/journal").Explain(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(x.Stories) > 1 {
		c.t.Fatalf("%s is told %d times", id, len(x.Stories))
	}
	if len(x.Stories) == 0 {
		return nil
	}
	return x.Stories[0]
}

// asking is a request under way.
type asking struct {
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

func (a *asking) wait()  { a.ended.Wait(); a.cancel() }
func (a *asking) leave() { a.cancel(); a.ended.Wait() }

func (c *cashier) asks(id, bulkhead, what string) *asking {
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	a := &asking{cancel: cancel}
	url := c.url
	a.ended.Go(func() { post(ctx, url, "/"+bulkhead+"/"+id+"/"+what, id) })
	return a
}

// reads is a request of whose answer the client has half.
func (c *cashier) reads(id string) *asking {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	r, err := http.NewRequestWithContext(ctx, "POST", c.url+"/pay/"+id+"/stream", strings.NewReader("amount=1"))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("X-Request-Id", id)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err == nil {
		_, err = io.ReadFull(resp.Body, make([]byte, 4))
	}
	if err != nil {
		c.t.Fatal(err)
	}
	a := &asking{cancel: cancel}
	a.ended.Go(func() { _, _ = io.Copy(io.Discard, resp.Body); resp.Body.Close() })
	return a
}

// readsNothing asks for answers of many sizes and leaves without reading: some the
// client's system has by then, some are with the coordinator, of some the backend
// has a part. It returns their ids.
func (c *cashier) readsNothing(round, step int) (ids []string) {
	c.t.Helper()
	for size := 64 << 10; size <= 640<<10; size += 32 << 10 {
		id := fmt.Sprintf("r%d-s%d-%d", round, step, size)
		ids = append(ids, id)
		nc, err := net.Dial("unix", c.dir+"/front.sock")
		if err != nil {
			c.t.Fatal(err)
		}
		fmt.Fprintf(nc, "POST /pay/%s/large HTTP/1.1\r\nHost: x\r\nX-Request-Id: %s\r\nContent-Length: %d\r\n\r\n%s", id, id, size, make([]byte, size))
		c.works(id)
		// Until all of it has come as far as it will; a moment more where it is stuck.
		for begun := time.Now(); time.Since(begun) < 300*time.Millisecond && c.bulkhead("pay").InFlight > 0; {
			time.Sleep(5 * time.Millisecond) // between two looks
		}
		nc.Close()
	}
	return ids
}
