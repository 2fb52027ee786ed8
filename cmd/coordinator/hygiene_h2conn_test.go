//go:build linux

package main_test

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An h2conn is an HTTP/2 connection (cleartext, prior knowledge) on which a test
// writes the frames that it likes, valid or not.
type h2conn struct {
	t     *testing.T
	nc    net.Conn
	fr    *http2.Framer
	enc   *hpack.Encoder
	block bytes.Buffer
	got   map[uint32]*h2answer // of every stream so far
}

// dialH2 opens one and exchanges the settings.
func (s *site) dialH2(t *testing.T, settings ...http2.Setting) *h2conn {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	c := &h2conn{t: t, nc: nc, fr: http2.NewFramer(nc, nc), got: make(map[uint32]*h2answer)}
	c.fr.AllowIllegalWrites = true
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.block)
	if _, err := nc.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	if err := c.fr.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return c
}

// encode is a block of fields, names and values in turn, as they are.
func (c *h2conn) encode(fields ...string) []byte {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			c.t.Fatal(err)
		}
	}
	return bytes.Clone(c.block.Bytes())
}

// asksH2 are the fields of a request; more ones follow, or "" in the place of
// one that is not to be sent.
func asksH2(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":authority", hygieneHost, ":path", path}, more...)
}

// ask sends the head of a request. Long ones go in several frames. Once the
// server has closed the connection, to write fails: what it said is to be read.
func (c *h2conn) ask(stream uint32, end bool, fields ...string) {
	c.t.Helper()
	const most = 16 << 10
	block := c.encode(fields...)
	first := block[:min(len(block), most)]
	err := c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndStream: end, EndHeaders: len(first) == len(block)})
	for block = block[len(first):]; err == nil && len(block) > 0; {
		next := block[:min(len(block), most)]
		block = block[len(next):]
		err = c.fr.WriteContinuation(stream, len(block) == 0, next)
	}
	c.wrote(err)
}

func (c *h2conn) wrote(err error) {
	if err != nil {
		c.t.Logf("writing: %v", err)
	}
}

// An h2answer is what came of a stream.
type h2answer struct {
	status, seen string
	reset        bool
	body         int
	done         bool
}

// word is the answer as an entry of the corpus has it.
func (a *h2answer) word() string {
	switch {
	case a == nil:
		return "nothing"
	case a.reset && a.status == "":
		return "RST"
	case a.reset:
		return a.status + " RST"
	case !a.done:
		return "silence"
	case a.seen != "":
		return a.seen
	}
	return a.status
}

// answers reads until each of the streams has ended or the connection has.
func (c *h2conn) answers(streams ...uint32) (got map[uint32]*h2answer, gone bool) {
	open := func() bool {
		for _, id := range streams {
			if a := c.got[id]; a == nil || !a.done {
				return true
			}
		}
		return false
	}
	for open() {
		f, err := c.fr.ReadFrame()
		if err != nil {
			return c.got, true
		}
		if c.take(f) {
			return c.got, true
		}
	}
	return c.got, false
}

// take sorts one frame in. It reports whether the connection is over.
func (c *h2conn) take(f http2.Frame) (over bool) {
	id := f.Header().StreamID
	if c.got[id] == nil {
		c.got[id] = &h2answer{}
	}
	a := c.got[id]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			c.wrote(c.fr.WriteSettingsAck())
		}
	case *http2.MetaHeadersFrame:
		if status := f.PseudoValue("status"); status != "" && status[0] != '1' {
			a.status = status
			for _, field := range f.RegularFields() {
				if field.Name == "x-seen" {
					a.seen = field.Value
				}
			}
		}
		a.done = a.done || f.StreamEnded()
	case *http2.DataFrame:
		a.body += len(f.Data())
		a.done = a.done || f.StreamEnded()
		if n := f.Header().Length; n > 0 { // the stream's window is the test's business
			c.wrote(c.fr.WriteWindowUpdate(0, n))
		}
	case *http2.RSTStreamFrame:
		if !a.done || f.ErrCode != http2.ErrCodeNo { // NO_ERROR behind an answer: the body was not wanted
			a.reset = true
		}
		a.done = true
	case *http2.GoAwayFrame:
		return f.ErrCode != http2.ErrCodeNo
	}
	return false
}

// settled reads until the server has acknowledged the settings, and sent its own.
func (c *h2conn) settled() {
	c.t.Helper()
	for theirs, ack := false, false; !theirs || !ack; {
		f, err := c.fr.ReadFrame()
		if err != nil {
			c.t.Fatalf("no settings: %v", err)
		}
		if s, ok := f.(*http2.SettingsFrame); ok {
			theirs, ack = theirs || !s.IsAck(), ack || s.IsAck()
		}
		c.take(f)
	}
}
