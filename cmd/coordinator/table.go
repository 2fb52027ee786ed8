package main

import (
	"strings"
	"unicode/utf8"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
)

// A mood is how much something wants to be looked at.
type mood string

const (
	calm  mood = ""
	title mood = "\x1b[1m"
	watch mood = "\x1b[33m"
	alarm mood = "\x1b[31m"
)

// A sheet is text for people, config.Width columns wide.
type sheet struct {
	strings.Builder
	colour bool
}

// put writes text in the colour of m.
func (s *sheet) put(text string, m mood) {
	if !s.colour || m == calm || text == "" {
		s.WriteString(text)
		return
	}
	s.WriteString(string(m) + text + "\x1b[0m")
}

// A table has a row each, and below a row what there is to note about it.
type table struct {
	columns []column
	rows    []row
}

type column struct {
	title string
	right bool // aligned
}

type row struct {
	cells []cell
	notes []note
}

type cell struct {
	text string
	mood mood
}

type note struct {
	label, text string
	mood        mood
	whole       bool // never broken: an address that somebody will copy
}

// write writes the table. The first column gets the room that the others leave;
// a text that does not fit there has a line of its own.
func (t *table) write(s *sheet) {
	widths, gap := t.layout()
	titles := make([]cell, len(t.columns))
	for i, c := range t.columns {
		titles[i] = cell{c.title, title}
	}
	t.line(s, titles, widths, gap)
	for _, r := range t.rows {
		t.line(s, r.cells, widths, gap)
		for _, n := range r.notes {
			n.write(s)
		}
	}
}

func (t *table) layout() (widths []int, gap int) {
	widths = make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.title)
		for _, r := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r.cells[i].text))
		}
	}
	others := 0
	for _, w := range widths[1:] {
		others += w
	}
	gap = 2
	if widths[0]+others+gap*(len(widths)-1) > config.Width {
		gap = 1
	}
	room := config.Width - others - gap*(len(widths)-1)
	widths[0] = max(min(widths[0], room), utf8.RuneCountInString(t.columns[0].title))
	return widths, gap
}

func (t *table) line(s *sheet, cells []cell, widths []int, gap int) {
	blank := 0 // owed before the next text, so that no line ends in blanks
	for i, c := range cells {
		length := utf8.RuneCountInString(c.text)
		if length > widths[i] { // the first
			s.put(c.text, c.mood)
			s.WriteByte('\n')
			c.text, length = "", 0
		}
		before, after := 0, widths[i]-length
		if t.columns[i].right {
			before, after = after, 0
		}
		if c.text != "" {
			s.WriteString(strings.Repeat(" ", blank+before))
			s.put(c.text, c.mood)
			blank = 0
		} else {
			blank += before
		}
		blank += after + gap
	}
	s.WriteByte('\n')
}

// write writes the label and beside it the text on as many lines as it needs.
func (n note) write(s *sheet) {
	const margin, label = 2, 10
	lines := []string{n.text}
	if !n.whole {
		lines = wrap(n.text, config.Width-margin-label)
	}
	for i, line := range lines {
		heading := ""
		if i == 0 {
			heading = n.label
		}
		if line != "" {
			heading += strings.Repeat(" ", label-len(heading))
		}
		s.WriteString(strings.Repeat(" ", margin) + heading)
		s.put(line, n.mood)
		s.WriteByte('\n')
	}
}
