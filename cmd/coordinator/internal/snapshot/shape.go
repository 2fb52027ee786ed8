package snapshot

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// A shape is the types that a JSON text has at each path, [] being every element
// of an array.
type shape map[string]*kinds

type kinds struct {
	types map[string]bool // object, array, string, number, boolean; not null
	seen  int             // values, null too
	null  bool
}

func shapeOf(body []byte) (shape, error) {
	s := shape{}
	if len(body) == 0 {
		return s, nil
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	s.add("", v)
	return s, nil
}

func (s shape) add(path string, v any) {
	k := s[path]
	if k == nil {
		k = &kinds{types: map[string]bool{}}
		s[path] = k
	}
	k.seen++
	switch v := v.(type) {
	case nil:
		k.null = true
	case map[string]any:
		k.types["object"] = true
		for name, member := range v {
			s.add(path+"."+name, member)
		}
	case []any:
		k.types["array"] = true
		for _, element := range v {
			s.add(path+"[]", element)
		}
	case string:
		k.types["string"] = true
	case bool:
		k.types["boolean"] = true
	default:
		k.types["number"] = true
	}
}

// names is the types of k, null for none else.
func (k *kinds) names() string {
	if len(k.types) == 0 {
		return "null"
	}
	text := ""
	for _, name := range slices.Sorted(maps.Keys(k.types)) {
		if text != "" {
			text += " or "
		}
		text += name
	}
	return text
}

// drift is how live differs from stored, a line for each path. What data decides is
// none: a null where there may be a value, an array without elements, a member that
// only some of the stored elements have.
func drift(stored, live shape) (lines []string) {
	paths := maps.Clone(stored)
	maps.Copy(paths, live)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		was, is := stored[path], live[path]
		shown := path
		if shown == "" {
			shown = "."
		}
		switch {
		case is == nil:
			if always(stored, path) && parent(live, path) {
				lines = append(lines, fmt.Sprintf("%s was %s and is gone", shown, was.names()))
			}
		case was == nil:
			if parent(stored, path) {
				lines = append(lines, fmt.Sprintf("%s is new, %s", shown, is.names()))
			}
		case len(is.types) == 0:
			if !was.null {
				lines = append(lines, fmt.Sprintf("%s was %s and is null", shown, was.names()))
			}
		case len(was.types) > 0 && !maps.Equal(was.types, is.types):
			lines = append(lines, fmt.Sprintf("%s was %s and is %s", shown, was.names(), is.names()))
		}
	}
	return lines
}

// above is the path of what has path as a member; empty text for an element, whose
// array may be empty.
func above(path string) (string, bool) {
	for i := len(path) - 1; i >= 0; i-- {
		switch path[i] {
		case '.':
			return path[:i], true
		case ']':
			return "", false
		}
	}
	return "", false
}

// parent reports whether s has an object in which path could be.
func parent(s shape, path string) bool {
	up, isMember := above(path)
	return isMember && s[up] != nil && s[up].types["object"]
}

// always reports whether every object in which path could be has it.
func always(s shape, path string) bool {
	up, isMember := above(path)
	return isMember && s[up] != nil && s[path].seen >= s[up].seen
}
