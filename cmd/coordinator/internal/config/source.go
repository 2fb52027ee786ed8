package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// An Origin is where a value came from. The zero Origin is the default.
type Origin struct {
	File string // path of the file; empty: not from a file
	Line int    // in File, from 1
	Env  string // variable of the environment; empty: not from there
	Over int    // line of the file whose value the environment overrides; 0: none
}

// String is the origin as the lines of errors have it.
func (o Origin) String() string {
	switch {
	case o.File != "":
		return fmt.Sprintf("%s:%d", o.File, o.Line)
	case strings.HasPrefix(o.Env, "$"):
		return o.Env
	case o.Env != "":
		return "environment"
	}
	return "default"
}

// short is the origin as the table has it, which names the file once on top.
func (o Origin) short() string {
	switch {
	case o.File != "":
		return "file:" + strconv.Itoa(o.Line)
	case o.Over > 0:
		return fmt.Sprintf("env, over file:%d", o.Over)
	case o.Env != "" && o.Env[0] != '$':
		return "env"
	}
	return o.String()
}

// MarshalText makes an Origin one word of JSON.
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// A setting is a variable that somebody set.
type setting struct {
	value  string
	origin Origin
}

// A source is the environment laid over a file.
type source struct {
	set     map[string]setting // COORDINATOR_*, BULKHEAD_* and OTEL_* of both
	environ map[string]string  // the environment alone: $HOME and its like
	file    string             // path; empty: none
	strays  []assignment       // of the file, with other names
}

// read reports whether a variable is one that the coordinator reads, or would.
func read(name string) bool {
	return strings.HasPrefix(name, globalPrefix) || strings.HasPrefix(name, eachPrefix) || strings.HasPrefix(name, otelPrefix)
}

// gather reads both. Of a name that the environment holds twice the first
// counts, as in os.Getenv.
func gather(environ []string, envFile string) (source, Errors) {
	s := source{file: envFile, set: map[string]setting{}, environ: map[string]string{}}
	var problems Errors
	if envFile != "" {
		var found []assignment
		found, problems = readEnvFile(envFile)
		for _, a := range found {
			if read(a.name) {
				s.set[a.name] = setting{a.value, Origin{File: envFile, Line: a.line}}
			} else {
				s.strays = append(s.strays, a)
			}
		}
	}
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if _, again := s.environ[name]; !ok || again {
			continue
		}
		s.environ[name] = value
		if read(name) {
			s.set[name] = setting{value, Origin{Env: name, Over: s.set[name].origin.Line}}
		}
	}
	return s, problems
}

// A location is a path with the variable it was derived from, "" for none.
type location struct{ path, via string }

// stateDir is where state goes when COORDINATOR_STATE_DIR does not say:
// systemd's StateDirectory=, else the XDG base directory specification.
func (s source) stateDir() location {
	if dir := first(s.environ["STATE_DIRECTORY"]); dir != "" {
		return location{dir, "$STATE_DIRECTORY"}
	}
	if dir := s.environ["XDG_STATE_HOME"]; filepath.IsAbs(dir) {
		return location{filepath.Join(dir, "coordinator"), "$XDG_STATE_HOME"}
	}
	if dir := s.environ["HOME"]; filepath.IsAbs(dir) {
		return location{filepath.Join(dir, ".local", "state", "coordinator"), "$HOME"}
	}
	return s.tempDir()
}

// runtimeDir is where sockets go.
func (s source) runtimeDir() location {
	if dir := first(s.environ["RUNTIME_DIRECTORY"]); dir != "" {
		return location{dir, "$RUNTIME_DIRECTORY"}
	}
	if dir := s.environ["XDG_RUNTIME_DIR"]; filepath.IsAbs(dir) {
		return location{filepath.Join(dir, "coordinator"), "$XDG_RUNTIME_DIR"}
	}
	return s.tempDir()
}

// first is the first of the directories that systemd joins with colons.
func first(dirs string) string {
	dir, _, _ := strings.Cut(dirs, ":")
	return dir
}

func (s source) tempDir() location {
	dir, via := s.environ["TMPDIR"], "$TMPDIR"
	if !filepath.IsAbs(dir) {
		dir, via = "/tmp", ""
	}
	return location{filepath.Join(dir, "coordinator-"+strconv.Itoa(os.Getuid())), via}
}

// adminSocket is where the admin socket is when COORDINATOR_ADMIN_SOCKET does
// not say.
func (s source) adminSocket() location {
	dir := s.runtimeDir()
	return location{filepath.Join(dir.path, "admin.sock"), dir.via}
}

// AdminSocket is where the supervisor of that environment and file listens for
// the commands. It needs nothing else of the configuration to be right: a
// command must reach a supervisor whose file was broken since.
func AdminSocket(environ []string, envFile string) (string, error) {
	return pathOf("ADMIN_SOCKET", source.adminSocket, environ, envFile)
}

// StateDir is the state directory of the supervisor of that environment and file.
// As with AdminSocket nothing else of the configuration needs to be right: what
// became of a request is asked when things have gone wrong.
func StateDir(environ []string, envFile string) (string, error) {
	return pathOf("STATE_DIR", source.stateDir, environ, envFile)
}

func pathOf(key string, otherwise func(source) location, environ []string, envFile string) (string, error) {
	s, problems := gather(environ, envFile)
	variable := globalPrefix + key
	for _, p := range problems {
		if p.Variable == variable || p.Variable == "" && p.From == envFile {
			return "", Errors{p}
		}
	}
	if path := strings.TrimSpace(s.set[variable].value); path != "" {
		return absolute(path), nil
	}
	return absolute(otherwise(s).path), nil
}
