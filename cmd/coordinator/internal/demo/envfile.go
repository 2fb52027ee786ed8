package demo

import (
	"fmt"
	"strings"
	"time"
)

// What the demo's coordinator runs with, where its timing matters to who watches.
const (
	Timeout = 2 * time.Second // BULKHEAD_ORDERS_TIMEOUT
	OpenFor = 3 * time.Second // BULKHEAD_ORDERS_BREAKER_OPEN_FOR
	// DrainTimeout bounds how long the end of the demo takes.
	DrainTimeout = 2 * time.Second
)

// Route is the path prefix under which the coordinator serves a service. The
// bulkhead has the name of the kind.
func Route(kind Kind) string {
	return map[Kind]string{Orders: ordersRoot, Catalog: catalogRoot, Payments: paymentsRoot}[kind]
}

// envFile is the configuration of the coordinator, as a user would write it.
func (s *Stack) envFile() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# The configuration of a demo, removed when that ends. Change it and say
#   coordinator reload --env-file FILE
COORDINATOR_LISTEN=%s
COORDINATOR_ADMIN_LISTEN=%s
COORDINATOR_ADMIN_SOCKET='%s'
COORDINATOR_STATE_DIR='%s'
COORDINATOR_DRAIN_TIMEOUT=%s
COORDINATOR_LOG_LEVEL=%s
COORDINATOR_LOG_FORMAT=text
COORDINATOR_BULKHEADS=orders,catalog,payments
`, s.Listen, s.AdminListen, s.dir.file(adminSocket), s.dir.file("state"), DrainTimeout, s.logLevel)
	for _, each := range []struct {
		kind    Kind
		owner   string
		timeout time.Duration
		openFor time.Duration
	}{
		{Orders, "Team Orders", Timeout, OpenFor},
		{Catalog, "Team Catalog", Timeout, OpenFor},
		{Payments, "Team Payments", 5 * time.Second, OpenFor},
	} {
		prefix := "BULKHEAD_" + strings.ToUpper(string(each.kind))
		fmt.Fprintf(&b, `
%[1]s_ROUTES=%[2]s
%[1]s_BACKEND=%[3]s
%[1]s_OWNER="%[4]s"
%[1]s_RUNBOOK=https://runbooks.example/%[5]s
%[1]s_WORKERS=2
%[1]s_LIMIT=64
%[1]s_QUEUE=64
%[1]s_TIMEOUT=%[6]s
%[1]s_BREAKER_OPEN_FOR=%[7]s
`, prefix, Route(each.kind), s.Services[each.kind].URL(), each.owner, each.kind, each.timeout, each.openFor)
	}
	return b.String()
}
