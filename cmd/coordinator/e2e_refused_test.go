//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A backend that refuses a stream proves that it did nothing: even a payment is
// offered once more, and if it is refused again the client is told that it may
// try, whatever the method.
func TestE2ERefusedStreams(t *testing.T) {
	var seen tally
	backend := rawBackend(t, func(nc net.Conn, br *bufio.Reader) {
		if _, err := io.ReadFull(br, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		fr := http2.NewFramer(nc, br)
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		_ = fr.WriteSettings()
		for {
			frame, err := fr.ReadFrame()
			if err != nil {
				return
			}
			switch f := frame.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = fr.WriteSettingsAck()
				}
			case *http2.MetaHeadersFrame:
				name, path := field(f, "x-name"), f.PseudoValue("path")
				seen.add(&http.Request{Header: http.Header{"X-Name": {name}}})
				switch {
				case path == "/x/never", path == "/x/once" && seen.of(name) == 1:
					_ = fr.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
				case path == "/x/broken":
					_ = fr.WriteRSTStream(f.StreamID, http2.ErrCodeInternal)
				default:
					var block bytes.Buffer
					_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "204"})
					_ = fr.WriteHeaders(http2.HeadersFrameParam{
						StreamID: f.StreamID, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true,
					})
				}
			}
		}
	})
	s := runSite(t, "COORDINATOR_BULKHEADS=x", "BULKHEAD_X_ROUTES=/x", "BULKHEAD_X_BACKEND="+backend,
		"BULKHEAD_X_BACKEND_PROTOCOL=http2", "BULKHEAD_X_WORKERS=1", "BULKHEAD_X_BREAKER_MODE=observe")
	client := newClient(t)
	for _, c := range []struct {
		target, name, status, says string
		seen                       int
	}{
		{"/x/once", "once", "204 No Content", "", 2}, // the budget's first token
		{"/x/never", "never", "502 Bad Gateway", `"outcome":"never_sent","retry_safe":true`, 1},
		{"/x/broken", "broken", "502 Bad Gateway", `"outcome":"sent_unknown","retry_safe":false`, 1},
	} {
		a, err := probe{method: "POST", target: c.target}.with("X-Name", c.name).ask(client, s.url)
		if err != nil {
			t.Fatal(err)
		}
		if a.status != c.status || !strings.Contains(strings.ReplaceAll(a.body, ": ", ":"), c.says) || seen.of(c.name) != c.seen {
			t.Errorf("%s: %s, %s; the backend saw it %d times", c.target, a.status, a.body, seen.of(c.name))
		}
	}
	if n := s.metric("coordinator_retries_total"); n != 1 {
		t.Errorf("%v retries", n)
	}
}

func field(f *http2.MetaHeadersFrame, name string) string {
	for _, hf := range f.RegularFields() {
		if hf.Name == name {
			return hf.Value
		}
	}
	return ""
}
