package main

import (
	"fmt"
	"strconv"
	"strings"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/fallback"
)

// percent is a share from 0 to 1, given as 10% or 0.1.
type percent float64

func (p *percent) UnmarshalText(text []byte) error {
	number, hundredths := strings.CutSuffix(string(text), "%")
	v, err := strconv.ParseFloat(number, 64)
	if hundredths {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return fmt.Errorf("%q: want a share as 10%% or 0.1, at most 100%%", text)
	}
	*p = percent(v)
	return nil
}

var rehearsedColumns = []column{{title: "FALLBACK"}, {title: "ANSWERS", right: true}, {title: "SHARE", right: true},
	{title: "AGE P50", right: true}, {title: "MAX", right: true}}

// rehearsed is what a drill saw of the fallbacks.
func rehearsed(s *sheet, f *supervisor.FallbackFigures) {
	answers := table{columns: rehearsedColumns}
	line := func(name string, n int, ages ...string) {
		cells := []cell{{name, calm}, {strconv.Itoa(n), calm}, {fmt.Sprintf("%.1f%%", 100*float64(n)/float64(max(f.Asked, 1))), calm}}
		for range 2 - len(ages) {
			cells = append(cells, cell{})
		}
		for _, text := range ages {
			cells = append(cells, cell{text, calm})
		}
		answers.rows = append(answers.rows, row{cells: cells})
	}
	none := f.Asked
	for _, kind := range fallback.Kinds() {
		if n := f.Covered[kind]; n > 0 {
			none -= n
			line(string(kind), n, seconds(f.Ages[kind].P50Seconds), seconds(f.Ages[kind].MaxSeconds))
		}
	}
	line("none", none)
	if none > 0 {
		answers.rows[len(answers.rows)-1].notes = []note{{label: "because", text: reasonsList(f.Missing)}}
	}
	answers.write(s)
	s.WriteByte('\n')
	for _, text := range append([]string{comparedText(f)}, f.Drifts...) {
		m := calm
		if f.Drifted > 0 {
			m = watch
		}
		s.put(strings.Join(wrap(printable(text), config.Width-2), "\n  "), m)
		s.WriteByte('\n')
	}
}

// comparedText is how the fallbacks compare with the live answers.
func comparedText(f *supervisor.FallbackFigures) string {
	text := fmt.Sprintf("%d compared with the live answers, %d differ", f.Compared, f.Drifted)
	if f.Compared > 0 {
		text += fmt.Sprintf("; %.0f bytes on average, live %.0f", f.StoredBytes, f.LiveBytes)
	}
	if len(f.NotCompared) > 0 {
		not := make(map[string]int)
		for why, n := range f.NotCompared {
			not[string(why)] = n
		}
		text += "; not compared: " + reasonsList(not)
	}
	return text
}
