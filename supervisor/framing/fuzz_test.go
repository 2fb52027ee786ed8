package framing_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"regexp"
	"testing"

	"commerce.example/coordinator/supervisor/framing"
)

// stricter is what net/http alone refuses: none of it is framing.
var stricter = regexp.MustCompile(`^parse |too many Host headers|bad trailer key|too much non-data|malformed HTTP request ""`)

// FuzzGuard: whatever a client sends, and wherever reads end, net/http finds in
// what passes the very requests that the guard saw, or refuses one and stops.
// Behind a fault it finds none.
func FuzzGuard(f *testing.F) {
	for _, c := range refusals {
		f.Add([]byte(c.raw), uint64(0))
		f.Add([]byte(get+"\r\n"+c.raw), uint64(1))
	}
	for _, c := range chunkRefusals {
		f.Add([]byte(get+"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"+c.raw+get+"\r\n"), uint64(2))
	}
	for seed := range uint64(20) {
		s := stream{Rand: rand.New(rand.NewPCG(seed, 8))}
		for range 1 + s.IntN(3) {
			s.request()
		}
		f.Add([]byte(s.raw.String()), seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		var g, cut framing.Guard
		passed, ends, err := through(&g, raw, bytewise)
		r := rand.New(rand.NewPCG(seed, 9))
		most := 1 << r.IntN(12)
		again, _, errAgain := through(&cut, raw, func() int { return 1 + r.IntN(most) })
		if err != errAgain || !bytes.Equal(passed, again) || g.Heads() != cut.Heads() {
			t.Fatalf("read by read %d bytes of %d heads, %v; byte by byte %d of %d, %v", len(again), cut.Heads(), errAgain, len(passed), g.Heads(), err)
		}
		if err == nil && len(passed) != len(raw) || !bytes.HasPrefix(raw, passed) {
			t.Fatalf("passed %q", passed)
		}
		if err != nil {
			passed = append(passed, framing.Poison...)
		}
		got, _, heads, why := served(passed)
		if len(got) > len(ends) || uint64(heads) > g.Heads() {
			t.Fatalf("net/http reads %d requests and %d heads, the guard saw %d and %d", len(got), heads, len(ends), g.Heads())
		}
		for i, end := range got {
			if end != ends[i] {
				t.Fatalf("request %d ends at %d for net/http, at %d for the guard", i, end, ends[i])
			}
		}
		if len(got) < len(ends) && !stricter.MatchString(why.Error()) {
			t.Fatalf("net/http refuses request %d, the guard does not: %v", len(got), why)
		}
		if err != nil && why == io.EOF {
			t.Fatalf("net/http sees a clean end behind %v", err)
		}
	})
}
