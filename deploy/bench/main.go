package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func main() {
	// The kernel tells children of the death of the thread that started them.
	runtime.LockOSThread()
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	restore()
	os.Exit(code)
}

// run is the whole program, with the exit code as its result: 0 done, 1 failed,
// 2 usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		fmt.Fprintf(stderr, "bench: %s\n", err)
		return 2
	}
	report, err := measure(ctx, o, stderr)
	if report != nil {
		fmt.Fprint(stdout, report.text())
	}
	if err == nil && ctx.Err() == nil && o.out != "" {
		err = os.WriteFile(o.out, []byte(report.markdown()), 0o644)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "bench: interrupted")
		return 1
	case err != nil:
		fmt.Fprintf(stderr, "bench: %s\n", err)
		return 1
	}
	return 0
}

// measure does all rounds. Interrupted, it reports the rounds that are whole.
func measure(ctx context.Context, o *options, progress io.Writer) (_ *report, err error) {
	b, err := newBench(ctx, o, progress)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	began := time.Now()
	for round := range o.rounds {
		if err := b.round(ctx, round); err != nil {
			if round == 0 || ctx.Err() == nil {
				return nil, err
			}
			b.results.rounds = round
			break
		}
	}
	return &report{o, b.machine(context.WithoutCancel(ctx)), began, time.Since(began), b.systems, b.missing, b.results}, nil
}
