package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/process"
)

const (
	dumpTimeout = 500 * time.Millisecond // for the worker to tell its stacks
	dumpBytes   = 1 << 20                // of them
	flightLines = 1000                   // in one file
	pathBytes   = 256                    // of a path, in a file, a log line or status
)

// flight is what the watch may tell of a call: nothing that could be a secret,
// so no fields, no body and no query.
type flight struct {
	id, method, path string
	age              time.Duration
	worker           *ipc.Worker // nil: none has it
	slot             int
	stage            exchange.Stage
}

// flight is taken by the watch, which keeps c from ending meanwhile.
func (c *call) flight(now time.Time) flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := flight{id: requestID(c.r), method: c.r.Method, path: shortPath(c.r.URL.Path), age: now.Sub(c.begun)}
	if c.exchange != nil {
		f.worker, f.slot, f.stage = c.holder, c.holderSlot, c.exchange.Stage()
	}
	return f
}

func shortPath(path string) string {
	if len(path) > pathBytes {
		return strings.ToValidUTF8(path[:pathBytes], "") + "…"
	}
	return path
}

// heldBy is what a worker has in flight.
func (l *watchlist) heldBy(w *ipc.Worker, now time.Time) (flights []flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.calls {
		if f := c.flight(now); f.worker == w {
			flights = append(flights, f)
		}
	}
	return flights
}

// testimony is what there is to say of a worker at one moment.
type testimony struct {
	bulkhead string
	slot     int
	worker   *ipc.Worker
	at       time.Time
	cause    string
	err      error // nil: it goes on
	flights  []flight
}

// text asks the worker and the kernel for the rest. It takes dumpTimeout at the
// most.
func (t *testimony) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "worker of bulkhead %s, slot %d, pid %d, version %q\n", t.bulkhead, t.slot, t.worker.Pid(), t.worker.Version())
	fmt.Fprintf(&b, "at: %s\ncause: %s\n", t.at.UTC().Format(time.RFC3339Nano), t.cause)
	if t.err != nil {
		fmt.Fprintf(&b, "error: %v\n", t.err)
	}
	state := describeProcess(&b, t.worker)
	t.describeFlights(&b)
	describeStacks(&b, t.worker, state)
	return b.Bytes()
}

func (t *testimony) describeFlights(b *bytes.Buffer) {
	fmt.Fprintf(b, "\nin flight: %s\n", plural(len(t.flights), "request"))
	for i, f := range t.flights {
		if i == flightLines {
			fmt.Fprintf(b, "  and %d more\n", len(t.flights)-i)
			return
		}
		fmt.Fprintf(b, "  %q %s %q, %v old, %v\n", f.id, f.method, f.path, f.age.Round(time.Millisecond), f.stage)
	}
}

// describeProcess writes what the kernel says, and returns the state's letter;
// empty where it says nothing.
func describeProcess(b *bytes.Buffer, w *ipc.Worker) (state string) {
	dir := fmt.Sprintf("/proc/%d/", w.Pid())
	status, err := os.ReadFile(dir + "status")
	used, _ := process.UsageOf(w.Pid())
	descriptors, errFDs := os.ReadDir(dir + "fd")
	select {
	case <-w.Exited(): // the number may be a stranger's by now
		b.WriteString("process: has ended\n")
		return ""
	default:
	}
	if err != nil {
		fmt.Fprintf(b, "process: not known: %v\n", err)
		return ""
	}
	fmt.Fprintf(b, "process state: %s\n", statusField(status, "State"))
	fmt.Fprintf(b, "threads: %s\n", statusField(status, "Threads"))
	fmt.Fprintf(b, "cpu: %v\n", used.CPU)
	fmt.Fprintf(b, "rss: %s, of it anonymous: %s\n", statusField(status, "VmRSS"), statusField(status, "RssAnon"))
	if errFDs == nil {
		fmt.Fprintf(b, "open descriptors: %d\n", len(descriptors))
	}
	state, _, _ = strings.Cut(statusField(status, "State"), " ")
	return state
}

// statusField is the value of a line of /proc/PID/status (proc(5)).
func statusField(status []byte, name string) string {
	_, after, _ := bytes.Cut(status, []byte("\n"+name+":"))
	value, _, _ := bytes.Cut(after, []byte("\n"))
	return string(bytes.TrimSpace(value))
}

// describeStacks writes the stacks of the worker's goroutines, or why there are
// none.
func describeStacks(b *bytes.Buffer, w *ipc.Worker, state string) {
	if state == "T" || state == "t" {
		b.WriteString("\ngoroutines: none: the process is stopped and cannot tell\n")
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dumpTimeout)
	defer cancel()
	stacks, err := w.Dump(ctx, dumpBytes)
	if err != nil {
		fmt.Fprintf(b, "\ngoroutines: none: the worker did not tell within %v: %v\n", dumpTimeout, err)
		return
	}
	b.WriteString("\ngoroutines:\n")
	b.Write(stacks)
}
