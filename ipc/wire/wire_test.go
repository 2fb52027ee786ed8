package wire_test

import (
	"bytes"
	"errors"
	"net/http"
	"reflect"
	"testing"

	"commerce.example/coordinator/ipc/wire"
)

func requestHead() *wire.RequestHead {
	return &wire.RequestHead{
		Seq: 7, Timeout: 29_500, ContentLength: -1, Expect: true, TLS: true,
		ProtoMajor: 1, ProtoMinor: 1,
		Method: "POST", Target: "/api/orders/?a=1;b=%zz", Host: "shop.example", RemoteAddr: "192.0.2.1:5000",
		Header: http.Header{
			"Cookie":          {"a=1", "b=2"},
			"Accept":          {"*/*"},
			"X-Empty":         {""},
			"Accept-Encoding": {"gzip"},
		},
		Trailer: http.Header{"Digest": nil},
	}
}

func responseHead() *wire.ResponseHead {
	return &wire.ResponseHead{
		Status: 200, ContentLength: 456,
		Header:  http.Header{"Content-Type": {"application/json"}, "Set-Cookie": {"a=1", "b=2"}},
		Trailer: http.Header{"Digest": nil},
	}
}

// frame checks the header of the only frame in b and returns its payload.
func frame(t *testing.T, b []byte, want wire.Type) []byte {
	t.Helper()
	typ, n, err := wire.ParseHeader(b)
	if err != nil || typ != want || n != len(b)-wire.HeaderLen {
		t.Fatalf("header: type %d, %d bytes, %v; want type %d, %d bytes", typ, n, err, want, len(b)-wire.HeaderLen)
	}
	return b[wire.HeaderLen:]
}

func TestRequestRoundTrip(t *testing.T) {
	want := requestHead()
	var got wire.RequestHead
	if err := wire.ParseRequest(frame(t, wire.AppendRequest(nil, want), wire.Request), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, want) {
		t.Fatalf("got %+v\nwant %+v", got, *want)
	}
}

func TestResponseRoundTrip(t *testing.T) {
	want := responseHead()
	var got wire.ResponseHead
	if err := wire.ParseResponse(frame(t, wire.AppendResponse(nil, wire.Response, want), wire.Response), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, want) {
		t.Fatalf("got %+v\nwant %+v", got, *want)
	}
}

func TestSetLength(t *testing.T) {
	b := wire.AppendResponse(nil, wire.Response, &wire.ResponseHead{Status: 200, ContentLength: -1, NoBody: true})
	wire.SetLength(b, 1<<40, false)
	var got wire.ResponseHead
	if err := wire.ParseResponse(frame(t, b, wire.Response), &got); err != nil {
		t.Fatal(err)
	}
	if got.ContentLength != 1<<40 || got.NoBody {
		t.Fatalf("got %+v", got)
	}
}

func TestSmallFramesRoundTrip(t *testing.T) {
	slot, err := wire.ParseHello(frame(t, wire.AppendHello(nil, 70_000), wire.Hello))
	if err != nil || slot != 70_000 {
		t.Fatalf("hello: %d, %v", slot, err)
	}
	fault, stage, detail, err := wire.ParseFail(frame(t, wire.AppendFail(nil, "backend_reset", 2, "EOF"), wire.Fail))
	if err != nil || fault != "backend_reset" || stage != 2 || detail != "EOF" {
		t.Fatalf("fail: %q %d %q %v", fault, stage, detail, err)
	}
	trailer, err := wire.ParseEnd(frame(t, wire.AppendEnd(nil, http.Header{"Digest": {"x"}}), wire.End))
	if err != nil || trailer.Get("Digest") != "x" {
		t.Fatalf("end: %v %v", trailer, err)
	}
	trailer, err = wire.ParseEnd(frame(t, wire.AppendEnd(nil, nil), wire.End))
	if err != nil || trailer != nil {
		t.Fatalf("empty end: %v %v", trailer, err)
	}
	frame(t, wire.AppendEmpty(nil, wire.Probe), wire.Probe)
}

func TestLongFailureDetailIsCut(t *testing.T) {
	b := wire.AppendFail(nil, "backend_reset", 2, string(make([]byte, 1<<20)))
	if _, _, _, err := wire.ParseFail(frame(t, b, wire.Fail)); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	hello := wire.AppendHello(nil, 1)
	hello[wire.HeaderLen]++ // another version
	for name, err := range map[string]error{
		"unknown type":     headerError([]byte{99, 0, 0, 0}),
		"zero type":        headerError([]byte{0, 0, 0, 0}),
		"oversized data":   headerError([]byte{byte(wire.Data), 1, 0, 1}),
		"oversized head":   headerError([]byte{byte(wire.Response), 0x20, 0, 1}),
		"probe with bytes": headerError([]byte{byte(wire.Probe), 0, 0, 1}),
		"other version":    second(wire.ParseHello(hello[wire.HeaderLen:])),
		"status 99":        parseResponse(&wire.ResponseHead{Status: 99}),
		"status 1000":      parseResponse(&wire.ResponseHead{Status: 1000}),
		"length -2":        parseResponse(&wire.ResponseHead{Status: 200, ContentLength: -2}),
		"no method":        parseRequest(&wire.RequestHead{Target: "/"}),
		"no target":        parseRequest(&wire.RequestHead{Method: "GET"}),
		"body and none":    parseRequest(&wire.RequestHead{Method: "GET", Target: "/", NoBody: true, ContentLength: 3}),
		"no fault":         failError(wire.AppendFail(nil, "", 0, "")),
	} {
		if !errors.Is(err, wire.ErrProtocol) {
			t.Errorf("%s: got %v, want a protocol violation", name, err)
		}
	}
}

func TestEveryCutAndFlippedHeadIsHandled(t *testing.T) {
	whole := wire.AppendRequest(nil, requestHead())[wire.HeaderLen:]
	for n := range whole {
		if err := wire.ParseRequest(whole[:n], new(wire.RequestHead)); !errors.Is(err, wire.ErrProtocol) {
			t.Fatalf("cut at %d of %d: %v", n, len(whole), err)
		}
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0xff
		_ = wire.ParseRequest(flipped, new(wire.RequestHead)) // must not panic or allocate without bound
	}
}

func headerError(b []byte) error { return third(wire.ParseHeader(b)) }

func second(_ uint32, err error) error { return err }

func third(_ wire.Type, _ int, err error) error { return err }

func failError(b []byte) error {
	_, _, _, err := wire.ParseFail(b[wire.HeaderLen:])
	return err
}

func parseResponse(h *wire.ResponseHead) error {
	return wire.ParseResponse(wire.AppendResponse(nil, wire.Response, h)[wire.HeaderLen:], new(wire.ResponseHead))
}

func parseRequest(h *wire.RequestHead) error {
	return wire.ParseRequest(wire.AppendRequest(nil, h)[wire.HeaderLen:], new(wire.RequestHead))
}

// A head that a decoder accepts must survive another trip unchanged: what the
// worker sees is what the supervisor meant.
func FuzzRequest(f *testing.F) {
	f.Add(wire.AppendRequest(nil, requestHead())[wire.HeaderLen:])
	f.Add(wire.AppendRequest(nil, &wire.RequestHead{Method: "GET", Target: "/", NoBody: true})[wire.HeaderLen:])
	f.Fuzz(func(t *testing.T, p []byte) {
		var first, again wire.RequestHead
		if wire.ParseRequest(p, &first) != nil {
			return
		}
		if err := wire.ParseRequest(wire.AppendRequest(nil, &first)[wire.HeaderLen:], &again); err != nil {
			t.Fatalf("own encoding refused: %v", err)
		}
		if !reflect.DeepEqual(first, again) {
			t.Fatalf("changed on the way:\n%+v\n%+v", first, again)
		}
	})
}

func FuzzResponse(f *testing.F) {
	f.Add(wire.AppendResponse(nil, wire.Response, responseHead())[wire.HeaderLen:])
	f.Fuzz(func(t *testing.T, p []byte) {
		var first, again wire.ResponseHead
		if wire.ParseResponse(p, &first) != nil {
			return
		}
		if err := wire.ParseResponse(wire.AppendResponse(nil, wire.Response, &first)[wire.HeaderLen:], &again); err != nil {
			t.Fatalf("own encoding refused: %v", err)
		}
		if !reflect.DeepEqual(first, again) {
			t.Fatalf("changed on the way:\n%+v\n%+v", first, again)
		}
	})
}

func BenchmarkRequestEncode(b *testing.B) {
	h := requestHead()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.AppendRequest(buf[:0], h)
	}
}

func BenchmarkRequestDecode(b *testing.B) {
	p := wire.AppendRequest(nil, requestHead())[wire.HeaderLen:]
	b.ReportAllocs()
	for b.Loop() {
		var h wire.RequestHead
		if err := wire.ParseRequest(p, &h); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResponseEncode(b *testing.B) {
	h := responseHead()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.AppendResponse(buf[:0], wire.Response, h)
	}
}

func BenchmarkResponseDecode(b *testing.B) {
	p := wire.AppendResponse(nil, wire.Response, responseHead())[wire.HeaderLen:]
	b.ReportAllocs()
	for b.Loop() {
		var h wire.ResponseHead
		if err := wire.ParseResponse(p, &h); err != nil {
			b.Fatal(err)
		}
	}
}
