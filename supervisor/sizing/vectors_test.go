package sizing_test

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/sizing"
)

// vectors are published figures, made by others with other means.
type vectors struct {
	ErlangB struct {
		One map[string]float64 `json:"0.01"`
		Two map[string]float64 `json:"0.02"`
	} `json:"erlang_b_offered_load_for_blocking"`
	ErlangC []struct {
		C         int     `json:"c"`
		A         float64 `json:"a"`
		Wait      float64 `json:"p_wait"`
		Holding   float64 `json:"es_seconds"`
		Within20s float64 `json:"p_within_20s"`
		MeanWait  float64 `json:"mean_wait_seconds"`
	} `json:"erlang_c"`
	MMn     map[string]json.RawMessage `json:"mmn_mean_wait_over_es"`
	ME2n    map[string]json.RawMessage `json:"m_e2_n_mean_wait_over_es"`
	Bimodal struct {
		C      int     `json:"c"`
		A      float64 `json:"a"`
		Served float64 `json:"served_share"`
	} `json:"bimodal_overload"`
	USL struct {
		Alpha float64 `json:"alpha"`
		Beta  float64 `json:"beta"`
		Gamma float64 `json:"gamma"`
		Peak  float64 `json:"n_star"`
	} `json:"universal_scalability"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	text, err := os.ReadFile("testdata/sizing-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if !(math.Abs(got-want) <= within) {
		t.Errorf("%s: %v, want %v within %v", what, got, want, within)
	}
}

func TestErlangBAgainstTables(t *testing.T) {
	v := readVectors(t)
	seen := 0
	for refused, table := range map[float64]map[string]float64{0.01: v.ErlangB.One, 0.02: v.ErlangB.Two} {
		for c, load := range table {
			n, err := strconv.Atoi(c)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "load of "+c, sizing.OfferedLoad(n, refused), load, 0.0005+1e-9)
			near(t, "refused of "+c, sizing.ErlangB(n, load), refused, 1e-4)
			seen++
		}
	}
	if seen != 11 {
		t.Errorf("%d vectors, want 11", seen)
	}
	near(t, "bimodal overload", 1-sizing.ErlangB(v.Bimodal.C, v.Bimodal.A), v.Bimodal.Served, 0.0005)
}

func TestErlangCAgainstPublished(t *testing.T) {
	v := readVectors(t)
	if len(v.ErlangC) == 0 {
		t.Fatal("no vectors")
	}
	for _, e := range v.ErlangC {
		near(t, "share that waits", sizing.ErlangC(e.C, e.A), e.Wait, 0.5e-7)
		near(t, "within 20 s", sizing.WithinEndless(e.C, e.A, 20/e.Holding), e.Within20s, 0.5e-5)
		near(t, "mean wait", sizing.MeanWaitEndless(e.C, e.A)*e.Holding, e.MeanWait, 0.5e-5)
	}
}

func TestMeanWaitsAgainstPublished(t *testing.T) {
	v := readVectors(t)
	rows := func(of map[string]json.RawMessage, want int, check func(utilisation float64, n int, want float64)) {
		seen := 0
		for u, raw := range of {
			rho, err := strconv.ParseFloat(u, 64)
			if err != nil {
				continue // the source
			}
			var waits []float64
			if err := json.Unmarshal(raw, &waits); err != nil {
				t.Fatal(err)
			}
			for i, w := range waits {
				check(rho, i+1, w)
				seen++
			}
		}
		if seen != want {
			t.Errorf("%d vectors, want %d", seen, want)
		}
	}
	rows(v.MMn, 25, func(rho float64, n int, want float64) {
		near(t, "M/M/n", sizing.MeanWaitEndless(n, rho*float64(n)), want, 1e-4) // the table cuts its last digit off
	})
	rows(v.ME2n, 10, func(rho float64, n int, want float64) {
		near(t, "M/E2/n", sizing.AllenCunneen(n, rho*float64(n), 1, 0.5), want, 0.03*want)
	})
}

func TestUniversalScalability(t *testing.T) {
	u := readVectors(t).USL
	law := sizing.Scalability{Alpha: u.Alpha, Beta: u.Beta, Gamma: u.Gamma}
	near(t, "peak", law.Peak(), u.Peak, 0.05)
	for _, n := range []float64{u.Peak / 2, u.Peak * 2} {
		if law.Throughput(n) >= law.Throughput(u.Peak) {
			t.Errorf("throughput at %v is %v, above that of the peak", n, law.Throughput(n))
		}
	}
}

func TestEdgesOfTheFormulas(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"no slot", sizing.ErlangB(0, 1), 1},
		{"no load", sizing.ErlangB(3, 0), 0},
		{"NaN load", sizing.ErlangB(3, math.NaN()), 0},
		{"C at saturation", sizing.ErlangC(3, 3), 1},
		{"C without load", sizing.ErlangC(3, -1), 0},
		{"wait at saturation", sizing.MeanWaitEndless(3, 3), inf},
		{"load for no refusals", sizing.OfferedLoad(3, 0), 0},
		{"load for refusals only", sizing.OfferedLoad(3, 1), inf},
		{"rule of thumb", float64(sizing.SquareRootStaffing(100, 1.5)), 115},
		{"rule of thumb without load", float64(sizing.SquareRootStaffing(0, 2)), 0},
		{"a law without coherence has no peak", sizing.Scalability{Alpha: 0.1, Gamma: 1}.Peak(), inf},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
}

// MMcKD becomes each of the classical formulas when its queue or its timeout
// lose their meaning.
func TestMMcKDContainsTheClassics(t *testing.T) {
	holding := 50 * time.Millisecond
	load := func(a float64) sizing.Load { return sizing.Load{Rate: a / holding.Seconds(), Holding: holding, SCV: 1} }

	p := sizing.MMcKD(load(12.031), sizing.Setting{Limit: 20})
	near(t, "no queue", p.Refused, 0.01, 1e-5)

	endless := sizing.MMcKD(load(10), sizing.Setting{Limit: 14, Queue: 5000, QueueTimeout: time.Hour})
	near(t, "no end: mean wait", endless.WaitMean.Seconds(), sizing.MeanWaitEndless(14, 10)*holding.Seconds(), 1e-9)
	near(t, "no end: refused", endless.Refused, 0, 1e-12)
	near(t, "no end: p99", sizing.WithinEndless(14, 10, endless.WaitP99.Seconds()/holding.Seconds()), 0.99, 1e-6)

	// M/M/c/K by its balance equations, summed in the plain way.
	for _, a := range []float64{2, 8, 13} {
		const c, k = 8, 20
		weight, total, last := 1.0, 1.0, 0.0
		for n := 1; n <= k; n++ {
			weight *= a / float64(min(n, c))
			total += weight
			last = weight
		}
		got := sizing.MMcKD(load(a), sizing.Setting{Limit: c, Queue: k - c, QueueTimeout: time.Hour})
		near(t, "M/M/c/K", got.Full, last/total, 1e-12)
		near(t, "M/M/c/K times out", got.TimedOut, 0, 1e-12)
	}
}

func TestMMcKDAddsUp(t *testing.T) {
	for _, c := range []int{1, 2, 8, 400} {
		for _, queue := range []int{1, 4, 32, 500} {
			for _, timeout := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 5 * time.Second, time.Hour} {
				for _, u := range []float64{0.01, 0.5, 0.9, 1, 1.1, 3, 50} {
					l := sizing.Load{Rate: u * float64(c) / 0.05, Holding: 50 * time.Millisecond, SCV: 1}
					s := sizing.Setting{Limit: c, Queue: queue, QueueTimeout: timeout}
					p := sizing.MMcKD(l, s)
					if !(p.Full >= 0 && p.TimedOut >= 0 && p.Refused <= 1) || p.WaitP99 > timeout || p.WaitMean > timeout || p.WaitMean < 0 {
						t.Fatalf("%+v under %+v: %+v", s, l, p)
					}
					// What is served is at most what c slots can, and all of it together is 1.
					if served := 1 - p.Refused; served*u > 1+1e-9 {
						t.Fatalf("%+v under %+v: %v of the slots are busy", s, l, served*u)
					}
					if p.Refused < 1-1/u-1e-9 {
						t.Fatalf("%+v under %+v refuses %v", s, l, p.Refused)
					}
				}
			}
		}
	}
}

// More slots refuse less; more places refuse less and let wait longer; more load
// refuses more.
func TestPredictionsAreMonotonic(t *testing.T) {
	base := sizing.Setting{Limit: 8, Queue: 6, QueueTimeout: 80 * time.Millisecond}
	load := sizing.Load{Rate: 150, Holding: 50 * time.Millisecond, SCV: 1}
	for _, scv := range []float64{0, 0.5, 1, 3} {
		load.SCV = scv
		const slack = 1e-9
		for n := range 40 {
			a, b := base, base
			a.Limit, b.Limit = n, n+1
			if p, q := sizing.MGcKD(load, a), sizing.MGcKD(load, b); q.Refused > p.Refused+slack {
				t.Errorf("scv %v: limit %d refuses %v, %d %v", scv, n, p.Refused, n+1, q.Refused)
			}
			a, b = base, base
			a.Queue, b.Queue = n, n+1
			p, q := sizing.MGcKD(load, a), sizing.MGcKD(load, b)
			if q.Refused > p.Refused+slack || q.WaitP99 < p.WaitP99-time.Microsecond {
				t.Errorf("scv %v: queue %d %+v, %d %+v", scv, n, p, n+1, q)
			}
			more := load
			more.Rate += float64(10 * n)
			less := more
			less.Rate -= 5
			if p, q := sizing.MGcKD(less, base), sizing.MGcKD(more, base); q.Refused < p.Refused-slack {
				t.Errorf("scv %v: %v/s refuse %v, %v/s %v", scv, less.Rate, p.Refused, more.Rate, q.Refused)
			}
		}
	}
}
