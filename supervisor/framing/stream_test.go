package framing_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/framing"
)

// stream makes valid requests, pipelined, of everything that a guard lets pass.
type stream struct {
	*rand.Rand
	raw    strings.Builder
	ends   []int
	bodies []string
}

func (s *stream) pick(words ...string) string { return words[s.IntN(len(words))] }

// of makes up to n bytes out of alphabet.
func (s *stream) of(alphabet string, n int) string {
	b := make([]byte, s.IntN(n+1))
	for i := range b {
		b[i] = alphabet[s.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	tokens  = letters + "0123456789!#$%&'*+-.^_`|~"
	inValue = tokens + " \t\"(),/:;<=>?@[]{}\\\x80\xff"
)

// spelled is a name in any case.
func (s *stream) spelled(name string) string {
	b := []byte(name)
	for i := range b {
		if s.IntN(4) == 0 {
			b[i] = strings.ToUpper(name)[i]
		}
	}
	return string(b)
}

func (s *stream) blank() string { return s.of(" \t", s.IntN(3)) }

func (s *stream) fields() {
	for range s.IntN(8) {
		fmt.Fprintf(&s.raw, "X-%s:%s%s\r\n", s.of(tokens, 30), s.blank(), s.of(inValue, 1<<s.IntN(10)))
	}
}

func (s *stream) request() {
	method := s.pick("GET", "HEAD", "POST", "PUT", "OPTIONS", "X"+s.of(tokens, 12))
	minor := s.IntN(2)
	fmt.Fprintf(&s.raw, "%s /%s HTTP/1.%d\r\n", method, s.of(letters+"0123456789-._~/?&=;:@", 1<<s.IntN(12)), minor)
	s.fields()
	if s.IntN(5) == 0 {
		fmt.Fprintf(&s.raw, "%s:%swebsocket\r\n", s.spelled("upgrade"), s.blank())
	}
	body := ""
	switch s.IntN(3) {
	case 0:
		s.fields()
		s.raw.WriteString("\r\n")
	case 1:
		body = s.of("\r\n\x00 GETabc:/", 1<<s.IntN(14))
		fmt.Fprintf(&s.raw, "%s:%s%s%d%s\r\n", s.spelled("content-length"), s.blank(), s.of("0", 4), len(body), s.blank())
		s.fields()
		s.raw.WriteString("\r\n" + body)
	case 2:
		if minor == 0 {
			s.raw.WriteString("\r\n")
			break
		}
		fmt.Fprintf(&s.raw, "%s:%s%s%s\r\n", s.spelled("transfer-encoding"), s.blank(), s.spelled("chunked"), s.blank())
		s.fields()
		s.raw.WriteString("\r\n")
		body = s.chunks()
	}
	s.ends, s.bodies = append(s.ends, s.raw.Len()), append(s.bodies, body)
	if method == "POST" {
		s.raw.WriteString(s.pick("", "", "\r\n", "\r\n\r\n"))
	}
}

func (s *stream) chunks() (body string) {
	for range s.IntN(6) {
		data := "x" + s.of("\r\n0123456789;abc:", 1<<s.IntN(13))
		fmt.Fprintf(&s.raw, "%s%s", s.of("0", 4), fmt.Sprintf(s.pick("%x", "%X"), len(data)))
		if s.IntN(3) == 0 {
			s.raw.WriteString(";" + s.of(inValue, 200))
		}
		s.raw.WriteString("\r\n" + data + "\r\n")
		body += data
	}
	s.raw.WriteString("0\r\n")
	for range s.IntN(3) {
		fmt.Fprintf(&s.raw, "T-%s:%s\r\n", s.of(tokens, 40), s.of(inValue, 200))
	}
	s.raw.WriteString("\r\n")
	return body
}

// Whatever is valid passes unchanged, wherever reads end, and net/http sees in
// it what was meant.
func TestValidStreamsPass(t *testing.T) {
	for seed := range uint64(400) {
		s := stream{Rand: rand.New(rand.NewPCG(seed, 7))}
		for range 1 + s.IntN(8) {
			s.request()
		}
		raw := s.raw.String()
		most := 1 << s.IntN(14)
		g := framing.Guard{PriorKnowledge: s.IntN(2) == 0}
		passed, ends, err := through(&g, []byte(raw), func() int { return 1 + s.IntN(most) })
		if err != nil || string(passed) != raw || int(g.Heads()) != len(s.ends) || !g.Between() {
			t.Fatalf("seed %d: %v, %d of %d requests, after %q", seed, err, g.Heads(), len(s.ends), passed[max(0, len(passed)-100):])
		}
		for _, end := range ends {
			if !slices.ContainsFunc(s.ends, func(e int) bool { return e <= end && end <= e+4 }) {
				t.Fatalf("seed %d: between requests after %d bytes, of %v", seed, end, s.ends)
			}
		}
		exact := framing.Guard{}
		if _, ends, _ := through(&exact, []byte(raw), bytewise); !slices.Equal(ends, s.ends) {
			t.Fatalf("seed %d: requests end at %v, want %v", seed, ends, s.ends)
		}
		if ends, bodies, _, err := served(passed); err != io.EOF || !slices.Equal(ends, s.ends) || !slices.Equal(bodies, s.bodies) {
			t.Fatalf("seed %d: net/http reads requests to %v, want %v (%v)", seed, ends, s.ends, err)
		}
	}
}
