package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor"
)

// limitsText is what one worker may use.
func limitsText(l supervisor.LimitsStatus) string {
	var parts []string
	add := func(wanted bool, format string, args ...any) {
		if wanted {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(l.MemoryBytes > 0, "killed at %s of memory (%s)", memory(l.MemoryBytes), l.Enforcement)
	add(l.SoftMemoryBytes > 0, "recycled at %s of memory", memory(l.SoftMemoryBytes))
	add(l.Descriptors > 0, "recycled at %d open files", l.Descriptors)
	add(l.Requests > 0, "recycled at %d requests", l.Requests)
	add(l.AgeSeconds > 0, "recycled at an age of %s", age(time.Duration(l.AgeSeconds*float64(time.Second))))
	if parts == nil {
		return "none for each worker"
	}
	return printable(strings.Join(parts, ", "))
}

// enforcement is who sees to the hard limits of memory; empty where no bulkhead
// has one.
func enforcement(status supervisor.Status) supervisor.Enforcement {
	for _, b := range status.Bulkheads {
		if b.Limits.Enforcement != "" {
			return b.Limits.Enforcement
		}
	}
	return ""
}

// writeEnforcement says what limits of memory would come to on this machine, if
// run were started as this command was.
func writeEnforcement(w io.Writer, c supervisor.Config) error {
	if !slices.ContainsFunc(c.Bulkheads, func(b supervisor.BulkheadConfig) bool { return b.Worker.Memory > 0 }) {
		return nil
	}
	by, why := supervisor.FindEnforcement()
	text := fmt.Sprintf("started as this command was, run enforces MEMORY by %s", by)
	if why != nil {
		text += ", not by a control group: " + why.Error()
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(wrap(printable(text), config.Width), "\n"))
	return err
}
