package main

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestFlags(t *testing.T) {
	o, err := parse(nil, t.Output())
	if err != nil || o.rounds != 5 || o.each != 3*time.Second || len(o.systems) != 7 || len(o.parts) != 5 ||
		len(o.sizes) != 3 || o.sizes[2] != 1<<20 || len(o.conns) != 3 || o.saturated() != 64 || o.body != 1<<30 || o.idle != 10_000 {
		t.Errorf("by default %+v, %v", o, err)
	}
	o, err = parse(strings.Fields("--quick --sizes 16KiB,16384,100 --for 500ms --conns 10,1000"), t.Output())
	if err != nil || o.rounds != 1 || o.each != 500*time.Millisecond || len(o.sizes) != 2 || len(o.systems) != 2 || o.has(partStream) || o.saturated() != 10 {
		t.Errorf("quick: %+v, %v", o, err)
	}
	for args, want := range map[string]string{
		"--rounds 0":             "1 to 100",
		"--for 1h":               "100ms to 10m",
		"--systems apache":       "want some of nginx,",
		"--systems nginx":        "the coordinator among them",
		"--sizes 5XiB":           "want a size",
		"--sizes 99999999999GiB": "want a size",
		"--stream 0":             "--stream: want a size",
		"--conns 1,,2":           "want 1 to 10000",
		"--idle 10001":           "1 to 10000",
		"surplus":                "flags only",
	} {
		if _, err := parse(strings.Fields(args), t.Output()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

func TestMissingSystemsAreNamedWithTheirPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	systems, missing := found(names())
	if len(systems) != 3 || systems[2].name != coordinatorName {
		t.Errorf("found %d systems", len(systems))
	}
	text := strings.Join(missing, "\n")
	for _, want := range []string{"nginx-unix-nginx is left out", "apt-get install nginx-light", "apt-get install haproxy", "apt-get install caddy"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if systems, missing = found([]string{coordinatorName}); len(systems) != 1 || missing != nil {
		t.Errorf("%d systems, missing %q", len(systems), missing)
	}
}

func TestSummaries(t *testing.T) {
	r := newResults(4)
	a := point{metric: closedCPU, system: "a", size: 1, conns: 2}
	for round, v := range map[int]float64{0: 4, 2: 1, 3: 6} { // round 1 failed
		r.set(a, round, v)
	}
	for round, v := range []float64{2, 5, 1, 2} {
		r.set(a.of("b"), round, v)
	}
	if got := r.summary(a); got != (summary{4, 1, 6}) {
		t.Errorf("an odd number of rounds: %v", got)
	}
	if got := r.summary(a.of("b")); got != (summary{2, 1, 5}) {
		t.Errorf("an even number of rounds: %v", got)
	}
	if got := r.ratio(a, a.of("b")); got != (summary{2, 1, 3}) {
		t.Errorf("the ratio, round by round: %v", got)
	}
	if r.summary(a.of("c")).known() || r.ratio(a, a.of("c")).known() || !math.IsNaN(r.at(a, 9)) {
		t.Error("what was not measured is known")
	}
	r.rounds = 1
	if got := r.summary(a); got != (summary{4, 4, 4}) {
		t.Errorf("interrupted after a round: %v", got)
	}
}

// wide is a report with all there can be, and figures as wide as they get.
func wide(t *testing.T) *report {
	o, err := parse(nil, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	r := &report{options: o, began: time.Unix(1.7e9, 0), took: time.Hour, machine: []string{"2 cores"}, systems: knownSystems, results: newResults(2)}
	both := func(p point, least, most float64) {
		r.set(p, 0, least)
		r.set(p, 1, most)
	}
	for _, s := range knownSystems {
		for _, size := range o.sizes {
			for _, conns := range o.conns {
				both(point{closedRate, s.name, size, conns}, 100_000, 200_000)
				both(point{closedCPU, s.name, size, conns}, 1234.5, 2345.6)
				both(point{closedP50, s.name, size, conns}, 123.4, 234.5)
			}
			for _, metric := range []string{openRate, openP50, openP99} {
				both(point{metric, s.name, size, 0}, 1234.5, 2345.6)
			}
		}
		for _, metric := range []string{streamDown, streamUp, streamGrowth, processCount, idleMemory, connMemory} {
			both(point{metric: metric, system: s.name}, 1023.4, 2345.6)
		}
	}
	for _, s := range []*system{fewRoutes, manyRoutes} {
		for _, metric := range []string{routesRate, routesCPU, processCount, idleMemory} {
			both(point{metric: metric, system: s.name}, 12345.6, 23456.7)
		}
	}
	return r
}

func TestReportFits80Columns(t *testing.T) {
	r := wide(t)
	text := r.text()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(line); n > 81 {
			t.Errorf("%d columns: %s", n-1, line)
		}
	}
	for _, s := range knownSystems {
		// 9 closed loops, 3 open ones, a stream, memory.
		if want := map[bool]int{true: 14, false: 13}[s.streams]; strings.Count(text, "\n"+s.name+" ") != want {
			t.Errorf("%s: %d rows, want %d", s.name, strings.Count(text, "\n"+s.name+" "), want)
		}
	}
	if strings.Contains(text, "NaN") || !strings.Contains(r.markdown(), text) || !strings.Contains(r.markdown(), "2023-11-14 22:13 UTC, 2 rounds of 3s") {
		t.Errorf("got\n%s", r.markdown())
	}
}

func TestTargetsAreJudged(t *testing.T) {
	r := wide(t)
	if block := r.targetBlock(); len(block.rows) != len(targets) {
		t.Errorf("%d of %d targets are judged", len(block.rows), len(targets))
	}
	for _, held := range []bool{true, false} {
		factor := map[bool]float64{true: 0.59, false: 0.61}[held]
		for round := range 2 {
			r.set(busy.of(coordinatorName), round, factor*r.at(busy.of(caddyName), round))
			r.set(point{metric: streamDown, system: twoNginxName}, round, 100)
			r.set(point{metric: streamDown, system: coordinatorName}, round, map[bool]float64{true: 51, false: 49}[held])
		}
		word := map[bool]string{true: "yes", false: "no"}[held]
		judged := 0
		for _, row := range r.targetBlock().rows {
			if row[0] == "CPU, 64 connections, to caddy" || row[0] == "stream down, to nginx-unix-nginx" {
				if judged++; row[4] != word {
					t.Errorf("want %s: %q", word, row)
				}
			}
		}
		if judged != 2 {
			t.Errorf("%d rows", judged)
		}
	}
	r.values = map[point][]float64{}
	if block := r.targetBlock(); len(block.rows) != 0 {
		t.Errorf("nothing was measured, and judged is %q", block.rows)
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.5: "0.50", 9.994: "9.99", 9.996: "10.0", 99.94: "99.9", 99.96: "100", 3: "3", 9999.4: "9999", 12345: "12.3k", 99949: "99.9k", 99951: "100k", 234567: "235k", -3.25: "-3.25",
	} {
		if got := figure(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
