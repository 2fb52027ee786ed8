package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor"
)

// checkCommand is coordinator check.
type checkCommand struct {
	envFile
	asJSON
	Variables bool `help:"List every variable with its default and meaning, and check nothing."`
}

func (c *checkCommand) Help() string {
	return "Reads the environment, and the file, as run would; starts nothing. Exits with 2 when there is any error. " +
		"Durations are written as 1500ms, sizes as 64MiB, ratios as 0.5."
}

// A checkReport is what check --json prints.
type checkReport struct {
	OK       bool             `json:"ok"`
	File     string           `json:"file,omitempty"`
	Sections []config.Section `json:"sections"`
	Errors   []config.Problem `json:"errors"`
	Warnings []config.Problem `json:"warnings"`
}

func (c *checkCommand) Run(t *terminal) error {
	if c.Variables {
		if c.JSON {
			return writeJSON(t.stdout, config.Variables())
		}
		return config.WriteVariables(t.stdout)
	}
	found, err := config.Load(t.environ, string(c.EnvFile))
	if c.JSON {
		return c.report(t, found, err)
	}
	if err := found.WriteTable(t.stdout); err != nil {
		return err
	}
	if err == nil {
		found.Warnings = append(found.Warnings, lint(found.Supervisor, thisMachine())...)
	}
	warn(t.stderr, found.Warnings)
	if err != nil {
		return err
	}
	if err := writeEnforcement(t.stdout, found.Supervisor); err != nil {
		return err
	}
	if at := supervisor.ConsoleURL(found.Supervisor.AdminListen); at != "" {
		fmt.Fprintf(t.stdout, "\nconsole: %s\n", at)
	}
	_, err = fmt.Fprintf(t.stdout, "\nthe configuration is valid\n")
	return err
}

func (c *checkCommand) report(t *terminal, found *config.Config, err error) error {
	if err == nil {
		found.Warnings = append(found.Warnings, lint(found.Supervisor, thisMachine())...)
	}
	problems, _ := errors.AsType[config.Errors](err)
	r := checkReport{
		OK: err == nil, File: found.File,
		Sections: append([]config.Section{}, found.Sections...), // [] and not null
		Errors:   append([]config.Problem{}, problems...),
		Warnings: append([]config.Problem{}, found.Warnings...),
	}
	if err := writeJSON(t.stdout, r); err != nil {
		return err
	}
	if !r.OK {
		return exitCode(exitUsage)
	}
	return nil
}

// warn prints warnings, one on each line.
func warn(w io.Writer, warnings []config.Problem) {
	for _, p := range warnings {
		fmt.Fprintf(w, "warning: %s\n", p.Error())
	}
}

// writeJSON prints v, indented, with its URLs readable.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
