package sizing_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/sizing"
)

// measured is the evidence of a bulkhead as it runs: visits put through s by the
// limiter's rules cannot be told from those of a supervisor.
func measured(rate float64, holding time.Duration) sizing.Evidence {
	e := sizing.EvidenceOf(slices.Collect(arrivals(30_000, 12, poissonGap(rate), exponential(holding))))
	e.CPU = time.Duration(e.Holding.Count) * 5 * ms
	return e
}

func topics(r sizing.Report) (of []sizing.Topic) {
	for _, n := range r.Notes {
		of = append(of, n.Topic)
	}
	return of
}

var present = sizing.Present{Bulkhead: "orders", Setting: sizing.Setting{Limit: 32, Queue: 16, QueueTimeout: time.Second}, Workers: 2}

func TestReportHasTheFieldsOfTheContract(t *testing.T) {
	r := sizing.Advise(sizing.Question{Evidence: measured(200, 50*ms), Present: present})
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	has := func(of map[string]any, names ...string) {
		for _, name := range names {
			if _, ok := of[name]; !ok {
				t.Errorf("no %s in %s", name, text)
			}
		}
	}
	has(fields, "bulkhead", "window_s", "arrivals_per_s", "holding_mean_ms", "offered_load", "utilisation", "saturation_rate")
	has(fields["predicted"].(map[string]any), "model", "refused_share", "wait_p99_ms")
	has(fields["measured"].(map[string]any), "refused_share", "wait_p99_ms")
	has(fields["recommended"].(map[string]any), "limit", "queue", "workers")
	near(t, "offered load", r.Offered, 10, 0.3)
	near(t, "utilisation", r.Utilisation, 10./32, 0.01)
	near(t, "saturation", r.Saturation, 640, 15)
	if r.Recommended.Workers != 3 { // 200/s of 5 ms are 1 processor, 1.43 workers at 0.7
		t.Errorf("%d workers, want 3", r.Recommended.Workers)
	}
	if len(r.Notes) != 0 {
		t.Errorf("notes on a bulkhead that is well: %v", r.Notes)
	}
}

// What is recommended meets the objective, and one slot less does not.
func TestRecommendationIsTheSmallest(t *testing.T) {
	e := measured(200, 50*ms)
	o := sizing.Objective{Refused: 0.001, WaitP99: 50 * ms}
	r := sizing.Advise(sizing.Question{Evidence: e, Present: present, Objective: o})
	got := sizing.Setting{Limit: r.Recommended.Limit, Queue: r.Recommended.Queue, QueueTimeout: time.Second}
	if p := sizing.MMcKD(e.Load(), got); p.Refused > o.Refused || p.WaitP99 > o.WaitP99 {
		t.Errorf("%+v does not meet it: %+v", got, p)
	}
	for queue := range 200 {
		less := sizing.Setting{Limit: got.Limit - 1, Queue: queue, QueueTimeout: time.Second}
		if p := sizing.MMcKD(e.Load(), less); p.Refused <= o.Refused && p.WaitP99 <= o.WaitP99 {
			t.Errorf("%+v meets it too: %+v", less, p)
		}
	}
	if l := r.Recommended.LimitRange; l.Low > got.Limit || l.High < got.Limit || l.High-l.Low > 4 {
		t.Errorf("range %+v about %d", l, got.Limit)
	}
}

func TestWhatIf(t *testing.T) {
	if testing.Short() {
		t.Skip("takes millions of arrivals: without -short")
	}
	q := sizing.Question{Evidence: measured(200, 50*ms), Present: present, Objective: sizing.Objective{Refused: 0.01, WaitP99: 50 * ms}}
	base := sizing.Advise(q)
	ask := func(w sizing.WhatIf) sizing.Report { q.WhatIf = w; return sizing.Advise(q) }
	if r := ask(sizing.WhatIf{Rate: sizing.Rate{Times: 2}}); r.Recommended.Limit <= base.Recommended.Limit {
		t.Errorf("twice the rate, limit %d after %d", r.Recommended.Limit, base.Recommended.Limit)
	} else {
		near(t, "offered", r.Offered, 2*base.Offered, 1e-6)
	}
	near(t, "holding 300 ms", ask(sizing.WhatIf{Holding: 300 * ms}).Offered, 60, 2)
	if r := ask(sizing.WhatIf{Limit: 8}); r.Predicted.Refused < 0.15 || !slices.Contains(topics(r), sizing.Saturated) || slices.Contains(topics(r), sizing.ModelDisagrees) {
		t.Errorf("limit 8: %+v", r)
	}
	slow := ask(sizing.WhatIf{Slow: sizing.Slow{Share: 0.05, For: 5 * time.Second}})
	near(t, "5 % of 5 s: offered", slow.Offered, 200*(0.95*0.05+0.25), 1.5)
	if slow.HoldingSCV < 5 || slow.Predicted.Refused < 0.4 || slow.Predicted.Model != sizing.ModelSimulation {
		t.Errorf("5 %% of 5 s: %+v", slow)
	}
	fleet := ask(sizing.WhatIf{Replicas: 4})
	near(t, "a fleet of 4: offered to each", fleet.Offered, base.Offered/4, 1e-6)
	if 4*fleet.Recommended.Limit <= base.Recommended.Limit {
		t.Errorf("4 of %d do the work of one of %d: pools apart need more", fleet.Recommended.Limit, base.Recommended.Limit)
	}
}

// Of a limit that follows the backend nothing is measured at its upper bound.
func TestLimitThatFollowsIsSaid(t *testing.T) {
	q := sizing.Question{Present: present}
	q.Present.LimitLeast = 8
	r := sizing.Advise(q)
	if got := topics(r); !slices.Contains(got, sizing.LimitFollows) || slices.Contains(got, sizing.ModelDisagrees) {
		t.Errorf("%v", got)
	}
	for _, n := range r.Notes {
		if n.Topic == sizing.LimitFollows && n.Text != "the limit follows the backend between 8 and 32: advice is for its upper bound" {
			t.Errorf("%q", n.Text)
		}
	}
}

func TestNothingMeasured(t *testing.T) {
	r := sizing.Advise(sizing.Question{Present: present})
	if r.Recommended.Limit != 32 || r.Predicted.Refused != 0 || !slices.Contains(topics(r), sizing.LittleEvidence) {
		t.Errorf("%+v", r)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestBackendBottleneck(t *testing.T) {
	q := sizing.Question{Evidence: measured(900, 50*ms), Present: present}
	free := sizing.Advise(q)
	q.Evidence.Crowding = sizing.Crowding{Count: 10_000, Mean: 25, Held: 0.05, Slope: 0.0019, Error: 0.00005}
	r := sizing.Advise(q)
	if free.Bottleneck || free.Recommended.Limit <= 32 || !r.Bottleneck || r.Recommended.Limit != 32 || !slices.Contains(topics(r), sizing.BackendBottleneck) {
		t.Errorf("%+v and %+v", free.Recommended, r.Recommended)
	}
}

// Traffic in bursts: the formulas are off and say so, the trace is not.
func TestBurstsNeedATrace(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 1))
	var visits []sizing.Visit
	var at time.Duration
	for range 4000 {
		at += time.Duration(rng.ExpFloat64() * float64(100*ms))
		for range 10 {
			visits = append(visits, sizing.Visit{At: at, Held: time.Duration(rng.ExpFloat64() * float64(50*ms))})
		}
	}
	p := sizing.Present{Bulkhead: "bursts", Setting: sizing.Setting{Limit: 12, Queue: 6, QueueTimeout: 200 * ms}}
	truth := sizing.Simulate(slices.Values(visits), p.Setting)
	e := sizing.EvidenceOf(visits)
	n := float64(e.Arrivals)
	e.Full, e.TimedOut = int64(truth.Full*n), int64(truth.TimedOut*n)
	e.Admitted = e.Arrivals - e.Full - e.TimedOut

	blind := sizing.Advise(sizing.Question{Evidence: e, Present: p})
	if got := topics(blind); !slices.Contains(got, sizing.NotPoisson) || !slices.Contains(got, sizing.ModelDisagrees) {
		t.Errorf("without the trace: %v", got)
	}
	seeing := sizing.Advise(sizing.Question{Evidence: e, Present: p, Trace: visits})
	near(t, "refused, by trace", seeing.Predicted.Refused, truth.Refused, 0.005)
	if seeing.Predicted.Model != sizing.ModelTrace || seeing.Recommended.Limit <= blind.Recommended.Limit {
		t.Errorf("by trace: %+v, without: %+v", seeing.Recommended, blind.Recommended)
	}
}

func TestCurve(t *testing.T) {
	q := sizing.Question{Evidence: measured(200, 50*ms), Present: present}
	curve := sizing.Curve(q, 30)
	if len(curve) != 30 || curve[0].Limit != 1 || curve[29].Limit != 64 {
		t.Fatalf("%+v", curve)
	}
	for i := range curve[1:] {
		if curve[i+1].Refused > curve[i].Refused+1e-9 {
			t.Errorf("%+v after %+v", curve[i+1], curve[i])
		}
	}
	if len(sizing.Curve(q, 1_000_000)) > 64 {
		t.Error("more points than anybody can draw")
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]sizing.Rate{"2x": {Times: 2}, "0.5x": {Times: .5}, "120/s": {PerSecond: 120}, "7": {PerSecond: 7}} {
		if got, err := sizing.ParseRate(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-2x", "0", "NaN", "Inf", "2y"} {
		if _, err := sizing.ParseRate(text); err == nil {
			t.Errorf("%q is a rate", text)
		}
	}
	if got, err := sizing.ParseSlow("5%:5s"); err != nil || got != (sizing.Slow{Share: 0.05, For: 5 * time.Second}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "5%", ":5s", "0:5s", "5%:-1s", "500%:5s", "NaN:5s"} {
		if _, err := sizing.ParseSlow(text); err == nil {
			t.Errorf("%q is a slow share", text)
		}
	}
	if got, err := sizing.ParseShare("0.1%"); err != nil || got != 0.001 {
		t.Errorf("%v, %v", got, err)
	}
}

func BenchmarkAdvise(b *testing.B) {
	q := sizing.Question{Evidence: measured(200, 50*ms), Present: present}
	for b.Loop() {
		_ = sizing.Advise(q)
	}
}

func TestWhatIfQueue(t *testing.T) {
	q := sizing.Question{Evidence: measured(700, 50*ms), Present: present}
	none := 0
	with, without := sizing.Predict(q), func() sizing.Prediction { q.WhatIf.Queue = &none; return sizing.Predict(q) }()
	if without.Model != sizing.ModelErlangB || without.Refused <= with.Refused || without.WaitP99 != 0 {
		t.Errorf("with a queue %+v, without %+v", with, without)
	}
	if curve := sizing.Curve(q, 8); curve[len(curve)-1].WaitP99 != 0 {
		t.Errorf("the curve has a queue: %+v", curve)
	}
}

// What was measured under another setting is not held against the model.
func TestSettingThatChanged(t *testing.T) {
	q := sizing.Question{Evidence: measured(200, 50*ms), Present: present}
	q.Present.Limit = 8 // which refuses much, and nothing was
	if got := topics(sizing.Advise(q)); !slices.Contains(got, sizing.ModelDisagrees) || slices.Contains(got, sizing.SettingChanged) {
		t.Errorf("always so: %v", got)
	}
	q.Unchanged = q.Evidence.Window / 2
	if got := topics(sizing.Advise(q)); slices.Contains(got, sizing.ModelDisagrees) || !slices.Contains(got, sizing.SettingChanged) {
		t.Errorf("changed half way: %v", got)
	}
	q.Unchanged = q.Evidence.Window + time.Second
	if got := topics(sizing.Advise(q)); !slices.Contains(got, sizing.ModelDisagrees) {
		t.Errorf("changed before: %v", got)
	}
}

// A rough answer is soon there, and close to the other.
func TestRough(t *testing.T) {
	if testing.Short() {
		t.Skip("takes millions of arrivals: without -short")
	}
	e := sizing.EvidenceOf(slices.Collect(arrivals(30_000, 12, poissonGap(200), func(*rand.Rand) time.Duration { return 100 * ms })))
	q := sizing.Question{Evidence: e, Present: present, Objective: sizing.Objective{Refused: 0.01, WaitP99: 50 * ms}}
	fine := sizing.Advise(q)
	q.Rough = true
	begun := time.Now()
	rough := sizing.Advise(q)
	t.Logf("in %v", time.Since(begun))
	if fine.Predicted.Model != sizing.ModelSimulation || rough.Predicted.Model != sizing.ModelSimulation {
		t.Errorf("by %s and %s", fine.Predicted.Model, rough.Predicted.Model)
	}
	near(t, "refused", rough.Predicted.Refused, fine.Predicted.Refused, 0.01)
	near(t, "limit", float64(rough.Recommended.Limit), float64(fine.Recommended.Limit), 1)
}

func BenchmarkRough(b *testing.B) {
	e := sizing.EvidenceOf(slices.Collect(arrivals(30_000, 12, poissonGap(200), func(*rand.Rand) time.Duration { return 100 * ms })))
	q := sizing.Question{Evidence: e, Present: present, Rough: true}
	for b.Loop() {
		_, _ = sizing.Advise(q), sizing.Curve(q, 33)
	}
}
