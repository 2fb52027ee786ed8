package story_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/cmd/coordinator/internal/demo/story"
	"commerce.example/coordinator/supervisor/hdr"
)

// A play is what Judge gets.
type play struct {
	phases   []story.Phase
	incident story.Incident
}

// good is a play that passes: in each phase 1,200 requests to each bulkhead, of
// which orders failed while it was broken.
func good() *play {
	p := &play{incident: story.Incident{
		Opened: 2100 * time.Millisecond, Closed: 2 * time.Second,
		Killed: []int{11, 12}, Revived: []int{13, 14}, PaymentsAnswered: 7200, PaymentsMade: 7200,
	}}
	for _, name := range []string{story.Baseline, story.Hang, story.Open, story.Killed, story.Repair, story.Recovered} {
		phase := story.Phase{Name: name}
		for _, kind := range story.Cast() {
			phase.Bulkheads = append(phase.Bulkheads, figures(string(kind), 1200, 10*time.Millisecond))
		}
		p.phases = append(p.phases, phase)
		if name != story.Baseline && name != story.Recovered {
			p.fail(name, demo.Orders, 1000, "breaker_open")
		}
	}
	return p
}

// figures are n requests that all took the same time.
func figures(bulkhead string, n int, took time.Duration) story.Figures {
	all := new(hdr.Histogram)
	all.RecordN(took, int64(n))
	return story.Figures{
		Bulkhead: bulkhead, Requests: n, Reasons: map[string]int{}, All: all,
		P99: float64(all.Quantile(0.99)) / float64(time.Millisecond),
	}
}

func (p *play) phase(name string) *story.Phase {
	return &p.phases[slices.IndexFunc(p.phases, func(phase story.Phase) bool { return phase.Name == name })]
}

func (p *play) figures(name string, kind demo.Kind) *story.Figures {
	return &p.phase(name).Bulkheads[slices.Index(story.Cast(), kind)]
}

func (p *play) fail(name string, kind demo.Kind, n int, reason string) {
	f := p.figures(name, kind)
	f.Errors, f.Reasons = n, map[string]int{reason: n}
}

// take makes every request of a sibling take so long.
func (p *play) take(name string, kind demo.Kind, n int, took time.Duration) {
	*p.figures(name, kind) = figures(string(kind), n, took)
}

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(p *play)
		rules  string // that are broken, in order
		void   bool
		text   string // in the first finding
	}{
		{"all is well", func(*play) {}, "", false, ""},
		{"one error of a sibling", func(p *play) { p.fail(story.Killed, demo.Catalog, 1, "no_worker") },
			"errors", false, "catalog had 1 error (no_worker 1) in phase killed"},
		{"errors of a sibling after the incident", func(p *play) { p.fail(story.Recovered, demo.Payments, 3, "no_answer_reset") },
			"errors", false, "payments had 3 errors (no_answer_reset 3) in phase recovered"},
		{"an error before the incident", func(p *play) { p.fail(story.Baseline, demo.Orders, 2, "backend_timeout") },
			"baseline", false, "orders had 2 errors"},
		{"an error before the incident on a machine that is too busy", func(p *play) {
			p.fail(story.Baseline, demo.Payments, 2, "queue_full")
			p.phase(story.Baseline).Late.P998 = 300
		}, "baseline", true, "before the incident; the machine was up to 300 ms late"},
		{"compared with a bad hour", func(p *play) {
			p.phase(story.Baseline).Late.P99, p.phase(story.Recovered).Late.P99 = 8, 6
		}, "baseline", true, "could not be measured; the machine was up to 6 ms late"},
		{"a bad moment before, a good one after", func(p *play) { p.phase(story.Baseline).Late.P99 = 8 }, "", false, ""},
		{"a bad moment before excuses nothing", func(p *play) {
			p.take(story.Baseline, demo.Catalog, 1200, 40*time.Millisecond)
			p.take(story.Killed, demo.Catalog, 1200, 40*time.Millisecond)
		}, "latency", false, "in phase killed, 30.0 ms above"},
		{"a machine that is busy, but not in vain", func(p *play) {
			for i := range p.phases {
				p.phases[i].Late.P998 = 50
			}
		}, "", false, ""},
		{"a slow sibling", func(p *play) { p.take(story.Hang, demo.Catalog, 1200, 16*time.Millisecond) },
			"latency", false, "catalog had a p99 of 16.0 ms in phase hang, 6.0 ms above its own with orders well"},
		{"slower by less than 5 ms", func(p *play) { p.take(story.Hang, demo.Catalog, 1200, 14*time.Millisecond) }, "", false, ""},
		{"slower by less than 10 %", func(p *play) {
			for _, name := range []string{story.Baseline, story.Hang, story.Open, story.Killed, story.Repair, story.Recovered} {
				p.take(name, demo.Catalog, 1200, 100*time.Millisecond)
			}
			p.take(story.Open, demo.Catalog, 1200, 107*time.Millisecond)
		}, "", false, ""},
		{"slower on a machine that is too busy", func(p *play) {
			p.take(story.Hang, demo.Catalog, 1200, 40*time.Millisecond)
			p.phase(story.Hang).Late.P998 = 12
		}, "latency", true, "the machine was up to 12 ms late for everybody"},
		{"slower by no more than the machine was late and is allowed", func(p *play) {
			p.take(story.Hang, demo.Catalog, 1200, 17*time.Millisecond)
			p.phase(story.Hang).Late.P998 = 4
		}, "latency", true, "the machine was up to 4 ms late for everybody"},
		{"slower by more than both", func(p *play) {
			p.take(story.Hang, demo.Catalog, 1200, 40*time.Millisecond)
			p.phase(story.Hang).Late.P998 = 4
		}, "latency", false, ""},
		{"busy in another phase is no excuse", func(p *play) {
			p.take(story.Hang, demo.Catalog, 1200, 40*time.Millisecond)
			p.phase(story.Killed).Late.P998 = 12
		}, "latency", false, ""},
		{"an error is never void", func(p *play) {
			p.take(story.Hang, demo.Catalog, 1200, 40*time.Millisecond)
			p.phase(story.Hang).Late.P998 = 12
			p.fail(story.Hang, demo.Payments, 1, "deadline")
		}, "latency errors", false, ""},
		{"a short phase is judged with the next", func(p *play) {
			p.take(story.Hang, demo.Catalog, 15, 40*time.Millisecond) // 1 % of what it and the next have
			p.take(story.Open, demo.Catalog, 1485, 10*time.Millisecond)
		}, "", false, ""},
		{"and spoils it when it is bad enough", func(p *play) {
			p.take(story.Hang, demo.Catalog, 100, 40*time.Millisecond)
		}, "latency", false, "in phase hang+open"},
		{"a short last phase is judged with the one before", func(p *play) {
			p.take(story.Recovered, demo.Payments, 100, 40*time.Millisecond)
		}, "latency", false, "in phase repair+recovered"},
		{"orders did not suffer", func(p *play) { p.fail(story.Hang, demo.Orders, 0, "x") },
			"suffered", false, "there was no incident"},
		{"the breaker did not open", func(p *play) { p.incident.Opened, p.phases = 0, p.phases[:2] },
			"opened", false, "did not open within 3s of the hang"},
		{"the breaker opened late", func(p *play) { p.incident.Opened = 3001 * time.Millisecond },
			"opened", false, "but after 3.0 s"},
		{"the breaker did not close", func(p *play) { p.incident.Closed, p.phases = 0, p.phases[:5] },
			"closed", false, "did not close within 4s of the repair"},
		{"the breaker closed late", func(p *play) { p.incident.Closed = 4500 * time.Millisecond },
			"closed", false, "but after 4.5 s"},
		{"orders' errors do not end", func(p *play) { p.fail(story.Recovered, demo.Orders, 1, "backend_reset") },
			"recovered", false, "still had 1 error (backend_reset 1)"},
		{"nothing after the incident", func(p *play) { p.phases = p.phases[:5] }, "recovered", false, ""},
		{"nobody was killed", func(p *play) { p.incident.Killed = nil }, "killed", false, ""},
		{"a worker stays dead", func(p *play) { p.incident.Revived = []int{13} },
			"killed", false, "2 workers of orders were killed and 1 took their places"},
		{"the coordinator died", func(p *play) { p.incident.CoordinatorReplaced = true }, "processes", false, ""},
		{"a sibling's worker died", func(p *play) { p.incident.WorkersReplaced = []string{"catalog"} },
			"processes", false, "workers of catalog"},
		{"paid twice", func(p *play) { p.incident.PaidTwice = 1 }, "payments", false, ""},
		{"answered and not paid", func(p *play) { p.incident.PaymentsMade-- }, "payments", false, ""},
		{"nothing was measured", func(p *play) { p.phases = nil }, "baseline baseline baseline suffered recovered", false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := good()
			test.change(p)
			v := story.Judge(p.phases, p.incident)
			var rules []string
			for _, f := range v.Findings {
				rules = append(rules, f.Rule)
			}
			if got := strings.Join(rules, " "); got != test.rules || v.Passed != (test.rules == "") || v.Void != test.void {
				t.Errorf("broke %q, passed %v, void %v; want %q, void %v\n%+v", got, v.Passed, v.Void, test.rules, test.void, v.Findings)
			}
			if test.text != "" && !strings.Contains(v.Findings[0].Text, test.text) {
				t.Errorf("%q, want it to say %q", v.Findings[0].Text, test.text)
			}
			if v.Findings == nil {
				t.Error("no findings must be [] in JSON")
			}
		})
	}
}

func TestTop(t *testing.T) {
	f := story.Figures{Reasons: map[string]int{"queue_full": 3, "backend_timeout": 30, "breaker_open": 3}}
	for n, want := range []string{"", "backend_timeout 30", "backend_timeout 30, breaker_open 3", "backend_timeout 30, breaker_open 3, queue_full 3"} {
		if got := f.Top(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := (story.Figures{}).Top(9); got != "" {
		t.Errorf("%q of no errors", got)
	}
}
