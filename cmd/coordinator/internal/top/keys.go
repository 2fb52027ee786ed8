package top

import (
	"fmt"

	tea "charm.land/bubbletea/v2"

	"commerce.example/coordinator/supervisor"
)

// A question waits for one key. Every other one is a no.
type question struct {
	text   string
	keys   string // what each key does, for the last line
	answer map[string]func(*model) tea.Cmd
}

// press is what a key does.
func (m *model) press(key string) tea.Cmd {
	if key == "ctrl+c" {
		return tea.Quit
	}
	if q := m.asking; q != nil {
		m.asking = nil
		if answer := q.answer[key]; answer != nil {
			return answer(m)
		}
		m.said = Text{"left as it is", ""}
		return nil
	}
	m.said = Text{}
	switch key {
	case "q":
		return m.quit()
	case "ctrl+z":
		return tea.Suspend
	case "?", "h":
		m.turn(help)
	case "esc", "left", "backspace":
		m.turn(list)
	case "enter", "right":
		if m.page == list && m.chosen != "" {
			m.turn(detail)
		}
	case "s", "S":
		if m.page == list {
			m.resort(map[string]int{"s": 1, "S": -1}[key])
		}
	default:
		m.travel(key)
		m.want(key)
	}
	return nil
}

func (m *model) turn(to page) { m.page, m.scrolled = to, 0 }

// travel moves the choice, or the page.
func (m *model) travel(key string) {
	const all = 1 << 30
	screen := m.room()
	if m.page != list {
		screen = m.pageRoom()
	}
	by := map[string]int{
		"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -screen, "pgdown": screen, "home": -all, "g": -all, "end": all, "G": all,
	}[key]
	if by != 0 {
		m.move(max(-len(m.rows)-len(m.pageLines()), min(by, len(m.rows)+len(m.pageLines()))))
	}
}

// quit asks first while something is under way: leaving gives it up.
func (m *model) quit() tea.Cmd {
	if m.running == nil {
		return tea.Quit
	}
	m.asking = &question{
		text:   fmt.Sprintf("%s still runs. Leaving gives it up, wherever it is.", m.running),
		keys:   "y leave   any other key: stay",
		answer: map[string]func(*model) tea.Cmd{"y": func(*model) tea.Cmd { return tea.Quit }},
	}
	return nil
}

// consequences are what an action does, as its confirmation says it.
var consequences = map[Action]string{
	{Verb: "restart"}:                  "each new worker is ready before the old one drains",
	{Verb: "drain"}:                    "new requests are refused, those in flight finish, until resume",
	{Verb: "resume"}:                   "it takes work again",
	{Verb: "breaker", Mode: "auto"}:    "its breaker decides again",
	{Verb: "breaker", Mode: "open"}:    "every request is refused, until the next reload",
	{Verb: "breaker", Mode: "closed"}:  "every request is admitted, until the next reload",
	{Verb: "breaker", Mode: "observe"}: "its breaker only counts, until the next reload",
}

// want begins what an operator does to the chosen bulkhead.
func (m *model) want(key string) {
	verb := map[string]string{"r": "restart", "d": "drain", "u": "resume", "b": "breaker"}[key]
	if verb == "" || m.page == help || m.chosen == "" {
		return
	}
	switch {
	case m.running != nil:
		m.said = Text{fmt.Sprintf("%s still runs: one thing at a time", m.running), watch}
	case verb == "breaker":
		m.asking = m.whichMode()
	default:
		m.asking = confirm(Action{Bulkhead: m.chosen, Verb: verb})
	}
}

// whichMode asks who shall decide for the chosen bulkhead.
func (m *model) whichMode() *question {
	q := &question{
		text:   fmt.Sprintf("breaker %s: who decides?", m.chosen),
		keys:   "a auto   o open   c closed   e observe   any other key: as it is",
		answer: map[string]func(*model) tea.Cmd{},
	}
	for key, mode := range map[string]string{"a": "auto", "o": "open", "c": "closed", "e": "observe"} {
		a := Action{Bulkhead: m.chosen, Verb: "breaker", Mode: mode}
		q.answer[key] = func(m *model) tea.Cmd {
			m.asking = confirm(a)
			return nil
		}
	}
	return q
}

// confirm asks whether a is meant. It stays about the bulkhead that was chosen,
// wherever its row goes meanwhile.
func confirm(a Action) *question {
	return &question{
		text: fmt.Sprintf("%s: %s.", a, consequences[Action{Verb: a.Verb, Mode: a.Mode}]),
		keys: "y do it   any other key: leave it",
		answer: map[string]func(*model) tea.Cmd{"y": func(m *model) tea.Cmd {
			if m.running == nil {
				m.running, m.since = &a, m.now
				m.begin(a)
			}
			return nil
		}},
	}
}

// restarted says what was noticed about the supervisor.
func restarted(before, after supervisor.Status) string {
	return fmt.Sprintf("another supervisor answers: pid %d, before it %d; its counts begin anew", after.Pid, before.Pid)
}
