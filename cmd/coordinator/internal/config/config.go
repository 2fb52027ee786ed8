// Package config turns the environment, and a file in the same syntax, into the
// configuration of a supervisor.
//
// What can be set is one struct field each (variables.go). What a value must
// look like is the UnmarshalText of the field's type (values.go, address.go,
// route.go). What values must not contradict is a check (check.go). Reading goes
// through all three and stops nowhere: every mistake is found in one run.
//
// A variable that is set to nothing counts as not set, except ENV_FOO, which
// makes FOO empty. White space around a value is dropped, except in ENV_FOO.
package config

import (
	"cmp"
	"log/slog"
	"path/filepath"
	"time"

	"commerce.example/coordinator/supervisor"
)

// Config is everything the environment says.
type Config struct {
	Supervisor supervisor.Config
	LogLevel   slog.Level
	LogFormat  string // "json" or "text"

	File     string    // the file that was read; empty: none
	Sections []Section // what is in effect, for people to read
	Warnings []Problem // nothing that keeps it from running
}

// A Section is the settings of the coordinator or of one bulkhead.
type Section struct {
	Bulkhead string    `json:"bulkhead,omitempty"` // empty: the coordinator
	Prefix   string    `json:"prefix"`             // what the variables' names begin with
	Settings []Setting `json:"settings"`
}

// A Setting is one value in effect.
type Setting struct {
	Variable string `json:"variable"` // the whole name
	Value    string `json:"value"`    // "***" for a secret; empty: none
	From     Origin `json:"from"`
}

// Load reads environ (as from os.Environ) laid over envFile ("" for none). The
// error is an Errors with every mistake, those of the file in its order. Even
// then a Config comes back, with its Sections and Warnings for people to read;
// its Supervisor is zero. Load opens the files that the configuration names, and
// starts and changes nothing. Paths in the Supervisor are absolute.
func Load(environ []string, envFile string) (*Config, error) {
	vars, problems := gather(environ, envFile)
	c := &Config{File: envFile}
	if len(problems) > 0 && problems[0].From == envFile {
		return c, problems // no file at all: everything else would only follow from that
	}
	l := newLoader(vars, problems)
	c.load(l)
	l.checkNames()
	l.errors.byLine()
	c.Warnings = l.warnings
	if len(l.errors) > 0 {
		c.Supervisor = supervisor.Config{}
		return c, l.errors
	}
	return c, nil
}

func (c *Config) load(l *loader) {
	s := l.global()
	var g global
	s.parse(&g)
	l.declare(g.Bulkheads)
	c.Supervisor = s.supervisor(&g)
	c.LogFormat = g.LogFormat
	if s.fine("LOG_LEVEL") {
		_ = c.LogLevel.UnmarshalText([]byte(g.LogLevel)) // one of four words that slog knows
	}
	c.Sections = append(c.Sections, s.section())
	if t := l.telemetry(); len(t.fields) > 0 {
		c.Supervisor.Telemetry = t.fromFile()
		c.Sections = append(c.Sections, t.section())
	}

	for _, name := range g.Bulkheads {
		s := l.scope(name)
		var b bulkhead
		s.parse(&b)
		c.Supervisor.Bulkheads = append(c.Supervisor.Bulkheads, s.bulkheadConfig(&b))
		c.Sections = append(c.Sections, s.section())
	}
	l.checkRoutes(c.Supervisor.Bulkheads)
	l.checkKeyUsed(c.Supervisor.Bulkheads)
	l.checkJournalRoom(c.Supervisor)
}

// supervisor checks what must hold between the variables of g, and converts.
func (s *scope) supervisor(g *global) supervisor.Config {
	state, socket, runtime := s.vars.stateDir(), s.vars.adminSocket(), s.vars.runtimeDir()
	s.derive("STATE_DIR", state.path, state.via)
	s.derive("ADMIN_SOCKET", socket.path, socket.via)
	s.checkGlobal(g)
	s.stateDir = absolute(cmp.Or(g.StateDir, state.path))
	s.journalKeys = s.readJournalKeys(g)
	return supervisor.Config{
		Listen:         g.Listen,
		TLSCert:        absolute(g.TLSCert),
		TLSKey:         absolute(g.TLSKey),
		AdminListen:    string(g.AdminListen),
		AdminSocket:    absolute(cmp.Or(string(g.AdminSocket), socket.path)),
		AdminToken:     string(g.AdminToken),
		StateDir:       s.stateDir,
		RuntimeDir:     absolute(runtime.path),
		TrustedProxies: g.TrustedProxies.prefixes,
		DrainTimeout:   time.Duration(g.DrainTimeout),
		DrainDelay:     time.Duration(g.DrainDelay),
		Conns:          int(g.Conns),
		ConnsPerClient: int(g.ConnsPerClient),
		Journal: supervisor.JournalConfig{
			SegmentBytes: int64(g.JournalSegment), SegmentAge: time.Duration(g.JournalSegmentAge), TotalBytes: int64(g.JournalTotal),
		},
		JournalKeys: s.journalKeys,
		Access:      supervisor.AccessConfig{Sampling: g.AccessLog, File: absolute(g.AccessLogFile)},
		FrontLimits: supervisor.FrontLimits{
			HeaderTimeout:    time.Duration(g.HeaderTimeout),
			KeepAliveTimeout: time.Duration(g.KeepAliveTimeout),
			MaxStreams:       int(g.MaxStreams),
			Head: supervisor.HeadLimits{
				TargetBytes: int(g.MaxTargetBytes), Fields: int(g.MaxFields), FieldBytes: int(g.MaxFieldBytes),
			},
			MinBodyRate: int64(g.MinBodyRate),
		},
	}
}

// absolute is path, whatever the working directory of who uses it.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
