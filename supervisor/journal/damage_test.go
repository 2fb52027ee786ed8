package journal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// smallSegment is a segment of a dead run, and where its lines begin.
func smallSegment(t testing.TB) (text []byte, starts []int) {
	t.Helper()
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{})
	for _, id := range ids("r", 4) {
		r := &journal.Record{RequestID: id, Bulkhead: "orders", Method: "POST", Path: "/{\"v\":1,\"crc\":\""}
		e := mustBegin(t, j, r)
		r.Outcome = "done"
		e.Close(r)
	}
	mustClose(t, j)
	text, err := os.ReadFile(segments(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(text); at += bytes.IndexByte(text[at:], '\n') + 1 {
		starts = append(starts, at)
	}
	if len(starts) != 10 {
		t.Fatalf("%d lines", len(starts))
	}
	return text, starts
}

// scan is the lines and the damage in text.
func scan(t testing.TB, text []byte) (lines map[string]bool, bad int64) {
	t.Helper()
	lines = make(map[string]bool)
	var at int64
	s := journal.NewScanner(func(offset int64, line []byte) error {
		if offset < at || !bytes.HasPrefix(text[offset:], line) {
			t.Fatalf("a line at %d is not what stands there", offset)
		}
		at = offset + int64(len(line))
		lines[string(line)] = true
		return nil
	}, func(offset, n int64, _ bool) {
		if offset < at || n <= 0 || offset+n > int64(len(text)) {
			t.Fatalf("damage of %d at %d", n, offset)
		}
		at = offset + n
		bad += n
	})
	if err := journal.ScanAll(s, bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return lines, bad
}

// FAULTS 36: whatever byte is flipped, at most the line that it stands in is lost,
// the damage is told, and nothing is read that was not written.
func TestFlippedBytes(t *testing.T) {
	text, starts := smallSegment(t)
	all, bad := scan(t, text)
	if len(all) != len(starts) || bad != 0 {
		t.Fatalf("%d lines, %d bad bytes", len(all), bad)
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for i := 0; i < len(text); i += step {
		for _, flip := range []byte{0x01, 0x80, 0xff, text[i] ^ '\n', text[i] ^ '"', text[i]} {
			if flip == 0 {
				continue
			}
			damaged := slices.Clone(text)
			damaged[i] ^= flip
			lines, bad := scan(t, damaged)
			want := len(all) - 1
			if text[i] == '\n' {
				want = len(all) // both sides of it are whole
				if i == len(text)-1 {
					want = len(all) // and behind the last is a byte that belongs to nothing
				}
			}
			if len(lines) != want || bad == 0 {
				t.Errorf("byte %d ^ %#x: %d lines, %d bad bytes", i, flip, len(lines), bad)
			}
			for line := range lines {
				if !all[line] {
					t.Fatalf("byte %d ^ %#x: invented %s", i, flip, line)
				}
			}
		}
	}
}

func TestCutAtEveryLength(t *testing.T) {
	text, starts := smallSegment(t)
	all, _ := scan(t, text)
	for n := range text {
		lines, bad := scan(t, text[:n])
		whole := 0 // lines that end before n, a newline apart
		for i := range starts {
			end := len(text)
			if i+1 < len(starts) {
				end = starts[i+1]
			}
			if end-1 <= n {
				whole++
			}
		}
		if len(lines) != whole {
			t.Errorf("cut at %d: %d lines, want %d", n, len(lines), whole)
		}
		if begins := slices.Contains(starts, n) || slices.Contains(starts, n+1) || n == len(text)-1; !begins && bad == 0 {
			t.Errorf("cut at %d: nothing told", n)
		}
		for line := range lines {
			if !all[line] {
				t.Fatalf("cut at %d: invented %s", n, line)
			}
		}
	}
}

// Blocks of zeros, as file systems leave them, and lines without end.
func TestLongDamage(t *testing.T) {
	text, starts := smallSegment(t)
	all, _ := scan(t, text)
	for _, size := range []int{100, journal.MaxLine - 1, journal.MaxLine, 2 * journal.MaxLine, 2*journal.MaxLine + 1, 5*journal.MaxLine + 7} {
		for _, fill := range []string{"\x00", `{"v":1,"crc":"`, "\n", `,"crc":"00000000"}`} {
			junk := bytes.Repeat([]byte(fill), size/len(fill)+1)[:size]
			damaged := slices.Concat(text[:starts[3]], junk, text[starts[3]:])
			lines, bad := scan(t, damaged)
			if len(lines) != len(all) || bad != int64(size) {
				t.Errorf("%d bytes of %q: %d lines, %d bad bytes", size, fill, len(lines), bad)
			}
		}
	}
}

// What the damage means for the questions.
func TestDamageIsReported(t *testing.T) {
	text, starts := smallSegment(t)
	dir := t.TempDir()
	text[starts[4]+20] ^= 1 // the close of r-1
	name := filepath.Join(dir, "journal-00000007-20261121T000000.000Z.jsonl")
	if err := os.WriteFile(name, append(text, `{"v":1,"ki`...), 0o600); err != nil {
		t.Fatal(err)
	}
	v := verify(t, dir)
	if v.OK() || v.Damaged != 1 || v.Torn != 1 || v.Unrecorded != 1 || v.Records != 9 ||
		v.Damage[0] != (journal.Damage{Segment: filepath.Base(name), Offset: int64(starts[4]), Bytes: int64(starts[5] - starts[4])}) {
		t.Errorf("%+v", v)
	}
	if s := only(t, dir, "r-1"); s.State != journal.Unrecorded || s.Outcome != journal.OutcomeSentUnknown || s.RetrySafe {
		t.Errorf("%+v", s)
	}
	x := explain(t, dir, "never-seen")
	if g := x.Spans.Gaps; len(g) != 1 || g[0].Why != "damage" || g[0].From.IsZero() || g[0].To.Before(g[0].From) {
		t.Errorf("%+v", g)
	}
}

// A line that was whole once is damage, also where the end behind it is torn; so is
// what is too long to be one line.
func TestDamageNextToATornEnd(t *testing.T) {
	text, starts := smallSegment(t)
	text[starts[8]+20] ^= 1 // the last close
	text = text[:starts[9]+30]
	name := filepath.Join(t.TempDir(), "journal-00000007-20261121T000000.000Z.jsonl")
	write := func(text []byte) *journal.Verification {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return verify(t, filepath.Dir(name))
	}
	at := func(offset, n int, torn bool) journal.Damage {
		return journal.Damage{Segment: filepath.Base(name), Offset: int64(offset), Bytes: int64(n), Torn: torn}
	}
	want := []journal.Damage{at(starts[8], starts[9]-starts[8], false), at(starts[9], 30, true)}
	if v := write(text); v.OK() || v.Damaged != 1 || v.Torn != 1 || !slices.Equal(v.Damage, want) {
		t.Errorf("%+v", v)
	}
	if g := explain(t, filepath.Dir(name), "r-3").Spans.Gaps; len(g) != 1 || g[0].Why != "damage" {
		t.Errorf("%+v", g)
	}
	want = []journal.Damage{at(starts[8], 7, false), at(starts[8]+7, journal.MaxLine, true)}
	if v := write(append(text[:starts[8]], make([]byte, journal.MaxLine+7)...)); !slices.Equal(v.Damage, want) {
		t.Errorf("%+v", v)
	}
}

// A segment that was cut at the end of a line is told by the next one's head.
func TestMissingEndAndMissingSegment(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{SegmentBytes: 4 << 10})
	for _, id := range ids("r", 40) {
		mustBegin(t, j, order(id)).Close(closed(order(id), "done"))
	}
	mustClose(t, j)
	names := segments(t, dir)
	if len(names) < 4 {
		t.Fatalf("%d segments", len(names))
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(text[:len(text)-1], '\n') + 1
	if err := os.Truncate(names[0], int64(last)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(names[2]); err != nil {
		t.Fatal(err)
	}
	v := verify(t, dir)
	if len(v.Damage) != 1 || !v.Damage[0].Missing || v.Damage[0].Bytes != int64(len(text)-last) {
		t.Errorf("%+v", v.Damage)
	}
	var why []string
	for _, g := range explain(t, dir, "x").Spans.Gaps {
		why = append(why, g.Why)
		if g.From.IsZero() || g.To.IsZero() || g.To.Before(g.From) {
			t.Errorf("%+v", g)
		}
	}
	if got := strings.Join(why, " "); got != "damage segment_missing" {
		t.Errorf("gaps: %s", got)
	}
}

// The codec writes by hand what encoding/json reads.
func TestLongestRecord(t *testing.T) {
	long := strings.Repeat("\x01", 10_000)
	r := &journal.Record{
		RequestID: long, Bulkhead: long, Method: long, Path: long, Query: long, Route: long, Arrived: time.Now(), Outcome: long, Reason: long,
		QueueUS: -1 << 62, TookUS: -1 << 62, Status: -1 << 62, BytesIn: -1 << 62, BytesOut: -1 << 62, RetrySafe: true,
		IdempotencyDigest: long, Client: long, Body: long, By: long, Headers: map[string]string{},
	}
	for i := range 30 {
		r.Headers[string(rune('a'+i))+long] = long
		r.Attempts = append(r.Attempts, journal.Attempt{Slot: -1 << 62, Pid: -1 << 62, Generation: 1 << 63, HandedUS: -1 << 62, Stage: long, Fault: long, TookUS: -1 << 62})
	}
	line := journal.AppendRecord(journal.KindClose, strings.Repeat("f", 32), time.Now(), r)
	if len(line) > journal.MaxLine {
		t.Errorf("a line of %d bytes", len(line))
	}
	if lines, bad := scan(t, line); len(lines) != 1 || bad != 0 || !json.Valid(line) {
		t.Errorf("it does not read")
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("id", "/path?\"\\", "é\x00\xff\u2028", int64(-5))
	f.Fuzz(func(t *testing.T, id, path, value string, n int64) {
		r := &journal.Record{
			RequestID: id, Path: path, TookUS: n, Status: int(n), Reason: value, Headers: map[string]string{"X-A": value},
			Attempts: []journal.Attempt{{HandedUS: n, Stage: id, Fault: value}},
		}
		line := journal.AppendRecord(journal.KindIntent, "run.1", time.Now(), r)
		var got journal.Record
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if len(id) <= journal.MaxTextBytes && got.RequestID != toJSON(t, id) || got.TookUS != n ||
			len(value) <= journal.MaxTextBytes && (got.Headers["X-A"] != toJSON(t, value) || got.Attempts[0].Fault != toJSON(t, value)) {
			t.Errorf("%+v became %+v", r, got)
		}
		if lines, bad := scan(t, line); len(lines) != 1 || bad != 0 {
			t.Errorf("%d lines, %d bad bytes", len(lines), bad)
		}
	})
}

// toJSON is what encoding/json makes of s: bytes that are not UTF-8 are replaced.
func toJSON(t *testing.T, s string) (out string) {
	t.Helper()
	b, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Whatever stands at one place: the lines that were written are the only ones read,
// and all but that which it was put into.
func FuzzScan(f *testing.F) {
	text, starts := smallSegment(f)
	f.Add(0, []byte("x"))
	f.Add(starts[3], []byte("\n\n"))
	f.Add(starts[2]+1, []byte(`{"v":1,`))
	f.Add(starts[5], []byte(`,"crc":"00000000"}`))
	all, _ := scan(f, text)
	f.Fuzz(func(t *testing.T, at int, insert []byte) {
		at = min(max(at, 0), len(text))
		lines, _ := scan(t, slices.Concat(text[:at], insert, text[at:]))
		for line := range lines {
			if !all[line] {
				t.Errorf("invented %s", line)
			}
		}
		if len(lines) < len(all)-1 {
			t.Errorf("one place is damaged and %d of %d lines are read", len(lines), len(all))
		}
	})
}

// Whatever the bytes are: no panic, and each is judged once.
//
// Seeds are short, as in FuzzScan: to minimize an input of a few KiB takes go test
// millions of tries, and it does nothing else for a minute each time.
func FuzzJunk(f *testing.F) {
	line := journal.AppendRecord(journal.KindClose, "r.1", time.Now(), &journal.Record{Outcome: "done"})
	f.Add(line)
	f.Add(line[1 : len(line)-1])
	f.Add(slices.Concat(line[:len(line)-1], line))
	f.Add([]byte(`{"v":1,"kind":"intent","entry":"r.1"}`))
	f.Fuzz(func(t *testing.T, junk []byte) {
		lines, bad := scan(t, junk)
		var good int64
		for line := range lines {
			good += int64(len(line))
		}
		if len(lines) == 0 && bad != int64(len(junk)) || good+bad > int64(len(junk)) {
			t.Errorf("%d bytes: %d good, %d bad", len(junk), good, bad)
		}
	})
}

// The same in a file: only a line with a right checksum that is no JSON, which no
// accident makes, is an error.
func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"v":1,"kind":"intent","entry":"r.1"}`))
	f.Add(journal.AppendRecord(journal.KindIntent, "r.1", time.Now(), &journal.Record{}))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, junk []byte) {
		if err := os.WriteFile(filepath.Join(dir, "journal-1-x.jsonl"), junk, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := journal.NewReader(dir).Verify(context.Background())
		if err != nil && !strings.Contains(err.Error(), "right checksum") {
			t.Error(err)
		}
		if err == nil && v.Records == 0 && len(junk) > 0 && v.Damaged+v.Torn == 0 {
			t.Errorf("no record and no damage in %q", junk)
		}
	})
}
