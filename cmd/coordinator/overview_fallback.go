package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor"
)

// fallbackText is what is given in the backend's place, and since when.
func fallbackText(f *supervisor.FallbackStatus, now time.Time) string {
	if f == nil {
		return ""
	}
	if f.Since == nil {
		return "none given"
	}
	var parts []string
	for _, kind := range f.Kinds {
		parts = append(parts, fmt.Sprintf("%s=%d", kind, f.Given[kind]))
	}
	text := fmt.Sprintf("given%s: %s, %.0f%% of the last minute's requests", lasting(*f.Since, now), strings.Join(parts, ", "), 100*f.Share)
	if len(f.Over) > 0 {
		text += ", over " + strings.Join(f.Over, " and ")
	}
	return printable(text)
}

func fallbackMood(f *supervisor.FallbackStatus) mood {
	switch {
	case f == nil || f.Since == nil:
		return calm
	case len(f.Over) > 0:
		return alarm
	}
	return watch
}

// fallbackStockText is what there is to give.
func fallbackStockText(f *supervisor.FallbackStatus) string {
	var parts []string
	if s := f.Stale; s != nil {
		text := fmt.Sprintf("%d answers remembered, %s of %s", s.Answers, memory(uint64(s.Bytes)), memory(uint64(s.BytesLimit)))
		if s.Answers > 0 {
			text += ", the oldest of " + seconds(s.OldestSeconds) + " ago"
		}
		parts = append(parts, text)
	}
	if s := f.Backup; s != nil {
		text := fmt.Sprintf("%d prepared", s.Answers)
		if s.Answers > 0 {
			text += ", the oldest of " + seconds(s.OldestSeconds) + " ago"
		}
		parts = append(parts, text)
	}
	return printable(cmp.Or(strings.Join(parts, "; "), "none there"))
}
