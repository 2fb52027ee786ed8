package top

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// The moods of what top itself says.
const (
	title Mood = "\x1b[1m"
	watch Mood = "\x1b[33m"
	alarm Mood = "\x1b[31m"
	plain      = "\x1b[0m"
)

const (
	above = 4 // lines over the rows: who, how, blank, titles
	below = 2 // under them: what is asked or was done, keys
	notes = 4 // lines for what is not normal about the chosen one
)

// View implements tea.Model.
func (m *model) View() tea.View {
	lines := m.top()
	if m.page == list {
		lines = append(lines, m.table()...)
		lines = append(lines, m.notes()...)
	} else {
		lines = append(lines, m.window()...)
	}
	lines = append(lines, m.bottom()...)
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "…")
	}
	return tea.View{Content: strings.Join(lines[:min(len(lines), max(m.height, 1))], "\n"), AltScreen: true}
}

// put is text in its mood.
func (m *model) put(t Text) string {
	if !m.o.Colour || t.Mood == "" || t.Text == "" {
		return t.Text
	}
	return string(t.Mood) + t.Text + plain
}

// top is who answers and how the bulkheads are.
func (m *model) top() []string {
	who, how := m.o.Head(m.status, m.now), m.o.Summary(m.status)
	switch {
	case m.answered.IsZero() && m.err == nil:
		who, how = Text{"coordinator top", ""}, Text{"asking the supervisor", ""}
	case m.answered.IsZero():
		who, how = Text{"coordinator top", ""}, Text{"NO ANSWER: " + m.err.Error(), alarm}
	case m.err != nil:
		how = Text{fmt.Sprintf("NO ANSWER for %s, this is how it was: %s", m.o.Age(m.stale()), m.err), alarm}
	case m.restart != "":
		how = Text{"RESTARTED: " + m.restart, watch}
	}
	return []string{m.put(who), m.put(how), ""}
}

// room is how many rows fit.
func (m *model) room() int { return max(1, m.height-above-below-m.noteRoom()) }

// noteRoom is what is left for notes: none on a small screen.
func (m *model) noteRoom() int {
	if m.height < above+below+notes+8 {
		return 0
	}
	return notes + 1
}

// table is titles and as many rows as fit, always that many lines.
func (m *model) table() []string {
	columns := m.o.Columns
	shown := m.rows[m.first:min(len(m.rows), m.first+m.room())]
	cells := make([][]Text, 0, len(shown)+1)
	titles := make([]Text, len(columns))
	for i, c := range columns {
		titles[i] = Text{c.Title, title}
		if i == m.column {
			titles[i].Text += "↓"
		}
	}
	cells = append(cells, titles)
	for _, name := range shown {
		row := make([]Text, len(columns))
		for i, c := range columns {
			row[i] = c.Cell(m.sights[name])
		}
		cells = append(cells, row)
	}
	widths, gap := m.widths(cells)
	lines := make([]string, 0, m.room()+1)
	for i, row := range cells {
		mark := "  "
		if i > 0 && shown[i-1] == m.chosen {
			mark = "> "
		}
		lines = append(lines, mark+m.row(row, widths, gap))
	}
	for len(lines) < m.room()+1 {
		lines = append(lines, "")
	}
	if more := len(m.rows) - len(shown); more > 0 {
		lines[0] += m.put(Text{fmt.Sprintf("  %d-%d of %d", m.first+1, m.first+len(shown), len(m.rows)), title})
	}
	return lines
}

// widths are those of the columns: the first gets the room that others leave, at
// least 8 columns.
func (m *model) widths(cells [][]Text) (widths []int, gap int) {
	widths = make([]int, len(m.o.Columns))
	for _, row := range cells {
		for i, c := range row {
			widths[i] = max(widths[i], ansi.StringWidth(c.Text))
		}
	}
	others := 2 // the mark
	for _, w := range widths[1:] {
		others += w
	}
	gap = 2
	if others+widths[0]+gap*(len(widths)-1) > m.width {
		gap = 1
	}
	widths[0] = max(8, min(widths[0], m.width-others-gap*(len(widths)-1)))
	return widths, gap
}

func (m *model) row(cells []Text, widths []int, gap int) string {
	var b strings.Builder
	for i, c := range cells {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", gap))
		}
		c.Text = ansi.Truncate(c.Text, widths[i], "…")
		blank := strings.Repeat(" ", widths[i]-ansi.StringWidth(c.Text))
		if m.o.Columns[i].Right {
			b.WriteString(blank + m.put(c))
		} else {
			b.WriteString(m.put(c) + blank)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// notes are what is not normal about the chosen bulkhead.
func (m *model) notes() []string {
	room := m.noteRoom()
	if room == 0 {
		return nil
	}
	lines := []string{""}
	if s, ok := m.sights[m.chosen]; ok {
		all := m.o.Notes(s.BulkheadStatus, m.now)
		for _, n := range all[:min(len(all), notes)] {
			lines = append(lines, fmt.Sprintf("  %-9s %s", n.Label, m.put(n.Text)))
		}
		if more := len(all) - notes; more > 0 {
			lines[notes] = fmt.Sprintf("  and %d more: enter shows them", more+1)
		}
	}
	for len(lines) < room {
		lines = append(lines, "")
	}
	return lines
}

// bottom is the line for questions and results, and the keys.
func (m *model) bottom() []string {
	if q := m.asking; q != nil {
		return []string{m.put(Text{q.text, watch}), m.put(Text{q.keys, title})}
	}
	said := m.put(m.said)
	if m.running != nil && m.said.Text == "" {
		said = m.put(Text{fmt.Sprintf("%s runs for %s", m.running, m.o.Age(m.now.Sub(m.since))), watch})
	}
	const actions = "r restart  d drain  u resume  b breaker  "
	keys := map[page]string{
		list:   "enter detail  s sort  " + actions + "? help  q quit",
		detail: "esc back  " + actions + "? help  q quit",
		help:   "esc back  q quit",
	}
	return []string{said, keys[m.page]}
}

// pageRoom is how many lines of a page fit.
func (m *model) pageRoom() int { return max(1, m.height-(above-1)-below) }

// window is the part of the page that is shown.
func (m *model) window() []string {
	lines, room := m.pageLines(), m.pageRoom()
	end := min(len(lines), m.scrolled+room)
	shown := slices.Clone(lines[min(m.scrolled, end):end])
	if end < len(lines) && len(shown) > 0 {
		shown[len(shown)-1] = fmt.Sprintf("  and %d more lines", len(lines)-end+1)
	}
	for len(shown) < room {
		shown = append(shown, "")
	}
	return shown
}

// pageLines are all lines of the page.
func (m *model) pageLines() []string {
	switch m.page {
	case help:
		return strings.Split(strings.TrimSuffix(helpText, "\n"), "\n")
	case detail:
		s := m.sights[m.chosen]
		text := strings.TrimSuffix(m.o.Detail(s.BulkheadStatus, m.now), "\n")
		return append(m.trends(s), strings.Split(text, "\n")...)
	}
	return nil
}

const helpText = `Rates and percentiles are those of the last seconds; "coordinator status" has
those of the last minute. REF/S is what was turned away before a worker got it.

  up, down, k, j     choose a bulkhead        pgup, pgdown, home, end   farther
  enter              all about it             esc                       back
  s, S               sort by the next column, by the one before; what is sorted
                     by is marked; at first it is the order of the configuration
  r                  restart: new workers, one by one; it also ends a quarantine
  d, u               drain: take no more work; resume: take work again
  b                  breaker: auto, open, closed, observe
  ctrl+z, q          to the shell for a while, for good

Nothing is changed without asking: y does it, any other key leaves it. What was
changed lasts until the next reload; a restart is over when it is done.
`
