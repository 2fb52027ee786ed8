package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Subcommand is the first argument of a process that is to call Child; the second
// is the kind.
const Subcommand = "demo-service"

// Child is the whole life of a service's process: it reads its Options from stdin
// as one line of JSON, serves, writes its Addresses to stdout as one line of JSON,
// and ends when stdin does, when ctx ends or when the service fails.
//
// One goroutine may be left reading stdin when it returns; the process is to exit.
func Child(ctx context.Context, kind Kind, stdin io.Reader, stdout io.Writer) error {
	lifeline := bufio.NewReader(stdin)
	line, err := lifeline.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("demo: options on standard input: %w", err)
	}
	var o Options
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("demo: options on standard input: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		io.Copy(io.Discard, lifeline)
		cancel(errParentGone)
	}()
	var told error
	err = Serve(ctx, kind, o, func(a Addresses) {
		if told = json.NewEncoder(stdout).Encode(a); told != nil {
			cancel(told)
		}
	})
	return errors.Join(err, told)
}

var errParentGone = errors.New("demo: the parent has closed the lifeline")
