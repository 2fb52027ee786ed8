//go:build linux

package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The hosts of the corpus. No route names the first, so a path without a route
// is an unknown host's for it.
const (
	hygieneHost       = "front.example"
	hygieneRoutedHost = "shop.example"
)

// A hostile is what one client writes on one connection, and what has to come
// of it.
type hostile struct {
	name   string
	source string // the section, the advisory or the class that it is from
	wire   string
	// What comes of it, in the order of the answers, separated by "; ": the
	// status where the coordinator answers itself, and of what the backend
	// answers the method, the target and the bytes of the body that it got.
	// "close" at the end: and the connection is closed. Other acceptable outcomes
	// follow behind " | ".
	want string
	head bool // the first answer is to HEAD
}

// afterwards is written behind each entry, in the same write: it is answered as
// what it is, or not at all.
const (
	afterwards     = "GET /x/after HTTP/1.1\r\nHost: " + hygieneHost + "\r\nConnection: close\r\n\r\n"
	afterwardsSeen = "GET /x/after 0"
)

// asks is a request with a Host.
func asks(line string, fields ...string) string {
	head := line + " HTTP/1.1\r\nHost: " + hygieneHost + "\r\n"
	for _, field := range fields {
		head += field + "\r\n"
	}
	return head + "\r\n"
}

// smuggled is what must not become a request.
var smuggled = asks("GET /x/smuggled")

func hygieneSite(t *testing.T) (*site, *recorder) {
	t.Helper()
	r := newRecorder(t)
	return runSite(t, "COORDINATOR_LOG_LEVEL=info", "COORDINATOR_BULKHEADS=x,raw,shop",
		"BULKHEAD_X_ROUTES=/x", "BULKHEAD_X_BACKEND="+r.origin, "BULKHEAD_X_WORKERS=1", "BULKHEAD_X_BREAKER_MODE=observe",
		"BULKHEAD_RAW_ROUTES=/raw", "BULKHEAD_RAW_BACKEND="+r.origin, "BULKHEAD_RAW_WORKERS=1", "BULKHEAD_RAW_PATH=raw",
		"BULKHEAD_SHOP_ROUTES="+hygieneRoutedHost+"/shop", "BULKHEAD_SHOP_BACKEND="+r.origin, "BULKHEAD_SHOP_WORKERS=1", "BULKHEAD_SHOP_HOST_HEADER=preserve",
	), r
}

// TestHygieneCorpus: one request in is at most one request out and exactly one
// answer, and nobody else's answers are moved by it.
func TestHygieneCorpus(t *testing.T) {
	s, r := hygieneSite(t)
	bystander := s.bystander(t)
	corpus := slices.Concat(framingCorpus(), chunkCorpus(), lineCorpus(), pipelineCorpus(), hostCorpus(), targetCorpus(), fieldCorpus(), sizeCorpus())
	names := make(map[string]bool)
	for _, c := range corpus {
		if names[c.name] {
			t.Errorf("two entries %q", c.name)
		}
		names[c.name] = true
		c.try(t, s, r)
		bystander.ask(r)
	}
	if _, faults := r.since(0); len(faults) > 0 {
		t.Errorf("the backend got %q", faults)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Logf("%d entries; the backend got %d requests on %d connections, %d broke off", len(corpus), len(r.seen), r.conns, r.cut)
	if len(corpus) < 120 {
		t.Errorf("%d entries, want 120", len(corpus))
	}
	if r.conns > len(r.seen)/4 {
		t.Errorf("%d requests on %d connections: one that is used once shows nothing", len(r.seen), r.conns)
	}
}

// try writes the entry and compares what both ends saw.
func (c *hostile) try(t *testing.T, s *site, r *recorder) {
	t.Helper()
	before := func() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.seen) }()
	nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	wrote := make(chan struct{})
	go func() { // a long one may be refused before it is written
		defer close(wrote)
		_, _ = io.WriteString(nc, c.wire+afterwards)
	}()
	got := c.answers(t, nc)
	nc.Close()
	<-wrote
	seen, faults := r.since(before)
	if len(faults) > 0 {
		r.mu.Lock()
		r.faults = nil
		r.mu.Unlock()
		t.Errorf("%s (%s): the backend got %q", c.name, c.source, faults)
	}
	if !c.holds(got) {
		t.Errorf("%s (%s): got %q, want %q", c.name, c.source, strings.Join(got, "; "), c.want)
	}
	own := func(answer string) bool { return isStatus(answer) || answer == reset }
	if passed := slices.DeleteFunc(slices.Clone(got), own); !slices.Equal(passed, seen) {
		t.Errorf("%s (%s): the client was answered for %q, the backend got %q", c.name, c.source, passed, seen)
	}
}

// holds compares the answers with each acceptable outcome.
func (c *hostile) holds(got []string) bool {
	for outcome := range strings.SplitSeq(c.want, " | ") {
		want := strings.Split(outcome, "; ")
		closes := want[len(want)-1] == "close"
		if closes {
			want = want[:len(want)-1]
		}
		last := want[len(want)-1]
		switch {
		case slices.Equal(got, want) && (closes || isStatus(last)): // to close is always safe
			return true
		case closes && len(got) > 0 && got[len(got)-1] == reset && slices.Equal(got[:len(got)-1], want):
			return true
		case !closes && slices.Equal(got, append(want, afterwardsSeen)):
			return true
		}
	}
	return false
}

func isStatus(answer string) bool {
	_, err := strconv.Atoi(answer)
	return err == nil
}

// answers reads all answers of a connection to its end, in the words of want.
func (c *hostile) answers(t *testing.T, nc net.Conn) (got []string) {
	t.Helper()
	br := bufio.NewReader(nc)
	for {
		if _, err := br.Peek(1); err != nil {
			if !errors.Is(err, io.EOF) {
				got = append(got, readError(err))
			}
			return got
		}
		asked := &http.Request{Method: http.MethodGet}
		if c.head && len(got) == 0 {
			asked.Method = http.MethodHead
		}
		resp, err := http.ReadResponse(br, asked)
		if err != nil {
			return append(got, readError(err))
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return append(got, readError(err))
		}
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		got = append(got, c.answer(t, resp, string(body)))
	}
}

// reset is the end of a connection that was closed over bytes nobody had read.
const reset = "reset"

func readError(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "silence"
	case errors.Is(err, syscall.ECONNRESET):
		return reset
	}
	return err.Error()
}

// answer is one in the words of want.
func (c *hostile) answer(t *testing.T, resp *http.Response, body string) string {
	t.Helper()
	if seen := resp.Header.Get("X-Seen"); seen != "" {
		if body != seen && resp.Request.Method != http.MethodHead {
			t.Errorf("%s: the answer for %q has the body %q", c.name, seen, body)
		}
		return seen
	}
	var p problem
	if err := json.Unmarshal([]byte(body), &p); err != nil && resp.Request.Method != http.MethodHead && resp.StatusCode != http.StatusExpectationFailed {
		t.Errorf("%s: %s with %q, which are no problem details", c.name, resp.Status, body)
	}
	if p.Reason != "" && p.Reason != "bad_request" && p.Reason != "no_route" && p.Reason != "body_too_large" {
		t.Errorf("%s: %s, reason %s", c.name, resp.Status, p.Reason)
	}
	return strconv.Itoa(resp.StatusCode)
}

// A bystander asks on a connection of its own, which it keeps.
type bystander struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
	n  int
}

func (s *site) bystander(t *testing.T) *bystander {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &bystander{t: t, nc: nc, br: bufio.NewReader(nc)}
}

// ask wants an answer to its question, and the backend to have got no other.
func (b *bystander) ask(r *recorder) {
	b.t.Helper()
	b.n++
	before := func() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.seen) }()
	_ = b.nc.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(b.nc, asks(fmt.Sprint("GET /x/bystander/", b.n))); err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.ReadResponse(b.br, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	want := fmt.Sprintf("GET /x/bystander/%d 0", b.n)
	if string(body) != want || err != nil {
		b.t.Fatalf("the bystander got %s %q (%v), want %q: the answers are out of step", resp.Status, body, err, want)
	}
	if seen, _ := r.since(before); !slices.Equal(seen, []string{want}) {
		b.t.Errorf("beside %q the backend got %q", want, seen)
	}
}
