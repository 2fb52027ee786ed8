package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/caarlos0/env/v11"

	"commerce.example/coordinator/supervisor/journal/kept"
)

// A loader collects what one Load finds.
type loader struct {
	vars        source
	bulkheads   []string
	known       map[string]bool     // variables of the bulkheads that are set and read
	envKeys     map[string][]string // their ENV_FOO and ENV_FOO_FILE by bulkhead, in alphabetical order
	bad         map[string]bool     // variables with an error: nothing is concluded from their values
	derived     map[string]setting
	stateDir    string
	journalKeys *kept.Keys // nil: none
	errors      Errors
	warnings    Errors
}

func newLoader(vars source, problems Errors) *loader {
	l := &loader{
		vars: vars, errors: problems,
		known: map[string]bool{}, envKeys: map[string][]string{},
		bad: map[string]bool{}, derived: map[string]setting{},
	}
	for _, p := range problems {
		l.bad[p.Variable] = true
	}
	return l
}

// A scope is the variables of one prefix.
type scope struct {
	*loader
	bulkhead string // empty: the coordinator
	prefix   string
	fields   []field
}

func (l *loader) global() *scope { return &scope{l, "", globalPrefix, globalFields} }

func (l *loader) scope(bulkhead string) *scope {
	return &scope{l, bulkhead, prefixOf(bulkhead), bulkheadFields}
}

// prefixOf is what the variables of a bulkhead begin with.
func prefixOf(bulkhead string) string {
	return eachPrefix + canonical(bulkhead) + "_"
}

// parse fills into, a pointer to the struct that the scope's fields are of.
func (s *scope) parse(into any) {
	values := map[string]string{} // never nil: env/v11 would read the process's environment
	for _, f := range s.fields {
		value := strings.TrimSpace(s.vars.set[s.prefix+f.key].value)
		if strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
			s.fail(f.key, "want text without control characters")
			continue
		}
		values[s.prefix+f.key] = value
	}
	err := env.ParseWithOptions(into, env.Options{Environment: values, Prefix: s.prefix})
	s.explain(err)
	for i, f := range s.fields {
		if words := strings.Split(f.oneof, ","); f.oneof != "" {
			if value := reflect.ValueOf(into).Elem().Field(i).String(); !slices.Contains(words, value) {
				s.fail(f.key, "want one of %s", strings.Join(words, ", "))
			}
		}
	}
}

// explain turns the errors of env/v11, which name Go fields, into problems that
// name variables.
func (s *scope) explain(err error) {
	if err == nil {
		return
	}
	var all env.AggregateError
	if !errors.As(err, &all) {
		panic("config: " + err.Error()) // the struct itself is wrong
	}
	for _, one := range all.Errors {
		parse, ok := errors.AsType[env.ParseError](one)
		i := slices.IndexFunc(s.fields, func(f field) bool { return f.name == parse.Name })
		if !ok || i < 0 {
			panic("config: " + one.Error())
		}
		if joined, ok := parse.Err.(interface{ Unwrap() []error }); ok {
			for _, err := range joined.Unwrap() {
				s.fail(s.fields[i].key, "%s", err)
			}
			continue
		}
		text := parse.Err.Error()
		if f := s.fields[i]; f.want != "" {
			why, _, _ := strings.Cut(text, "want ") // more than is accepted
			text = why + "want " + f.want
		}
		s.fail(s.fields[i].key, "%s", text)
	}
}

// fail records a mistake in the variable of that key.
func (s *scope) fail(key, format string, args ...any) {
	s.bad[s.prefix+key] = true
	s.errors = append(s.errors, s.problem(key, fmt.Sprintf(format, args...)))
}

// warn records what is odd but can run.
func (s *scope) warn(key, format string, args ...any) {
	s.warnings = append(s.warnings, s.problem(key, fmt.Sprintf(format, args...)))
}

func (s *scope) problem(key, message string) Problem {
	p := Problem{Variable: s.prefix + key, Message: message}
	if in := s.effective(key); in.value != "" {
		p.Value, p.From, p.line = shown(key, in.value), in.origin.String(), in.origin.Line
	}
	return p
}

// fine reports whether the values of all keys can be relied on.
func (s *scope) fine(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return s.bad[s.prefix+key] })
}

// isSet reports whether somebody set the variable. Only ENV_FOO can be set to nothing.
func (s *scope) isSet(key string) bool {
	in, ok := s.vars.set[s.prefix+key]
	return ok && (strings.HasPrefix(key, envPrefix) || strings.TrimSpace(in.value) != "")
}

// derive says what the default of key comes to; via names the variable of the
// environment that it was made from.
func (s *scope) derive(key, value, via string) {
	s.derived[s.prefix+key] = setting{value, Origin{Env: via}}
}

// effective is the value of key as text.
func (s *scope) effective(key string) setting {
	if in := s.vars.set[s.prefix+key]; strings.TrimSpace(in.value) != "" {
		return in
	}
	if in, ok := s.derived[s.prefix+key]; ok {
		return in
	}
	return setting{value: s.field(key).fallback}
}

// field is the one of that key; its zero value: there is none.
func (s *scope) field(key string) field {
	if i := slices.IndexFunc(s.fields, func(f field) bool { return f.key == key }); i >= 0 {
		return s.fields[i]
	}
	return field{}
}

// section is what is in effect.
func (s *scope) section() Section {
	section := Section{Bulkhead: s.bulkhead, Prefix: s.prefix}
	add := func(key string, in setting) {
		section.Settings = append(section.Settings, Setting{s.prefix + key, shown(key, strings.TrimSpace(in.value)), in.origin})
	}
	for _, f := range s.fields {
		add(f.key, s.effective(f.key))
	}
	for _, key := range s.envKeys[s.bulkhead] {
		add(key, s.vars.set[s.prefix+key])
	}
	return section
}

// declare sorts the variables that are set by the bulkhead that reads them. Where
// names nest (orders, orders-eu) that one does which knows the key; checkNames
// refuses names of which both could.
func (l *loader) declare(bulkheads []string) {
	l.bulkheads = bulkheads
	prefixes := make([]string, len(bulkheads))
	for i, b := range bulkheads {
		prefixes[i] = prefixOf(b)
	}
	for _, name := range slices.Sorted(maps.Keys(l.vars.set)) {
		for i, b := range bulkheads {
			key, ok := strings.CutPrefix(name, prefixes[i])
			if !ok || !isBulkheadKey(key) {
				continue
			}
			l.known[name] = true
			if strings.HasPrefix(key, envPrefix) {
				l.envKeys[b] = append(l.envKeys[b], key)
			}
			break
		}
	}
}

func isBulkheadKey(key string) bool {
	return strings.HasPrefix(key, envPrefix) || slices.ContainsFunc(bulkheadFields, func(f field) bool { return f.key == key })
}
