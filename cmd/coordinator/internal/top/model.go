package top

import (
	"cmp"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"commerce.example/coordinator/supervisor"
)

// Messages beside those of bubbletea.
type (
	// looked is one look at the supervisor.
	looked struct {
		status supervisor.Status
		err    error
		at     time.Time
	}
	// acted is the end of what the operator wanted.
	acted struct {
		action Action
		did    string
		err    error
	}
)

// model is all that is shown. Update is its only writer.
type model struct {
	o     Options
	begin func(Action) // has it done; acted will come

	width, height int
	now           time.Time // of the last look

	status   supervisor.Status // of the last answer
	answered time.Time         // when it came; zero: none yet
	err      error             // of the last look; nil: it was answered
	restart  string            // that was noticed; empty: none lately
	noticed  time.Time

	sights map[string]Sight
	rows   []string // names, as they are sorted
	column int      // to sort by; -1: the order of the configuration
	chosen string   // the name of the row that keys are about
	first  int      // row that is shown

	page     page
	scrolled int // lines, of detail or help

	asking  *question
	running *Action
	since   time.Time // that it runs
	said    Text      // what became of the last one
}

// A page is what fills the screen.
type page int

const (
	list page = iota
	detail
	help
)

func newModel(o Options, begin func(Action)) *model {
	return &model{o: o, begin: begin, width: 80, height: 24, column: -1, sights: map[string]Sight{}}
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var todo tea.Cmd
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case looked:
		m.look(msg)
	case acted:
		m.acted(msg)
	case tea.KeyPressMsg:
		todo = m.press(msg.String())
	}
	m.scroll()
	return m, todo
}

// restartShown is how long a restart of the supervisor is told.
const restartShown = 30 * time.Second

// look takes in one look.
func (m *model) look(l looked) {
	m.now, m.err = l.at, l.err
	if m.now.Sub(m.noticed) > restartShown {
		m.restart = ""
	}
	if l.err != nil {
		return
	}
	before := m.status
	if !m.answered.IsZero() && (before.Pid != l.status.Pid || !before.Since.Equal(l.status.Since)) {
		m.restart, m.noticed = restarted(before, l.status), l.at
		clear(m.sights)
	}
	m.status, m.answered = l.status, l.at
	sights := make(map[string]Sight, len(l.status.Bulkheads))
	for _, b := range l.status.Bulkheads {
		sights[b.Name] = m.sights[b.Name].next(b, l.at)
	}
	m.sights = sights
	m.sort()
}

func (m *model) acted(a acted) {
	m.running = nil
	m.said = Text{a.did, ""}
	if a.err != nil {
		m.said = Text{a.err.Error(), alarm}
	}
}

// sort orders the rows anew and keeps the choice.
func (m *model) sort() {
	at := max(0, slices.Index(m.rows, m.chosen))
	m.rows = m.rows[:0]
	for _, b := range m.status.Bulkheads {
		m.rows = append(m.rows, b.Name)
	}
	if m.column >= 0 {
		compare := m.o.Columns[m.column].Compare
		slices.SortStableFunc(m.rows, func(a, b string) int { return compare(m.sights[a], m.sights[b]) })
	}
	if slices.Contains(m.rows, m.chosen) {
		return
	}
	// It was configured away: its page must not become another's.
	if m.page == detail {
		m.turn(list)
	}
	m.chosen = ""
	if len(m.rows) > 0 {
		m.chosen = m.rows[min(at, len(m.rows)-1)]
	}
}

// resort goes on to the next column that can be sorted by, or back.
func (m *model) resort(step int) {
	n := len(m.o.Columns)
	for {
		m.column += step
		switch {
		case m.column >= n:
			m.column = -1
		case m.column < -1:
			m.column = n - 1
		}
		if m.column == -1 || m.o.Columns[m.column].Compare != nil {
			break
		}
	}
	m.sort()
}

// move chooses another row, or scrolls.
func (m *model) move(by int) {
	if m.page != list {
		m.scrolled += by
		return
	}
	if len(m.rows) > 0 {
		at := slices.Index(m.rows, m.chosen) + by
		m.chosen = m.rows[min(max(at, 0), len(m.rows)-1)]
	}
}

// scroll keeps the chosen row on the screen, and no page beyond its end.
func (m *model) scroll() {
	room := m.room()
	at := max(0, slices.Index(m.rows, m.chosen))
	m.first = min(max(m.first, at-room+1), at)
	m.first = max(0, min(m.first, len(m.rows)-room))
	if m.page == list {
		m.scrolled = 0
		return
	}
	m.scrolled = max(0, min(m.scrolled, len(m.pageLines())-m.pageRoom()))
}

// stale is how old what is shown is, when it is.
func (m *model) stale() time.Duration {
	if m.err == nil || m.answered.IsZero() {
		return 0
	}
	return max(m.now.Sub(m.answered), 1)
}

// By compares figures, the greatest first.
func By[T cmp.Ordered](figure func(Sight) T) func(a, b Sight) int {
	return func(a, b Sight) int { return cmp.Compare(figure(b), figure(a)) }
}
