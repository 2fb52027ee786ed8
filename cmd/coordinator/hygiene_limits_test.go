//go:build linux

package main_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// A client has 100 streams on an HTTP/2 connection, or what was set, and is told
// so.
func TestHygieneStreams(t *testing.T) {
	t.Run("default", func(t *testing.T) { streams(t, 100) })
	t.Run("set", func(t *testing.T) { streams(t, 7, "COORDINATOR_MAX_STREAMS=7") })
}

func streams(t *testing.T, most uint32, settings ...string) {
	arrived := make(chan struct{}, 2*most)
	backend := rawBackend(t, func(_ net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			arrived <- struct{}{}
			_, _ = io.Copy(io.Discard, br) // until it is closed
		}
	})
	s := runSite(t, append(settings, "COORDINATOR_BULKHEADS=x", "BULKHEAD_X_ROUTES=/x", "BULKHEAD_X_BACKEND="+backend,
		"BULKHEAD_X_LIMIT=128", "BULKHEAD_X_TIMEOUT=20s")...)
	c := s.dialH2(t)
	told := uint32(0)
	for told == 0 {
		f, err := c.fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if settings, ok := f.(*http2.SettingsFrame); ok && !settings.IsAck() {
			told, _ = settings.Value(http2.SettingMaxConcurrentStreams)
			c.wrote(c.fr.WriteSettingsAck())
		}
	}
	if told != most {
		t.Errorf("SETTINGS_MAX_CONCURRENT_STREAMS is %d, want %d", told, most)
	}
	for i := range most {
		c.ask(2*i+1, true, asksH2("GET", "/x/hang")...)
	}
	for range most {
		select {
		case <-arrived:
		case <-time.After(10 * time.Second):
			t.Fatal("not all streams got to the backend")
		}
	}
	over := 2*most + 1
	c.ask(over, true, asksH2("GET", "/x/hang")...)
	if got, gone := c.answers(over); gone || got[over].word() != "RST" {
		t.Errorf("stream %d of a connection with %d: %s, connection over: %v", over, most, got[over].word(), gone)
	}
	if n := s.bulkhead("x").InFlight; n != int(most) {
		t.Errorf("%d in flight, want %d", n, most)
	}
	c.nc.Close()
	eventually(t, 2*time.Second, "all are cancelled with their connection", func() bool { return s.bulkhead("x").InFlight == 0 })
}
