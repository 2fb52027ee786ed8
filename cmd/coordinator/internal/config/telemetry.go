package config

import (
	"slices"
	"strings"

	"commerce.example/coordinator/supervisor/tracing"
)

// Tracing has the variables of OpenTelemetry, under the names that they have for all
// programs: what a platform sets for all its services holds here too. They may
// stand in the file as well; the environment wins.

// telemetry is the scope of those that are set, which are its fields. Only what the
// tracer could not work with is a mistake.
func (l *loader) telemetry() *scope {
	s := &scope{loader: l, prefix: otelPrefix}
	for _, name := range tracing.Variables() {
		if strings.TrimSpace(l.vars.set[name].value) == "" {
			continue
		}
		l.known[name] = true
		s.fields = append(s.fields, field{key: strings.TrimPrefix(name, otelPrefix)})
	}
	for _, m := range tracing.Check(func(name string) string { return l.vars.set[name].value }) {
		s.fail(strings.TrimPrefix(m.Variable, otelPrefix), "%s", m.Want)
	}
	return s
}

// fromFile is what the environment of the process does not have.
func (s *scope) fromFile() map[string]string {
	values := make(map[string]string)
	for _, f := range s.fields {
		if in := s.vars.set[s.prefix+f.key]; in.origin.File != "" {
			values[s.prefix+f.key] = strings.TrimSpace(in.value)
		}
	}
	return values
}

// checkTelemetryName warns of a name in the file that has no effect. The environment
// has more of them, for other programs.
func (l *loader) checkTelemetryName(name string, in setting) {
	if in.origin.File == "" || slices.Contains(tracing.Variables(), name) {
		return
	}
	l.warnings = append(l.warnings, Problem{Variable: name, From: in.origin.String(),
		Message: "ignored: the coordinator exports traces only, and reads no such variable" + DidYouMean(Nearest(name, tracing.Variables()))})
}
