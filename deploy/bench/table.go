package main

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// A table has its first column to the left and the others to the right.
type table struct {
	title   string
	columns []string
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// String is the table, 80 columns wide at most.
func (t *table) String() string {
	lines := append([][]string{t.columns}, t.rows...)
	widths := make([]int, len(t.columns))
	for _, cells := range lines {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	gap := 2
	if sum(widths)+gap*(len(widths)-1) > 80 {
		gap = 1
	}
	var b strings.Builder
	for _, cells := range lines {
		for i, c := range cells {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i == 0 {
				b.WriteString(c + pad)
			} else {
				b.WriteString(strings.Repeat(" ", gap) + pad + c)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func sum(numbers []int) int {
	total := 0
	for _, n := range numbers {
		total += n
	}
	return total
}

// figure is a number in at most five columns.
func figure(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case math.Abs(v) >= 99_950:
		return fmt.Sprintf("%.0fk", v/1e3)
	case math.Abs(v) >= 9999.5:
		return fmt.Sprintf("%.1fk", v/1e3)
	case math.Abs(v) >= 99.95 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// spread is from the least to the most.
func spread(s summary) string {
	if !s.known() {
		return "-"
	}
	return figure(s.least) + ".." + figure(s.most)
}

// ratio is one to the coordinator.
func ratio(s summary) string {
	if !s.known() {
		return "-"
	}
	return figure(s.median) + "x"
}
