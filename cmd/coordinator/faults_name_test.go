//go:build linux

package main_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A resolver is a DNS server that says what it is told to.
type resolver struct {
	pc net.PacketConn

	mu      sync.Mutex
	addr    [4]byte
	broken  bool // then it answers SERVFAIL, NXDOMAIN or not at all, in turn
	failed  int
	serving sync.WaitGroup
}

// resolverAddr is a loopback address of its own: the port of DNS cannot be
// chosen.
const resolverAddr = "127.0.0.153"

func startResolver(t *testing.T) *resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp4", resolverAddr+":53")
	if err != nil {
		t.Skip("no port for a name server here: ", err)
	}
	d := &resolver{pc: pc}
	d.serving.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := d.answer(buf[:n]); answer != nil {
				_, _ = pc.WriteTo(answer, from)
			}
		}
	})
	t.Cleanup(func() {
		pc.Close()
		d.serving.Wait()
	})
	return d
}

func (d *resolver) set(addr [4]byte, broken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addr, d.broken = addr, broken
}

// failures is how many questions were answered badly.
func (d *resolver) failures() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

func (d *resolver) answer(question []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) == 0 {
		return nil
	}
	m.Header.Response, m.Additionals = true, nil
	q := m.Questions[0]
	switch {
	case d.broken:
		if d.failed++; d.failed%3 == 0 {
			return nil
		}
		m.Header.RCode = []dnsmessage.RCode{dnsmessage.RCodeServerFailure, dnsmessage.RCodeNameError}[d.failed%3-1]
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: d.addr},
		}}
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}

// FAULTS 42: a name that stops to resolve leaves the backend where it was; one
// that moves is followed, by busy connections too.
func TestFault42BackendName(t *testing.T) {
	beside(t)
	d := startResolver(t)
	first, second := [4]byte{127, 0, 0, 1}, [4]byte{127, 0, 0, 3}
	port := twoAddresses(t, net.IP(first[:]), net.IP(second[:]))
	d.set(first, false)
	s := newSite(t, "COORDINATOR_BULKHEADS=x", "BULKHEAD_X_ROUTES=/", "BULKHEAD_X_WORKERS=3", "BULKHEAD_X_BREAKER_MODE=observe",
		fmt.Sprintf("BULKHEAD_X_BACKEND=http://orders.legacy.example:%d", port), "BULKHEAD_X_BACKEND_CONN_MAX_AGE=1s",
		"BULKHEAD_X_ENV_GODEBUG=netdns=go")
	conf := s.dir + "/resolv.conf"
	if err := os.WriteFile(conf, []byte("nameserver "+resolverAddr+"\noptions timeout:5 attempts:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// In a namespace of its own, where the file of the system is this one.
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip(err)
	}
	s.wrap = []string{unshare, "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, conf}
	try := exec.Command(s.wrap[0], append(s.wrap[1:len(s.wrap):len(s.wrap)], "true")...)
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("no namespace of mounts here: %v %s", err, out)
	}
	s.start()
	client := newClient(t)
	var mu sync.Mutex
	var slowest time.Duration
	ask := func() string {
		t.Helper()
		begun := time.Now()
		a, err := get("/").ask(client, s.url)
		mu.Lock()
		slowest = max(slowest, time.Since(begun))
		mu.Unlock()
		if err != nil || a.status != "200 OK" {
			t.Errorf("%s %s %v", a.status, a.body, err)
		}
		return a.body
	}
	// keep asks for a while, so much that every worker has busy connections.
	keep := func(d time.Duration, want func(string) bool) {
		t.Helper()
		var asking sync.WaitGroup
		for range 6 {
			asking.Go(func() {
				for begun := time.Now(); time.Since(begun) < d; {
					if got := ask(); !want(got) {
						t.Errorf("%v on, it came from %s", time.Since(begun), got)
					}
					time.Sleep(5 * time.Millisecond) // between two
				}
			})
		}
		asking.Wait()
	}
	old, moved := net.IP(first[:]).String(), net.IP(second[:]).String()
	keep(500*time.Millisecond, func(from string) bool { return from == old })

	slowest = 0
	d.set(first, true)
	keep(span(7*time.Second, 30*time.Second), func(from string) bool { return from == old })
	t.Logf("%d questions were answered badly, the slowest request took %v", d.failures(), slowest)
	if d.failures() < 3 {
		t.Error("the resolver was not asked often enough to fail in every way")
	}
	if slowest > 1200*time.Millisecond+slack() { // nobody waits for a resolver for more than 1 s
		t.Errorf("a request took %v", slowest)
	}

	d.set(second, false)
	begun := time.Now()
	const followed = 6 * time.Second // an answer is used for 5 s, a connection for 1 s
	took := eventually(t, followed+slack(), "the backend is called at its new address", func() bool { return ask() == moved })
	keep(max(0, followed+slack()-time.Since(begun)), func(string) bool { return true })
	keep(500*time.Millisecond, func(from string) bool { return from == moved })
	t.Logf("first called at its new address after %v", took)
}

// twoAddresses serves at two addresses with one port; the answer is the address.
func twoAddresses(t *testing.T, ips ...net.IP) (port int) {
	t.Helper()
	for _, ip := range ips {
		ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: ip, Port: port})
		if err != nil {
			t.Fatal(err)
		}
		port = ln.Addr().(*net.TCPAddr).Port
		text := ip.String()
		serveRaw(t, ln, func(nc net.Conn, br *bufio.Reader) {
			for {
				if _, err := http.ReadRequest(br); err != nil {
					return
				}
				fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
			}
		})
	}
	return port
}
