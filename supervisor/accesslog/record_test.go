package accesslog_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"commerce.example/coordinator/supervisor/accesslog"
)

var begun = time.Date(2026, 11, 21, 7, 30, 0, 123456789, time.FixedZone("CET", 3600))

func full() *accesslog.Record {
	return &accesslog.Record{
		Begun: begun, RequestID: "0193-a", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Client: "9f86d081884c7d65",
		Method: "POST", Host: "shop.example", Path: "/api/orders/", Proto: "HTTP/1.1",
		Bulkhead: "orders", Slot: 1, Attempts: 2, Status: 502, Reason: "worker_died", Outcome: "sent_unknown", Fallback: "stale",
		BytesIn: 12, BytesOut: 345, Total: 1234567 * time.Microsecond, Queue: 5 * time.Microsecond, Backend: 20 * time.Millisecond,
	}
}

func TestLineHasAllMembers(t *testing.T) {
	got := string(full().Append(nil))
	want := `{"time":"2026-11-21T06:30:00.123456789Z","request_id":"0193-a","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",` +
		`"client":"9f86d081884c7d65","method":"POST","host":"shop.example","path":"/api/orders/","proto":"HTTP/1.1",` +
		`"bulkhead":"orders","slot":1,"attempts":2,"status":502,"reason":"worker_died","outcome":"sent_unknown",` +
		`"fallback":"stale","bytes_in":12,"bytes_out":345,"duration_ms":1234.567,"queue_ms":0.005,"backend_ms":20}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLineLeavesOutWhatIsEmpty(t *testing.T) {
	got := string((&accesslog.Record{Begun: begun, Slot: 3}).Append(nil))
	want := `{"time":"2026-11-21T06:30:00.123456789Z","status":0,"bytes_in":0,"bytes_out":0,"duration_ms":0}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A slot of 0 is a slot.
func TestLineOfTheFirstSlot(t *testing.T) {
	if got := string((&accesslog.Record{Begun: begun, Attempts: 1}).Append(nil)); !strings.Contains(got, `"slot":0,"attempts":1`) {
		t.Error(got)
	}
}

// Who is named before a host may be a user with a password.
func TestLineHasNoUserOfTheHost(t *testing.T) {
	got := string((&accesslog.Record{Begun: begun, Host: "user:secret@shop.example"}).Append(nil))
	if !strings.Contains(got, `"host":"shop.example"`) || strings.Contains(got, "secret") {
		t.Error(got)
	}
}

// Whatever is in each text, in a form that grows the most, a line stays within a
// pipe's piece and is one object.
func TestLongestLineFitsAPipe(t *testing.T) {
	for _, unit := range []string{"\x01", "\"", "\xff", "é", "😀", "\u2028", "a"} {
		r := full()
		v := reflect.ValueOf(r).Elem()
		for i := range v.NumField() {
			switch f := v.Field(i); {
			case f.Kind() == reflect.String:
				f.SetString(strings.Repeat(unit, 10_000))
			case f.CanInt():
				f.SetInt(1<<63 - 1)
			case f.CanUint():
				f.SetUint(1<<32 - 1)
			}
		}
		line := r.Append(nil)
		if len(line) > accesslog.MaxLineBytes {
			t.Errorf("%q: %d bytes", unit, len(line))
		}
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%q: %v: %s", unit, err, line)
		}
		if path, _ := m["path"].(string); !strings.HasSuffix(path, "…") || len(path) < 100 {
			t.Errorf("%q: path %q", unit, path)
		}
	}
}

// No field of Record stays out of the line, and none that a header could leak
// through comes in: a new one has to be thought of here.
func TestRecordIsAnAllowList(t *testing.T) {
	r := full()
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if v.Field(i).Kind() == reflect.String {
			v.Field(i).SetString("canary-" + name)
		}
	}
	line := string(r.Append(nil))
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Type.Kind() == reflect.String && !strings.Contains(line, "canary-"+f.Name+`"`) {
			t.Errorf("%s is not in %s", f.Name, line)
		}
		if k := v.Field(i).Kind(); k == reflect.Map || k == reflect.Slice || k == reflect.Interface {
			t.Errorf("%s is of kind %v: a line has words and numbers alone", v.Type().Field(i).Name, k)
		}
	}
}

func TestFailed(t *testing.T) {
	for _, c := range []struct {
		status           int
		reason, fallback string
		want             bool
	}{
		{200, "", "", false},
		{404, "", "", false},
		{503, "", "", true},
		{404, "no_route", "", true},
		{200, "", "stale", true},
		{0, "", "", true},
	} {
		if got := accesslog.Failed(c.status, c.reason, c.fallback); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c", "\x00\x1f\x7f", "\xff\xfe", "é…\u2028", "\ufffd", "😀😀😀😀"} {
		f.Add(s, 16)
	}
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = 3 + (most&0xffff)%4096
		line := append(accesslog.AppendText([]byte{'"'}, s, most), '"')
		if len(line)-2 > most {
			t.Fatalf("%d bytes of %d", len(line)-2, most)
		}
		var back string
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		want := strings.ToValidUTF8(s, "\ufffd")
		if utf8.ValidString(s) && 6*len(s) <= most && back != want {
			t.Fatalf("%q became %q", s, back)
		}
		if cut, ok := strings.CutSuffix(back, "…"); ok && utf8.ValidString(s) && back != s && !strings.HasPrefix(s, cut) {
			t.Fatalf("%q became %q", s, back)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	r, buf := full(), make([]byte, 0, accesslog.MaxLineBytes)
	for b.Loop() {
		buf = r.Append(buf[:0])
	}
}
