//go:build linux

package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// hoarded has clients that keep WebSockets and event streams for good, as many
// as they get. They have a limit of their own, and a restart ends them.
func hoarded(f *clientTrial) {
	const limit = 8
	webSocket := asks("GET /hoard/websocket", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	events := asks("GET /hoard/events")
	hoard := func() (kept []*bufio.Reader, conns []net.Conn) {
		for i := range limit {
			wire, want := webSocket, "101"
			if i%2 == 0 {
				wire, want = events, "200"
			}
			nc := f.dial(wire)
			br := bufio.NewReader(nc)
			resp, err := http.ReadResponse(br, nil)
			if err != nil || resp.Status[:3] != want {
				f.t.Fatalf("%d: %v %v, want %s", i, resp, err, want)
			}
			kept, conns = append(kept, br), append(conns, nc)
		}
		return kept, conns
	}
	kept, conns := hoard()
	b := f.bulkhead("hoard")
	if b.Upgrades != limit || b.InFlight != 0 {
		f.t.Errorf("%d upgrades and %d in flight, want %d and none", b.Upgrades, b.InFlight, limit)
	}
	wantProblem(f.t, f.raw(f.t, webSocket), 503, "too_many_connections", "refused", true)
	wantProblem(f.t, f.raw(f.t, events), 503, "too_many_connections", "partial", true)
	posted := strings.Replace(events, "GET", "POST", 1) // its work is done: what it is answered must not say otherwise
	wantProblem(f.t, f.raw(f.t, posted), 503, "too_many_connections", "partial", false)
	for range 40 {
		f.well("/hoard/ok")
	}
	for i, nc := range conns { // they still work
		if i%2 == 0 {
			continue
		}
		text := fmt.Sprint("text ", i)
		if _, err := io.WriteString(nc, text); err != nil {
			f.t.Error(err)
		}
		echo := make([]byte, len(text))
		if _, err := io.ReadFull(kept[i], echo); err != nil || string(echo) != text {
			f.t.Errorf("the echo of %q is %q (%v)", text, echo, err)
		}
	}

	begun := time.Now()
	f.must("restart", "hoard")
	for _, br := range kept {
		_, err := io.Copy(io.Discard, br) // to the end, whichever
		if errors.Is(err, os.ErrDeadlineExceeded) {
			f.t.Errorf("one is still open %v after the restart began", time.Since(begun))
		}
	}
	f.t.Logf("all were over %v after the restart began", time.Since(begun))
	eventually(f.t, 2*time.Second, "no upgrade is left", func() bool { return f.bulkhead("hoard").Upgrades == 0 })
	_, again := hoard()
	for _, nc := range append(conns, again...) {
		nc.Close()
	}
}
