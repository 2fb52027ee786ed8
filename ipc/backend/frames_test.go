package backend_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"commerce.example/coordinator/ipc/backend"
)

// framed is a backend's side of an HTTP/2 connection, frame by frame.
type framed struct {
	*peer
	*http2.Framer
	t     testing.TB
	block bytes.Buffer
	enc   *hpack.Encoder
	asked map[uint32]map[string]string // fields of each request's head
}

// frames starts a backend that speaks HTTP/2 with prior knowledge. Its SETTINGS
// are out when script runs.
func frames(t testing.TB, settings []http2.Setting, script func(f *framed)) *rawBackend {
	t.Helper()
	return serve(t, func(p *peer) {
		if f := p.framed(t); f != nil {
			f.WriteSettings(settings...)
			script(f)
		}
	})
}

// framed takes the client's preface; nil: it said something else.
func (p *peer) framed(t testing.TB) *framed {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(p.r, preface); err != nil || string(preface) != http2.ClientPreface {
		return nil
	}
	f := &framed{peer: p, Framer: http2.NewFramer(p, p.r), t: t, asked: map[uint32]map[string]string{}}
	f.enc = hpack.NewEncoder(&f.block)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.AllowIllegalWrites = true
	return f
}

// next is the next frame that is not housekeeping; SETTINGS and PING are answered.
// nil is the end of the connection.
func (f *framed) next() http2.Frame {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return nil
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				f.WritePing(true, frame.Data)
			}
		case *http2.WindowUpdateFrame:
		case *http2.MetaHeadersFrame:
			fields := map[string]string{}
			for _, hf := range frame.Fields {
				fields[hf.Name] += hf.Value
			}
			f.asked[frame.StreamID] = fields
			return frame
		default:
			return frame
		}
	}
}

// request waits for the head of a request, and gives its stream; 0 at the end.
func (f *framed) request() uint32 {
	for {
		switch frame := f.next().(type) {
		case nil:
			return 0
		case *http2.MetaHeadersFrame:
			return frame.StreamID
		}
	}
}

// reset waits for a RST_STREAM.
func (f *framed) reset() *http2.RSTStreamFrame {
	for {
		switch frame := f.next().(type) {
		case nil:
			return nil
		case *http2.RSTStreamFrame:
			return frame
		}
	}
}

// fields writes HEADERS; kv are names and values.
func (f *framed) fields(id uint32, end bool, kv ...string) {
	f.block.Reset()
	for i := 0; i < len(kv); i += 2 {
		f.enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	rest := f.block.Bytes()
	first := true
	for first || len(rest) > 0 {
		part := rest[:min(len(rest), 16<<10)]
		rest = rest[len(part):]
		if first {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: part, EndStream: end, EndHeaders: len(rest) == 0})
		} else {
			f.WriteContinuation(id, len(rest) == 0, part)
		}
		first = false
	}
}

// ok answers with "ok".
func (f *framed) ok(id uint32) {
	f.fields(id, false, ":status", "200", "content-length", "2")
	f.WriteData(id, true, []byte("ok"))
}

// serveAll answers every request to come.
func (f *framed) serveAll() {
	for id := f.request(); id != 0; id = f.request() {
		f.ok(id)
	}
}

func newHTTP2(t testing.TB) *backend.Transport {
	tr := newTransport(t)
	tr.Protocol = backend.HTTP2
	return tr
}

// h2c is net/http's server, speaking HTTP/2 with prior knowledge only.
func h2c(t testing.TB, h http.HandlerFunc) *rawBackend {
	t.Helper()
	return plainServer(t, h, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
}

func plainServer(t testing.TB, h http.HandlerFunc, choose func(*http.Protocols)) *rawBackend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &rawBackend{addr: l.Addr().String()}
	srv := &http.Server{Handler: h, Protocols: &http.Protocols{}, ConnState: func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			b.conns.Add(1)
		case http.StateClosed:
			b.ended.Add(1)
		}
	}}
	choose(srv.Protocols)
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(l) })
	t.Cleanup(func() { srv.Close(); wg.Wait() })
	return b
}
