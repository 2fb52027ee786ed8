package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// How values are written for people: at most three figures, so that columns stay
// narrow, and never more columns as a value grows than its unit needs.

// age is how long something has lasted, in its two largest units.
func age(d time.Duration) string {
	d = max(d, 0) // a clock that was set back
	switch {
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	const day = 24 * time.Hour
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}

// seconds is age of a number of them.
func seconds(s float64) string { return age(time.Duration(s * float64(time.Second))) }

// latency is a duration in at most five columns, up to a day. The bounds are
// those at which rounding gives one figure more.
func latency(s float64) string {
	switch {
	case s < 0.0009995:
		return fmt.Sprintf("%.0fµs", s*1e6)
	case s < 0.00995:
		return fmt.Sprintf("%.1fms", s*1e3)
	case s < 0.9995:
		return fmt.Sprintf("%.0fms", s*1e3)
	case s < 99.95:
		return fmt.Sprintf("%.1fs", s)
	}
	return fmt.Sprintf("%.0fs", s)
}

// milliseconds is how long a command took.
func milliseconds(ms float64) string {
	if ms < 9.95 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// rate is a number per second in at most five columns, up to 10 million.
func rate(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < 9.95:
		return fmt.Sprintf("%.1f", n)
	case n < 9999.5:
		return fmt.Sprintf("%.0f", n)
	case n < 99_950:
		return fmt.Sprintf("%.1fk", n/1e3)
	}
	return fmt.Sprintf("%.0fk", n/1e3)
}

// tally is what has been counted, in at most four columns up to 9999 trillion.
func tally(n uint64) string {
	unit := 0
	for n > 9999 && unit < 4 {
		n, unit = (n+500)/1000, unit+1
	}
	return strings.TrimRight(fmt.Sprintf("%d%c", n, " kMGT"[unit]), " ")
}

// memory is a number of bytes.
func memory(bytes uint64) string {
	switch mib := float64(bytes) / (1 << 20); {
	case mib < 9.95:
		return fmt.Sprintf("%.1fMiB", mib)
	case mib < 1023.5:
		return fmt.Sprintf("%.0fMiB", mib)
	default:
		return fmt.Sprintf("%.1fGiB", mib/1024)
	}
}

// printable is text on one line that cannot move the cursor or change a colour:
// what a worker wrote last may be among it.
func printable(text string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, text)
	return strings.TrimSpace(clean)
}

// wrap breaks text between words into lines of at most width columns. A word
// that is longer is cut.
func wrap(text string, width int) []string {
	var lines []string
	line := []rune{}
	for _, word := range strings.Fields(text) {
		runes := []rune(word)
		if len(line) > 0 && len(line)+1+len(runes) > width {
			lines = append(lines, string(line))
			line = line[:0]
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		for len(line)+len(runes) > width {
			cut := width - len(line)
			lines = append(lines, string(append(line, runes[:cut]...)))
			line, runes = line[:0], runes[cut:]
		}
		line = append(line, runes...)
	}
	if len(line) > 0 || lines == nil {
		lines = append(lines, string(line))
	}
	return lines
}
