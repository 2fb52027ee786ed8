package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A system is what is compared.
type system struct {
	name    string
	command string   // looked for on PATH; empty where the repository has it
	apt     string   // the package of Debian and Ubuntu that has the command
	version []string // prints it
	streams bool     // takes bodies that fit in no memory

	// launches writes what it needs and says what to start, in this order.
	launches func(site) ([]launch, error)
}

// A site is where a system is to stand.
type site struct {
	bin     string // the folder of what is built
	dir     string // a folder of its own
	address string // to listen on
	admin   string // another, for who needs one
	backend string // the address of what it stands in front of
}

// A launch is a process to start.
type launch struct{ argv []string }

// The coordinator, which the others are compared with, and those that the targets
// name.
const (
	coordinatorName  = "coordinator"
	nginxName        = "nginx"
	twoNginxName     = "nginx-unix-nginx"
	haproxyName      = "haproxy"
	caddyName        = "caddy"
	reverseProxyName = "reverseproxy"
	goPluginName     = "go-plugin"
)

var nginxVersion, haproxyVersion, caddyVersion = []string{"nginx", "-v"}, []string{"haproxy", "-v"}, []string{"caddy", "version"}

// knownSystems are in the order of the tables.
var knownSystems = []*system{
	{name: nginxName, command: "nginx", apt: "nginx-light", version: nginxVersion, streams: true, launches: oneNginx},
	{name: twoNginxName, command: "nginx", apt: "nginx-light", version: nginxVersion, streams: true, launches: twoNginx},
	{name: haproxyName, command: "haproxy", apt: "haproxy", version: haproxyVersion, streams: true, launches: haproxy},
	{name: caddyName, command: "caddy", apt: "caddy", version: caddyVersion, streams: true, launches: caddy},
	{name: reverseProxyName, streams: true, launches: peer("reverseproxy")},
	{name: goPluginName, launches: peer("goplugin")},
	{name: coordinatorName, streams: true, launches: coordinator},
}

func names() []string {
	var all []string
	for _, s := range knownSystems {
		all = append(all, s.name)
	}
	return all
}

// found parts the systems that are asked for into those that can be started and
// what to say of the others.
func found(asked []string) (systems []*system, missing []string) {
	for _, s := range knownSystems {
		if _, err := oneOf(s.name, asked); err != nil {
			continue
		}
		if s.command != "" && !onPath(s.command) {
			missing = append(missing, fmt.Sprintf("%s is left out: no %s on PATH (apt-get install %s)", s.name, s.command, s.apt))
			continue
		}
		systems = append(systems, s)
	}
	return systems, missing
}

// onPath reports whether there is such a command.
func onPath(command string) bool {
	_, err := exec.LookPath(command)
	return err == nil
}

// peer is a program of the folder peers.
func peer(name string) func(site) ([]launch, error) {
	return func(at site) ([]launch, error) {
		return []launch{{[]string{filepath.Join(at.bin, name), at.address, "http://" + at.backend}}}, nil
	}
}

// coordinator has its defaults, but for a limit that is no subject here and a body
// as large as the streamed one.
func coordinator(at site) ([]launch, error) {
	return coordinatorWith(at,
		"COORDINATOR_BULKHEADS=bench",
		"BULKHEAD_BENCH_ROUTES=/",
		"BULKHEAD_BENCH_BACKEND=http://"+at.backend,
		"BULKHEAD_BENCH_WORKERS=2",
		"BULKHEAD_BENCH_LIMIT=2048",
		"BULKHEAD_BENCH_MAX_BODY=64GiB")
}

// Each bulkhead has a route for itself, /b0, which is the one that is asked, and
// others below it.
func coordinatorWithRoutes(bulkheads, routes int) *system {
	return &system{
		name: fmt.Sprintf("%d routes, %d bulkheads", routes, bulkheads),
		launches: func(at site) ([]launch, error) {
			var all, lines []string
			for i := range bulkheads {
				name, prefix := fmt.Sprintf("b%d", i), fmt.Sprintf("/b%d", i)
				all = append(all, name)
				paths := []string{prefix + "/"}
				for j := 1; j < routes/bulkheads; j++ {
					paths = append(paths, fmt.Sprintf("%s/x%d/", prefix, j))
				}
				variable := "BULKHEAD_" + strings.ToUpper(name) + "_"
				lines = append(lines, variable+"ROUTES="+strings.Join(paths, ","), variable+"STRIP_PREFIX="+prefix,
					variable+"BACKEND=http://"+at.backend, variable+"WORKERS=1", variable+"LIMIT=256")
			}
			return coordinatorWith(at, append(lines, "COORDINATOR_BULKHEADS="+strings.Join(all, ","))...)
		},
	}
}

func coordinatorWith(at site, lines ...string) ([]launch, error) {
	file := filepath.Join(at.dir, "coordinator.env")
	lines = append(lines,
		"COORDINATOR_LISTEN="+at.address,
		"COORDINATOR_ADMIN_LISTEN="+at.admin,
		"COORDINATOR_ADMIN_SOCKET="+filepath.Join(at.dir, "admin.sock"),
		"COORDINATOR_STATE_DIR="+filepath.Join(at.dir, "state"),
		"COORDINATOR_LOG_LEVEL=warn",
		"COORDINATOR_LOG_FORMAT=text")
	text := strings.Join(lines, "\n") + "\n"
	return []launch{{[]string{filepath.Join(at.bin, "coordinator"), "run", "--env-file", file}}}, os.WriteFile(file, []byte(text), 0o600)
}
