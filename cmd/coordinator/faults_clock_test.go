//go:build linux

package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/limit"
)

// FAULTS 37: every duration is taken from the monotonic clock, which a Time of
// time.Now carries and Sub prefers (package time, "Monotonic Clocks"). What
// strips it, or makes times from numbers, has no place where time decides
// anything; a deadline in the past is what connections are ended with.
func TestFault37OnlyMonotonicTime(t *testing.T) {
	strips := map[string]bool{"Round": true, "UTC": true, "Local": true, "In": true, "AddDate": true,
		"Unix": true, "UnixMilli": true, "UnixMicro": true, "UnixNano": true, "Date": true, "Parse": true, "ParseInLocation": true}
	// The calendar decides nothing but names: those of segments, read back from a
	// disk that has no other clock, and the day of the key of client addresses.
	calendar := []string{"journal/segment.go", "journal/clients.go"}
	seen := 0
	for _, dir := range []string{"../../supervisor", "../../ipc", "../../workers"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if slices.ContainsFunc(calendar, func(file string) bool { return strings.HasSuffix(path, file) }) {
				return err
			}
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".pb.go") {
				return err
			}
			seen++
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				return err
			}
			text := map[ast.Expr]bool{} // what is formatted: it becomes text, and nothing else
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				f, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if f.Sel.Name == "Format" || f.Sel.Name == "AppendFormat" {
					text[f.X] = true
				}
				if strips[f.Sel.Name] && !text[call] && !harmless(f, call) {
					t.Errorf("%s: %s loses the monotonic clock", fset.Position(call.Pos()), f.Sel.Name)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 100 {
		t.Errorf("only %d files", seen)
	}
}

// harmless reports whether a call is time.Unix(1, 0), long past on any clock, or
// a function of another package with such a name.
func harmless(f *ast.SelectorExpr, call *ast.CallExpr) bool {
	of, isName := f.X.(*ast.Ident)
	field, isField := f.X.(*ast.SelectorExpr)
	between, isCall := f.X.(*ast.CallExpr)
	switch f.Sel.Name {
	case "Round": // of a time.Duration
		if isCall {
			sub, ok := between.Fun.(*ast.SelectorExpr)
			return ok && sub.Sel.Name == "Sub"
		}
		return isField && field.Sel.Name == "age" || isName && (of.Name == "d" || of.Name == "math")
	case "Parse", "ParseInLocation", "Date": // of something else
		if !isName || of.Name != "time" {
			return true
		}
	}
	switch {
	case !isName:
		return false
	case of.Name == "time":
		first, literal := call.Args[0].(*ast.BasicLit)
		return f.Sel.Name == "Unix" && literal && first.Value == "1"
	}
	return false
}

// jumped is now after somebody has set the wall clock: its monotonic part is the
// same. Package time has no way to make one, so this goes below it; the layout
// is checked by what the result says.
func jumped(t *testing.T, now time.Time, by time.Duration) time.Time {
	t.Helper()
	const secondBit = 30 // of Time.wall, which begins with the seconds since 1885 when there is a monotonic part
	then := now
	wall := (*uint64)(unsafe.Pointer(&then))
	*wall += uint64(int64(by/time.Second)) << secondBit
	if then.Sub(now) != 0 || then.Round(0).Sub(now.Round(0)) != by {
		t.Fatalf("package time has changed: %v, %v", then.Sub(now), then.Round(0).Sub(now.Round(0)))
	}
	return then
}

// The state machines take now: a clock that jumps a day either way, and runs on
// from there, changes nothing.
func TestFault37ClockJumps(t *testing.T) {
	for _, by := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		start := time.Now()
		after := func(d time.Duration) time.Time { return jumped(t, start.Add(d), by) }
		b := breaker.New(breaker.Settings{
			Window: 10 * time.Second, MinCalls: 10, FailureRatio: .5, SlowRatio: 1, OpenFor: 5 * time.Second, Probes: 1,
		}, start)
		call := func(now time.Time, o breaker.Outcome) {
			t.Helper()
			ticket, ok := b.Admit(now)
			if !ok {
				t.Fatal("a call was not admitted")
			}
			ticket.Done(now, o)
		}
		for range 9 {
			call(start, breaker.Failure)
		}
		if s := b.Stats(after(time.Second)); s.Failures != 9 || s.State != breaker.StateClosed {
			t.Errorf("%v: %d failures, %v: the window has expired", by, s.Failures, s.State)
		}
		call(after(2*time.Second), breaker.Failure)
		if b.Peek(after(6 * time.Second)) {
			t.Errorf("%v: open for 4 s, and not any more", by)
		}
		if s := b.Stats(after(6 * time.Second)); s.State != breaker.StateOpen || s.RetryAfter != time.Second {
			t.Errorf("%v: %v, %v left, want open for another second", by, s.State, s.RetryAfter)
		}
		if !b.Peek(after(7*time.Second + time.Millisecond)) {
			t.Errorf("%v: still open after OPEN_FOR", by)
		}

		l := limit.New(1, 1)
		if _, err := l.Acquire(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		admitted := make(chan error, 1)
		go func() {
			_, err := l.Acquire(t.Context(), time.Minute)
			admitted <- err
		}()
		eventually(t, 5*time.Second, "one waits", func() bool { return l.Stats(time.Now()).Depth == 1 })
		if s := l.Stats(jumped(t, time.Now(), by)); s.Oldest < 0 || s.Oldest > time.Minute {
			t.Errorf("%v: the oldest has waited for %v", by, s.Oldest)
		}
		l.Release()
		if err := <-admitted; err != nil {
			t.Errorf("%v: %v", by, err)
		}
	}
}
