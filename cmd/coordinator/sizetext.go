package main

import (
	"fmt"
	"strconv"
	"strings"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor/sizing"
)

// models is what each rests on, and where it stops being true.
var models = map[sizing.Model]string{
	sizing.ModelErlangB: "Erlang B: no queue, exact for Poisson arrivals and any holding times. Wrong where arrivals come in " +
		"bursts or refused clients come again at once: then more are refused",
	sizing.ModelMMcKD: "M/M/c with a bounded queue and a bounded wait: exact for Poisson arrivals and exponential holding " +
		"times, as these nearly are. Wrong for bursts, and where holding times grow with the load",
	sizing.ModelMGcKD: "M/M/c with a bounded queue and a bounded wait, scaled by the variance of the holding times: wrong " +
		"where a few are very long, for bursts, and where they grow with the load",
	sizing.ModelSimulation: "simulation of Poisson arrivals with the measured holding times: wrong for bursts, and where " +
		"holding times grow with the load",
	sizing.ModelTrace: "replay of the recorded arrivals and holding times: true of this recording; wrong where clients would " +
		"have come again, and where holding times grow with the load",
}

// concerns are what the notes are about, in at most nine letters.
var concerns = map[sizing.Topic]string{
	sizing.LittleEvidence: "evidence", sizing.BreakerTimeLeft: "evidence", sizing.NotPoisson: "arrivals",
	sizing.ModelDisagrees: "differs", sizing.BackendBottleneck: "backend", sizing.Saturated: "load",
	sizing.QueueTooDeep: "queue", sizing.ObjectiveNotMet: "objective", sizing.SettingChanged: "setting",
	sizing.LimitFollows: "limit",
}

var sizeColumns = []column{{"", false}, {"LIMIT", true}, {"QUEUE", true}, {"WORKERS", true}, {"REFUSED", true},
	{"MEAN WAIT", true}, {"P99 WAIT", true}}

// account is the advice for one bulkhead.
func (a *advice) account(colour bool) string {
	s := &sheet{colour: colour}
	s.put(strings.Join(wrap(a.heading(), config.Width), "\n"), title)
	s.WriteByte('\n')
	if a.Arrivals == 0 {
		s.WriteString("Nothing to size from.\n")
		return s.String()
	}
	s.WriteString(strings.Join(wrap(a.load(), config.Width), "\n") + "\n\n")
	a.figures().write(s)
	s.WriteByte('\n')
	for _, n := range a.remarks() {
		n.write(s)
	}
	return s.String()
}

func (a *advice) heading() string {
	name, window := printable(a.Bulkhead), seconds(a.Window)
	if a.Arrivals == 0 {
		return fmt.Sprintf("%s: no request within %s", name, window)
	}
	text := fmt.Sprintf("%s: %s requests/s in %s, each holds a slot for %s on average (SCV %.2g)",
		name, rate(a.Arrivals), window, latency(a.Holding/1e3), a.HoldingSCV)
	if changes := describe(a.whatIf); changes != "" {
		text += "; what if: " + changes
	}
	return text
}

// describe is a what-if in words; empty: none.
func describe(w sizing.WhatIf) string {
	var parts []string
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(w.Rate.Times > 0, "%gx the rate", w.Rate.Times)
	add(w.Rate.PerSecond > 0, "%g/s", w.Rate.PerSecond)
	add(w.Holding > 0, "holding times of %s", w.Holding)
	add(w.Slow.Share > 0, "%g %% take %s", 100*w.Slow.Share, w.Slow.For)
	add(w.Limit > 0, "limit %d", w.Limit)
	if w.Queue != nil {
		add(true, "queue %d", *w.Queue)
	}
	add(w.Replicas > 1, "%d replicas, each with its share", w.Replicas)
	return strings.Join(parts, ", ")
}

func (a *advice) load() string {
	return fmt.Sprintf("That would keep %s slots busy, %.0f %% of the limit; %s requests/s would keep all of them",
		threeFigures(a.Offered), 100*a.Utilisation, rate(a.Saturation))
}

// threeFigures is a number in about as many.
func threeFigures(f float64) string {
	if f >= 99.5 {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%.3g", f)
}

// share is a share in per cent, in at most six columns.
func share(f float64) string {
	if f != 0 && f < 0.0001 {
		return "<.01 %"
	}
	return fmt.Sprintf("%.2f %%", 100*f)
}

func count(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func (a *advice) figures() *table {
	line := func(name string, set presentSetting, refused, mean, p99 float64, m mood) row {
		return row{cells: []cell{{name, m}, {strconv.Itoa(set.Limit), m}, {strconv.Itoa(set.Queue), m}, {count(set.Workers), m},
			{share(refused), m}, {latency(mean / 1e3), m}, {latency(p99 / 1e3), m}}}
	}
	r := a.Recommended
	to := presentSetting{Limit: r.Limit, Queue: r.Queue, Workers: r.Workers}
	return &table{columns: sizeColumns, rows: []row{
		line("measured", a.present, a.Measured.Refused, a.Measured.WaitMean, a.Measured.WaitP99, calm),
		line("predicted", a.Setting, a.Predicted.Refused, a.Predicted.WaitMean, a.Predicted.WaitP99, calm),
		line("recommended", to, a.Confirmed.Refused, a.Confirmed.WaitMean, a.Confirmed.WaitP99, title),
	}}
}

// remarks are the words to the figures, what makes them doubtful first.
func (a *advice) remarks() []note {
	var notes []note
	doubtful := false
	for _, n := range a.Notes {
		doubtful = doubtful || n.Topic == sizing.ModelDisagrees
		notes = append(notes, note{label: concerns[n.Topic], text: printable(n.Text), mood: watch})
	}
	if doubtful {
		notes = append(notes, note{label: "so", text: "the model does not describe this traffic: find out why before you set what it recommends", mood: watch})
	}
	r := a.Recommended
	notes = append(notes, note{label: "objective", text: fmt.Sprintf("refuse at most %g %%, and let 1 %% wait for %s or longer",
		100*a.Objective.Refused, latency(a.Objective.WaitP99/1e3))})
	span := "limit " + between(r.LimitRange)
	if r.Workers > 0 {
		span += ", workers " + between(r.WorkersRange)
	}
	notes = append(notes, note{label: "range", text: fmt.Sprintf("%s: what the evidence supports, with 95 %%; limit %d by the square root rule", span, r.SquareRoot)})
	if r.Workers > 0 {
		notes = append(notes, note{label: "workers", text: "busy for 70 % with the CPU time that requests were seen to take, and one to lose"})
	} else {
		notes = append(notes, note{label: "workers", text: "not advised: the CPU time that a request takes them is not known"})
	}
	notes = append(notes, note{label: "model", text: models[a.Predicted.Model]})
	if a.Breaker != nil {
		notes = append(notes, note{label: "breaker", text: a.Breaker.text()})
	}
	return notes
}

func between(r sizing.Range) string {
	if r.Low == r.High {
		return strconv.Itoa(r.Low)
	}
	return fmt.Sprintf("%d to %d", r.Low, r.High)
}

var sizeAllColumns = []column{{"BULKHEAD", false}, {"RATE", true}, {"HELD", true}, {"LOAD", true}, {"USED", true},
	{"REFUSED", true}, {"P99 WAIT", true}, {"LIMIT", false}, {"QUEUE", false}, {"WORKERS", false}}

// sizeTable is a line for each bulkhead: what is, and where it is not what is
// recommended, that behind an arrow.
func sizeTable(all []advice, colour bool) string {
	s := &sheet{colour: colour}
	t := table{columns: sizeAllColumns}
	noted := false
	for _, a := range all {
		arrow := func(is, to int) cell {
			if is == to || to == 0 || a.Arrivals == 0 {
				return cell{strconv.Itoa(is), calm}
			}
			return cell{fmt.Sprintf("%d>%d", is, to), title}
		}
		set, to, name := a.Setting, a.Recommended, printable(a.Bulkhead)
		if len(a.Notes) > 0 && a.Arrivals > 0 {
			name, noted = name+" *", true
		}
		queue := arrow(set.Queue, to.Queue)
		if to.Queue == 0 && set.Queue != 0 && a.Arrivals > 0 {
			queue = cell{fmt.Sprintf("%d>0", set.Queue), title}
		}
		t.rows = append(t.rows, row{cells: []cell{{name, calm}, {rate(a.Arrivals), calm}, {latency(a.Holding / 1e3), calm},
			{threeFigures(a.Offered), calm}, {fmt.Sprintf("%.0f %%", 100*a.Utilisation), calm}, {share(a.Measured.Refused), calm},
			{latency(a.Measured.WaitP99 / 1e3), calm}, arrow(set.Limit, to.Limit), queue, arrow(set.Workers, to.Workers)}})
	}
	t.write(s)
	if len(all) > 0 {
		fmt.Fprintf(s, "> what is recommended, to refuse at most %g %% with a p99 wait of at most %s\n",
			100*all[0].Objective.Refused, latency(all[0].Objective.WaitP99/1e3))
	}
	if noted {
		s.WriteString("* there is more to say: coordinator size BULKHEAD\n")
	}
	return s.String()
}
