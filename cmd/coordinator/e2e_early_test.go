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
)

// A connection whose request was answered before its body had come is not used
// again: what follows is that body, and must never be taken for a request.
func TestE2EBodyBehindAnEarlyAnswer(t *testing.T) {
	var seen tally
	backend := rawBackend(t, func(nc net.Conn, br *bufio.Reader) {
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			seen.add(r)
			if r.URL.Path != "/x/early" {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
			if r.URL.Path == "/x/early" {
				return
			}
		}
	})
	s := runSite(t, "COORDINATOR_BULKHEADS=x", "BULKHEAD_X_ROUTES=/x", "BULKHEAD_X_BACKEND="+backend, "BULKHEAD_X_WORKERS=1")
	const smuggled = "GET /x/late HTTP/1.1\r\nHost: x\r\nX-Name: smuggled\r\n\r\n"
	for _, c := range []struct {
		name, head, body string
		before           func()
		status           string
	}{
		{"Content-Length", fmt.Sprintf("Content-Length: %d", len(smuggled)), smuggled, nil, "200"},
		{"long Content-Length", fmt.Sprintf("Content-Length: %d", 1<<20), smuggled, nil, "200"},
		{"chunked", "Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n%s", len(smuggled), smuggled, smuggled), nil, "200"},
		{"no route", "Content-Length: 100", smuggled, nil, "404"},
		{"refused", fmt.Sprintf("Content-Length: %d", 1<<20), smuggled, func() { s.must("breaker", "x", "open") }, "503"},
		{"refused, Expect", fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d", len(smuggled)), smuggled, nil, "503"},
	} {
		if c.before != nil {
			c.before()
		}
		nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
		path := "/x/early"
		if c.status == "404" {
			path = "/nowhere"
		}
		fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", path, c.head)
		br := bufio.NewReader(nc)
		begun := time.Now()
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		body, err := io.ReadAll(resp.Body)
		t.Logf("%s: %s after %v, %q, close %v", c.name, resp.Status, time.Since(begun), body, resp.Close)
		if !strings.HasPrefix(resp.Status, c.status) || err != nil || !resp.Close {
			t.Errorf("%s: %s, %v, connection to be closed: %v", c.name, resp.Status, err, resp.Close)
		}
		_, _ = io.WriteString(nc, c.body)
		if rest, _ := io.ReadAll(br); len(rest) > 0 {
			t.Errorf("%s: the body was answered with %q", c.name, rest)
		}
		nc.Close()
	}
	if n := seen.of("smuggled"); n > 0 {
		t.Errorf("%d bodies were taken for requests", n)
	}
}

// Answers to requests with bodies leave their connection as it should be.
func TestE2EKeepAliveBehindBodies(t *testing.T) {
	var seen tally
	backend := rawBackend(t, func(nc net.Conn, br *bufio.Reader) {
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			seen.add(r)
			fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	s := runSite(t, "COORDINATOR_BULKHEADS=x", "BULKHEAD_X_ROUTES=/x", "BULKHEAD_X_BACKEND="+backend, "BULKHEAD_X_MAX_BODY=1KiB")
	nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	br := bufio.NewReader(nc)
	const rounds = 200
	ask := func(path, status string) {
		fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: x\r\nX-Name: kept\r\nContent-Length: 500\r\n\r\n%s", path, strings.Repeat("b", 500))
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if !strings.HasPrefix(resp.Status, status) || resp.Close {
			t.Fatalf("%s: %s, connection to be closed: %v", path, resp.Status, resp.Close)
		}
	}
	for range rounds {
		ask("/x", "200")
		ask("/nowhere", "404")
	}
	s.must("breaker", "x", "open")
	for range rounds {
		ask("/x", "503")
	}
	if n := seen.of("kept"); n != rounds {
		t.Errorf("the backend saw %d requests, want %d", n, rounds)
	}
}
