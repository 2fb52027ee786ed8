// Package shape compares answers by what their readers rely on: which members
// there are, and of what type. What they say is left out.
package shape

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A Shape is the types that a JSON text has at each path, [] being every element
// of an array. Nobody writes to it once it is made.
type Shape map[string]*kinds

// The bounds of a Shape, so that no text makes a large one: 10 MiB of paths.
const (
	MaxPaths = 10_000
	MaxPath  = 1 << 10 // bytes
)

// ErrTooVaried is a text with more paths than a Shape takes, or longer ones: one
// that has data for the names of members, mostly.
var ErrTooVaried = errors.New("more, or deeper, members than a shape can have")

type kinds struct {
	types map[string]bool // object, array, string, number, boolean; not null
	seen  int             // values, null too
	null  bool
}

// Of is the shape of a JSON text; of an empty one, the shape without paths. The
// error is that of encoding/json, or ErrTooVaried.
func Of(text []byte) (Shape, error) {
	s := Shape{}
	if len(text) == 0 {
		return s, nil
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	if !s.add("", v) {
		return nil, ErrTooVaried
	}
	return s, nil
}

// add reports whether v is within the bounds.
func (s Shape) add(path string, v any) bool {
	k := s[path]
	if k == nil {
		if len(path) > MaxPath || len(s) >= MaxPaths {
			return false
		}
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
			if !s.add(path+"."+name, member) {
				return false
			}
		}
	case []any:
		k.types["array"] = true
		for _, element := range v {
			if !s.add(path+"[]", element) {
				return false
			}
		}
	case string:
		k.types["string"] = true
	case bool:
		k.types["boolean"] = true
	default:
		k.types["number"] = true
	}
	return true
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

// Drift is how live differs from stored, a line for each path. What data decides is
// none: a null where there may be a value, an array without elements, a member that
// only some of the stored elements have.
func Drift(stored, live Shape) (lines []string) {
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
func parent(s Shape, path string) bool {
	up, isMember := above(path)
	return isMember && s[up] != nil && s[up].types["object"]
}

// always reports whether every object in which path could be has it.
func always(s Shape, path string) bool {
	up, isMember := above(path)
	return isMember && s[up] != nil && s[path].seen >= s[up].seen
}
