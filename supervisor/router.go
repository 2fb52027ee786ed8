package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// RouteTo is a route and where it leads.
type RouteTo struct {
	Route
	To  int  // index of the bulkhead
	Raw bool // takes paths that are not canonical: see Target.For

	pattern string // the route in one text, once it is a Router's
}

// Router finds the route of a request. It is immutable, and safe for concurrent
// use; a look-up allocates nothing and its cost follows the depth of the path,
// not the number of routes.
//
// A prefix matches whole segments, and a slash at its end says nothing:
// "/api/orders/" and "/api/orders" are one route, which takes "/api/orders",
// "/api/orders/" and "/api/orders/7", not "/api/orders2". The bare form is
// matched because a transparent proxy must leave it to the backend how it
// answers that one, with a redirect or with content.
//
// Of the routes that take a request the one with the most segments wins; of
// those with equal prefixes one that names the host, then one that names the
// method. A longer route of another host or method hides nothing. A route for
// GET takes HEAD, too, unless another names HEAD (RFC 9110 section 9.3.2).
type Router struct {
	root   routeNode
	hosts  map[string]int // canonical host to number, from 1; 0 is "no route names it"
	limits HeadLimits     // of what Route takes
}

// routeNode is a path: what the segments down to it spell.
type routeNode struct {
	children map[string]*routeNode
	anyHost  []*RouteTo // those that name a method come first
	byHost   map[int][]*RouteTo
}

// NewRouter builds a Router that keeps limits, as WithDefaults. It reports every route that is malformed, that two
// bulkheads claim, or that is raw without owning what lies below its prefix.
func NewRouter(routes []RouteTo, limits HeadLimits) (*Router, error) {
	rt := &Router{hosts: make(map[string]int), limits: limits.WithDefaults()}
	routes = slices.Clone(routes)
	var errs []error
	for i := range routes {
		route := &routes[i]
		if err := route.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		route.pattern = route.String()
		if err := rt.add(route); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, checkRaw(routes)...)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return rt, nil
}

func (r Route) String() string {
	return strings.TrimLeft(r.Method+" "+r.Host+r.Prefix, " ")
}

func (r Route) check() error {
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace || strings.ContainsAny(r.Method, " ,/") || strings.ToUpper(r.Method) != r.Method {
		return fmt.Errorf("route %q: method %q cannot be routed", r, r.Method)
	}
	if strings.ContainsAny(r.Host, "/ ,@") || (r.Host != "" && hostName(r.Host) == "") {
		return fmt.Errorf("route %q: %q is not a host", r, r.Host)
	}
	scan := scanPath(r.Prefix)
	if !strings.HasPrefix(r.Prefix, "/") || scan.end < len(r.Prefix) || scan.bad != nil || scan.odd != nil || scan.plainEscapes {
		return fmt.Errorf("route %q: prefix %q must begin with / and have no dot segment, //, query or needless escape", r, r.Prefix)
	}
	return nil
}

func (rt *Router) add(route *RouteTo) error {
	n := &rt.root
	for rest := route.Prefix; ; {
		var segment string
		segment, rest = nextSegment(rest)
		if segment == "" {
			break
		}
		if n.children == nil {
			n.children = make(map[string]*routeNode)
		}
		if n.children[segment] == nil {
			n.children[segment] = &routeNode{}
		}
		n = n.children[segment]
	}
	if route.Host == "" {
		return insertRoute(&n.anyHost, route)
	}
	name := strings.ToLower(hostName(route.Host))
	id, known := rt.hosts[name]
	if !known {
		id = len(rt.hosts) + 1
		rt.hosts[name] = id
	}
	if n.byHost == nil {
		n.byHost = make(map[int][]*RouteTo)
	}
	rules := n.byHost[id]
	err := insertRoute(&rules, route)
	n.byHost[id] = rules
	return err
}

func insertRoute(rules *[]*RouteTo, route *RouteTo) error {
	for _, other := range *rules {
		if other.Method != route.Method {
			continue
		}
		if other.To != route.To {
			return fmt.Errorf("route %q is claimed by two bulkheads", route.Route)
		}
		return nil
	}
	*rules = append(*rules, route)
	slices.SortStableFunc(*rules, func(a, b *RouteTo) int {
		return cmp.Compare(b.Method, a.Method) // the empty one, which takes all, last
	})
	return nil
}

// checkRaw holds raw routes to owning their prefix. A path like /files/%2e%2e/x
// means one thing to the router and may mean another to the backend; that is
// harmless only while no other bulkhead has a route below /files.
func checkRaw(routes []RouteTo) []error {
	var errs []error
	for i := range routes {
		raw := &routes[i]
		if !raw.Raw {
			continue
		}
		prefix := strings.TrimSuffix(raw.Prefix, "/") + "/"
		for j := range routes {
			other := &routes[j]
			below := strings.TrimSuffix(other.Prefix, "/") + "/"
			if other.To != raw.To && below != prefix && strings.HasPrefix(below, prefix) && raw.meets(other.Route) {
				errs = append(errs, fmt.Errorf("route %q takes raw paths and so must own its prefix, but another bulkhead has %q", raw.Route, other.Route))
			}
		}
	}
	return errs
}

// meets reports whether some request has the hosts and methods of both.
func (r Route) meets(other Route) bool {
	hosts := r.Host == "" || other.Host == "" || strings.EqualFold(hostName(r.Host), hostName(other.Host))
	return hosts && (r.takes(other.Method) || other.takes(r.Method))
}

func (r Route) takes(method string) bool {
	return r.Method == "" || r.Method == method || r.Method == http.MethodGet && method == http.MethodHead
}

// Match is the route of a request, or nil. host is the Host of the request, with
// or without a port; path is escaped and canonical (Target.Path).
func (rt *Router) Match(method, host, path string) *RouteTo {
	id := rt.hostID(host)
	n := &rt.root
	best := n.pick(method, id)
	for rest := path; n.children != nil; {
		var segment string
		segment, rest = nextSegment(rest)
		if segment == "" {
			break
		}
		if n = n.children[segment]; n == nil {
			break
		}
		if m := n.pick(method, id); m != nil {
			best = m
		}
	}
	return best
}

// KnownHost reports whether a request for host can be meant for us: a route
// names it, or no route names any.
func (rt *Router) KnownHost(host string) bool {
	return len(rt.hosts) == 0 || rt.hostID(host) != 0
}

func (n *routeNode) pick(method string, host int) *RouteTo {
	if host != 0 && n.byHost != nil {
		if m := pickMethod(n.byHost[host], method); m != nil {
			return m
		}
	}
	return pickMethod(n.anyHost, method)
}

// pickMethod relies on the order of the rules: HEAD sorts before GET, both
// before the rule that names none.
func pickMethod(rules []*RouteTo, method string) *RouteTo {
	for _, m := range rules {
		if m.takes(method) {
			return m
		}
	}
	return nil
}

// nextSegment cuts "/a/b" into "a" and "/b". An empty segment ends the walk: it
// is the slash at the end, or a path that is not canonical.
func nextSegment(path string) (segment, rest string) {
	if len(path) < 2 || path[0] != '/' {
		return "", ""
	}
	if i := strings.IndexByte(path[1:], '/'); i >= 0 {
		return path[1 : 1+i], path[1+i:]
	}
	return path[1:], ""
}

// hostID is the number of host, compared without regard to case, port and the
// dot of the root.
func (rt *Router) hostID(host string) int {
	if len(rt.hosts) == 0 {
		return 0
	}
	name := hostName(host)
	if id, ok := rt.hosts[name]; ok {
		return id
	}
	var lower [255]byte // the longest name of DNS; not on the heap
	if len(name) > len(lower) {
		return 0
	}
	for i := range len(name) {
		lower[i] = lowerASCII(name[i])
	}
	return rt.hosts[string(lower[:len(name)])]
}

// hostName is host without port, the brackets of an IPv6 address and the dot of
// the root.
func hostName(host string) string {
	if strings.HasPrefix(host, "[") {
		name, _, _ := strings.Cut(host[1:], "]")
		return name
	}
	if i := strings.IndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i+1:], ':') < 0 {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}
