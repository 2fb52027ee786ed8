package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const modulePath = "commerce.example/coordinator"

// A wall is a ban on imports. Patterns are paths, "./x" for one of this module,
// with "/..." at their end for all below too; "std" is the standard library.
type wall struct {
	from    string   // who may not; "" is everybody in the module
	except  []string // who may all the same
	never   []string // what they may not import
	only    []string // or: what alone they may
	deep    bool     // not through others either
	because string
	crossed [2]string // an import that must be found: who, what
}

var walls = []wall{
	// The house.
	{from: "./supervisor/...", never: []string{"./workers/...", "./cmd/..."}, deep: true,
		because: "a supervisor knows workers as processes; linked in, their faults would be its own",
		crossed: [2]string{"./supervisor/pool", "./workers/proxy"}},
	{from: "./workers/...", never: []string{"./supervisor/...", "./cmd/..."}, deep: true,
		because: "a worker is built and shipped by other teams: it knows the SDK and nothing of who runs it",
		crossed: [2]string{"./workers/proxy", "./supervisor"}},
	{from: "./ipc/...", never: []string{"./supervisor/...", "./workers/...", "./cmd/..."}, deep: true,
		because: "ipc is what both sides of the process wall share, so it depends on neither",
		crossed: [2]string{"./ipc/backend", "./supervisor/limit"}},
	{except: []string{"./cmd/...", "./workers/..."}, never: []string{"./workers/..."},
		because: "only the binary imports workers, to be their process",
		crossed: [2]string{"./ipc", "./workers/proxy"}},
	{from: "./supervisor/pool", only: []string{"std", "./ipc/..."},
		because: "a pool keeps processes alive; routes, limits and metrics are not its subject",
		crossed: [2]string{"./supervisor/pool", "./supervisor/breaker"}},

	{from: "./deploy/...", never: []string{"./supervisor/...", "./ipc/...", "./workers/...", "./cmd/..."}, deep: true,
		because: "a benchmark measures what is shipped, as a process, with the same means for us and for others",
		crossed: [2]string{"./deploy/bench", "./supervisor/hdr"}},

	// The leaves.
	{from: "./supervisor/limit", only: []string{"std"},
		because: "a leaf with its own vocabulary: it is understood, tested and measured alone",
		crossed: [2]string{"./supervisor/limit", "github.com/prometheus/client_golang/prometheus"}},
	{from: "./supervisor/adaptive", only: []string{"std", "github.com/failsafe-go/failsafe-go/..."},
		because: "holding times in, a limit out: who waits for it is the limiter's business",
		crossed: [2]string{"./supervisor/adaptive", "./supervisor/limit"}},
	{from: "./supervisor/breaker", only: []string{"std"},
		because: "a leaf with its own vocabulary: it is understood, tested and measured alone",
		crossed: [2]string{"./supervisor/breaker", "./supervisor/hdr"}},
	{from: "./supervisor/framing", only: []string{"std"},
		because: "a leaf with its own vocabulary: it is understood, tested and measured alone",
		crossed: [2]string{"./supervisor/framing", "./supervisor/limit"}},
	{from: "./supervisor/idempotency", only: []string{"std", "./ipc/credential"},
		because: "which key is free is decided by outcomes alone; how they come about is the bulkhead's",
		crossed: [2]string{"./supervisor/idempotency", "./supervisor"}},
	{from: "./supervisor/journal", only: []string{"std", "./ipc/credential"},
		because: "a leaf with its own vocabulary: what is on disk must be readable by itself, years later",
		crossed: [2]string{"./supervisor/journal", "./ipc/exchange"}},
	{from: "./supervisor/journal/kept", only: []string{"std"},
		because: "a leaf with its own vocabulary: it seals requests, and who may send them again is not its subject",
		crossed: [2]string{"./supervisor/journal/kept", "./supervisor/journal"}},
	{from: "./supervisor/fallback/stale", only: []string{"std", "./supervisor/fallback", "./ipc/credential", "golang.org/x/net/http/httpguts"},
		because: "what may be kept is a matter of RFC 9111 alone; when it is given, the bulkhead decides",
		crossed: [2]string{"./supervisor/fallback/stale", "./supervisor"}},
	{from: "./supervisor/hdr", only: []string{"std", "github.com/HdrHistogram/hdrhistogram-go"},
		because: "the one home of the HDR histogram, and nothing else",
		crossed: [2]string{"./supervisor/hdr", "golang.org/x/sync/errgroup"}},
	{from: "./supervisor/metronome", only: []string{"std", "./supervisor/hdr"},
		because: "how late the machine is has nothing to do with what runs on it",
		crossed: [2]string{"./supervisor/metronome", "./supervisor"}},
	{from: "./supervisor/accesslog", only: []string{"std"},
		because: "a leaf with its own vocabulary: it is understood, tested and measured alone",
		crossed: [2]string{"./supervisor/accesslog", "github.com/hashicorp/go-hclog"}},
	{from: "./supervisor/tracing", only: []string{"std", "go.opentelemetry.io/..."},
		because: "the trace of a request, and the one home of OpenTelemetry",
		crossed: [2]string{"./supervisor/tracing", "./supervisor/accesslog"}},
	{from: "./supervisor/sizing", only: []string{"std", "./supervisor/hdr"},
		because: "figures in, advice out: it is right or wrong without a bulkhead, and whoever asks may compute it elsewhere",
		crossed: [2]string{"./supervisor/sizing", "./supervisor/limit"}},
	{from: "./supervisor/console", only: []string{"std"},
		because: "shows what it is given; what a bulkhead is and what may be done to it is not its subject",
		crossed: [2]string{"./supervisor/console", "./supervisor/breaker"}},
	{from: "./supervisor/cgroup", only: []string{"std", "golang.org/x/sys/..."},
		because: "control groups and the operating system; who is put into them is not its subject",
		crossed: [2]string{"./supervisor/cgroup", "./ipc/process"}},
	{from: "./supervisor/fallback/backup", only: []string{"std", "./supervisor/fallback"},
		because: "reads and finds prepared answers; when one may be given is the bulkhead's",
		crossed: [2]string{"./supervisor/fallback/backup", "./supervisor/breaker"}},
	{from: "./supervisor/fallback/sanitise", only: []string{"std", "github.com/itchyny/gojq"},
		because: "what may not be kept is decided without knowing who keeps it",
		crossed: [2]string{"./supervisor/fallback/sanitise", "./supervisor/fallback/backup"}},
	{from: "./supervisor/fallback/shape", only: []string{"std"},
		because: "a leaf with its own vocabulary: it is understood, tested and measured alone",
		crossed: [2]string{"./supervisor/fallback/shape", "./supervisor/fallback"}},
	{from: "./cmd/coordinator/internal/top", only: []string{"std", "./supervisor", "charm.land/bubbletea/v2", "github.com/charmbracelet/x/ansi"},
		because: "a screen shows and asks; whom, and in what words, is the command's",
		crossed: [2]string{"./cmd/coordinator/internal/top", "./cmd/coordinator/internal/config"}},
	{from: "./ipc/credential", only: []string{"std", "golang.org/x/net/http/httpguts"},
		because: "names of header fields and nothing else: whoever writes, keeps or compresses fields asks it",
		crossed: [2]string{"./ipc/credential", "./ipc/wire"}},
	{from: "./ipc/exchange", only: []string{"std"},
		because: "the vocabulary that both planes and both sides speak",
		crossed: [2]string{"./ipc/exchange", "./ipc/wire"}},
	{from: "./ipc/wire", only: []string{"std"},
		because: "bytes of the data protocol, fuzzed alone",
		crossed: [2]string{"./ipc/wire", "./ipc/exchange"}},
	{from: "./ipc/process", only: []string{"std", "golang.org/x/sys/..."},
		because: "a process and the operating system; what it is used for is not its subject",
		crossed: [2]string{"./ipc/process", "github.com/hashicorp/go-hclog"}},

	{from: "./ipc/target", only: []string{"std", "./ipc/backend"},
		because: "where a backend is and how to get there; what is said to it is not its subject",
		crossed: [2]string{"./ipc/target", "./ipc"}},
	{from: "./workers/orders", never: []string{"./workers/..."},
		because: "workers share what is in ipc, and know nothing of each other",
		crossed: [2]string{"./workers/orders", "./workers/proxy"}},
	{from: "./workers/proxy", never: []string{"./workers/..."},
		because: "workers share what is in ipc, and know nothing of each other",
		crossed: [2]string{"./workers/proxy", "./workers/orders"}},

	// One home for each heavy dependency.
	{except: []string{"./ipc", "./deploy/bench/peers/goplugin"}, never: []string{"github.com/hashicorp/go-plugin/..."},
		because: "go-plugin's traps are known and walled in, in ipc alone",
		crossed: [2]string{"./supervisor/pool", "github.com/hashicorp/go-plugin"}},
	{except: []string{"./ipc", "./ipc/control", "./deploy/bench/peers/goplugin"}, never: []string{"google.golang.org/grpc/...", "google.golang.org/protobuf/..."},
		because: "gRPC is the control plane; a request that went through it would cost twice the CPU",
		crossed: [2]string{"./ipc/backend", "google.golang.org/grpc/codes"}},
	{except: []string{"./supervisor"}, never: []string{"github.com/prometheus/..."},
		because: "leaves give Stats(), read at each scrape; the supervisor alone knows who scrapes",
		crossed: [2]string{"./supervisor/hdr", "github.com/prometheus/client_golang/prometheus"}},
	{except: []string{"./supervisor/tracing"}, never: []string{"go.opentelemetry.io/..."},
		because: "supervisor/tracing is its one home: who is traced need not know with what, and workers bring their own",
		crossed: [2]string{"./ipc", "go.opentelemetry.io/otel/trace"}},
	{except: []string{"./cmd/coordinator/internal/config"}, never: []string{"github.com/caarlos0/env/..."},
		because: "where values come from is the business of config; all others get plain values",
		crossed: [2]string{"./cmd/coordinator", "github.com/caarlos0/env/v11"}},
	{except: []string{"./cmd/coordinator"}, never: []string{"github.com/alecthomas/kong/..."},
		because: "the command line is the command's",
		crossed: [2]string{"./supervisor", "github.com/alecthomas/kong"}},
	{except: []string{"./cmd/coordinator/internal/top"}, never: []string{"charm.land/...", "github.com/charmbracelet/..."},
		because: "one screen, and one home for what draws it",
		crossed: [2]string{"./cmd/coordinator", "charm.land/bubbletea/v2"}},
	{except: []string{"./ipc/backend"}, never: []string{"golang.org/x/net/http2/..."},
		because: "frames and header compression are the backend client's; the front has those of net/http",
		crossed: [2]string{"./workers/proxy", "golang.org/x/net/http2"}},
	{except: []string{"./supervisor/fallback/sanitise"}, never: []string{"github.com/itchyny/gojq/..."},
		because: "rules are the business of sanitise; the supervisor never runs a program on an answer",
		crossed: [2]string{"./supervisor", "github.com/itchyny/gojq"}},
	{except: []string{"./supervisor/adaptive"}, never: []string{"github.com/failsafe-go/..."},
		because: "of failsafe-go one algorithm is used, with guards around it: its limiter, breakers and retries are not ours",
		crossed: [2]string{"./supervisor", "github.com/failsafe-go/failsafe-go/adaptivelimiter"}},
	{except: []string{"./supervisor/hdr"}, never: []string{"github.com/HdrHistogram/..."},
		because: "supervisor/hdr is its one home, so that all percentiles mean the same",
		crossed: [2]string{"./cmd/coordinator/internal/load", "github.com/HdrHistogram/hdrhistogram-go"}},
	{except: []string{"./supervisor", "./ipc", "./cmd/coordinator", "./cmd/coordinator/internal/logs", "./deploy/bench/peers/goplugin"},
		never:   []string{"github.com/hashicorp/go-hclog/..."},
		because: "packages return errors and report events; they are logged once, at the top",
		crossed: [2]string{"./supervisor/pool", "github.com/hashicorp/go-hclog"}},
	{from: "./ipc/...", never: []string{"github.com/prometheus/...", "github.com/alecthomas/...", "github.com/caarlos0/..."}, deep: true,
		because: "every worker of every team links all that ipc needs",
		crossed: [2]string{"./ipc", "github.com/prometheus/client_golang/prometheus"}},

	// For everybody.
	{except: []string{"./deploy/bench/peers/reverseproxy"}, never: []string{"net/http/httputil"},
		because: "its ReverseProxy goes through the standard transport, which resends requests behind the journal's back",
		crossed: [2]string{"./workers/proxy", "net/http/httputil"}},
	{never: []string{"testing/...", "net/http/httptest"},
		because: "code for tests has no place in the binary",
		crossed: [2]string{"./cmd/coordinator/internal/demo", "testing"}},
	{never: []string{"github.com/chromedp/..."}, deep: true,
		because: "a browser is there to test with, and its one home is browser_test.go",
		crossed: [2]string{"./cmd/coordinator", "github.com/chromedp/chromedp"}},
	{except: []string{"./ipc/board", "./ipc/control"}, never: []string{"unsafe"},
		because: "memory shared with another process is the one reason for it (and generated code has its own)",
		crossed: [2]string{"./ipc/wire", "unsafe"}},
}

// A goPackage is what go list says of a package.
type goPackage struct {
	ImportPath    string
	Dir           string
	Doc           string
	GoFiles       []string
	Imports, Deps []string
}

// listPackages lists the module's packages as they are built for an operating
// system. Cycles it would not list: the language knows none.
func listPackages(t *testing.T, goos, goarch string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,GoFiles,Imports,Deps", modulePath+"/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 10 {
		t.Fatalf("only %d packages listed", len(packages))
	}
	return packages
}

func TestImportWalls(t *testing.T) {
	for _, platform := range [][2]string{{"linux", "amd64"}, {"darwin", "arm64"}} {
		for _, p := range listPackages(t, platform[0], platform[1]) {
			for _, found := range violations(p) {
				t.Errorf("%s: %s", platform[0], found)
			}
		}
	}
}

// Each wall is run into once, so that none is a pattern that matches nothing.
func TestEachWallStands(t *testing.T) {
	packages := make(map[string]bool)
	for _, p := range listPackages(t, "linux", "amd64") {
		packages[p.ImportPath] = true
	}
	for _, w := range walls {
		who, what := absolutePath(w.crossed[0]), absolutePath(w.crossed[1])
		p := goPackage{ImportPath: who, Imports: []string{what}, Deps: []string{what}}
		if !slices.ContainsFunc(violations(p), func(v string) bool { return strings.HasSuffix(v, w.because) }) {
			t.Errorf("nothing keeps %s from importing %s, although %s", who, what, w.because)
		}
		for _, home := range append(slices.Clone(w.except), w.from) {
			if path := absolutePath(strings.TrimSuffix(home, "/...")); home != "" && !strings.HasSuffix(home, "/...") && !packages[path] {
				t.Errorf("%s is named in a wall and does not exist", path)
			}
		}
	}
}

// violations are the walls that p crosses, each once for what it imports.
func violations(p goPackage) []string {
	found := make(map[string]bool)
	for _, w := range walls {
		if w.from != "" && !matches(w.from, p.ImportPath) || matchesAny(w.except, p.ImportPath) {
			continue
		}
		imports := p.Imports
		if w.deep {
			imports = p.Deps
		}
		for _, path := range imports {
			if matchesAny(w.never, path) || w.only != nil && !matchesAny(w.only, path) {
				found[fmt.Sprintf("%s imports %s, but %s", p.ImportPath, path, w.because)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, path) })
}

func matches(pattern, path string) bool {
	if pattern == "std" {
		first, _, _ := strings.Cut(path, "/")
		return !strings.Contains(first, ".")
	}
	base, below := strings.CutSuffix(absolutePath(pattern), "/...")
	return path == base || below && strings.HasPrefix(path, base+"/")
}

func absolutePath(path string) string {
	if rest, ok := strings.CutPrefix(path, "./"); ok {
		return modulePath + "/" + rest
	}
	return path
}
