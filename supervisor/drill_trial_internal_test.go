package supervisor

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/fallback"
)

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func fields(pairs ...string) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestTrialCompares(t *testing.T) {
	bomb := zipped(t, "["+strings.Repeat("0,", 1<<20)+"0]")
	for name, test := range map[string]struct {
		stored     string
		storedHead http.Header // nil: JSON
		status     int         // 0: 200
		live       string
		liveHead   http.Header
		skip       Uncompared
		drift      string
	}{
		"same shape":       {stored: `{"a":1}`, live: `{"a":2}`},
		"another":          {stored: `{"a":1}`, live: `{"a":"secret"}`, drift: ".a was number and is string"},
		"zipped":           {stored: string(zipped(t, `{"a":1}`)), storedHead: fields("Content-Encoding", "gzip"), live: `{"a":"1"}`, drift: ".a was number and is string"},
		"both zipped":      {stored: string(zipped(t, `{}`)), storedHead: fields("Content-Encoding", "x-gzip"), live: string(zipped(t, `{"b":1}`)), liveHead: fields("Content-Encoding", "gzip"), drift: ".b is new, number"},
		"brotli":           {stored: `{}`, live: "?", liveHead: fields("Content-Encoding", "br"), skip: UncomparedCoding},
		"bomb":             {stored: `[]`, live: string(bomb), liveHead: fields("Content-Encoding", "gzip"), skip: UncomparedTooLarge},
		"varied":           {stored: `[]`, live: `[{"` + strings.Repeat("a", 2000) + `":1}]`, skip: UncomparedVaried},
		"too large":        {stored: `[]`, live: strings.Repeat(" ", compareBytes) + "[]", skip: UncomparedTooLarge},
		"stored large":     {stored: strings.Repeat(" ", compareBytes) + "[]", live: "[]", skip: UncomparedTooLarge},
		"no JSON any more": {stored: `{}`, live: "<html>", drift: "was JSON and is none"},
		"never JSON":       {stored: `{`, live: "<html>"},
		"status":           {stored: `{}`, live: `{}`, status: 404, drift: "status was 200 and is 404"},
		"not modified":     {stored: `{}`, status: 304, skip: UncomparedPart},
		"media type":       {stored: `{}`, live: "x", liveHead: fields("Content-Type", "text/html; charset=utf-8"), drift: `Content-Type was "application/json" and is "text/html"`},
		"parameters":       {stored: "a", storedHead: fields("Content-Type", "text/html"), live: "b", liveHead: fields("Content-Type", "text/HTML; charset=utf-8")},
		"nothing":          {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRehearsal(1, false)
			head := func(h http.Header) http.Header {
				if h == nil {
					return fields()
				}
				return h
			}
			status := max(test.status, 200)
			a := &fallback.Answer{Kind: fallback.Stale, Status: 200, Header: head(test.storedHead), Body: []byte(test.stored), Made: time.Now()}
			x := r.trial(a, &http.Response{StatusCode: status, Header: head(test.liveHead), ContentLength: -1}, time.Now())
			for piece := range slices.Chunk([]byte(test.live), 1000) {
				x.take(piece)
			}
			x.whole = true
			x.done()
			r.stop()
			f := r.figures(0.9)
			if f.Asked != 1 || *f.Coverage != 1 || f.Compared+f.NotCompared[test.skip] != 1 || (f.Compared == 1) != (test.skip == "") {
				t.Errorf("%+v", f)
			}
			if drift := strings.TrimSuffix(strings.Join(f.Drifts, "; "), " (1)"); drift != test.drift || (f.Drifted == 1) != (drift != "") {
				t.Errorf("%q, want %q", drift, test.drift)
			}
			if len(r.places) != 0 {
				t.Error("a place is taken still")
			}
		})
	}
}

// However many answers are on their way, few are kept, and none waits.
func TestTrialsAreBounded(t *testing.T) {
	r := newRehearsal(1, false)
	a := &fallback.Answer{Kind: fallback.Backup, Status: 200, Header: fields(), Body: []byte("[]"), Made: time.Now().Add(-time.Hour)}
	var open []*trial
	for range 3 * compareAtOnce {
		x := r.trial(a, &http.Response{StatusCode: 200, Header: fields(), ContentLength: -1}, time.Now())
		x.take([]byte("[]"))
		open = append(open, x)
	}
	open[0].done() // cut
	for _, x := range open[1:] {
		x.whole = true
		x.done()
	}
	r.stop()
	f := r.figures(0.9)
	if f.Asked != len(open) || f.NotCompared[UncomparedBusy] != 2*compareAtOnce || f.NotCompared[UncomparedCut] != 1 || f.Compared != compareAtOnce-1 {
		t.Errorf("%+v", f)
	}
	if f.Ages[fallback.Backup].P50Seconds < 3600 {
		t.Errorf("%+v", f.Ages)
	}
	late := r.trial(a, &http.Response{StatusCode: 200, Header: fields(), ContentLength: 2}, time.Now())
	late.whole = true
	late.done() // which nobody looks at
}

func TestAgesAreBounded(t *testing.T) {
	var a ages
	for i := range 10 * agesKept {
		a.add(time.Duration(i) * time.Millisecond)
	}
	const middle = 5 * agesKept * time.Millisecond
	if m := a.median(); len(a.kept) != agesKept || a.max != (10*agesKept-1)*time.Millisecond || m < middle*8/10 || m > middle*12/10 {
		t.Errorf("%d kept, max %v, median %v", len(a.kept), a.max, m)
	}
}

func TestDrillFallbackVerdicts(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*DrillResult)
		want   Verdict
		says   string
	}{
		"held":            {want: VerdictHeld},
		"quiet siblings":  {change: func(r *DrillResult) { r.Siblings[0].Requests, r.Siblings[1].Requests = 0, 0 }, want: VerdictHeld, says: "its latency is not judged"},
		"alone":           {change: func(r *DrillResult) { r.Siblings = nil }, want: VerdictHeld},
		"own error":       {change: func(r *DrillResult) { r.Drilled.Errors = 1 }, want: VerdictBroken, says: "orders had 1 error"},
		"own latency":     {change: func(r *DrillResult) { r.Drilled.P99During = 40 }, want: VerdictBroken, says: "the p99 of orders rose"},
		"sibling error":   {change: func(r *DrillResult) { r.Siblings[0].Errors = 1 }, want: VerdictBroken, says: "catalog had 1 error"},
		"not as before":   {change: func(r *DrillResult) { r.RecoveredMS = nil }, want: VerdictBroken, says: "orders is not as it was"},
		"little coverage": {change: func(r *DrillResult) { r.Fallback.Coverage = new(0.899) }, want: VerdictBroken, says: "89.9 % of the repeated requests"},
		"enough":          {change: func(r *DrillResult) { r.Fallback.Coverage, r.Fallback.Wanted = new(0.5), 0.5 }, want: VerdictHeld},
		"few repeated":    {change: func(r *DrillResult) { r.Fallback.Missing[MissingNotSeen] = 81 }, want: VerdictNotJudged, says: "19 requests of those looked at"},
		"none repeated":   {change: func(r *DrillResult) { r.Fallback.Missing[MissingNotSeen], r.Fallback.Coverage = 100, nil }, want: VerdictNotJudged},
		"none compared":   {change: func(r *DrillResult) { r.Fallback.Compared = 0 }, want: VerdictNotJudged, says: "no fallback could be compared"},
		"one differs":     {change: func(r *DrillResult) { r.Fallback.Drifted = 1 }, want: VerdictHeld, says: "1 of 100 fallbacks compared differ"},
		"two differ":      {change: func(r *DrillResult) { r.Fallback.Drifted = 2 }, want: VerdictBroken, says: "2 of 100 fallbacks compared differ"},
	} {
		r := drillOf(DrillFallback)
		r.OpenedMS, r.Hit, r.Drilled = nil, 0, DrillFigures{Name: "orders", Requests: 500, P99Before: 20, P99During: 20}
		r.Fallback = &FallbackFigures{Asked: 100, Missing: map[string]int{}, Coverage: new(1.0), Wanted: 0.9, Compared: 100}
		if test.change != nil {
			test.change(r)
		}
		r.judge(BulkheadConfig{Name: "orders"}, breaker.Auto)
		said := strings.Join(append(r.Findings, r.Notes...), "\n")
		if r.Verdict != test.want || !strings.Contains(said, test.says) {
			t.Errorf("%s: %s, %q; want %s, %q", name, r.Verdict, said, test.want, test.says)
		}
	}
}
