package accesslog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/supervisor/accesslog"
)

func sampling(t testing.TB, s string) accesslog.Sampling {
	t.Helper()
	parsed, err := accesslog.ParseSampling(s)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func open(t testing.TB, o accesslog.Options) *accesslog.Log {
	t.Helper()
	l, err := accesslog.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func shut(t testing.TB, l *accesslog.Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// ids are the request ids of the lines in b, each of which must be an object.
func ids(t testing.TB, b []byte) (ids []string) {
	t.Helper()
	for line := range bytes.Lines(b) {
		var r struct {
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal(line, &r); err != nil || line[len(line)-1] != '\n' {
			t.Fatalf("%v: %q", err, line)
		}
		ids = append(ids, r.RequestID)
	}
	return ids
}

func TestParseSampling(t *testing.T) {
	for _, s := range []string{"off", "failures", "all", "sample:2", "sample:1000000"} {
		if got := sampling(t, s).String(); got != s {
			t.Errorf("%s reads back as %s", s, got)
		}
	}
	if got := sampling(t, "sample:1").String(); got != "all" {
		t.Error(got)
	}
	for _, s := range []string{"", "on", "All", "sample", "sample:", "sample:0", "sample:-1", "sample:1.5", "sample:1000001", "sample:99999999999"} {
		var parsed accesslog.Sampling
		if err := parsed.UnmarshalText([]byte(s)); err == nil || !strings.Contains(err.Error(), "want one of off, failures") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestSampling(t *testing.T) {
	const requests = 100_000
	for _, c := range []struct {
		sampling       string
		failed         uint32
		least, most    int // of the successful
		sampleOfOthers uint32
	}{
		{"off", 0, 0, 0, 0},
		{"failures", 1, 0, 0, 0},
		{"sample:10", 1, 9_000, 11_000, 10}, // ten standard deviations
		{"all", 1, requests, requests, 1},
	} {
		s, lines := sampling(t, c.sampling), 0
		for range requests {
			if got := s.Pick(true); got != c.failed {
				t.Fatalf("%s: a failure has %d", c.sampling, got)
			}
			if got := s.Pick(false); got == c.sampleOfOthers && got != 0 {
				lines++
			} else if got != 0 {
				t.Fatalf("%s: a success has %d", c.sampling, got)
			}
		}
		if lines < c.least || lines > c.most {
			t.Errorf("%s: %d lines", c.sampling, lines)
		}
	}
}

func TestOffIsNil(t *testing.T) {
	l, err := accesslog.Open(accesslog.Options{Path: "/nowhere/at/all"})
	if l != nil || err != nil {
		t.Fatal(l, err)
	}
	l.Add(full())
	if err := l.Reopen(t.Context()); err != nil {
		t.Error(err)
	}
	shut(t, l)
	if got := l.Stats(); got != (accesslog.Stats{}) {
		t.Error(got)
	}
}

// A reload changes what gets a line in place; logs that follow each other count in
// one place.
func TestSettingsThatChange(t *testing.T) {
	var counts accesslog.Counts
	path := filepath.Join(t.TempDir(), "access.log")
	l := open(t, accesslog.Options{Sampling: sampling(t, "failures"), Path: path, Counts: &counts})
	if l.Sample(false) != 0 || l.Sample(true) != 1 {
		t.Error(l.Sample(false), l.Sample(true))
	}
	l.SetSampling(sampling(t, "all"))
	if l.Sample(false) != 1 {
		t.Error("a success gets no line")
	}
	l.SetSampling(sampling(t, "off"))
	if l.Sample(true) != 0 {
		t.Error("a failure gets a line")
	}
	for range 2 {
		l.Add(full())
		shut(t, l)
		l = open(t, accesslog.Options{Sampling: sampling(t, "all"), Path: path, Counts: &counts})
	}
	shut(t, l)
	if got := counts.Stats(); got != (accesslog.Stats{Written: 2}) {
		t.Errorf("%+v", got)
	}
	var off *accesslog.Log
	off.SetSampling(sampling(t, "all"))
	if off.Sample(true) != 0 {
		t.Error("what is off has a line")
	}
}

func TestOpenRefusesWhatCannotBeWritten(t *testing.T) {
	for _, path := range []string{"", t.TempDir(), filepath.Join(t.TempDir(), "missing", "log")} {
		if l, err := accesslog.Open(accesslog.Options{Sampling: sampling(t, "all"), Path: path}); err == nil {
			shut(t, l)
			t.Errorf("%q was opened", path)
		}
	}
}

func TestManyWritersLoseNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l := open(t, accesslog.Options{Sampling: sampling(t, "all"), Path: path})
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 100 {
				r := full()
				r.RequestID = fmt.Sprintf("%d-%d", w, i)
				l.Add(r)
			}
		})
	}
	writers.Wait()
	shut(t, l)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := ids(t, b)
	slices.Sort(got)
	if len(slices.Compact(got)) != 800 || l.Stats().Written != 800 || l.Stats().Dropped != 0 {
		t.Errorf("%d lines, %+v", len(got), l.Stats())
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Error("anybody may read it:", info.Mode(), err)
	}
	l.Add(full())
	if l.Stats().Dropped != 1 {
		t.Errorf("a line after Close: %+v", l.Stats())
	}
}

// What logrotate does: move, tell, and compress what was moved.
func TestReopenFollowsRotation(t *testing.T) {
	dir := t.TempDir()
	path, moved := filepath.Join(dir, "access.log"), filepath.Join(dir, "access.log.1")
	l := open(t, accesslog.Options{Sampling: sampling(t, "all"), Path: path})
	add := func(id string) { l.Add(&accesslog.Record{Begun: begun, RequestID: id, Status: 200}) }
	add("before")
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	add("between")
	if err := l.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	add("after")
	shut(t, l)
	old, err1 := os.ReadFile(moved)
	now, err2 := os.ReadFile(path)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if a, b := ids(t, old), ids(t, now); !slices.Equal(a, []string{"before", "between"}) || !slices.Equal(b, []string{"after"}) {
		t.Error(a, b)
	}
	if err := l.Reopen(t.Context()); !errors.Is(err, accesslog.ErrClosed) {
		t.Error(err)
	}
}

// A reopen that fails leaves the log where it was.
func TestReopenThatFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	moved := dir + ".moved"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := open(t, accesslog.Options{Sampling: sampling(t, "all"), Path: filepath.Join(dir, "access.log")})
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	l.Add(&accesslog.Record{Begun: begun, RequestID: "kept", Status: 200})
	shut(t, l)
	b, err := os.ReadFile(filepath.Join(moved, "access.log"))
	if err != nil || !slices.Equal(ids(t, b), []string{"kept"}) {
		t.Errorf("%v: %q", err, b)
	}
}

// A sink that blocks delays no request, keeps the memory bounded, and does not
// keep Close for longer than it may take.
func TestSinkThatBlocks(t *testing.T) {
	read, write := io.Pipe() // a write waits for its reader
	l := open(t, accesslog.Options{Sampling: sampling(t, "all"), Stdout: write})
	line := len(full().Append(nil))
	enough := 3 * accesslog.PendingBytes / line
	for range enough {
		l.Add(full())
	}
	most := uint64(2*accesslog.PendingBytes/line + 1) // one block on its way, one behind it
	dropped := l.Stats().Dropped
	if dropped < uint64(enough)-most {
		t.Errorf("%d of %d lines dropped", dropped, enough)
	}
	expired, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := l.Close(expired); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	got := make(chan []byte, 1)
	go func() { b, _ := io.ReadAll(read); got <- b }()
	shut(t, l)
	write.Close()
	lines := uint64(len(ids(t, <-got)))
	if s := l.Stats(); lines != s.Written || s.Written+s.Dropped != uint64(enough) {
		t.Errorf("%d lines were read of %d: %+v", lines, enough, s)
	}
}

// flaky fails as it is told to, and else keeps what it gets.
type flaky struct {
	mu    sync.Mutex
	kept  bytes.Buffer
	takes []int // of each write, then an error; -1: all of it and no error
	sizes []int
}

var errFull = errors.New("no space left")

func (f *flaky) text() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Clone(f.kept.Bytes())
}

func (f *flaky) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sizes = append(f.sizes, len(p))
	takes := -1
	if len(f.takes) > 0 {
		takes, f.takes = f.takes[0], f.takes[1:]
	}
	if takes < 0 || takes >= len(p) {
		return f.kept.Write(p)
	}
	f.kept.Write(p[:takes])
	return takes, errFull
}

// A full disk costs the lines that it does not take, is reported once a minute,
// and one line at most is torn.
func TestSinkThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{takes: []int{-1, 30, 0, -1, -1}}
		var reports []error
		l := open(t, accesslog.Options{Sampling: sampling(t, "all"), Stdout: f, Report: func(err error) { reports = append(reports, err) }})
		for i := range 4 {
			l.Add(&accesslog.Record{Begun: begun, RequestID: fmt.Sprint(i), Status: 200})
			time.Sleep(2 * accesslog.FlushEvery) // in a bubble: each is a block
		}
		shut(t, l)
		lines := strings.SplitAfter(string(f.text()), "\n")
		if len(lines) != 4 || !slices.Equal(ids(t, []byte(lines[0]+lines[2])), []string{"0", "3"}) || len(lines[1]) != 31 {
			t.Errorf("%q", lines)
		}
		if got, want := l.Stats(), (accesslog.Stats{Written: 2, Dropped: 2, Failed: 2}); got != want {
			t.Errorf("%+v", got)
		}
		if len(reports) != 1 || !errors.Is(reports[0], errFull) {
			t.Error(reports)
		}
	})
}

// A busy log is written in blocks, a quiet one within FlushEvery; and to what
// may be a pipe, in whole lines of its size.
func TestBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{}
		l := open(t, accesslog.Options{Sampling: sampling(t, "all"), Stdout: f})
		for range 100 {
			l.Add(full())
		}
		synctest.Wait()
		if len(f.text()) != 0 {
			t.Error("a line did not wait for others")
		}
		time.Sleep(accesslog.FlushEvery) // in a bubble
		synctest.Wait()
		if got := len(ids(t, f.text())); got != 100 {
			t.Errorf("%d lines after FlushEvery", got)
		}
		shut(t, l)
		if slices.Max(f.sizes) > accesslog.MaxLineBytes || len(f.sizes) > 20 {
			t.Error(f.sizes)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	l := open(b, accesslog.Options{Sampling: sampling(b, "all"), Path: filepath.Join(b.TempDir(), "log")})
	r := full()
	for b.Loop() {
		l.Add(r)
	}
	shut(b, l)
}

func BenchmarkAddParallel(b *testing.B) {
	b.ReportAllocs()
	l := open(b, accesslog.Options{Sampling: sampling(b, "all"), Path: filepath.Join(b.TempDir(), "log")})
	b.RunParallel(func(pb *testing.PB) {
		r := full()
		for pb.Next() {
			l.Add(r)
		}
	})
	shut(b, l)
}

func BenchmarkOff(b *testing.B) {
	b.ReportAllocs()
	var l *accesslog.Log
	r := full()
	for b.Loop() {
		l.Add(r)
	}
}
