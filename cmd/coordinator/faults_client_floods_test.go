//go:build linux

package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/net/http2"
)

// An h2flood is what a client writes over and over, as fast as it is taken. It reads
// nothing before it has finished.
type h2flood struct {
	name   string
	source string
	begin  func(*h2conn)                                   // once
	piece  func(c *h2conn, w *http2.Framer, stream uint32) // again and again, each time with the next stream
	finish func(w *http2.Framer)                           // once, so that what begin left open ends well
	ends   floodEnd
}

// A floodEnd is what net/http does about a flood.
type floodEnd int

const (
	// Each frame is dealt with before the next is read and leaves nothing behind:
	// the connection stays, and serves its client afterwards.
	served floodEnd = iota
	// What the frames leave behind is bounded, and to pass the bound is the end of
	// the connection. Whether it is passed is a race between client and server.
	bounded
	// Its end for certain, once enough is written.
	closed
)

const floodStream = 1 // of what begin opens; the others follow

var h2floods = []h2flood{
	// At most 100 handlers run and 400 wait (4 x MaxConcurrentStreams); one more is
	// ENHANCE_YOUR_CALM.
	{name: "rapid reset", source: "CVE-2023-44487", ends: bounded, piece: func(c *h2conn, w *http2.Framer, stream uint32) {
		_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.encode(asksH2("GET", "/narrow/hang")...), EndStream: true, EndHeaders: true})
		_ = w.WriteRSTStream(stream, http2.ErrCodeCancel)
	}},
	// The same, and at most 10,000 control frames wait for a client that does not read.
	{name: "resets that the server has to make", source: "CVE-2025-8671", ends: bounded, piece: func(c *h2conn, w *http2.Framer, stream uint32) {
		_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.encode(asksH2("POST", "/narrow/hang")...), EndHeaders: true})
		_ = w.WriteWindowUpdate(stream, 1<<31-1)
	}},
	{name: "CONTINUATION", source: "CVE-2023-45288", ends: closed, begin: beginHead,
		piece: func(c *h2conn, w *http2.Framer, _ uint32) {
			_ = w.WriteContinuation(floodStream, false, c.encode("x-a", "some value that is in no table", "x-b", "some value that is in no table"))
		}},
	{name: "empty CONTINUATION", source: "VU#421644", begin: beginHead,
		piece:  func(_ *h2conn, w *http2.Framer, _ uint32) { _ = w.WriteContinuation(floodStream, false, nil) },
		finish: func(w *http2.Framer) { _ = w.WriteContinuation(floodStream, true, nil) }},
	// One acknowledgement stands for all that are due.
	{name: "SETTINGS", source: "CVE-2019-9515", piece: func(_ *h2conn, w *http2.Framer, _ uint32) {
		_ = w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16})
	}},
	// Each is to be answered: more than 10,000 answers that nobody takes are the end.
	{name: "PING", source: "CVE-2019-9512", ends: closed, piece: func(_ *h2conn, w *http2.Framer, _ uint32) { _ = w.WritePing(false, [8]byte{}) }},
	{name: "empty DATA", source: "CVE-2019-9518",
		begin:  func(c *h2conn) { c.ask(floodStream, false, asksH2("POST", "/narrow/sink")...) },
		piece:  func(_ *h2conn, w *http2.Framer, _ uint32) { _ = w.WriteData(floodStream, false, nil) },
		finish: func(w *http2.Framer) { _ = w.WriteData(floodStream, true, nil) }},
	{name: "WINDOW_UPDATE", source: "RFC 9113 10.5", piece: func(_ *h2conn, w *http2.Framer, _ uint32) { _ = w.WriteWindowUpdate(0, 1) }},
	{name: "PRIORITY", source: "CVE-2019-9513", piece: func(_ *h2conn, w *http2.Framer, stream uint32) {
		_ = w.WritePriority(stream, http2.PriorityParam{StreamDep: stream + 2, Weight: 7})
	}},
}

// beginHead writes the head of a request that is not at its end yet.
func beginHead(c *h2conn) {
	c.wrote(c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: floodStream, BlockFragment: c.encode(asksH2("GET", "/narrow/ok")...), EndStream: true}))
}

// floods has each of them for a moment. Whether or not the server ends the
// connection, nothing piles up in it and nothing of it is left.
func floods(f *clientTrial) {
	for _, flood := range h2floods {
		before := f.counts()
		flood.run(f, before.goroutine)
		f.well("/faulty/ok")
		f.idle("narrow", 3*time.Second)
		f.settled(before)
	}
}

func (flood *h2flood) run(f *clientTrial, goroutines float64) {
	c := f.dialH2(f.t)
	defer func() {
		_ = c.nc.(*net.TCPConn).SetLinger(0) // what the server has not read yet is dropped with it
		c.nc.Close()
	}()
	// Small, so that what the server says soon waits in its own memory. In still less
	// the acknowledgements of what we write find no room either.
	_ = c.nc.(*net.TCPConn).SetReadBuffer(64 << 10)
	c.settled() // or the listener would acknowledge settings in the middle of a head
	if flood.begin != nil {
		flood.begin(c)
	}
	p := floodPress{h2flood: flood, f: f, c: c, stream: floodStream + 2}
	memory := f.supervisorMemory()
	begun := time.Now()
	p.press()
	took := time.Since(begun).Round(time.Millisecond)
	_ = c.nc.(*net.TCPConn).SetReadBuffer(4 << 20) // there is something to catch up with
	heard := make(chan string, 1)
	go func() { heard <- c.pong() }()
	p.finish()
	end := <-heard // the connection has a deadline
	f.t.Logf("%s (%s): %d times, %d KiB in %v, then %v, %s; RssAnon rose by at most %d KiB, goroutines by %v",
		flood.name, flood.source, p.sent, p.written>>10, took, p.refused, end, p.memory-memory, p.goroutines-goroutines)
	if p.memory-memory > 32<<10 && !raced {
		f.t.Errorf("%s: RssAnon of the supervisor rose by %d KiB, want less than 32 MiB", flood.name, p.memory-memory)
	}
	// That of a connection and its 100 handlers, and what the load has under way.
	if p.goroutines-goroutines > 200 {
		f.t.Errorf("%s: goroutines of the supervisor rose by %v, want 200 at most", flood.name, p.goroutines-goroutines)
	}
	switch {
	case flood.ends == closed && end == pongHeard && !p.slow, flood.ends == served && end != pongHeard, end == "deadline":
		f.t.Errorf("%s: the end is %q", flood.name, end)
	case end == pongHeard:
		p.servedAfter()
	}
}

// A floodPress is a flood under way.
type floodPress struct {
	*h2flood
	f       *clientTrial
	c       *h2conn
	stream  uint32 // the next
	sent    int    // pieces
	written int    // bytes
	rest    []byte // what is not written yet of what has to be, or a frame would be torn
	refused error  // why no more can be written
	slow    bool   // the time was over before all was written, as under the race detector

	memory     int     // the most of the supervisor: RssAnon in KiB
	goroutines float64 // and these
}

// press writes pieces until it may no more. A flood that has to end its connection
// goes on until it has.
func (p *floodPress) press() {
	const most, pieces, look = 32 << 20, 2_000_000, 100 * time.Millisecond
	until := span(time.Second, 10*time.Second)
	if p.ends == closed {
		until = 15 * time.Second
	}
	var batch bytes.Buffer
	w := http2.NewFramer(&batch, nil)
	w.AllowIllegalWrites = true
	looked := time.Now()
	for begun := looked; p.refused == nil && p.written < most && p.sent < pieces && !p.slow; p.slow = time.Since(begun) >= until {
		if len(p.rest) == 0 {
			batch.Reset()
			for range 200 {
				p.piece(p.c, w, p.stream)
				p.stream += 2
				p.sent++
			}
			p.rest = batch.Bytes()
		}
		_ = p.c.nc.SetWriteDeadline(time.Now().Add(look))
		n, err := p.c.nc.Write(p.rest)
		p.written, p.rest = p.written+n, p.rest[n:]
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			p.refused = err
		}
		if time.Since(looked) >= look {
			looked = time.Now()
			p.memory, p.goroutines = max(p.memory, p.f.supervisorMemory()), max(p.goroutines, p.f.metrics().sum("go_goroutines"))
		}
	}
}

// The ping that asks whether the connection is alive.
var lastPing = [8]byte{'a', 'l', 'i', 'v', 'e', '?'}

// finish writes what has to follow, and the last ping.
func (p *floodPress) finish() {
	var last bytes.Buffer
	last.Write(p.rest)
	w := http2.NewFramer(&last, nil)
	w.AllowIllegalWrites = true
	if p.h2flood.finish != nil {
		p.h2flood.finish(w)
	}
	_ = w.WritePing(false, lastPing)
	_ = p.c.nc.SetWriteDeadline(time.Now().Add(20 * time.Second))
	_, err := p.c.nc.Write(last.Bytes()) // in one call: the listener writes too
	p.c.wrote(err)
}

const pongHeard = "it is alive"

// pong reads until the last ping is answered, or says what came instead.
func (c *h2conn) pong() string {
	_ = c.nc.SetReadDeadline(time.Now().Add(40 * time.Second))
	for {
		f, err := c.fr.ReadFrame()
		switch f := f.(type) {
		case *http2.PingFrame:
			if f.IsAck() && f.Data == lastPing {
				return pongHeard
			}
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return "GOAWAY " + f.ErrCode.String()
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return "deadline"
		}
		if err != nil {
			return fmt.Sprint("closed: ", err)
		}
		c.take(f)
	}
}

// servedAfter wants the stream that the flood began to end well, and another one
// to be served as if there had been no flood.
func (p *floodPress) servedAfter() {
	p.f.t.Helper()
	p.f.idle("narrow", 5*time.Second)
	streams := []uint32{p.stream}
	if p.begin != nil {
		streams = append(streams, floodStream)
	}
	_ = p.c.nc.SetDeadline(time.Now().Add(10 * time.Second))
	p.c.ask(p.stream, true, asksH2("GET", "/narrow/ok")...)
	got, _ := p.c.answers(streams...)
	for _, id := range streams {
		if word := got[id].word(); word != "200" {
			p.f.t.Errorf("%s: stream %d after it is answered with %s, want 200", p.name, id, word)
		}
	}
}
