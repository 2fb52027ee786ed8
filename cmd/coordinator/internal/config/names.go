package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// injected is what Kubernetes sets in every container for a Service, with the
// Service's name in front: one named "bulkhead-orders" or "coordinator" makes
// variables that look like ours.
var injected = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// checkNames finds variables that nobody reads, and names of bulkheads that
// make two meanings of one variable.
func (l *loader) checkNames() {
	l.checkCollisions()
	undeclared := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(l.vars.set)) {
		in := l.vars.set[name]
		if l.known[name] || isGlobalName(name) {
			continue
		}
		if strings.HasPrefix(name, otelPrefix) {
			l.checkTelemetryName(name, in)
			continue
		}
		if in.origin.File == "" && injected.MatchString(name) {
			l.warnings = append(l.warnings, Problem{Variable: name, From: in.origin.String(),
				Message: "ignored: looks like what Kubernetes sets for a Service"})
			continue
		}
		if x := l.undeclared(name); x != "" {
			undeclared[x] = append(undeclared[x], name)
			continue
		}
		l.unknown(name, "no such variable"+DidYouMean(l.nearestName(name)))
	}
	for _, x := range slices.Sorted(maps.Keys(undeclared)) {
		if !l.misnamed(x) {
			l.explainUndeclared(x, undeclared[x])
		}
	}
	for _, stray := range l.vars.strays {
		l.warnings = append(l.warnings, Problem{Variable: stray.name,
			From:    Origin{File: l.vars.file, Line: stray.line}.String(),
			Message: "ignored: the coordinator reads COORDINATOR_*, BULKHEAD_* and OTEL_* only" + DidYouMean(l.nearestName(stray.name))})
	}
}

// unknown records a variable that nobody reads. Its value is not shown: it may
// be a secret under a name with a typing error.
func (l *loader) unknown(name, message string) {
	l.bad[name] = true
	from := l.vars.set[name].origin
	l.errors = append(l.errors, Problem{Variable: name, From: from.String(), Message: message, line: from.Line})
}

func isGlobalName(name string) bool {
	key, ok := strings.CutPrefix(name, globalPrefix)
	return ok && slices.ContainsFunc(globalFields, func(f field) bool { return f.key == key })
}

// undeclared is X, as a bulkhead is named, when name is a BULKHEAD_X_* that would
// be known if only X were declared; else empty.
func (l *loader) undeclared(name string) string {
	rest, ok := strings.CutPrefix(name, eachPrefix)
	if name != canonical(name) || !ok || slices.ContainsFunc(l.bulkheads, func(b string) bool { return strings.HasPrefix(name, prefixOf(b)) }) {
		return ""
	}
	x, _, isEnv := strings.Cut(rest, "_"+envPrefix)
	if !isEnv {
		x = ""
		for _, f := range bulkheadFields { // the longest key that fits leaves the shortest X
			if before, fits := strings.CutSuffix(rest, "_"+f.key); fits && (x == "" || len(before) < len(x)) {
				x = before
			}
		}
	}
	return strings.ToLower(strings.ReplaceAll(x, "_", "-"))
}

// explainUndeclared says in one line what is the same mistake in every variable
// of X.
func (l *loader) explainUndeclared(x string, all []string) {
	message := fmt.Sprintf("no bulkhead %q; want it added to COORDINATOR_BULKHEADS, or this removed", x)
	if len(all) > 1 {
		message += fmt.Sprintf(" with %d more %s*", len(all)-1, prefixOf(x))
	}
	if near := Nearest(x, l.bulkheads); near != "" {
		message += DidYouMean(prefixOf(near) + strings.TrimPrefix(all[0], prefixOf(x)))
	}
	l.unknown(all[0], message)
}

// misnamed reports whether x is undeclared because of a mistake that is known
// already: no bulkhead is declared, or x in a spelling such as Orders or a_b.
func (l *loader) misnamed(x string) bool {
	declared := l.global().effective("BULKHEADS").value
	return declared == "" || slices.ContainsFunc(strings.Split(declared, ","), func(word string) bool {
		return prefixOf(strings.TrimSpace(word)) == prefixOf(x)
	})
}

// checkCollisions refuses pairs of names such as orders and orders-env:
// BULKHEAD_ORDERS_ENV_LIMIT would be the LIMIT of one and LIMIT in the
// environment of the other's workers.
func (l *loader) checkCollisions() {
	for _, short := range l.bulkheads {
		for _, long := range l.bulkheads {
			between, nested := strings.CutPrefix(prefixOf(long), prefixOf(short))
			if !nested || long == short {
				continue
			}
			if key := ambiguous(between); key != "" {
				l.global().fail("BULKHEADS", "%s%s%s would belong to %s and to %s; want another name for one of them",
					prefixOf(short), between, key, short, long)
			}
		}
	}
}

// ambiguous is a key that bulkhead X-BETWEEN reads under a name that X reads too.
func ambiguous(between string) string {
	for _, f := range bulkheadFields {
		if isBulkheadKey(between + f.key) {
			return f.key
		}
	}
	return ""
}

// nearestName is the known variable that name was probably meant to be, or "".
// Only the part that can be mistyped is compared: long equal prefixes would make
// everything look alike.
func (l *loader) nearestName(name string) string {
	name = canonical(name)
	if key, ok := strings.CutPrefix(name, globalPrefix); ok {
		if near := Nearest(key, keys(globalFields)); near != "" {
			return globalPrefix + near
		}
		if slices.Contains(keys(bulkheadFields), key) {
			return eachPrefix + "X_" + key
		}
		return ""
	}
	for _, b := range l.bulkheads {
		if key, ok := strings.CutPrefix(name, prefixOf(b)); ok {
			if near := Nearest(key, keys(bulkheadFields)); near != "" {
				return prefixOf(b) + near
			}
		}
	}
	if key, ok := strings.CutPrefix(name, eachPrefix); ok {
		if near := Nearest(key, keys(globalFields)); near != "" {
			return globalPrefix + near
		}
		return ""
	}
	return Nearest(name, l.allNames())
}

// canonical is name as our variables are spelled.
func canonical(name string) string { return strings.ReplaceAll(strings.ToUpper(name), "-", "_") }

// allNames is every known name, for one whose prefix itself is mistyped.
func (l *loader) allNames() []string {
	var all []string
	for _, f := range globalFields {
		all = append(all, globalPrefix+f.key)
	}
	for _, b := range l.bulkheads {
		for _, f := range bulkheadFields {
			all = append(all, prefixOf(b)+f.key)
		}
	}
	return all
}

func keys(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// Nearest is the known word at the least Levenshtein distance from word, the
// first of equals; "" when more than a third of it would have to change.
func Nearest(word string, known []string) string {
	best, least := "", (len(word)+1)/3+1
	for _, k := range known {
		if d := levenshtein.ComputeDistance(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// DidYouMean is the end of a message, empty for no suggestion.
func DidYouMean(name string) string {
	if name == "" {
		return ""
	}
	return "; did you mean " + name + "?"
}
