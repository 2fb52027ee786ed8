package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/cmd/coordinator/internal/demo/story"
	"commerce.example/coordinator/supervisor"
)

// What the demo writes for people, config.Width columns wide.

// tree is the processes.
func tree(stack *demo.Stack, status supervisor.Status) string {
	var b strings.Builder
	line := func(branch, name, pids, at string) {
		text := fmt.Sprintf("%s%s %-13s %s", branch, pad(name, 29-len([]rune(branch))), pids, at)
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	line("", "this demo", strconv.Itoa(os.Getpid()), "")
	for _, kind := range demo.Kinds() {
		service := stack.Services[kind]
		if service == nil {
			continue
		}
		line("├─ ", string(kind)+" service", strconv.Itoa(service.Pid()), service.URL())
	}
	line("└─ ", "coordinator", strconv.Itoa(stack.Pid()), stack.URL())
	for i, bulkhead := range status.Bulkheads {
		branch := "   ├─ "
		if i == len(status.Bulkheads)-1 {
			branch = "   └─ "
		}
		var pids []string
		for _, w := range bulkhead.Workers {
			pids = append(pids, strconv.Itoa(w.Pid))
		}
		line(branch, bulkhead.Name+" workers", strings.Join(pids, " "), demo.Route(bulkhead.Name))
	}
	return b.String()
}

// pad is left-aligned text of at least width columns.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-len([]rune(text))))
}

// picture is what a person needs to play with the demo.
func picture(stack *demo.Stack, status supervisor.Status) string {
	worker := 0
	if len(status.Bulkheads) > 0 && len(status.Bulkheads[0].Workers) > 0 {
		worker = status.Bulkheads[0].Workers[0].Pid
	}
	return tree(stack, status) + fmt.Sprintf(`
The order history page, for a browser; let orders fail, and load it again:

  %[2]s%[9]s

The console, which shows every bulkhead as it is now:

  http://%[8]s/console/

Configuration, log and sockets are in a folder of their own. Try there, in
another terminal, also to change coordinator.env and reload:

  cd %[1]s
  curl -i '%[2]s%[3]s?username=%[4]s'
  curl -i '%[2]s%[5]s?page_size=2'
  curl -i http://%[8]s/readyz
  tail -f coordinator.log
  ./coordinator status --env-file coordinator.env
  ./coordinator demo fault orders hang    # or down, slow, errors, garbage, up
  ./coordinator status orders --env-file coordinator.env
  ./coordinator size orders --env-file coordinator.env
  ./coordinator restart orders --env-file coordinator.env
  ./coordinator snapshot history --verify --env-file coordinator.env
  curl -i %[2]s%[10]s -H 'Idempotency-Key: one' \
    -H 'Content-Type: application/json' \
    -d '{"order":"1","amount":1,"currency":"EUR"}'
                       # twice: it is paid once
  kill -9 %-7[6]d    # a worker of orders: another takes its place at once
  kill -9 %-7[7]d    # the coordinator: its workers die with it; it is restarted

Ctrl-C ends it all and removes the folder.

`, stack.Dir, stack.URL(), demo.Route("orders"), demo.Username(7), demo.Route("catalog"), worker, stack.Pid(), stack.AdminListen, demo.PagePath, demo.Route("payments"))
}

// sentence begins a phase.
func sentence(p story.Phase) string {
	return "\n" + strings.Join(wrap(strings.ToUpper(p.Name)+": "+p.What, config.Width-2), "\n  ") + "\n"
}

var phaseColumns = []column{{title: "  bulkhead"}, {title: "requests", right: true}, {title: "errors", right: true},
	{title: "p50", right: true}, {title: "p99", right: true}, {title: "why"}}

// rows are the figures of a phase.
func rows(p story.Phase, colour bool) string {
	const room = config.Width - 47
	figures := table{columns: phaseColumns}
	for _, f := range p.Bulkheads {
		mood := calm
		if f.Errors > 0 {
			mood = watch
			if f.Bulkhead != string(demo.Orders) {
				mood = alarm
			}
		}
		top := f.Top(2)
		if len(top) > room {
			top = f.Top(1)
		}
		figures.rows = append(figures.rows, row{cells: []cell{
			{pad("  "+f.Bulkhead, 11), mood}, {strconv.Itoa(f.Requests), calm}, {strconv.Itoa(f.Errors), mood},
			{fmt.Sprintf("%6s", latency(f.P50/1e3)), calm}, {fmt.Sprintf("%6s", latency(f.P99/1e3)), calm}, {top, calm},
		}})
	}
	s := &sheet{colour: colour}
	figures.write(s)
	return s.String()
}

// verdict says what the story proved.
func verdict(a *story.Account) string {
	var b strings.Builder
	say := func(format string, args ...any) {
		text := strings.Join(wrap(fmt.Sprintf(format, args...), config.Width-2), "\n  ")
		b.WriteString(text + "\n")
	}
	b.WriteByte('\n')
	if a.Verdict.Passed {
		say("PASSED: orders failed, its breaker opened after %.1f s and closed %.1f s after the repair. Catalog and payments "+
			"had no error, and a p99 within 10 %% or 5 ms of what it is with orders well.", a.Incident.OpenedSeconds, a.Incident.ClosedSeconds)
		return b.String()
	}
	heading := "FAILED"
	if a.Verdict.Void {
		heading = "VOID"
	}
	say("%s:", heading)
	for _, f := range a.Verdict.Findings {
		say("- %s.", f.Text)
	}
	return b.String()
}
