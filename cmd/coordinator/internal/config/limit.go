package config

import (
	"fmt"
	"strings"

	"commerce.example/coordinator/supervisor/adaptive"
)

// A limit is a whole number, or a mode with the two bounds between which one is
// found: auto:8-64, advise:8-64.
type limit struct {
	mode        adaptive.Mode
	least, most int // equal where it is fixed
}

func (l *limit) UnmarshalText(text []byte) error {
	if n, ok := number(string(text), 1); ok {
		*l = limit{adaptive.Fixed, n, n}
		return nil
	}
	mode, bounds, _ := strings.Cut(string(text), ":")
	if m := adaptive.Mode(mode); m == adaptive.Auto || m == adaptive.Advise {
		low, high, _ := strings.Cut(bounds, "-")
		least, okLeast := number(low, 1)
		most, okMost := number(high, 1)
		switch {
		case !okLeast || !okMost:
			return fmt.Errorf("want %[1]s:LEAST-MOST, two whole numbers from 1 to %[2]d, such as %[1]s:8-64", mode, maxCount)
		case least >= most:
			return fmt.Errorf("want %s:LEAST-MOST with LEAST below MOST, such as %[1]s:8-64", mode)
		}
		*l = limit{m, least, most}
		return nil
	}
	return fmt.Errorf("want a whole number from 1 to %d, or auto:LEAST-MOST, or advise:LEAST-MOST, such as auto:8-64", maxCount)
}

// certain is how many requests are admitted whatever is found.
func (l limit) certain() int {
	if l.mode == adaptive.Auto {
		return l.least
	}
	return l.most
}

// adaptive is what finds the limit. Advice leaves it at its upper bound.
func (l limit) adaptive() adaptive.Settings {
	if l.mode == adaptive.Fixed {
		return adaptive.Settings{}
	}
	return adaptive.Settings{Mode: l.mode, Least: l.least, Most: l.most}
}
