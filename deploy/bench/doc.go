// Command bench compares the coordinator with what people run in its place, on
// the machine it is started on:
//
//	go run ./deploy/bench              about half an hour
//	go run ./deploy/bench --quick      half a minute, to see that it works
//
// It installs nothing and says what is missing. Each system stands in front of the
// same backend, as real processes on loopback addresses, and is measured in turn,
// in several rounds, each of which begins with another system. What is printed are
// medians over the rounds, the least and the most beside them, and ratios to the
// coordinator, which are medians of the ratios of each round: what slows a round
// down slows both.
//
// # What is measured
//
//   - closed: every connection sends when it has its answer. Requests per second,
//     and the CPU time a request costs, user and system, of all processes of the
//     system together. The backend's and the generator's are not counted.
//   - open: requests leave on time at half of what the coordinator can do in that
//     round, for all systems alike; without the closed loops only that is looked for.
//     The percentiles count from the time a request was due.
//   - stream: one body down, one up, to a system just started. MB per second, and
//     how much the resident memory of that process grew which grew most.
//   - idle: connections that have had one answer and are kept open. The memory
//     (PSS) of all processes of the system, for each connection.
//   - routes: the coordinator with 1,000 routes over 100 bulkheads and with 3 over
//     3, one worker a bulkhead, each asked over one of its routes; and by how many
//     percent the first costs more. Both run, and are loaded in turns. What
//     the other 99 workers use meanwhile counts.
//
// All load comes from "coordinator load". Generator, system and backend share the
// machine, so requests per second say what the whole of it can do; CPU per request
// is the figure that is the system's own.
//
// # What it leaves behind
//
// Nothing: its processes end with it, on Ctrl-C and when it is killed too, and its
// folder is removed. Everything has a time-out.
package main
