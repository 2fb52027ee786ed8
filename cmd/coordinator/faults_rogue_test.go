//go:build linux

package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A rogue is a backend on a real socket. It answers "ok" in good order, behind
// what "say" gives and "ms" later, unless the last element of a path names a
// misdeed.
type rogue struct {
	t    *testing.T
	addr string
	lag  time.Duration // of every good answer; set before the first request

	requests atomic.Int64
	seen     tally       // by X-Name
	sick     atomic.Bool // it answers 503 to all
	sickened atomic.Int64
	gone     chan struct{} // told of each connection on which a misdeed ended

	mu      sync.Mutex
	ln      net.Listener // nil: it refuses
	open    map[net.Conn]bool
	serving sync.WaitGroup
}

func startRogue(t *testing.T) *rogue {
	t.Helper()
	b := &rogue{t: t, addr: "127.0.0.1:0", open: map[net.Conn]bool{}, gone: make(chan struct{}, 1024)}
	b.up()
	t.Cleanup(func() {
		b.down()
		b.serving.Wait()
	})
	return b
}

// behind are the settings of a faulty bulkhead with this backend.
func (b *rogue) behind(settings ...string) []string {
	return append([]string{"BULKHEAD_FAULTY_WORKER=proxy", "BULKHEAD_FAULTY_BACKEND=http://" + b.addr}, settings...)
}

// up listens, again at the same address.
func (b *rogue) up() {
	b.t.Helper()
	ln, err := net.Listen("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = ln.Addr().String()
	b.mu.Lock()
	b.ln = ln
	b.mu.Unlock()
	b.serving.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			if !b.admit(ln, nc) {
				continue
			}
			b.serving.Go(func() {
				b.serve(nc)
				nc.Close()
				b.mu.Lock()
				delete(b.open, nc)
				b.mu.Unlock()
			})
		}
	})
}

func (b *rogue) admit(ln net.Listener, nc net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ln != ln {
		sendReset(nc)
		return false
	}
	b.open[nc] = true
	return true
}

// down refuses whoever connects, and resets who is connected.
func (b *rogue) down() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ln != nil {
		b.ln.Close()
	}
	b.ln = nil
	for nc := range b.open {
		sendReset(nc)
	}
}

// sendReset ends a connection with an RST.
func sendReset(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	nc.Close()
}

func (b *rogue) serve(nc net.Conn) {
	br := bufio.NewReader(nc)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		b.requests.Add(1)
		b.seen.add(r)
		what := path.Base(r.URL.Path)
		if misdeed, ok := misdeeds[what]; ok {
			misdeed(nc, br, r)
			b.gone <- struct{}{}
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if b.sick.Load() {
			if r.Header.Get("X-Name") == "" {
				b.sickened.Add(1)
			}
			_, err = io.WriteString(nc, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nsick")
		} else {
			ms, _ := strconv.Atoi(r.FormValue("ms"))
			time.Sleep(max(b.lag, time.Duration(ms)*time.Millisecond))
			say := r.FormValue("say") + "ok"
			_, err = fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(say), say)
		}
		if err != nil {
			return
		}
	}
}

// A misdeed is what a backend does with a request whose head it has read. The
// connection is closed when it returns.
type misdeed func(nc net.Conn, br *bufio.Reader, r *http.Request)

// evil is an answer to nobody's request. No client may ever see its status.
const evil = "HTTP/1.1 599 Evil\r\nContent-Length: 4\r\n\r\nevil"

var misdeeds = map[string]misdeed{
	// Nothing, or too late.
	"hang": awaitEnd,
	"slow-head": func(nc net.Conn, _ *bufio.Reader, _ *http.Request) {
		drip(nc, "HTTP/1.1 200 OK\r\nX-Slow: "+strings.Repeat("s", 1000), 50*time.Millisecond)
	},
	"stall": func(nc net.Conn, br *bufio.Reader, r *http.Request) {
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		awaitEnd(nc, br, r)
	},
	"drip": func(nc net.Conn, _ *bufio.Reader, _ *http.Request) {
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
		drip(nc, "drop by drop", 250*time.Millisecond)
	},

	// No answer.
	"empty": says(""),
	"reset": func(nc net.Conn, _ *bufio.Reader, _ *http.Request) { sendReset(nc) },
	"half-close": func(nc net.Conn, br *bufio.Reader, r *http.Request) {
		_ = nc.(*net.TCPConn).CloseWrite()
		awaitEnd(nc, br, r)
	},
	"half-head":   says("HTTP/1.1 200 OK\r\nContent-Le"),
	"half-status": says("HTTP/1.1 20"),

	// No HTTP, or not one answer.
	"garbage":       says("\x16\x03\x01\x02 no HTTP\r\n\r\n"),
	"letters":       says("HTTP/1.1 2OO OK\r\nContent-Length: 0\r\n\r\n"),
	"two-lengths":   says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
	"length-coding": says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
	"folded":        says("HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n"),
	"bare-lf":       says("HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
	"nul":           says("HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n"),
	"huge-field":    pours("HTTP/1.1 200 OK\r\nX-Huge: ", strings.Repeat("h", 64<<10), 12<<20),
	"many-fields":   pours("HTTP/1.1 200 OK\r\n", strings.Repeat("X-Many: m\r\n", 1000), 12<<20),
	"endless-early": pours("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 1<<30),

	// Begun and not finished.
	"short":         says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
	"short-chunked": says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
	"in-a-chunk":    says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf"),
	"reset-length":  saysAndResets("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
	"reset-chunked": saysAndResets("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
	"reset-close":   saysAndResets("HTTP/1.1 200 OK\r\n\r\nhalf"),
	"bad-chunk": func(nc net.Conn, _ *bufio.Reader, _ *http.Request) {
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
		time.Sleep(20 * time.Millisecond) // so that it is on its way to the client
		_, _ = io.WriteString(nc, "zz\r\n")
	},
	"endless-size":    pours("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4;x=", strings.Repeat("e", 64<<10), 1<<30),
	"endless-trailer": pours("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", strings.Repeat("X-Many: m\r\n", 1000), 1<<30),
	"endless":         pours("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "10000\r\n"+strings.Repeat("e", 64<<10)+"\r\n", 1<<40),

	// In order, but not at the time one expects.
	"early": says("HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\n\r\nenough."),
	"expect": func(nc net.Conn, br *bufio.Reader, _ *http.Request) {
		_, _ = io.WriteString(nc, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, br)
	},
	"hints": says(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 50) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),

	// More than was asked for.
	"together": says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + evil),
	"afterwards": func(nc net.Conn, _ *bufio.Reader, _ *http.Request) {
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		time.Sleep(10 * time.Millisecond) // the connection is idle by then
		_, _ = io.WriteString(nc, evil)
	},
	"farewell": says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
}

// awaitEnd takes no notice of what comes until the connection ends.
func awaitEnd(_ net.Conn, br *bufio.Reader, _ *http.Request) { _, _ = io.Copy(io.Discard, br) }

func says(answer string) misdeed {
	return func(nc net.Conn, _ *bufio.Reader, _ *http.Request) { _, _ = io.WriteString(nc, answer) }
}

func saysAndResets(answer string) misdeed {
	return func(nc net.Conn, _ *bufio.Reader, _ *http.Request) {
		_, _ = io.WriteString(nc, answer)
		time.Sleep(20 * time.Millisecond) // or the RST may overtake what the client is to see
		sendReset(nc)
	}
}

// pours says one thing again and again, until nobody listens or so many bytes
// were said.
func pours(first, again string, most int) misdeed {
	return func(nc net.Conn, _ *bufio.Reader, _ *http.Request) {
		_, err := io.WriteString(nc, first)
		for n := 0; err == nil && n < most; n += len(again) {
			_, err = io.WriteString(nc, again)
		}
	}
}

// drip writes a byte at a time.
func drip(nc net.Conn, text string, every time.Duration) {
	for i := range len(text) {
		time.Sleep(every)
		if _, err := nc.Write([]byte{text[i]}); err != nil {
			return
		}
	}
}

// blackhole is an address at which connecting takes for ever: the queue of its
// listener is full, and nobody accepts.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	err = errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0))
	if err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	for range 16 {
		nc, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			return "http://" + addr
		}
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
	}
	t.Skip("the queue of a listener does not fill here")
	return ""
}

// clientH2 speaks HTTP/2 with prior knowledge.
func clientH2(t *testing.T) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}
