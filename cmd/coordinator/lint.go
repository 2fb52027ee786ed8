package main

import (
	"cmp"
	"strings"
	"syscall"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/sizing"
)

// lint warns of settings that are allowed and cannot do what they seem to say.
// machine is what run would find; its zero figures are not known.
func lint(c supervisor.Config, machine sizing.House) []config.Problem {
	machine.Conns = c.Conns
	for _, b := range c.Bulkheads {
		machine.Rooms = append(machine.Rooms, roomOf(b))
	}
	var found []config.Problem
	for _, w := range sizing.Lint(machine) {
		p := config.Problem{Variable: lintVariables[w.Rule], Message: w.Text}
		if w.Bulkhead != "" {
			p.Variable = "BULKHEAD_" + strings.ToUpper(strings.ReplaceAll(w.Bulkhead, "-", "_")) + "_" + p.Variable
		}
		found = append(found, p)
	}
	return found
}

// lintVariables are what to change first.
var lintVariables = map[sizing.Rule]string{
	sizing.RuleMinCalls: "BREAKER_MIN_CALLS", sizing.RuleQueueDepth: "QUEUE", sizing.RuleSlowCall: "BREAKER_SLOW_CALL",
	sizing.RuleDescriptors: "LIMIT", sizing.RuleMemory: "LIMIT", sizing.RuleSum: "COORDINATOR_BULKHEADS",
	sizing.RuleConns: "COORDINATOR_CONNS",
}

func roomOf(b supervisor.BulkheadConfig) sizing.Room {
	return sizing.Room{
		Present: sizing.Present{
			Bulkhead: b.Name, Workers: b.Workers,
			Setting: sizing.Setting{Limit: b.Limit, Queue: b.Queue, QueueTimeout: min(b.QueueTimeout, b.Timeout)},
		},
		UpgradeLimit: b.UpgradeLimit, WorkerMemory: uint64(max(b.Worker.Memory, 0)), SlowRatio: b.Breaker.SlowRatio,
		Breaker: sizing.BreakerSetting{
			Window: b.Breaker.Window, MinCalls: b.Breaker.MinCalls, FailureRatio: b.Breaker.FailureRatio, OpenFor: b.Breaker.OpenFor,
			SlowCall: b.Breaker.SlowCall, Timeout: b.Timeout, Limit: cmp.Or(b.Adaptive.Least, b.Limit),
		},
	}
}

// thisMachine is what a supervisor would have, if it were started as this command
// was. Go raises the soft limit of open files to the hard one.
func thisMachine() sizing.House {
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) != nil {
		files.Cur = 0
	}
	limit := uint64(files.Cur)
	return sizing.House{Descriptors: limit, WorkerFiles: limit, Memory: machineMemory()}
}
