package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/cmd/coordinator/internal/demo/story"
)

// demoCommand is coordinator demo.
type demoCommand struct {
	Play  playCommand  `cmd:"" default:"withargs" help:"Start it all; with --story, play the incident and judge it."`
	Fault faultCommand `cmd:"" help:"Have a service of the demo that runs fail, or recover."`
}

// playCommand is the demo itself.
type playCommand struct {
	asJSON
	Story       bool   `help:"Play the incident unattended, in half a minute, under load; exit with 1 when a sibling was hurt."`
	Listen      string `placeholder:"HOST:PORT" help:"Where the coordinator listens; default 127.0.0.1:8080, or a free port."`
	AdminListen string `placeholder:"HOST:PORT" help:"Its metrics and health; default 127.0.0.1:9901, or a free port."`

	Pace    float64 `hidden:"" default:"1" help:"Times the usual lengths of the story's phases, 0.1 to 10."`
	NoFault bool    `hidden:"" help:"Leave the fault out of the story: its verdict must notice."`
}

func (c *playCommand) Help() string {
	return "Needs no configuration and leaves nothing behind. COORDINATOR_LISTEN, COORDINATOR_ADMIN_LISTEN and " +
		"COORDINATOR_LOG_LEVEL are heeded; everything else is in the file that it shows."
}

// Validate is called by kong before Run.
func (c *playCommand) Validate() error {
	switch {
	case !(c.Pace >= 0.1 && c.Pace <= 10):
		return fmt.Errorf("--pace=%v: want 0.1 to 10", c.Pace)
	case c.JSON && !c.Story:
		return errors.New("--json is for --story")
	}
	return nil
}

func (c *playCommand) Run(t *terminal) error {
	ctx, restore := interruptible()
	defer restore()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if err := c.checkAddresses(t); err != nil {
		return err
	}
	if c.Story {
		return c.story(ctx, t, exe)
	}
	said := &narrator{t: t}
	options := c.options(t, exe)
	options.Notable = said.log
	stack, err := demo.StartStack(ctx, options)
	if err != nil {
		return interrupted(ctx, err)
	}
	err = c.show(ctx, said, stack)
	said.say("ending")
	return errors.Join(err, stack.Stop())
}

// options are those of flags and environment.
func (c *playCommand) options(t *terminal, exe string) demo.StackOptions {
	return demo.StackOptions{
		Exe:         exe,
		Listen:      orEnv(t, c.Listen, "COORDINATOR_LISTEN"),
		AdminListen: orEnv(t, c.AdminListen, "COORDINATOR_ADMIN_LISTEN"),
		LogLevel:    t.env("COORDINATOR_LOG_LEVEL"),
	}
}

// checkAddresses refuses what the demo's coordinator would, in whose configuration
// they are.
func (c *playCommand) checkAddresses(t *terminal) error {
	for _, a := range []struct{ flag, name, value string }{
		{"--listen", "COORDINATOR_LISTEN", c.Listen}, {"--admin-listen", "COORDINATOR_ADMIN_LISTEN", c.AdminListen},
	} {
		from := a.flag
		if a.value == "" {
			from, a.value = a.name, t.env(a.name)
		}
		if a.value != "" && !config.IsHostPort(a.value) {
			return usageError(fmt.Sprintf("%s=%s: want HOST:PORT, such as 127.0.0.1:8080", from, a.value))
		}
	}
	return nil
}

func orEnv(t *terminal, flag, name string) string {
	if flag != "" {
		return flag
	}
	return t.env(name)
}

// show says what there is and keeps it there until ctx ends.
func (c *playCommand) show(ctx context.Context, said *narrator, stack *demo.Stack) error {
	status, err := stack.Status(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	said.write(picture(stack, status))
	return stack.Keep(ctx, said.say)
}

// interrupted is err, unless somebody wanted the end.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// A narrator writes what happens while it happens, from any goroutine.
type narrator struct {
	t  *terminal
	mu sync.Mutex
	// kept are lines of the coordinator's log, for when it is asked why.
	kept []string
}

func (n *narrator) write(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprint(n.t.stdout, text) // nobody else can be told that nobody listens
}

func (n *narrator) say(text string) {
	n.write(time.Now().Format("15:04:05 ") + text + "\n")
}

// maxKept bounds the lines kept of a log.
const maxKept = 100

// keep keeps a line of the coordinator's log; later ones are lost when it is full.
func (n *narrator) keep(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.kept) < maxKept {
		n.kept = append(n.kept, printable(line))
	}
}

// confess writes what was kept.
func (n *narrator) confess() {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintln(n.t.stderr, "\nWarnings and errors of the coordinator's log:")
	for _, line := range n.kept {
		fmt.Fprintln(n.t.stderr, "  "+line)
	}
}

// log shows a line of the coordinator's log without its time.
func (n *narrator) log(line string) {
	if i := strings.IndexByte(line, '['); i > 0 {
		line = line[i:]
	}
	n.say(printable(line))
}

// faultCommand is coordinator demo fault.
type faultCommand struct {
	Service string        `arg:"" enum:"orders,catalog,payments,orders-vendor,page" help:"orders, catalog, payments, orders-vendor or page."`
	Mode    string        `arg:"" enum:"up,down,hang,slow,errors,garbage,reset-mid-body" help:"up, down, hang, slow, errors, garbage or reset-mid-body."`
	Rate    float64       `default:"1" help:"Share of the requests that get the fault, above 0 and up to 1; by default 1."`
	Delay   time.Duration `default:"2s" help:"How much longer each answer takes in mode slow; by default 2s."`
	Dir     string        `placeholder:"DIR" help:"The demo's folder, when several run."`
}

// Validate is called by kong before Run.
func (c *faultCommand) Validate() error {
	switch {
	case !(c.Rate > 0 && c.Rate <= 1):
		return fmt.Errorf("--rate=%v: want a share above 0 and up to 1, such as 0.5", c.Rate)
	case c.Delay < 0 || c.Delay > demo.MaxDelay:
		return fmt.Errorf("--delay=%s: want a duration up to %s", c.Delay, demo.MaxDelay)
	}
	return nil
}

func (c *faultCommand) Run(t *terminal) error {
	dir := c.Dir
	if dir == "" {
		switch running := demo.Running(); len(running) {
		case 0:
			return errors.New("no demo of this user runs: start one with coordinator demo")
		case 1:
			dir = running[0]
		default:
			return usageError("several demos run; want --dir with one of " + strings.Join(running, ", "))
		}
	}
	began := time.Now()
	f := demo.Fault{Mode: demo.Mode(c.Mode), Rate: c.Rate}
	if f.Mode == demo.Slow {
		f.Delay = c.Delay
	}
	if err := demo.SetFault(context.Background(), dir, demo.Kind(c.Service), f); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("--dir=%s: no demo runs there, or none with the %s service", dir, c.Service)
	} else if err != nil {
		return err
	}
	_, err := fmt.Fprintf(t.stdout, "the %s service: %s (%s)\n", c.Service, c.Mode, milliseconds(time.Since(began).Seconds()*1e3))
	return err
}

// plays is how often a story is played at the most: again while the machine was
// too busy to tell.
const plays = 2

// story plays the incident and judges it.
func (c *playCommand) story(ctx context.Context, t *terminal, exe string) error {
	said := &narrator{t: t}
	var account *story.Account
	for play := 1; ; play++ {
		var err error
		if account, err = c.play(ctx, said, c.options(t, exe)); err != nil {
			return interrupted(ctx, err)
		}
		if !account.Verdict.Void || play == plays {
			break
		}
		if !c.JSON {
			said.write(verdict(account) + "\nThe machine was too busy to tell, so it is played again.\n")
		}
	}
	if c.JSON {
		if err := writeJSON(t.stdout, account); err != nil {
			return err
		}
	} else {
		said.write(verdict(account))
	}
	if !account.Verdict.Passed {
		said.confess()
		return exitCode(exitFailed)
	}
	return nil
}

// play plays the story once, on a stack of its own.
func (c *playCommand) play(ctx context.Context, said *narrator, o demo.StackOptions) (_ *story.Account, err error) {
	said.kept, o.Notable = nil, said.keep
	o.Kinds = story.Cast()
	// Steady services, so that a 99th percentile moves for a reason.
	o.Services = map[demo.Kind]demo.Options{
		demo.Orders:   {Latency: 10 * time.Millisecond, Spread: 0.2},
		demo.Catalog:  {Latency: 5 * time.Millisecond, Spread: 0.2},
		demo.Payments: {Latency: 10 * time.Millisecond, Spread: 0.2},
	}
	stack, err := demo.StartStack(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	options := story.Options{Pace: c.Pace, NoFault: c.NoFault}
	if !c.JSON {
		status, err := stack.Status(ctx)
		if err != nil {
			return nil, err
		}
		said.write(tree(stack, status))
		options.Began = func(p story.Phase) { said.write(sentence(p)) }
		options.Ended = func(p story.Phase) { said.write(rows(p, said.t.colour())) }
	}
	return story.Play(ctx, stack, options)
}
