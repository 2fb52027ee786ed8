package tracing_test

import (
	"net/http"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/tracing"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
)

// The sections are those of W3C Trace Context.
var parents = []struct {
	text string
	ok   bool
	why  string
}{
	{"00-" + traceID + "-" + spanID + "-01", true, "3.2.4"},
	{"00-" + traceID + "-" + spanID + "-00", true, "3.2.4"},
	{"00-" + traceID + "-" + spanID + "-ff", true, "3.2.2.5: flags that are not known are not an error"},
	{"cc-" + traceID + "-" + spanID + "-01", true, "3.2.4: a later version"},
	{"cc-" + traceID + "-" + spanID + "-01-what-the-future-brings", true, "3.2.4: a later version with more"},
	{"cc-" + traceID + "-" + spanID + "-01.what", false, "3.2.4: more begins with a dash"},
	{"00-" + traceID + "-" + spanID + "-01-more", false, "3.2.2.2: version 00 has no more"},
	{"00-" + traceID + "-" + spanID + "-01-", false, "3.2.2.2: version 00 has no more"},
	{"ff-" + traceID + "-" + spanID + "-01", false, "3.2.2.1: ff is not a version"},
	{"00-" + strings.Repeat("0", 32) + "-" + spanID + "-01", false, "3.2.2.3: all zeros"},
	{"00-" + traceID + "-" + strings.Repeat("0", 16) + "-01", false, "3.2.2.4: all zeros"},
	{"00-" + strings.ToUpper(traceID) + "-" + spanID + "-01", false, "3.2.2.3: lower case"},
	{"00-" + traceID + "-" + strings.ToUpper(spanID) + "-01", false, "3.2.2.4: lower case"},
	{"0A-" + traceID + "-" + spanID + "-01", false, "3.2.2.1: lower case"},
	{"00-" + traceID + "-" + spanID + "-0A", false, "3.2.2.5: lower case"},
	{"00-" + traceID[:31] + "g-" + spanID + "-01", false, "3.2.2.3: hexadecimal"},
	{"00-" + traceID + "-" + spanID + "-1", false, "3.2.2.5: two digits"},
	{"00-" + traceID + "-" + spanID, false, "3.2.2.2: no flags"},
	{"0-" + traceID + "-" + spanID + "-01", false, "3.2.2.1: two digits"},
	{"00-" + traceID[1:] + "-" + spanID + "-01", false, "3.2.2.3: 32 digits"},
	{"00-" + traceID + "-" + spanID[1:] + "-011", false, "3.2.2.4: 16 digits"},
	{"00_" + traceID + "_" + spanID + "_01", false, "3.2.2: dashes"},
	{" 00-" + traceID + "-" + spanID + "-01", false, "3.2.2: no space"},
	{"00-" + traceID + "-" + spanID + "-01,00-" + traceID + "-" + spanID + "-01", false, "3.2: one value"},
	{"", false, ""},
}

func TestParseParent(t *testing.T) {
	for _, c := range parents {
		p, ok := tracing.ParseParent(c.text)
		if ok != c.ok {
			t.Errorf("%q: %v (%s)", c.text, ok, c.why)
		}
		if want := "00-" + traceID + "-" + spanID + "-"; ok && !strings.HasPrefix(p.String(), want) {
			t.Errorf("%q reads %q", c.text, p)
		}
		want := ""
		if c.ok {
			want = traceID
		}
		if got := tracing.TraceID(http.Header{"Traceparent": {c.text}}); got != want {
			t.Errorf("%q: trace id %q", c.text, got)
		}
	}
	two := []string{parents[0].text, parents[0].text}
	if got := tracing.TraceID(http.Header{"Traceparent": two}); got != "" {
		t.Error("of two:", got)
	}
}

// A parent that cannot be read starts a trace anew, without the state of the old
// one; a state that cannot be read is dropped alone.
func TestWhatIsContinued(t *testing.T) {
	newReceiver(t, http.StatusOK, nil)
	tracer := start(t, func(err error) { t.Error(err) })
	defer shut(t, tracer)
	for _, c := range parents {
		r := request(c.text)
		tr := tracer.Start(r, begun, true)
		if continued := tr.ID() == traceID; continued != c.ok || continued != (len(r.Header["Tracestate"]) == 2) {
			t.Errorf("%q: trace %s, state %q (%s)", c.text, tr.ID(), r.Header["Tracestate"], c.why)
		}
		parse(t, r)
	}
	if r := request(caller, caller); tracer.Start(r, begun, true).ID() == traceID {
		t.Error("one of two parents was taken")
	}
	random := request(strings.TrimSuffix(caller, "01") + "03")
	if tracer.Start(random, begun, true); !strings.HasSuffix(random.Header.Get("Traceparent"), "-03") {
		t.Error("Level 2, 3.2.2.5.2: the random flag goes with the id:", random.Header.Get("Traceparent"))
	}
	for _, s := range []struct {
		text string
		kept bool
		why  string
	}{
		{"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true, "3.3.1"},
		{"tenant@vendor=a", true, "3.3.1.3.1"},
		{"a=1, \tb=2", true, "3.3.1.1: space around commas"},
		{"UPPER=1", false, "3.3.1.3.1: lower case"},
		{"a=1,a=2", false, "3.3.1.3.1: one of each key"},
		{"a", false, "3.3.1.3: no value"},
		{"a=b=c", false, "3.3.1.3.2"},
		{strings.Repeat("a", 257) + "=1", false, "3.3.1.3.1: 256 characters"},
		{many(33), false, "3.3.1.1: 32 members"},
		{many(32), true, "3.3.1.1: 32 members"},
		{"a=" + strings.Repeat("x", tracing.MaxState), true, "too long for us, and not ours to judge"},
	} {
		r := request(caller)
		r.Header["Tracestate"] = []string{s.text}
		if tr := tracer.Start(r, begun, true); tr.ID() != traceID {
			t.Errorf("%q cost the trace", s.text)
		}
		if got := r.Header.Get("Tracestate"); (got == s.text) != s.kept || !s.kept && got != "" {
			t.Errorf("%q became %q (%s)", s.text, got, s.why)
		}
	}
}

func many(members int) string {
	var list []string
	for i := range members {
		list = append(list, strings.Repeat("k", i+1)+"=v")
	}
	return strings.Join(list, ",")
}

func FuzzParseParent(f *testing.F) {
	for _, c := range parents {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := tracing.ParseParent(s)
		if (tracing.TraceID(http.Header{"Traceparent": {s}}) != "") != ok {
			t.Fatalf("%q: TraceID and ParseParent differ", s)
		}
		if !ok {
			if p != (tracing.Parent{}) {
				t.Fatalf("%q: %v", s, p)
			}
			return
		}
		if s[:2] == "ff" || p.TraceID == [16]byte{} || p.SpanID == [8]byte{} {
			t.Fatalf("%q was taken", s)
		}
		again, ok := tracing.ParseParent(p.String())
		if !ok || again.TraceID != p.TraceID || again.SpanID != p.SpanID || again.Flags != p.Flags&3 {
			t.Fatalf("%q reads %q", s, p)
		}
		if s[:2] == "00" && p.Flags < 4 && p.String() != s {
			t.Fatalf("%q became %q", s, p)
		}
	})
}

func BenchmarkTraceID(b *testing.B) {
	b.ReportAllocs()
	h := http.Header{"Traceparent": {caller}}
	for b.Loop() {
		if tracing.TraceID(h) == "" {
			b.Fatal("not read")
		}
	}
}
