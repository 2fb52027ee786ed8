package backup

import (
	"net/http"
	"slices"
	"time"

	"commerce.example/coordinator/supervisor/fallback"
)

// A Set is the answers of one folder. It is safe for concurrent use; a nil Set
// has none.
type Set struct {
	entries []Entry
	root    node
	oldest  time.Time
}

// A node is the patterns that begin with the same segments.
type node struct {
	text map[string]*node
	any  *node
	here []*leaf // the path ends here; the most specific query first
	rest []*leaf // it may go on with anything
}

type leaf struct {
	pattern Pattern
	answer  fallback.Answer
}

func newSet(entries []Entry) *Set {
	s := &Set{entries: entries}
	// Of two patterns that share a request one is within the other, so that one
	// is within more patterns, and to sort by their number sorts every such pair.
	order, depth := make([]int, len(entries)), make([]int, len(entries))
	for i, e := range entries {
		order[i] = i
		for _, o := range entries {
			if relate(e.Pattern, o.Pattern) == within {
				depth[i]++
			}
		}
		if s.oldest.IsZero() || e.Made.Before(s.oldest) {
			s.oldest = e.Made
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return depth[j] - depth[i] })
	for _, i := range order {
		e := entries[i]
		s.root.add(&leaf{e.Pattern, fallback.Answer{
			Kind: fallback.Backup, Status: e.Status, Header: e.Header, Body: e.Body, Made: e.Made, Fresh: e.Made,
		}})
	}
	return s
}

func (n *node) add(l *leaf) {
	for _, s := range l.pattern.path {
		n = n.next(s)
	}
	if l.pattern.rest {
		n.rest = append(n.rest, l)
		return
	}
	n.here = append(n.here, l)
}

func (n *node) next(s segment) *node {
	if s.any {
		if n.any == nil {
			n.any = new(node)
		}
		return n.any
	}
	if n.text == nil {
		n.text = make(map[string]*node)
	}
	if n.text[s.text] == nil {
		n.text[s.text] = new(node)
	}
	return n.text[s.text]
}

// Find is the most specific answer for r. It never waits and never reads r's body.
// Nobody writes to what the answer refers to.
func (s *Set) Find(r *http.Request) (*fallback.Answer, bool) {
	if s == nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, false
	}
	path, ok := segments(r.URL)
	if !ok {
		return nil, false
	}
	var buffer [few]pair
	query, ok := pairs(buffer[:0], r.URL.RawQuery)
	if !ok {
		return nil, false
	}
	if l := s.root.find(path, query); l != nil {
		return &l.answer, true
	}
	return nil, false
}

// find goes to the most specific segment first: of all answers that match, those
// below it are within the others.
func (n *node) find(path []string, query []pair) *leaf {
	if len(path) == 0 {
		return first(n.here, query)
	}
	if next := n.text[path[0]]; next != nil {
		if l := next.find(path[1:], query); l != nil {
			return l
		}
	}
	if n.any != nil && path[0] != "" {
		if l := n.any.find(path[1:], query); l != nil {
			return l
		}
	}
	return first(n.rest, query)
}

func first(leaves []*leaf, query []pair) *leaf {
	for _, l := range leaves {
		if l.pattern.matchQuery(query) {
			return l
		}
	}
	return nil
}

// Len is how many answers there are.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.entries)
}

// Oldest is when the backend gave the oldest of them; zero when there is none.
func (s *Set) Oldest() time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.oldest
}

// Entries is all answers, by the names of their files. Nobody writes to what they
// refer to.
func (s *Set) Entries() []Entry {
	if s == nil {
		return nil
	}
	return slices.Clone(s.entries)
}
