package main

import (
	"fmt"
	"strings"
	"time"
)

// A report is what a benchmark has found.
type report struct {
	*options
	machine []string // a line each
	began   time.Time
	took    time.Duration
	systems []*system
	missing []string
	*results
}

// text is the report for a terminal of 80 columns.
func (r *report) text() string {
	var b strings.Builder
	for _, line := range r.machine {
		fmt.Fprintln(&b, line)
	}
	for _, line := range r.missing {
		fmt.Fprintln(&b, line)
	}
	for _, block := range r.blocks() {
		fmt.Fprintf(&b, "\n%s\n\n%s", block.title, &block)
	}
	if len(r.notes) > 0 {
		fmt.Fprint(&b, "\nTo be kept in mind\n\n")
		for _, note := range r.notes {
			fmt.Fprintf(&b, "%s\n", note)
		}
	}
	return b.String()
}

// markdown is the report for a file.
func (r *report) markdown() string {
	return fmt.Sprintf("# Results\n\nWritten by `go run ./deploy/bench --out FILE`; [doc.go](doc.go) says what is measured and how.\n"+
		"%s, %d rounds of %s each load, %s in all.\n\n```\n%s```\n",
		r.began.UTC().Format("2006-01-02 15:04 UTC"), r.results.rounds, r.each, r.took.Round(time.Second), r.text())
}

func (r *report) blocks() []table {
	var all []table
	add := func(part string, blocks ...table) {
		if r.has(part) {
			all = append(all, blocks...)
		}
	}
	for _, size := range r.sizes {
		for _, conns := range r.conns {
			add(partClosed, r.closedBlock(size, conns))
		}
	}
	for _, size := range r.sizes {
		add(partOpen, r.openBlock(size))
	}
	add(partStream, r.streamBlock())
	add(partIdle, r.idleBlock())
	add(partRoutes, r.routesBlock())
	if t := r.targetBlock(); len(t.rows) > 0 {
		all = append(all, t)
	}
	return all
}

func (r *report) closedBlock(size int64, conns int) table {
	t := table{
		title:   fmt.Sprintf("Closed loop, %s, %s", sizeText(size), connsText(conns)),
		columns: []string{"SYSTEM", "REQ/S", "SPREAD", "CPU µs", "SPREAD", "RATIO", "P50 ms"},
	}
	for _, s := range r.systems {
		rate, cpu := r.summary(point{closedRate, s.name, size, conns}), point{closedCPU, s.name, size, conns}
		t.add(s.name, figure(rate.median), spread(rate), figure(r.summary(cpu).median), spread(r.summary(cpu)),
			ratio(r.ratio(cpu, cpu.of(coordinatorName))), figure(r.summary(point{closedP50, s.name, size, conns}).median))
	}
	return t
}

func (r *report) openBlock(size int64) table {
	t := table{
		title:   fmt.Sprintf("Open loop, %s, %s, half of the coordinator's closed loop", sizeText(size), connsText(r.saturated())),
		columns: []string{"SYSTEM", "REQ/S", "P50 ms", "SPREAD", "RATIO", "P99 ms", "SPREAD", "RATIO"},
	}
	for _, s := range r.systems {
		p50, p99 := point{openP50, s.name, size, 0}, point{openP99, s.name, size, 0}
		t.add(s.name, figure(r.summary(point{openRate, s.name, size, 0}).median),
			figure(r.summary(p50).median), spread(r.summary(p50)), ratio(r.ratio(p50, p50.of(coordinatorName))),
			figure(r.summary(p99).median), spread(r.summary(p99)), ratio(r.ratio(p99, p99.of(coordinatorName))))
	}
	return t
}

func (r *report) streamBlock() table {
	t := table{
		title:   sizeText(r.body) + " in one body, and how much its process grew that grew most",
		columns: []string{"SYSTEM", "DOWN MB/s", "SPREAD", "UP MB/s", "SPREAD", "GROWTH MiB", "SPREAD"},
	}
	for _, s := range r.systems {
		if !s.streams {
			continue
		}
		row := []string{s.name}
		for _, metric := range []string{streamDown, streamUp, streamGrowth} {
			v := r.summary(point{metric: metric, system: s.name})
			row = append(row, figure(v.median), spread(v))
		}
		t.add(row...)
	}
	return t
}

func (r *report) idleBlock() table {
	t := table{
		title:   fmt.Sprintf("Memory just started, and of each of %d idle connections", r.idle),
		columns: []string{"SYSTEM", "PROCESSES", "MiB", "SPREAD", "KiB/CONN", "SPREAD", "RATIO"},
	}
	for _, s := range r.systems {
		idle, each := r.summary(point{metric: idleMemory, system: s.name}), point{metric: connMemory, system: s.name}
		t.add(s.name, figure(r.summary(point{metric: processCount, system: s.name}).median), figure(idle.median), spread(idle),
			figure(r.summary(each).median), spread(r.summary(each)), ratio(r.ratio(each, each.of(coordinatorName))))
	}
	return t
}

func (r *report) routesBlock() table {
	t := table{
		title:   fmt.Sprintf("The coordinator, a worker a bulkhead, %s, %s", sizeText(r.sizes[0]), connsText(r.saturated())),
		columns: []string{"ROUTES", "REQ/S", "CPU µs", "SPREAD", "MORE %", "PROCESSES", "MiB"},
	}
	for _, s := range []*system{fewRoutes, manyRoutes} {
		cpu := point{metric: routesCPU, system: s.name}
		t.add(s.name, figure(r.summary(point{metric: routesRate, system: s.name}).median), figure(r.summary(cpu).median), spread(r.summary(cpu)),
			figure(r.above(cpu, cpu.of(fewRoutes.name)).median), figure(r.summary(point{metric: processCount, system: s.name}).median),
			figure(r.summary(point{metric: idleMemory, system: s.name}).median))
	}
	return t
}

// targetBlock has the targets that were measured.
func (r *report) targetBlock() table {
	t := table{title: "Targets of the coordinator, " + sizeText(smallest) + " where it says nothing else",
		columns: []string{"TARGET", "WANTED", "MEDIAN", "SPREAD", "HELD"}}
	for _, target := range targets {
		s := target.of(r.results)
		if !s.known() {
			continue
		}
		held := "no"
		if target.held(s) {
			held = "yes"
		}
		t.add(target.what, target.wanted(), figure(s.median), spread(s), held)
	}
	return t
}
