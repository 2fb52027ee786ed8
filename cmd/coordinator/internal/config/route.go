package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"commerce.example/coordinator/supervisor"
)

// routes are [METHOD ][HOST]/PREFIX, comma-separated.
type routes struct{ list []supervisor.Route }

func (r *routes) UnmarshalText(text []byte) error {
	r.list = nil
	return each(text, func(word string) error {
		route, err := parseRoute(word)
		switch {
		case err != nil:
			return fmt.Errorf("route %q %w; want [METHOD ][HOST]/PREFIX, such as GET shop.example/api/orders/", word, err)
		case slices.ContainsFunc(r.list, func(other supervisor.Route) bool { return claim(other) == claim(route) }):
			return fmt.Errorf("route %q is there twice; want it once", word)
		}
		r.list = append(r.list, route)
		return nil
	})
}

func parseRoute(pattern string) (supervisor.Route, error) {
	var route supervisor.Route
	words := strings.Fields(pattern)
	if len(words) == 2 {
		route.Method = words[0]
		words = words[1:]
	}
	switch {
	case len(words) != 1:
		return route, errors.New("is not one or two words")
	case strings.Contains(route.Method, "/"):
		return route, errors.New("has a space in its path")
	case strings.Contains(words[0], "://"):
		return route, errors.New("has a scheme")
	}
	slash := strings.IndexByte(words[0], '/')
	if slash < 0 {
		return route, errors.New("has no path")
	}
	route.Host = strings.ToLower(words[0][:slash])
	route.Prefix = words[0][slash:]
	return route, cmp.Or(checkMethod(route.Method), checkHost(route.Host), checkPrefix(route.Prefix))
}

func checkMethod(method string) error {
	for _, c := range method {
		if (c < 'A' || c > 'Z') && c != '-' {
			return errors.New("has a method that is not in upper case")
		}
	}
	if method == "TRACE" || method == "CONNECT" {
		return fmt.Errorf("has %s, which is never let in", method)
	}
	return nil
}

func checkHost(host string) error {
	if strings.Contains(host, ":") {
		return errors.New("has a port")
	}
	for _, c := range host {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.", c) {
			return errors.New("has a host that is not a plain name (no wildcard; international names as xn--)")
		}
	}
	if strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, "..") {
		return errors.New("has a host with an empty label")
	}
	return nil
}

// checkPrefix accepts what a canonical path can begin with: a prefix that is not
// canonical itself would never match.
func checkPrefix(prefix string) error {
	for _, c := range prefix {
		if c <= ' ' || c > '~' || strings.ContainsRune(`%?#;\"`, c) {
			return fmt.Errorf("has %q in its path", c)
		}
	}
	for segment := range strings.SplitSeq(prefix, "/") {
		if segment == "." || segment == ".." {
			return errors.New("has a dot segment")
		}
	}
	if strings.Contains(prefix, "//") {
		return errors.New("has //")
	}
	return nil
}

// claim is what two bulkheads must not both have. /a and /a/ are one: both match
// on the same segment boundary.
func claim(r supervisor.Route) supervisor.Route {
	r.Prefix = segments(r.Prefix)
	return r
}

// segments is prefix with exactly one slash at its end, so that a plain string
// prefix is one on a segment boundary.
func segments(prefix string) string { return strings.TrimRight(prefix, "/") + "/" }

// within reports whether path lies at or below prefix.
func within(path, prefix string) bool {
	return strings.HasPrefix(segments(path), segments(prefix))
}

// checkRoutes finds routes that two bulkheads claim, and routes that lie inside
// one whose bulkhead takes paths raw.
func (l *loader) checkRoutes(bulkheads []supervisor.BulkheadConfig) {
	owners := map[supervisor.Route]string{}
	for _, b := range bulkheads {
		for _, route := range b.Routes {
			if owner, taken := owners[claim(route)]; taken {
				l.scope(b.Name).fail("ROUTES", "route %q is claimed by bulkhead %s too; want each route in one bulkhead",
					routeText(route), owner)
				continue
			}
			owners[claim(route)] = b.Name
		}
	}
	for _, b := range bulkheads {
		if b.RawPath {
			l.checkRaw(b, bulkheads)
		}
	}
}

// checkRaw wants the raw routes of b to own their whole prefix: a dot segment
// that is left in the path means one place to the router and another to the
// backend, so nobody else's route may be among those places.
func (l *loader) checkRaw(b supervisor.BulkheadConfig, all []supervisor.BulkheadConfig) {
	for _, other := range all {
		if other.Name == b.Name {
			continue
		}
		for _, mine := range b.Routes {
			for _, theirs := range other.Routes {
				hosts := mine.Host == "" || theirs.Host == "" || mine.Host == theirs.Host
				if hosts && within(theirs.Prefix, mine.Prefix) && claim(mine) != claim(theirs) {
					l.scope(b.Name).fail("PATH", "route %q of bulkhead %s lies inside %q; want strict, or raw on routes that own their whole prefix",
						routeText(theirs), other.Name, routeText(mine))
					return
				}
			}
		}
	}
}

func routeText(r supervisor.Route) string {
	return strings.TrimSpace(r.Method + " " + r.Host + r.Prefix)
}
