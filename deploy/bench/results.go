package main

import (
	"fmt"
	"math"
	"slices"
)

// What is measured.
const (
	closedRate   = "requests per second"
	closedCPU    = "CPU per request"
	closedP50    = "p50 of a closed loop"
	openRate     = "requests per second of an open loop"
	openP50      = "p50"
	openP99      = "p99"
	streamDown   = "MB/s down"
	streamUp     = "MB/s up"
	streamGrowth = "growth"
	processCount = "processes"
	idleMemory   = "memory"
	connMemory   = "memory of a connection"
	routesRate   = "requests per second over routes"
	routesCPU    = "CPU per request over routes"
)

// A point is what one system was measured at.
type point struct {
	metric, system string
	size           int64
	conns          int
}

// of is the same point of another system.
func (p point) of(system string) point {
	p.system = system
	return p
}

// results are one value a round of each point. A round that has none has NaN.
type results struct {
	rounds int
	values map[point][]float64
	notes  []string
}

func newResults(rounds int) *results { return &results{rounds: rounds, values: map[point][]float64{}} }

func (r *results) set(p point, round int, v float64) {
	for len(r.values[p]) <= round {
		r.values[p] = append(r.values[p], math.NaN())
	}
	r.values[p][round] = v
}

func (r *results) at(p point, round int) float64 {
	if round >= len(r.values[p]) {
		return math.NaN()
	}
	return r.values[p][round]
}

func (r *results) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// A summary is of one value a round.
type summary struct{ median, least, most float64 }

// known reports whether there was any.
func (s summary) known() bool { return !math.IsNaN(s.median) }

func summarize(values []float64) summary {
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	n := len(values)
	if n == 0 {
		return summary{math.NaN(), math.NaN(), math.NaN()}
	}
	slices.Sort(values)
	return summary{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

// summary is over all rounds that are whole.
func (r *results) summary(p point) summary {
	var values []float64
	for round := range r.rounds {
		values = append(values, r.at(p, round))
	}
	return summarize(values)
}

// ratio is of p to another point, round by round.
func (r *results) ratio(p, to point) summary {
	var values []float64
	for round := range r.rounds {
		values = append(values, r.at(p, round)/r.at(to, round))
	}
	return summarize(values)
}

// above is by how many percent p is more than another point, round by round.
func (r *results) above(p, than point) summary {
	s := r.ratio(p, than)
	percent := func(ratio float64) float64 { return (ratio - 1) * 100 }
	return summary{percent(s.median), percent(s.least), percent(s.most)}
}
