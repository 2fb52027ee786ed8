// Command coordinator is the bulkheaded supervisor and the commands that talk to
// it. Exit codes: 0 done, 1 failed, 2 usage or configuration.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/alecthomas/kong"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor"
)

// grammar is the command line. A command is a struct with its flags and a method
// Run(*terminal) error, in a file of its own.
type grammar struct {
	Run      runCommand      `cmd:"" help:"Serve."`
	Check    checkCommand    `cmd:"" help:"Check the configuration and show what is in effect."`
	Demo     demoCommand     `cmd:"" help:"Show it all: simulated legacy services, a coordinator, faults, load, a verdict."`
	Status   statusCommand   `cmd:"" help:"Show how the supervisor and its bulkheads are."`
	Top      topCommand      `cmd:"" help:"Watch the bulkheads on a terminal, and restart, drain or overrule them."`
	Restart  restartCommand  `cmd:"" help:"Give a bulkhead new workers, one after the other, without losing a request."`
	Drain    drainCommand    `cmd:"" help:"Let a bulkhead finish its work and take no more."`
	Resume   resumeCommand   `cmd:"" help:"Let a bulkhead take work again."`
	Resize   resizeCommand   `cmd:"" help:"Change how many workers and requests a bulkhead has."`
	Breaker  breakerCommand  `cmd:"" help:"Say who decides for a bulkhead: its breaker or you."`
	Forgive  forgiveCommand  `cmd:"" help:"Let a bulkhead take requests again that it refuses because workers died with them."`
	Drill    drillCommand    `cmd:"" help:"Cause a fault in a bulkhead that runs, and judge whether the others notice."`
	Snapshot snapshotCommand `cmd:"" help:"Make or refresh a bulkhead's backup data from its backend, sanitised; or compare the two."`
	Size     sizeCommand     `cmd:"" help:"Say from the traffic what a bulkhead's limit, queue and workers should be."`
	Record   recordCommand   `cmd:"" help:"Record when requests come to a bulkhead and how long each takes, for size to replay."`
	Load     loadCommand     `cmd:"" help:"Send requests to a service on this machine, and say how it answered."`
	Journal  journalCommand  `cmd:"" help:"Ask what became of requests, also when no supervisor runs; and with replay have the one that runs send them again."`
	Reload   reloadCommand   `cmd:"" help:"Have the supervisor read its configuration again."`
	Upgrade  upgradeCommand  `cmd:"" help:"Replace the supervisor by a new process of its binary."`
	Version  versionCommand  `cmd:"" help:"Show the version of this binary."`
}

// envFile is the flag of every command that reads the configuration.
type envFile struct {
	EnvFile onePath `placeholder:"FILE" help:"Read variables from FILE too; the environment wins."`
}

// A onePath is a flag that is given once: of two files one would be lost without a
// word.
type onePath string

func (p *onePath) Decode(ctx *kong.DecodeContext) error {
	if *p != "" {
		return errors.New("given twice; want one file")
	}
	return ctx.Scan.PopValueInto("file", (*string)(p))
}

// asJSON is the flag of every command that prints.
type asJSON struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// A terminal is what a command runs in.
type terminal struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// An exitCode ends a command that has said everything itself.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func main() {
	if exit, ok := child(os.Args[1:]); ok {
		os.Exit(exit)
	}
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// interruptible is what a signal ends in good order; a second one ends the program at
// once.
func interruptible() (ctx context.Context, restore func()) {
	ctx, restore = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, restore)
	return ctx, restore
}

// meant is the command that a usage error is about, as far as it was given.
func meant(err error) string {
	if parse := (*kong.ParseError)(nil); errors.As(err, &parse) && parse.Context.Selected() != nil {
		return "coordinator " + parse.Context.Selected().Path()
	}
	return "coordinator"
}

// parserWords are what the parser says of a value, and what we do.
var parserWords = []struct {
	says *regexp.Regexp
	we   string
}{
	{regexp.MustCompile(`expected \S+ value but got "EOL" \(<EOL>\)`), "want a value"},
	{regexp.MustCompile(`(--\S+): expected \S+ value but got ("-.*") \(short flag\); perhaps try .*`), "$1: a value that begins with - is written $1=$2"},
	{regexp.MustCompile(`expected a valid 64 bit u?int but got (".*")`), "$1: want a whole number"},
	{regexp.MustCompile(`expected a float but got (".*") \(string\)`), "$1: want a number"},
	{regexp.MustCompile(`expected duration but got (".*"): time: .*`), "$1: want a duration, such as 1500ms, 30s or 5m"},
}

// plain is a usage error in our words.
func plain(err error) string {
	text := err.Error()
	for _, w := range parserWords {
		text = w.says.ReplaceAllString(text, w.we)
	}
	return text
}

// run is the whole program, with the exit code as its result.
func run(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	left := -1 // the exit code of a flag that ends the program, such as --help
	parser, err := kong.New(&grammar{},
		kong.Name("coordinator"),
		kong.Description("Routes each group of requests to its own pool of worker processes, so that one sick backend hurts nobody else."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { left = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: config.Width}))
	if err != nil {
		panic(err) // the grammar itself is wrong
	}
	command, err := parser.Parse(args)
	if left >= 0 {
		return left
	}
	if err != nil {
		fmt.Fprintf(stderr, "coordinator: %s\nRun \"%s --help\" for what there is.\n", plain(err), meant(err))
		return exitUsage
	}
	return exitOf(command.Run(&terminal{environ, stdin, stdout, stderr}), stderr)
}

// fileCause is err without the path, which the message names already.
func fileCause(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return err.Error()
}

// exitOf reports err, once, and turns it into an exit code.
func exitOf(err error, stderr io.Writer) int {
	if err == nil {
		return exitDone
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	if problems, ok := errors.AsType[config.Errors](err); ok {
		for _, p := range problems {
			fmt.Fprintf(stderr, "error: %s\n", p.Error())
		}
		return exitUsage
	}
	fmt.Fprintf(stderr, "coordinator: %s\n", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*supervisor.SettingError](err); ok {
		return exitUsage
	}
	if refused, ok := errors.AsType[*refusal](err); ok && refused.Status == http.StatusBadRequest {
		return exitUsage
	}
	return exitFailed
}
