package main

import "fmt"

// A target is a ratio or a figure that the coordinator is to keep.
type target struct {
	what  string
	bound float64
	least bool // that much at least, not at most
	unit  string
	of    func(r *results) summary
}

// smallest is the size of answer that the targets are about.
const smallest = 512

// against compares the coordinator with a peer.
func against(peer string, p point) func(*results) summary {
	return func(r *results) summary { return r.ratio(p.of(coordinatorName), p.of(peer)) }
}

func itself(metric string) func(*results) summary {
	return func(r *results) summary { return r.summary(point{metric: metric, system: coordinatorName}) }
}

var (
	busy     = point{metric: closedCPU, size: smallest, conns: 64}
	alone    = point{metric: closedCPU, size: smallest, conns: 1}
	aloneP50 = point{metric: closedP50, size: smallest, conns: 1}
	halfP99  = point{metric: openP99, size: smallest}
)

var targets = []target{
	{"CPU, 64 connections, to " + reverseProxyName, 1.0, false, "x", against(reverseProxyName, busy)},
	{"CPU, 64 connections, to " + caddyName, 0.6, false, "x", against(caddyName, busy)},
	{"CPU, 64 connections, to " + twoNginxName, 2.0, false, "x", against(twoNginxName, busy)},
	{"CPU, 64 connections, to " + goPluginName, 0.5, false, "x", against(goPluginName, busy)},
	{"CPU, 1 connection, to " + reverseProxyName, 1.6, false, "x", against(reverseProxyName, alone)},
	{"p50, 1 connection, to " + caddyName, 1.2, false, "x", against(caddyName, aloneP50)},
	{"p99, half of saturation, to " + caddyName, 1.0, false, "x", against(caddyName, halfP99)},
	{"stream down, to " + twoNginxName, 0.5, true, "x", against(twoNginxName, point{metric: streamDown})},
	{"stream up, to " + twoNginxName, 0.5, true, "x", against(twoNginxName, point{metric: streamUp})},
	{"stream, growth of a process", 32, false, " MiB", itself(streamGrowth)},
	{"an idle connection", 25, false, " KiB", itself(connMemory)},
	{"CPU, 1,000 routes over 100, above 3 over 3", 5, false, " %", func(r *results) summary {
		few := point{metric: routesCPU, system: fewRoutes.name}
		return r.above(few.of(manyRoutes.name), few)
	}},
}

// wanted is the bound in words.
func (t target) wanted() string {
	word := "at most"
	if t.least {
		word = "at least"
	}
	return fmt.Sprintf("%s %g%s", word, t.bound, t.unit)
}

// held reports whether the median keeps the bound.
func (t target) held(s summary) bool {
	if t.least {
		return s.median >= t.bound
	}
	return s.median <= t.bound
}
