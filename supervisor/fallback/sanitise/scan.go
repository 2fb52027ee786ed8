package sanitise

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// An allowance is what a detector may find at places.
type allowance struct {
	detector Detector
	place    []string // steps of a path; else one word
}

func parseAllowance(detector, place string) (allowance, error) {
	a := allowance{detector: Detector(detector)}
	if !slices.Contains(Detectors(), a.detector) {
		return a, fmt.Errorf("allow %q; want one of %v", detector, Detectors())
	}
	if !strings.HasPrefix(place, ".") {
		if place != "file" && place != "pattern" && place != "text" && !strings.HasPrefix(place, "field:") {
			return a, fmt.Errorf("at %q; want file, pattern, text, field:NAME, or a path such as .results[].number", place)
		}
		a.place = []string{place}
		return a, nil
	}
	for part := range strings.SplitSeq(place[1:], ".") {
		name := strings.TrimRight(part, "[]")
		elements := part[len(name):]
		if strings.ContainsAny(name, "[]") || elements != strings.Repeat("[]", len(elements)/2) {
			return a, fmt.Errorf("at %q; want [] after the name of an array, for all its elements", place)
		}
		if name != "" {
			a.place = append(a.place, "."+name)
		}
		for range len(elements) / 2 {
			a.place = append(a.place, "[]")
		}
	}
	return a, nil
}

func (a allowance) covers(d Detector, at []step) bool {
	return a.detector == d && slices.EqualFunc(a.place, at, func(want string, s step) bool {
		return want == s.name || want == ".*" && strings.HasPrefix(s.name, ".")
	})
}

// A step leads to a member or an element. Its name is what allowances have, shown
// what people may see.
type step struct{ name, shown string }

// A scan looks through one answer.
type scan struct {
	allow    []allowance
	private  []string
	findings []Finding
}

// maxFindings bounds what is told of one answer.
const maxFindings = 100

func (s *scan) text(place, value string) { s.look([]step{{place, place}}, value, "") }

// look reports what is in value, with where it stands, and whether there was any.
// The detector also is one that found something already; empty: none.
func (s *scan) look(at []step, value string, also Detector) bool {
	found := detect(value, s.private)
	if also != "" && !slices.Contains(found, also) {
		found = append(found, also)
	}
	told := false
	for _, d := range found {
		if slices.ContainsFunc(s.allow, func(a allowance) bool { return a.covers(d, at) }) {
			continue
		}
		told = true
		if len(s.findings) < maxFindings {
			s.findings = append(s.findings, Finding{show(at), d})
		}
	}
	return told
}

func show(at []step) string {
	var b strings.Builder
	for _, s := range at {
		b.WriteString(s.shown)
	}
	if b.Len() == 0 {
		return "."
	}
	return b.String()
}

// value looks through v. Secret says that the name it has is one that secrets have.
func (s *scan) value(at []step, v any, secret bool) {
	var also Detector
	switch v := v.(type) {
	case map[string]any:
		s.object(at, v)
		return
	case []any:
		for i, element := range v {
			s.value(append(slices.Clip(at), step{"[]", fmt.Sprintf("[%d]", i)}), element, secret)
		}
		return
	case string:
		if secret && len(v) >= shortestSecret {
			also = Token
		}
		s.look(at, v, also)
	case nil, bool:
	default:
		text := number(v)
		if secret && len(text) >= shortestSecret {
			also = Token
		}
		s.look(at, text, also)
	}
}

func (s *scan) object(at []step, members map[string]any) {
	for i, key := range slices.Sorted(maps.Keys(members)) {
		here := append(slices.Clip(at), step{"." + key, fmt.Sprintf("(key %d)", i)})
		if !s.look(here, key, "") && printable(key) {
			here[len(at)].shown = "." + key
		}
		s.value(here, members[key], isSecretName(key))
	}
}

// printable keeps a path on one line of a terminal.
func printable(key string) bool {
	return key != "" && len(key) <= 60 && !strings.ContainsFunc(key, func(c rune) bool { return !strconv.IsPrint(c) })
}

// number is v as a person would write it: a whole number without a point, so that
// 4.1e15 is sixteen digits.
func number(v any) string {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case int:
		return strconv.Itoa(v)
	case *big.Int:
		return v.String()
	case float64:
		text = strconv.FormatFloat(v, 'g', -1, 64)
	}
	if !strings.ContainsAny(text, ".eE") {
		return text
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && f == float64(int64(f)) {
		return strconv.FormatInt(int64(f), 10)
	}
	return text
}
