//go:build linux

package main_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
	{"the client takes nothing of a long answer", "partial", 1, func(c *cashier, id string) { c.takesOne(id, "large", make([]byte, 1<<20)).leave() }},
	{"the client leaves before the last of the answer", "undelivered", 1, func(c *cashier, id string) {
		asked := c.takesOne(id, "x", nil)
		c.until("the worker has handed over all of it", func() bool { return c.bulkhead("pay").InFlight == 0 })
		if story := c.story(id); story == nil || story.State != journal.InFlight {
			c.t.Errorf("while its client may still take it: %+v", story)
		}
		asked.leave()
	}},
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
	s.set("COORDINATOR_BULKHEADS=pay,narrow,dark",
		"BULKHEAD_NARROW_ROUTES=/narrow/", "BULKHEAD_NARROW_BACKEND="+l.URL, "BULKHEAD_NARROW_LIMIT=1", "BULKHEAD_NARROW_QUEUE=4",
		"BULKHEAD_NARROW_QUEUE_TIMEOUT=20s", "BULKHEAD_NARROW_WORKERS=1",
		"BULKHEAD_DARK_ROUTES=/dark/", "BULKHEAD_DARK_BACKEND="+closedPort(t), "BULKHEAD_DARK_BREAKER_MODE=closed", "BULKHEAD_DARK_WORKERS=1")
	s.start()
	c := &cashier{s, l, t}
	truth := make(map[string]step)
	for round := range rounds {
		for i, step := range steps {
			c.until("the workers are there", func() bool { return c.staffed("pay") })
			id := fmt.Sprintf("r%d-s%d", round, i)
			step.run(c, id)
			truth[id] = step
			var story *journal.Story
			c.until(step.name+": its end is recorded", func() bool { story = c.story(id); return story != nil && story.State == journal.Closed })
			if !slices.Contains(strings.Fields(step.outcomes), story.Outcome) || step.done >= 0 && c.count(id) != step.done {
				t.Errorf("%s: %s, done %d times: %+v", step.name, story.Outcome, c.count(id), story)
			}
			if step.outcomes == "undelivered" {
				explained := strings.Join(strings.Fields(s.must("journal", "explain", id)), " ")
				if !strings.Contains(explained, "Its outcome is undelivered, because of client_gone.") || !strings.Contains(explained, "only its answer was lost") {
					t.Errorf("%s: %s", step.name, explained)
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
	t.Logf("%d requests at %d steps agree", len(told), len(steps))
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

// signals has all its workers get sig. One that was stopped does nothing more.
func (c *cashier) signals(bulkhead string, sig syscall.Signal) {
	c.t.Helper()
	for _, pid := range c.pids(bulkhead) {
		_ = syscall.Kill(pid, sig)
		if sig == syscall.SIGSTOP {
			c.until("it has stopped", func() bool { return state(pid) == 'T' })
		}
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
	a, body := c.begins(&http.Transport{DisableKeepAlives: true}, id, "stream", []byte("amount=1"))
	if _, err := io.ReadFull(body, make([]byte, 4)); err != nil {
		c.t.Fatal(err)
	}
	a.ended.Go(func() { _, _ = io.Copy(io.Discard, body); body.Close() })
	return a
}

// takesOne is a request of whose answer the client takes one byte: that is its
// window, where the buffers of a socket are as large as a system likes.
func (c *cashier) takesOne(id, what string, body []byte) *asking {
	c.t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 1}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	c.t.Cleanup(tr.CloseIdleConnections)
	a, _ := c.begins(tr, id, what, body)
	return a
}

// begins is a request whose answer has begun.
func (c *cashier) begins(tr *http.Transport, id, what string, body []byte) (*asking, io.ReadCloser) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	r, err := http.NewRequestWithContext(ctx, "POST", c.url+"/pay/"+id+"/"+what, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("X-Request-Id", id)
	resp, err := tr.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	return &asking{cancel: cancel}, resp.Body
}
