package backup

// Within reports whether every request of a is one of b, and b has others.
func Within(a, b Pattern) bool { return relate(a, b) == within }

// Disjoint reports whether no request is of both.
func Disjoint(a, b Pattern) bool { return relate(a, b) == disjoint }

// Parse reads the text of one file.
func Parse(name string, text []byte) (Entry, Mistakes) { return parse(name, name, text) }
