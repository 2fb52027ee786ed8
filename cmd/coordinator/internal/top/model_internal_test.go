package top

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"commerce.example/coordinator/supervisor"
)

var epoch = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

// A stage is a model with what it has begun.
type stage struct {
	*model
	t     *testing.T
	begun []Action
	at    time.Time
	quit  bool
}

func newStage(t *testing.T, colour bool) *stage {
	s := &stage{t: t, at: epoch}
	text := func(s string) Text { return Text{s, ""} }
	o := Options{
		Head:    func(s supervisor.Status, _ time.Time) Text { return text(fmt.Sprintf("pid %d", s.Pid)) },
		Summary: func(s supervisor.Status) Text { return text(fmt.Sprintf("%d bulkheads", len(s.Bulkheads))) },
		Columns: []Column{
			{Title: "NAME", Cell: func(s Sight) Text { return text(s.Name) }, Compare: func(a, b Sight) int { return strings.Compare(a.Name, b.Name) }},
			{Title: "STATE", Cell: func(s Sight) Text { return Text{s.State, alarm} }},
			{Title: "REQ/S", Right: true, Compare: By(func(s Sight) float64 {
				if s.Rates == nil {
					return -1
				}
				return s.Rates.Requests
			}), Cell: func(s Sight) Text {
				if s.Rates == nil {
					return text("-")
				}
				return text(fmt.Sprintf("%.1f", s.Rates.Requests))
			}},
		},
		Notes: func(b supervisor.BulkheadStatus, _ time.Time) (notes []Note) {
			for i := range b.Queue {
				notes = append(notes, Note{"note", text(fmt.Sprintf("%d of %s", i, b.Name))})
			}
			return notes
		},
		Detail: func(b supervisor.BulkheadStatus, _ time.Time) string {
			return strings.Repeat("all about "+b.Name+"\n", 1+b.Queue)
		},
		Age:  func(d time.Duration) string { return d.String() },
		Rate: func(n float64) string { return fmt.Sprint(n) }, Span: func(n float64) string { return fmt.Sprint(n) },
		Colour: colour,
	}
	s.model = newModel(o, func(a Action) { s.begun = append(s.begun, a) })
	return s
}

func (s *stage) tell(msg tea.Msg) {
	_, cmd := s.Update(msg)
	if cmd != nil {
		_, quit := cmd().(tea.QuitMsg)
		s.quit = s.quit || quit
	}
}

// sees is a look, a second after the one before.
func (s *stage) sees(pid int, bulkheads ...supervisor.BulkheadStatus) {
	s.at = s.at.Add(time.Second)
	s.tell(looked{status: supervisor.Status{Pid: pid, Since: epoch, Bulkheads: bulkheads}, at: s.at})
}

func (s *stage) misses(why string) {
	s.at = s.at.Add(time.Second)
	s.tell(looked{err: errors.New(why), at: s.at})
}

var keyCodes = map[string]rune{
	"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown,
	"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd,
}

func (s *stage) presses(keys ...string) {
	for _, key := range keys {
		k := tea.Key{Code: keyCodes[key]}
		if k.Code == 0 {
			k = tea.Key{Code: []rune(key)[0], Text: key}
		}
		s.tell(tea.KeyPressMsg(k))
	}
}

// screen is what is shown, checked against the size of the terminal.
func (s *stage) screen() string {
	s.t.Helper()
	content := s.View().Content
	lines := strings.Split(content, "\n")
	if len(lines) > max(1, s.height) {
		s.t.Errorf("%d lines on %d", len(lines), s.height)
	}
	for _, line := range lines {
		if n := ansi.StringWidth(line); n > s.width {
			s.t.Errorf("%d columns on %d: %q", n, s.width, line)
		}
	}
	return content
}

func (s *stage) shows(texts ...string) {
	s.t.Helper()
	screen := s.screen()
	for _, text := range texts {
		if !strings.Contains(screen, text) {
			s.t.Errorf("%q is not on the screen:\n%s", text, screen)
		}
	}
}

func bulkhead(name string, requests, refused uint64) supervisor.BulkheadStatus {
	return supervisor.BulkheadStatus{Name: name, State: "ready", RequestsTotal: requests, RefusedTotal: refused}
}

func TestRatesAreDifferences(t *testing.T) {
	s := newStage(t, false)
	s.sees(1, bulkhead("a", 100, 10))
	if got := s.sights["a"].Rates; got != nil {
		t.Errorf("of one look %+v", *got)
	}
	s.sees(1, bulkhead("a", 140, 11))
	if got := s.sights["a"].Rates; got == nil || *got != (Rates{40, 1}) {
		t.Errorf("%+v", got)
	}
	for i := range 5 { // the first ones no longer count
		s.sees(1, bulkhead("a", 140+uint64(i+1)*8, 11))
	}
	if got := s.sights["a"].Rates; got == nil || *got != (Rates{8, 0}) {
		t.Errorf("%+v", got)
	}
	s.sees(1, bulkhead("a", 3, 0)) // it was taken out and configured anew
	if got := s.sights["a"].Rates; got != nil {
		t.Errorf("of counts that began anew %+v", *got)
	}
	for i := range 3 * glimpses {
		s.sees(1, bulkhead("a", 3+uint64(i), 0))
	}
	if n := len(s.sights["a"].past); n != glimpses {
		t.Errorf("%d looks are kept", n)
	}
}

func TestASupervisorThatIsGoneOrAnother(t *testing.T) {
	s := newStage(t, false)
	s.shows("asking the supervisor")
	s.misses("nobody there")
	s.shows("NO ANSWER: nobody there")
	s.sees(1, bulkhead("a", 10, 0))
	s.sees(1, bulkhead("a", 20, 0))
	s.misses("it is gone")
	s.misses("it is gone")
	s.shows("NO ANSWER for 2s", "it is gone", "> a", "10.0")
	s.sees(2, bulkhead("a", 1, 0))
	s.shows("RESTARTED", "pid 2", "> a", "-")
	for range 31 {
		s.sees(2, bulkhead("a", 1, 0))
	}
	if strings.Contains(s.screen(), "RESTARTED") {
		t.Error("told for ever")
	}
}

func TestTheChoiceFollowsItsBulkhead(t *testing.T) {
	s := newStage(t, false)
	s.sees(1, bulkhead("c", 0, 0), bulkhead("a", 0, 0), bulkhead("b", 0, 0))
	s.presses("down")
	s.shows("> a")
	s.sees(1, bulkhead("c", 5, 0), bulkhead("a", 1, 0), bulkhead("b", 9, 0))
	s.presses("s") // by name
	s.shows("NAME↓", "> a")
	if !slices.Equal(s.rows, []string{"a", "b", "c"}) {
		t.Errorf("%q", s.rows)
	}
	s.presses("s") // what has no order is left out
	s.shows("REQ/S↓", "> a")
	if !slices.Equal(s.rows, []string{"b", "c", "a"}) {
		t.Errorf("%q", s.rows)
	}
	s.presses("s")
	if !slices.Equal(s.rows, []string{"c", "a", "b"}) {
		t.Errorf("%q", s.rows)
	}
	s.presses("S")
	s.shows("REQ/S↓")
	s.presses("enter")
	s.shows("all about a")
	s.sees(1, bulkhead("c", 5, 0), bulkhead("b", 9, 0)) // a was configured away
	s.shows("> c")
	s.sees(1)
	s.shows("0 bulkheads")
	s.presses("down", "enter", "r", "y")
	if len(s.begun) > 0 {
		t.Errorf("%v of nothing", s.begun)
	}
}

func TestNothingWithoutAYes(t *testing.T) {
	s := newStage(t, false)
	s.sees(1, bulkhead("a", 0, 0), bulkhead("b", 0, 0))
	for _, key := range []string{"r", "d", "u"} {
		for _, no := range []string{"n", "enter", "esc", "q", "r"} {
			s.presses(key, no)
		}
	}
	for _, mode := range []string{"a", "o", "c", "e", "y"} {
		s.presses("b", mode, "n")
	}
	if len(s.begun) > 0 || s.quit {
		t.Fatalf("%v", s.begun)
	}
	s.presses("r")
	s.shows("restart a: each new worker is ready", "y do it")
	s.sees(1, bulkhead("b", 0, 0), bulkhead("a", 0, 0)) // the rows change under the question
	s.presses("y")
	if !slices.Equal(s.begun, []Action{{"a", "restart", ""}}) {
		t.Fatalf("%v", s.begun)
	}
	s.sees(1, bulkhead("b", 0, 0), bulkhead("a", 0, 0))
	s.shows("restart a runs for 1s")
	s.presses("d")
	s.shows("one thing at a time")
	s.presses("y")
	if len(s.begun) != 1 {
		t.Fatalf("%v", s.begun)
	}
	s.presses("q")
	s.shows("restart a still runs", "y leave")
	s.presses("n")
	if s.quit {
		t.Error("left without a yes")
	}
	s.tell(acted{s.begun[0], "restart a: 2 of 2 workers are new", nil})
	s.shows("2 of 2 workers are new")
	s.presses("b", "o")
	s.shows("breaker a open: every request is refused")
	s.presses("y")
	s.tell(acted{s.begun[1], "", errors.New("the supervisor refused: no")})
	s.shows("the supervisor refused: no")
	if s.begun[1] != (Action{"a", "breaker", "open"}) {
		t.Errorf("%v", s.begun)
	}
	s.presses("q")
	if !s.quit {
		t.Error("q does not leave")
	}
}

func TestManyBulkheadsScroll(t *testing.T) {
	s := newStage(t, false)
	var many []supervisor.BulkheadStatus
	for i := range 100 {
		many = append(many, bulkhead(fmt.Sprintf("bulkhead-%02d", i), uint64(i), 0))
	}
	s.sees(1, many...)
	for i := range 100 {
		s.shows(fmt.Sprintf("> bulkhead-%02d", i), "of 100")
		s.presses("down")
	}
	s.presses("home")
	s.shows("> bulkhead-00")
	s.presses("pgdown", "pgdown", "pgup", "end")
	s.shows("> bulkhead-99")
	s.tell(tea.WindowSizeMsg{Width: 30, Height: 10})
	s.shows("> bulkhead-99")
}

func TestDetailScrollsAndEnds(t *testing.T) {
	s := newStage(t, false)
	long := bulkhead("a", 0, 0)
	long.Queue = 60
	s.sees(1, long)
	s.shows("2 of a", "and 57 more: enter shows them")
	s.presses("enter")
	s.shows("all about a", "more lines")
	s.presses("end")
	if screen := s.screen(); strings.Contains(screen, "more lines") || !strings.Contains(screen, "all about a") {
		t.Errorf("the end:\n%s", screen)
	}
	s.presses("pgdown", "down", "home")
	s.shows("more lines")
	s.presses("?")
	s.shows("y does it")
	s.presses("esc")
	s.shows("> a")
}

func TestWithoutColour(t *testing.T) {
	for _, colour := range []bool{false, true} {
		s := newStage(t, colour)
		s.sees(1, bulkhead("a", 0, 0))
		s.presses("r")
		if got := strings.Contains(s.screen(), "\x1b["); got != colour {
			t.Errorf("colour %v, and sequences: %v", colour, got)
		}
		s.shows("ready", "> ")
	}
}

// Whatever comes, in whatever order and on whatever screen, lines fit, and what is
// begun was confirmed.
func TestAnythingGoes(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	keys := []string{"r", "d", "u", "b", "a", "o", "c", "e", "y", "n", "s", "S", "?", "enter", "esc", "up", "down", "pgup", "pgdown", "home", "end", "j", "k", "x"}
	s := newStage(t, true)
	for range 4000 {
		switch random.IntN(8) {
		case 0:
			s.tell(tea.WindowSizeMsg{Width: 1 + random.IntN(200), Height: 1 + random.IntN(60)})
		case 1, 2:
			var some []supervisor.BulkheadStatus
			for i := range random.IntN(40) {
				b := bulkhead(fmt.Sprintf("b%d", i*random.IntN(3)+i), uint64(random.IntN(1000)), uint64(random.IntN(10)))
				b.Queue = random.IntN(9)
				some = append(some, b)
			}
			s.sees(random.IntN(3), some...)
		case 3:
			s.misses("gone")
		case 4:
			if s.running != nil {
				s.tell(acted{*s.running, "done", nil})
			}
		default:
			asked, before := s.asking, len(s.begun)
			key := keys[random.IntN(len(keys))]
			s.presses(key)
			if len(s.begun) > before && (asked == nil || key != "y") {
				t.Fatalf("%v after %q", s.begun[before:], key)
			}
		}
		s.screen()
		if t.Failed() {
			return
		}
	}
	if len(s.begun) == 0 {
		t.Error("nothing was ever done")
	}
}

func TestSpark(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   string
	}{
		{[]float64{0}, "▁"},
		{[]float64{0, 0, 0}, "▁▁"},
		{[]float64{1, 0, 4}, "▄█"},
		{[]float64{0, 0, 2, 2, 8, 1}, "▁▄█"},
	} {
		got := spark(test.values)
		if strings.TrimLeft(got, " ") != test.want || len([]rune(got)) != sparkWidth {
			t.Errorf("%v: %q, want %q", test.values, got, test.want)
		}
	}
}
