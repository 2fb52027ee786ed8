package top

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"commerce.example/coordinator/supervisor"
)

// Options are what top shows and does. All functions are required; Look and Do
// are called by one goroutine each, the others by the screen's.
type Options struct {
	Look func(context.Context) (supervisor.Status, error)
	// Do returns what was done in a line, or why it was not.
	Do func(context.Context, Action) (string, error)

	Head    func(supervisor.Status, time.Time) Text // who answers, in a line
	Summary func(supervisor.Status) Text            // how the bulkheads are, in a line
	Columns []Column                                // the first is the name, and gets the room that others leave
	// Notes are what is not normal about one bulkhead, the most important first.
	Notes func(supervisor.BulkheadStatus, time.Time) []Note
	// Detail is all there is to know about one, on lines of 80 columns.
	Detail func(supervisor.BulkheadStatus, time.Time) string
	Age    func(time.Duration) string // for people
	Rate   func(float64) string       // per second, for people
	Span   func(float64) string       // a time in seconds, for people

	Every   time.Duration // between two looks; 0: 1 s
	Input   io.Reader
	Output  io.Writer
	Environ []string // TERM, NO_COLOR and what else tells terminals apart
	Colour  bool
}

// A Mood is the escape sequence (ECMA-48 SGR) that texts of one kind begin with;
// empty for ordinary ones.
type Mood string

// A Text is printable, on one line.
type Text struct {
	Text string
	Mood Mood
}

// A Note is a text with what it is about.
type Note struct {
	Label string // up to 9 columns; empty: the same as the note before
	Text
}

// A Column is one figure of every bulkhead.
type Column struct {
	Title string
	Right bool // aligned
	Cell  func(Sight) Text
	// Compare puts first what is to be looked at first; nil: nobody sorts by it.
	Compare func(a, b Sight) int
}

// An Action is what an operator wants done.
type Action struct {
	Bulkhead string
	Verb     string // restart, drain, resume, breaker
	Mode     string // of the breaker: auto, open, closed, observe
}

func (a Action) String() string {
	text := a.Verb + " " + a.Bulkhead
	if a.Mode != "" {
		text += " " + a.Mode
	}
	return text
}

// Run shows the bulkheads until the operator leaves or ctx ends; neither is an
// error. The terminal is as before then, and nothing of Run runs on.
func Run(ctx context.Context, o Options) error {
	if o.Every <= 0 {
		o.Every = time.Second
	}
	actions := make(chan Action, 1) // the model asks for the next when the last is done
	m := newModel(o, func(a Action) { actions <- a })
	screen := tea.NewProgram(m, tea.WithInput(o.Input), tea.WithOutput(o.Output), tea.WithEnvironment(o.Environ),
		tea.WithoutSignalHandler(), tea.WithFPS(30))

	working, stop := context.WithCancel(ctx)
	var workers sync.WaitGroup
	workers.Go(func() { guarded(screen, func() { look(working, o, screen.Send) }) })
	workers.Go(func() { guarded(screen, func() { act(working, o, actions, screen.Send) }) })
	workers.Go(func() { // its own handling of contexts closes the input while it is read
		<-working.Done()
		screen.Quit()
	})
	_, err := screen.Run()
	stop()
	workers.Wait()
	return err
}

// guarded gives the terminal back before a panic ends the program.
func guarded(screen *tea.Program, run func()) {
	defer func() {
		if r := recover(); r != nil {
			screen.Kill()
			panic(r)
		}
	}()
	run()
}

// patience is how long an answer may take, which takes a moment; after that the
// supervisor counts as gone. What is on the screen is never older without a word.
const patience = 2 * time.Second

// look sends what it sees until ctx ends.
func look(ctx context.Context, o Options, send func(tea.Msg)) {
	for {
		asking, cancel := context.WithTimeout(ctx, patience)
		status, err := o.Look(asking)
		if err != nil && asking.Err() != nil {
			err = fmt.Errorf("it did not answer within %s", patience)
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		send(looked{status, err, time.Now()})
		select {
		case <-ctx.Done():
			return
		case <-time.After(o.Every):
		}
	}
}

// act does what it is told until ctx ends.
func act(ctx context.Context, o Options, actions <-chan Action, send func(tea.Msg)) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-actions:
			did, err := o.Do(ctx, a)
			if ctx.Err() != nil {
				return
			}
			send(acted{a, did, err})
		}
	}
}
