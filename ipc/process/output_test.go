package process_test

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"commerce.example/coordinator/ipc/process"
)

func TestFlood(t *testing.T) {
	const size = 50 << 20
	for _, stream := range []string{"stdout", "stderr"} {
		t.Run(stream, func(t *testing.T) {
			var lines sink
			s := spec(t, "flood", stream, "52428800")
			s.Line = lines.put
			p := start(t, s)
			if greeted(t, p) == "" {
				t.Error("no handshake")
			}
			within(t, p.Drained(), 30*time.Second, "drained")
			if !p.State().Success() {
				t.Errorf("state %v", p.State())
			}
			st, n := p.Stats(), uint64(size/17+1)
			if st.Bytes < size || st.Lines+st.Dropped != n {
				t.Errorf("stats %+v, want %d lines in all", st, n)
			}
			var told uint64
			for _, l := range lines.all() {
				told += l.Dropped
			}
			if got := uint64(len(lines.all())); told != st.Dropped || got < st.Lines || got > st.Lines+1 {
				t.Errorf("the sink got %d lines and was told of %d dropped; stats %+v", got, told, st)
			}
			if st.Lines < process.DefaultLineBurst/2 || st.Lines > 10_000 {
				t.Errorf("%d lines got through", st.Lines)
			}
		})
	}
}

func TestEndlessLine(t *testing.T) {
	const size = 20 << 20
	var lines sink
	s := spec(t, "endless", "stderr", "20971520")
	s.Line = lines.put
	p := start(t, s)
	within(t, p.Drained(), 30*time.Second, "drained")
	got := lines.all()
	if len(got) != 1 || !got[0].Cut || len(got[0].Text) != process.MaxLine {
		t.Fatalf("%d lines", len(got))
	}
	if st := p.Stats(); st.Truncated != 1 || st.Lost != size-process.MaxLine {
		t.Errorf("stats %+v", st)
	}
}

// Seen while it is still being written: no newline ever comes.
func TestEndlessLineIsSeenBeforeItEnds(t *testing.T) {
	var lines sink
	s := spec(t, "garbage")
	s.Line = lines.put
	start(t, s)
	eventually(t, 5*time.Second, "the cut line", func() bool {
		all := lines.all()
		return len(all) > 0 && all[0].Cut
	})
}

func TestSlowSinkBlocksNobody(t *testing.T) {
	hold := make(chan struct{})
	var lines sink
	s := spec(t, "flood", "stdout", "5242880")
	s.LineRate, s.LineBurst = 1_000_000, 1_000_000
	s.Line = func(l process.Line) { <-hold; lines.put(l) }
	p := start(t, s)
	within(t, p.Done(), 10*time.Second, "done")
	close(hold)
	within(t, p.Drained(), 10*time.Second, "drained")
	st := p.Stats()
	if st.Dropped == 0 || st.Lines == 0 || st.Lines > 6000 { // the queue, and what the pipe held when the sink came back
		t.Errorf("stats %+v", st)
	}
}

func TestMalformedOutputIsHarmless(t *testing.T) {
	var lines sink
	s := spec(t, "echo", `"1|1|unix|/x|grpc\r\n\x1b[2Jplain\u202e\n"`,
		`"{\"@message\":7,\"@level\":[],\"@timestamp\":{}}\n\xff\xfe\x00ok\tend"`)
	s.Line = lines.put
	p := start(t, s)
	if got := greeted(t, p); got != "1|1|unix|/x|grpc\n" {
		t.Errorf("handshake %q", got)
	}
	within(t, p.Drained(), 5*time.Second, "drained")
	if got := lines.texts(process.Stdout); !reflect.DeepEqual(got, []string{"\ufffd[2Jplain\ufffd"}) {
		t.Errorf("stdout %q", got)
	}
	want := []string{`{"@message":7,"@level":[],"@timestamp":{}}`, "\ufffd\ufffd\ufffdok\tend"}
	if got := lines.texts(process.Stderr); !reflect.DeepEqual(got, want) {
		t.Errorf("stderr %q", got)
	}
}

func TestNoHandshake(t *testing.T) {
	for name, c := range map[string]struct {
		spec process.Spec
		want string
	}{
		"exit at once":     {spec(t, "exit", "1"), "its stdout ended before the first line did; it ended: exit status 1"},
		"half a line":      {spec(t, "echo", `"1|1|unix|/x|grpc"`, `""`), "its stdout ended before the first line did; it ended: exit status 0"},
		"megabytes before": {spec(t, "garbage"), "the first line of its stdout is too long for a handshake; it still runs"},
	} {
		t.Run(name, func(t *testing.T) {
			var lines sink
			c.spec.Line = lines.put
			r := process.NewRunner(c.spec)
			if err := r.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Kill(context.Background()); <-r.Process().Drained() })
			if got := greeted(t, r.Process()); got != "" {
				t.Errorf("handshake of %d bytes", len(got))
			}
			if got := r.Diagnose(t.Context()); got != c.want {
				t.Errorf("diagnosis %q", got)
			}
			if name != "exit at once" {
				eventually(t, 5*time.Second, "the line in the sink", func() bool { return len(lines.all()) > 0 })
			}
		})
	}
}

func TestCloseEndsARead(t *testing.T) {
	p := start(t, spec(t, "silent"))
	read := make(chan struct{})
	go func() {
		p.Stdout().Read(make([]byte, 1))
		close(read)
	}()
	p.Stdout().Close()
	within(t, read, time.Second, "unblocked")
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		chunks []string
		lines  []string
		cut    []bool
		lost   uint64
	}{
		{[]string{"ab\ncd"}, []string{"ab", "cd"}, []bool{false, false}, 0},
		{[]string{"a", "b\n", "\n"}, []string{"ab", ""}, []bool{false, false}, 0},
		{[]string{"abcd\n"}, []string{"abcd"}, []bool{false}, 0},
		{[]string{"abcde\nf\n"}, []string{"abcd", "f"}, []bool{true, false}, 1},
		{[]string{"abcd", "e", "fgh\nij"}, []string{"abcd", "ij"}, []bool{true, false}, 4},
		{[]string{"abcd", "\nx\n"}, []string{"abcd", "x"}, []bool{false, false}, 0},
		{[]string{"", "abcdefgh"}, []string{"abcd"}, []bool{true}, 4},
	} {
		lines, cut, lost := process.Cut(4, c.chunks...)
		if !reflect.DeepEqual(lines, c.lines) || !reflect.DeepEqual(cut, c.cut) || lost != c.lost {
			t.Errorf("%q: %q %v, %d lost", c.chunks, lines, cut, lost)
		}
	}
}

// However a stream is chunked, its lines are the same and no byte is unaccounted.
func FuzzCut(f *testing.F) {
	f.Add([]byte("one\ntwo, longer than the limit\n\nthree"), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		var chunks []string
		for c := range chunksOf(b, int(step)+1) {
			chunks = append(chunks, string(c))
		}
		whole, wholeCut, wholeLost := process.Cut(8, string(b))
		lines, cut, lost := process.Cut(8, chunks...)
		if !reflect.DeepEqual(lines, whole) || !reflect.DeepEqual(cut, wholeCut) || lost != wholeLost {
			t.Fatalf("in pieces of %d: %q %v %d, at once %q %v %d", step+1, lines, cut, lost, whole, wholeCut, wholeLost)
		}
		total := uint64(bytes.Count(b, []byte("\n"))) + lost
		for _, l := range lines {
			total += uint64(len(l))
			if s := process.Clean([]byte(l)); !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\u202e\u2028") {
				t.Fatalf("clean %q", s)
			}
		}
		if total != uint64(len(b)) {
			t.Fatalf("%d bytes became %d", len(b), total)
		}
	})
}

func chunksOf(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			k := min(n, len(b))
			if !yield(b[:k]) {
				return
			}
			b = b[k:]
		}
	}
}

func TestBucket(t *testing.T) {
	now := time.Unix(0, 0)
	b := process.NewBucket(10, 3, now)
	take := func() (n int) {
		for process.Take(b, now) {
			n++
		}
		return n
	}
	if n := take(); n != 3 {
		t.Errorf("burst %d", n)
	}
	now = now.Add(200 * time.Millisecond)
	if n := take(); n != 2 {
		t.Errorf("after 200 ms: %d", n)
	}
	now = now.Add(-time.Hour) // a reading from the other stream, a little older
	if n := take(); n != 0 {
		t.Errorf("back in time: %d", n)
	}
	now = now.Add(2 * time.Hour)
	if n := take(); n != 3 {
		t.Errorf("after an hour: %d", n)
	}
}

// A flood: what 64 KiB of lines cost when nearly all of them are dropped.
func BenchmarkFlood(b *testing.B) {
	chunk := bytes.Repeat([]byte("a line of a usual length, and a few words more\n"), 64<<10/47)
	bucket := process.NewBucket(1, 1, time.Now())
	now := time.Now()
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		process.CutEach(process.MaxLine, chunk, func([]byte, bool) { process.Take(bucket, now) })
	}
}

func BenchmarkClean(b *testing.B) {
	line := []byte(strings.Repeat("a line of a usual length, ", 4))
	b.ReportAllocs()
	for b.Loop() {
		process.Clean(line)
	}
}
