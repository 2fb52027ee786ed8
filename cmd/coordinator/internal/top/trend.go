package top

import (
	"fmt"
	"slices"
	"strings"
)

// trends are what was seen of a bulkhead as lines: what came, what was
// refused, how long it took, how much was under way.
func (m *model) trends(s Sight) []string {
	if len(s.past) < 2 {
		return nil
	}
	perSecond := func(n func(glimpse) uint64) []float64 {
		return s.series(func(before, now glimpse) float64 {
			return float64(n(now)-n(before)) / max(now.at.Sub(before.at).Seconds(), 1e-3)
		})
	}
	lines := []string{m.put(Text{"THE LAST " + m.o.Age(s.past[len(s.past)-1].at.Sub(s.past[0].at)), title})}
	add := func(label string, values []float64, text func(float64) string) {
		lines = append(lines, fmt.Sprintf("  %-10s%s  now %s, at most %s", label, spark(values), text(values[len(values)-1]), text(slices.Max(values))))
	}
	add("req/s", perSecond(func(g glimpse) uint64 { return g.requests }), m.o.Rate)
	add("ref/s", perSecond(func(g glimpse) uint64 { return g.refused }), m.o.Rate)
	add("p99", s.series(func(_, now glimpse) float64 { return now.p99 }), func(seconds float64) string {
		if seconds == 0 { // there was nothing to measure
			return "-"
		}
		return m.o.Span(seconds)
	})
	add("in flight", s.series(func(_, now glimpse) float64 { return float64(now.inFlight) }), m.o.Rate)
	return append(lines, "")
}

// sparkWidth is two looks a column, so that a line is 80 columns with its words.
const sparkWidth = (glimpses + 1) / 2

// spark draws values from 0 to the greatest of them, the last at the right. Each
// column is the greater of two.
func spark(values []float64) string {
	const heights = "▁▂▃▄▅▆▇█"
	steps := []rune(heights)
	top := slices.Max(values)
	var b strings.Builder
	columns := (len(values) + 1) / 2
	b.WriteString(strings.Repeat(" ", max(0, sparkWidth-columns)))
	for end := len(values) - 2*(columns-1); end <= len(values); end += 2 {
		v := slices.Max(values[max(0, end-2):end])
		at := 0
		if top > 0 && v > 0 {
			at = 1 + int(v/top*float64(len(steps)-2)+0.5)
		}
		b.WriteRune(steps[min(at, len(steps)-1)])
	}
	return b.String()
}
