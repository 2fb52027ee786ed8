package demo

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo/backup"
)

// What the demo's coordinator runs with, where its timing matters to who watches.
const (
	Timeout = 2 * time.Second // BULKHEAD_ORDERS_TIMEOUT
	OpenFor = 3 * time.Second // BULKHEAD_ORDERS_BREAKER_OPEN_FOR
	// DrainTimeout bounds how long the end of the demo takes.
	DrainTimeout = 2 * time.Second
)

// A bulkhead is one of the demo's.
type bulkhead struct {
	name    string
	kind    Kind // of the service behind it
	route   string
	owner   string
	timeout time.Duration
	workers int
	more    string // lines of its own, without the beginning that all share
	// prepared has backup data shipped for it. Its age says when this repository
	// made it, so that no BACKUP_MAX_AGE would fit.
	prepared bool
}

// bulkheads are those of the services, under their names, and those before the
// order history.
var bulkheads = []bulkhead{
	{name: "orders", kind: Orders, route: ordersRoot, owner: "Team Orders", timeout: Timeout, workers: 2},
	{name: "catalog", kind: Catalog, route: catalogRoot, owner: "Team Catalog", timeout: Timeout, workers: 2},
	{name: "payments", kind: Payments, route: paymentsRoot, owner: "Team Payments", timeout: 5 * time.Second, workers: 2, more: `
IDEMPOTENCY=optional
IDEMPOTENCY_PER_CREDENTIAL=Authorization,Cookie:` + SessionCookie},
	{name: "history", kind: Orders, route: historyRoute, owner: "Team Orders", timeout: Timeout, workers: 1, prepared: true, more: `
WORKER=orders
FALLBACK=stale,backup
BACKUP_MAX_AGE=off` + perSession},
	{name: "history-vendor", kind: OrdersVendor, route: "/vendor" + historyRoute, owner: "Team Orders", timeout: Timeout, workers: 1, more: `
WORKER=orders
ENV_ORDERS_ADAPTER=vendor
STRIP_PREFIX=/vendor
FALLBACK=stale` + perSession},
	{name: "page", kind: Page, route: pageRoot, owner: "Team Shop", timeout: Timeout, workers: 1, more: `
FALLBACK=stale`},
}

// perSession has the order history answered from what each user saw before.
const perSession = `
STALE_PER_CREDENTIAL=Cookie:` + SessionCookie

const historyRoute = "/orders/order_history/"

// Route is the path prefix under which the coordinator serves a bulkhead; empty if
// there is none of that name. A service has a bulkhead of its own name.
func Route(name string) string {
	for _, b := range bulkheads {
		if b.name == name {
			return b.route
		}
	}
	return ""
}

// PagePath is where the order history page is.
const PagePath = pageRoot

// present are the bulkheads whose services are there.
func (s *Stack) present() (there []bulkhead, names []string) {
	for _, b := range bulkheads {
		if s.Services[b.kind] != nil {
			there, names = append(there, b), append(names, b.name)
		}
	}
	return there, names
}

// prepare puts backup data where the coordinator looks for it, and snapshot.
func (s *Stack) prepare() error {
	there, _ := s.present()
	for _, b := range there {
		if !b.prepared {
			continue
		}
		if err := backup.Copy(filepath.Join(s.dir.file(stateName), "backup", b.name), b.name); err != nil {
			return err
		}
	}
	return nil
}

// envFile is the configuration of the coordinator, as a user would write it.
func (s *Stack) envFile() string {
	var b strings.Builder
	there, names := s.present()
	fmt.Fprintf(&b, `# The configuration of a demo, removed when that ends. Change it and say
#   coordinator reload --env-file FILE
COORDINATOR_LISTEN=%s
COORDINATOR_ADMIN_LISTEN=%s
COORDINATOR_ADMIN_SOCKET='%s'
COORDINATOR_STATE_DIR='%s'
COORDINATOR_DRAIN_TIMEOUT=%s
COORDINATOR_LOG_LEVEL=%s
COORDINATOR_LOG_FORMAT=text
COORDINATOR_BULKHEADS=%s
`, s.Listen, s.AdminListen, s.dir.file(adminSocket), s.dir.file(stateName), DrainTimeout, s.logLevel, strings.Join(names, ","))
	for _, each := range there {
		prefix := "BULKHEAD_" + strings.ToUpper(strings.ReplaceAll(each.name, "-", "_"))
		fmt.Fprintf(&b, `
%[1]s_ROUTES=%[2]s
%[1]s_BACKEND=%[3]s
%[1]s_OWNER="%[4]s"
%[1]s_RUNBOOK=https://runbooks.example/%[5]s
%[1]s_WORKERS=%[6]d
%[1]s_LIMIT=64
%[1]s_QUEUE=64
%[1]s_TIMEOUT=%[7]s
%[1]s_BREAKER_OPEN_FOR=%[8]s%[9]s
`, prefix, each.route, s.Services[each.kind].URL(), each.owner, each.name, each.workers, each.timeout, OpenFor,
			strings.ReplaceAll(each.more, "\n", "\n"+prefix+"_"))
	}
	return b.String()
}
