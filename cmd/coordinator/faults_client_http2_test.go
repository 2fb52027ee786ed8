//go:build linux

package main_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// An h2flood is what a client writes over and over without reading.
type h2flood struct {
	name   string
	source string
	begin  func(*h2conn)                                   // once
	piece  func(c *h2conn, w *http2.Framer, stream uint32) // again and again, each time with the next stream
	closed bool                                            // the connection has to be
}

var h2floods = []h2flood{
	{name: "rapid reset", source: "CVE-2023-44487", piece: func(c *h2conn, w *http2.Framer, stream uint32) {
		_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.encode(asksH2("GET", "/narrow/hang")...), EndStream: true, EndHeaders: true})
		_ = w.WriteRSTStream(stream, http2.ErrCodeCancel)
	}},
	{name: "resets that the server has to make", source: "CVE-2025-8671", piece: func(c *h2conn, w *http2.Framer, stream uint32) {
		_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.encode(asksH2("POST", "/narrow/hang")...), EndHeaders: true})
		_ = w.WriteWindowUpdate(stream, 1<<31-1)
	}},
	{name: "CONTINUATION", source: "CVE-2023-45288", closed: true,
		begin: func(c *h2conn) {
			c.wrote(c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.encode(asksH2("GET", "/narrow/ok")...), EndStream: true}))
		},
		piece: func(c *h2conn, w *http2.Framer, _ uint32) {
			_ = w.WriteContinuation(1, false, c.encode("x-a", "some value that is in no table", "x-b", "some value that is in no table"))
		}},
	{name: "empty CONTINUATION", source: "VU#421644",
		begin: func(c *h2conn) {
			c.wrote(c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.encode(asksH2("GET", "/narrow/ok")...), EndStream: true}))
		},
		piece: func(_ *h2conn, w *http2.Framer, _ uint32) { _ = w.WriteContinuation(1, false, nil) }},
	{name: "SETTINGS", source: "CVE-2019-9515", piece: func(_ *h2conn, w *http2.Framer, _ uint32) {
		_ = w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16})
	}},
	{name: "PING", source: "CVE-2019-9512", piece: func(_ *h2conn, w *http2.Framer, _ uint32) { _ = w.WritePing(false, [8]byte{}) }},
	{name: "empty DATA", source: "CVE-2019-9518",
		begin: func(c *h2conn) { c.ask(1, false, asksH2("POST", "/narrow/sink")...) },
		piece: func(_ *h2conn, w *http2.Framer, _ uint32) { _ = w.WriteData(1, false, nil) }},
	{name: "WINDOW_UPDATE", source: "RFC 9113 10.5", piece: func(_ *h2conn, w *http2.Framer, _ uint32) { _ = w.WriteWindowUpdate(0, 1) }},
	{name: "PRIORITY", source: "CVE-2019-9513", piece: func(_ *h2conn, w *http2.Framer, stream uint32) {
		_ = w.WritePriority(stream, http2.PriorityParam{StreamDep: stream + 2, Weight: 7})
	}},
}

// floods has each of them for a moment. Whether or not the server ends the
// connection, nothing piles up in it.
func floods(f *clientTrial) {
	const most, frames = 32 << 20, 2_000_000
	for _, flood := range h2floods {
		c := f.dialH2(f.t)
		_ = c.nc.(*net.TCPConn).SetReadBuffer(4 << 10)
		if flood.begin != nil {
			flood.begin(c)
		}
		before, peak := f.supervisorMemory(), 0
		var batch bytes.Buffer
		w := http2.NewFramer(&batch, nil)
		w.AllowIllegalWrites = true
		begun, ends := time.Now(), time.Now().Add(span(time.Second, 10*time.Second))
		_ = c.nc.SetWriteDeadline(ends)
		sent, written, refused := 0, 0, error(nil)
		for stream := uint32(1); refused == nil && written < most && sent < frames && time.Now().Before(ends); {
			batch.Reset()
			for range 200 {
				flood.piece(c, w, stream)
				stream += 2
				sent++
			}
			n, err := c.nc.Write(batch.Bytes())
			written, refused = written+n, err
			peak = max(peak, f.supervisorMemory())
		}
		took := time.Since(begun).Round(time.Millisecond)
		patience := 100 * time.Millisecond
		if flood.closed {
			patience = 5 * time.Second
		}
		open := c.goneWithin(patience)
		f.t.Logf("%s (%s): %d times, %d KiB in %v, then %v, %v; RssAnon rose by at most %d KiB",
			flood.name, flood.source, sent, written>>10, took, refused, open, peak-before)
		if peak-before > 32<<10 {
			f.t.Errorf("%s: RssAnon of the supervisor rose by %d KiB", flood.name, peak-before)
		}
		if flood.closed && open != nil {
			f.t.Errorf("%s: the connection is %v", flood.name, open)
		}
		_ = c.nc.(*net.TCPConn).SetLinger(0) // what the server has not read yet is dropped with it
		c.nc.Close()
		f.well("/faulty/ok")
		f.idle("narrow", 3*time.Second)
	}
}

// sharedH2 is a client with one HTTP/2 connection for all that it asks.
func (f *clientTrial) sharedH2() (client *http.Client, dials *atomic.Int64) {
	dials = new(atomic.Int64)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols, DisableCompression: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 15 * time.Second}, dials
}

// endless is a body that counts what was taken of it.
type endless struct{ taken *atomic.Int64 }

func (e endless) Read(p []byte) (int, error) {
	e.taken.Add(int64(len(p)))
	return len(p), nil
}

// unreadUploads has uploads that the backend of their bulkhead does not read
// fill all windows that they can, on a connection which others use as well.
func unreadUploads(f *clientTrial) {
	client, dials := f.sharedH2()
	var taken atomic.Int64
	var stuck sync.WaitGroup
	const uploads = 20
	ctx, leave := context.WithCancel(f.t.Context())
	defer leave()
	f.wellOn(client, "/healthy/ok", nil) // opens the connection
	for range uploads {
		stuck.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/unread/x", endless{&taken})
			if err != nil {
				f.t.Error(err)
				return
			}
			if resp, err := client.Do(req); err == nil {
				resp.Body.Close()
				f.t.Errorf("an upload that nobody read was answered with %s", resp.Status)
			}
		})
	}
	eventually(f.t, 3*time.Second, "they are all in flight", func() bool { return f.bulkhead("unread").InFlight == uploads })
	for seen := int64(-1); seen != taken.Load(); time.Sleep(150 * time.Millisecond) { // until none has moved between two looks
		seen = taken.Load()
	}
	f.t.Logf("%d uploads stand still after %d KiB", uploads, taken.Load()>>10)
	for range 10 {
		f.wellOn(client, "/healthy/ok", nil)
		f.wellOn(client, "/healthy/sink", &pattern{1 << 20})
	}
	if n := f.bulkhead("unread").InFlight; n != uploads {
		f.t.Errorf("%d uploads are in flight, want %d still", n, uploads)
	}
	leave()
	stuck.Wait()
	if n := dials.Load(); n != 1 {
		f.t.Errorf("%d connections, want all on one", n)
	}
	f.idle("unread", 2*time.Second)
}

// wellOn asks on a client's own connection for what has to be answered at once.
func (f *clientTrial) wellOn(client *http.Client, target string, body io.Reader) {
	f.t.Helper()
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+target, body)
	if err != nil {
		f.t.Fatal(err)
	}
	begun := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		f.t.Errorf("%s: %v", target, err)
		return
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		f.t.Errorf("%s: %s %v", target, resp.Status, err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		f.t.Errorf("%s took %v", target, took)
	}
}

// unreadDownloads has downloads whose client takes nothing, beside others on
// the same connection.
func unreadDownloads(f *clientTrial) {
	c := f.dialH2(f.t)
	const downloads = 10
	for i := range uint32(downloads) {
		c.ask(2*i+1, true, asksH2("GET", "/faulty/big?n=67108864")...)
	}
	eventually(f.t, 2*time.Second, "they are in flight", func() bool { return f.bulkhead("faulty").InFlight == downloads })
	stream := uint32(2 * downloads)
	for range 10 {
		stream += 2
		small, large := stream-1, stream+1
		c.ask(small, true, asksH2("GET", "/healthy/ok")...)
		c.ask(large, true, asksH2("GET", "/healthy/big?n=1048576")...)
		c.wrote(c.fr.WriteWindowUpdate(large, 1<<20))
		begun := time.Now()
		got, gone := c.answers(small, large)
		if gone || got[small].word() != "200" || got[large].body != 1<<20 {
			f.t.Fatalf("beside unread downloads: %s, and %s with %d bytes", got[small].word(), got[large].word(), got[large].body)
		}
		if took := time.Since(begun); took > 2*time.Second {
			f.t.Errorf("1 MiB took %v", took)
		}
		stream += 2
	}
	f.t.Logf("slots of unread downloads were free after %v", f.idle("faulty", 5*time.Second))
	var unread []uint32
	for i := range uint32(downloads) {
		unread = append(unread, 2*i+1)
	}
	got, _ := c.answers(unread...)
	for _, id := range unread {
		if a := got[id]; a != nil && !a.reset {
			f.t.Errorf("an unread download ended as %s with %d bytes", a.word(), a.body)
		}
	}
}
