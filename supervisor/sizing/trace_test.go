package sizing_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/supervisor/sizing"
)

var head = sizing.TraceHeader{Bulkhead: "orders", Limit: 32, Queue: 16, QueueTimeout: 1000}

func written(t testing.TB, visits ...sizing.Visit) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := sizing.NewTraceWriter(&b, head)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range visits {
		if err := w.Write(v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(3, 2); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTraceComesBackInTheOrderOfArrival(t *testing.T) {
	text := written(t, sizing.Visit{At: 5 * ms, Held: 7 * ms}, sizing.Visit{At: 2 * ms, Wait: ms, Held: 90 * ms},
		sizing.Visit{At: 3 * ms, Wait: 9 * ms, Fate: sizing.QueueTimeout})
	got, err := sizing.ReadTrace(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []sizing.Visit{{At: 2 * ms, Wait: ms, Held: 90 * ms}, {At: 3 * ms, Wait: 9 * ms, Fate: sizing.QueueTimeout}, {At: 5 * ms, Held: 7 * ms}}
	if !reflect.DeepEqual(got.Visits, want) || got.End != (sizing.TraceEnd{Visits: 3, Dropped: 3, Unfinished: 2}) || got.Header.Limit != 32 {
		t.Errorf("%+v", got)
	}
}

func TestDamagedTraces(t *testing.T) {
	whole := string(written(t, sizing.Visit{At: ms, Held: ms}, sizing.Visit{At: 2 * ms, Held: ms}))
	lines := strings.SplitAfter(whole, "\n")
	for name, c := range map[string]struct {
		text   string
		visits int
		cut    bool
	}{
		"no end":            {strings.Join(lines[:3], ""), 2, true},
		"cut in a visit":    {strings.Join(lines[:2], "") + lines[2][:5], 1, true},
		"cut in the end":    {strings.Join(lines[:3], "") + lines[3][:5], 2, true},
		"header only":       {lines[0], 0, true},
		"empty":             {"", 0, false},
		"something else":    {"hello\n", 0, false},
		"another version":   {strings.Replace(whole, `"version":1`, `"version":9`, 1), 0, false},
		"a line in between": {lines[0] + lines[1] + "[1,2]\n" + lines[2] + lines[3], 0, false},
		"wrong count":       {lines[0] + lines[1] + lines[3], 0, false},
		"no such fate":      {lines[0] + "[1,2,3,4]\n" + lines[1], 0, false},
		"negative":          {lines[0] + "[-1,2,3,0]\n" + lines[1], 0, false},
		"a year":            {lines[0] + "[31536000000000,2,3,0]\n" + lines[1], 0, false},
		"endless line":      {lines[0] + strings.Repeat("1", 1<<20), 0, false},
	} {
		got, err := sizing.ReadTrace(strings.NewReader(c.text))
		if err == nil || errors.Is(err, sizing.ErrTruncated) != c.cut || c.cut && len(got.Visits) != c.visits {
			t.Errorf("%s: %d visits, %v", name, len(got.Visits), err)
		}
	}
}

// A recording of live traffic, one at a time, of those who arrive in its time.
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sizing.NewRecorder(time.Now())
		before := r.Arrive(time.Now())
		before.Admitted(time.Now())
		var text bytes.Buffer
		ctx := context.Background()
		done := make(chan sizing.TraceEnd)
		go func() {
			end, err := r.Record(ctx, &text, head, time.Second, time.Second)
			if err != nil {
				t.Error(err)
			}
			done <- end
		}()
		synctest.Wait()
		if _, err := r.Record(ctx, io.Discard, head, time.Second, 0); !errors.Is(err, sizing.ErrRecording) {
			t.Errorf("a second recording: %v", err)
		}
		before.Released(time.Now())
		first := r.Arrive(time.Now())
		first.Admitted(time.Now())
		refused := r.Arrive(time.Now())
		refused.Refused(time.Now(), sizing.QueueFull)
		hangs := r.Arrive(time.Now())
		hangs.Admitted(time.Now())
		time.Sleep(1500 * ms)
		after := r.Arrive(time.Now())
		first.Released(time.Now())
		after.Admitted(time.Now())
		after.Released(time.Now())
		if end := <-done; end != (sizing.TraceEnd{Visits: 2, Unfinished: 1}) {
			t.Errorf("%+v", end)
		}
		got, err := sizing.ReadTrace(&text)
		want := []sizing.Visit{{Fate: sizing.QueueFull}, {Held: 1500 * ms}}
		if err != nil || !reflect.DeepEqual(got.Visits, want) {
			t.Errorf("%v: %+v", err, got.Visits)
		}
	})
}

// Who records leaves early: what came until then is whole, and it is over at once.
func TestRecordGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sizing.NewRecorder(time.Now())
		ctx, cancel := context.WithCancel(context.Background())
		var text bytes.Buffer
		done := make(chan sizing.TraceEnd)
		go func() {
			end, err := r.Record(ctx, &text, head, time.Hour, time.Minute)
			if err != nil {
				t.Error(err)
			}
			done <- end
		}()
		synctest.Wait()
		visit(r, time.Now(), 0, 0)
		hangs := r.Arrive(time.Now())
		hangs.Admitted(time.Now())
		time.Sleep(1100 * ms)
		synctest.Wait()
		if early, err := sizing.ReadTrace(bytes.NewReader(text.Bytes())); !errors.Is(err, sizing.ErrTruncated) || len(early.Visits) != 1 {
			t.Errorf("after a second %d visits are handed on: %v", len(early.Visits), err)
		}
		begun := time.Now()
		cancel()
		if end := <-done; end != (sizing.TraceEnd{Visits: 1, Unfinished: 1}) || time.Since(begun) > 0 {
			t.Errorf("%+v after %v", end, time.Since(begun))
		}
	})
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestRecordToABrokenFile(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := sizing.NewRecorder(epoch)
	for range 2 { // and a failed recording is none
		if _, err := r.Record(ctx, broken{}, head, time.Second, 0); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%v", err)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add(written(f, sizing.Visit{At: ms, Held: ms}, sizing.Visit{Fate: sizing.Gone}))
	f.Add([]byte("{\"format\":\"coordinator-trace\",\"version\":1}\n[1,2,3,0]\n[1,2"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := sizing.ReadTrace(bytes.NewReader(text))
		if err != nil && !errors.Is(err, sizing.ErrTruncated) {
			return
		}
		var last time.Duration
		for _, v := range got.Visits {
			if v.At < last || v.Wait < 0 || v.Held < 0 || v.Fate > sizing.Gone || v.Fate != sizing.Served && v.Held != 0 {
				t.Fatalf("%+v after %v", v, last)
			}
			last = v.At
		}
		again, err := sizing.ReadTrace(bytes.NewReader(written(t, got.Visits...)))
		if err != nil || !reflect.DeepEqual(again.Visits, got.Visits) {
			t.Fatalf("written and read again: %v", err)
		}
		_ = sizing.EvidenceOf(got.Visits)
	})
}
