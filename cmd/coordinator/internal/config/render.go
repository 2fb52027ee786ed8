package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Width is that of the tables for people, in columns.
const Width = 80

// WriteTable writes what is in effect, and where each value comes from.
func (c *Config) WriteTable(w io.Writer) error {
	var b strings.Builder
	if c.File != "" && len(c.Sections) > 0 {
		fmt.Fprintf(&b, "file: %s\n\n", c.File)
	}
	for i, section := range c.Sections {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(section.Prefix + "*\n")
		section.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// write writes three columns: name, value, origin.
func (s Section) write(b *strings.Builder) {
	const widestName = 24
	name, from := 0, 0
	for _, set := range s.Settings {
		if n := len(set.Variable) - len(s.Prefix); n <= widestName {
			name = max(name, n)
		}
		from = max(from, len(set.From.short()))
	}
	value := Width - 2 - name - 2 - 2 - from
	for _, set := range s.Settings {
		key := strings.TrimPrefix(set.Variable, s.Prefix)
		if len(key) > name {
			fmt.Fprintf(b, "  %s\n", key)
			key = ""
		}
		for i, line := range wrap(printable(set.Value), value, ",", " ") {
			if i == 0 {
				fmt.Fprintf(b, "  %-*s  %-*s  %s\n", name, key, value, line, set.From.short())
			} else {
				fmt.Fprintf(b, "  %-*s  %s\n", name, "", line)
			}
		}
	}
}

// printable is value so that it cannot move the terminal's cursor; - for none.
func printable(value string) string {
	if value == "" {
		return "-"
	}
	if quoted := strconv.Quote(value); strings.Contains(quoted, `\x`) || strings.Contains(quoted, `\u`) || strings.ContainsAny(value, "\n\r\t\a\b\f\v") {
		return quoted
	}
	return value
}

// wrap breaks text into lines of at most width bytes, after the last of the
// first of separators that a line has; a line that has none is cut.
func wrap(text string, width int, separators ...string) []string {
	var lines []string
	for len(text) > width {
		at := width
		for !utf8.RuneStart(text[at]) {
			at--
		}
		for _, sep := range separators {
			if i := strings.LastIndex(text[:width], sep); i >= 0 {
				at = i + len(sep)
				break
			}
		}
		lines = append(lines, strings.TrimRight(text[:at], " "))
		text = strings.TrimLeft(text[at:], " ")
	}
	return append(lines, text)
}

// WriteVariables writes every variable with its default and its meaning.
func WriteVariables(w io.Writer) error {
	var b strings.Builder
	for _, v := range Variables() {
		b.WriteString(v.Name)
		if text := "  [" + v.Default + "]"; v.Default != "" {
			if len(v.Name)+len(text) > Width {
				b.WriteString("\n  ")
			}
			b.WriteString(text)
		}
		b.WriteByte('\n')
		for _, line := range wrap(v.Meaning, Width-4, " ") {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteMarkdown writes every variable as a table of the README.
func WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	for _, v := range Variables() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Name, cell(v.Default), cell(v.Meaning))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell is text that Markdown leaves alone.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;").Replace(text)
}
