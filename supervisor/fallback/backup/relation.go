package backup

import (
	"fmt"
	"iter"
)

// A relation is how the requests of one pattern lie to those of another.
type relation int

const (
	disjoint relation = iota
	equal
	within // all are the other's too
	around // all of the other's are its own
	across // some are shared, and each has others
)

// A sort is a set of possibilities at one place, a segment or a parameter, as
// bits. As far as two patterns can tell, there are no others.
type sort uint8

const (
	absent sort = 1 << iota
	repeated
	empty
	mine  // the text that the first pattern wants
	yours // the one that the second wants
	other // any other text

	texts = empty | mine | yours | other
)

// relate says how a lies to b. Both are products of what they let be at each
// place, so one holds the other when it does so everywhere, and they share a
// request unless there is a place where they share nothing.
func relate(a, b Pattern) relation {
	var aOnly, bOnly bool
	for x, y := range places(a, b) {
		if x&y == 0 {
			return disjoint
		}
		aOnly = aOnly || x&^y != 0
		bOnly = bOnly || y&^x != 0
	}
	switch {
	case aOnly && bOnly:
		return across
	case aOnly:
		return around
	case bOnly:
		return within
	}
	return equal
}

// places yields what a and b let be at each place of either.
func places(a, b Pattern) iter.Seq2[sort, sort] {
	return func(yield func(sort, sort) bool) {
		for i := range max(len(a.path), len(b.path)) + 2 { // one for the rest, one for what follows it
			s, t := textAt(a, i), textAt(b, i)
			if !yield(segmentSort(a, i, s, t), segmentSort(b, i, s, t)) {
				return
			}
		}
		for _, q := range a.query {
			o := b.parameter(q.name)
			if !yield(parameterSort(a, &q, &q, o), parameterSort(b, o, &q, o)) {
				return
			}
		}
		for _, o := range b.query {
			if a.parameter(o.name) == nil && !yield(parameterSort(a, nil, nil, &o), parameterSort(b, &o, nil, &o)) {
				return
			}
		}
		yield(parameterSort(a, nil, nil, nil), parameterSort(b, nil, nil, nil)) // all that neither mentions
	}
}

// textAt is the text that p wants at segment i, or nil.
func textAt(p Pattern, i int) *string {
	if i < len(p.path) && !p.path[i].any {
		return &p.path[i].text
	}
	return nil
}

// segmentSort is what p lets be at segment i, where the two patterns want the
// texts a and b.
func segmentSort(p Pattern, i int, a, b *string) sort {
	switch {
	case i == len(p.path) && p.rest:
		return texts
	case i > len(p.path) && p.rest:
		return texts | absent
	case i >= len(p.path):
		return absent
	case p.path[i].any:
		return texts &^ empty
	}
	return textSort(p.path[i].text, a, b)
}

// textSort is where text lies among the texts a and b. Of equal ones it is the
// first, for either pattern.
func textSort(text string, a, b *string) sort {
	switch {
	case text == "":
		return empty
	case a != nil && text == *a:
		return mine
	case b != nil && text == *b:
		return yours
	}
	return other
}

// parameterSort is what p lets be of a parameter of which it wants q, and the two
// patterns want a and b; nil: nothing.
func parameterSort(p Pattern, q, a, b *parameter) sort {
	if q == nil {
		if p.open {
			return absent | repeated | texts
		}
		return absent
	}
	s := texts
	if !q.any {
		s = textSort(q.value, exactly(a), exactly(b))
	}
	if q.optional {
		s |= absent
	}
	return s
}

func exactly(q *parameter) *string {
	if q == nil || q.any {
		return nil
	}
	return &q.value
}

// Conflict is nil, or why not both patterns can be in one folder: they share a
// request, and neither is the more specific.
func Conflict(a, b Pattern) error {
	switch relate(a, b) {
	case equal:
		return fmt.Errorf("it answers the same requests as %s; want one of the two", b)
	case across:
		return fmt.Errorf("some requests match it and %s, and neither is the more specific; want one to be", b)
	}
	return nil
}
