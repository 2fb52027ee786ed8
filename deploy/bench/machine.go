package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// machine says what the figures hold for: the machine, and who took part.
func (b *bench) machine(ctx context.Context) []string {
	lines := []string{
		fmt.Sprintf("%d cores, %s, %s", runtime.NumCPU(), processor(), memoryText()),
		fmt.Sprintf("%s, %s, %s", time.Now().Format("2006-01-02"), kernel(), runtime.Version()),
	}
	said := map[string]bool{}
	for _, s := range b.systems {
		version := b.version(ctx, s)
		if !said[version] {
			said[version] = true
			lines = append(lines, version)
		}
	}
	if b.backend == b.sink {
		return append(lines, "backend: net/http")
	}
	return append(lines, "backend: nginx, and net/http for streams")
}

// version is that of a system in one line.
func (b *bench) version(ctx context.Context, s *system) string {
	switch s.name {
	case coordinatorName:
		return b.ask(ctx, s.name, filepath.Join(b.bin, "coordinator"), "version") + b.revision(ctx)
	case reverseProxyName:
		return reverseProxyName + ": httputil.ReverseProxy of " + runtime.Version()
	case goPluginName:
		info, err := buildinfo.ReadFile(filepath.Join(b.bin, "goplugin"))
		if err != nil {
			return fmt.Sprintf("%s: %v", s.name, err)
		}
		var of []string
		for _, module := range info.Deps {
			if module.Path == "github.com/hashicorp/go-plugin" || module.Path == "google.golang.org/grpc" {
				of = append(of, filepath.Base(module.Path)+" "+module.Version)
			}
		}
		return goPluginName + ": " + strings.Join(of, ", ")
	}
	return b.ask(ctx, s.command, s.version...)
}

// revision is what was built, where it was built from a clone of the repository.
func (b *bench) revision(ctx context.Context) string {
	out, err := output(ctx, 10*time.Second, "", "git", "describe", "--always", "--dirty")
	if err != nil {
		return ""
	}
	return ", revision " + strings.TrimSpace(string(out))
}

// memoryText is how much memory the machine has.
func memoryText() string {
	n, err := memoryTotal()
	if err != nil {
		return "unknown memory"
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// ask is the first line that a command says about itself, on either output.
func (b *bench) ask(ctx context.Context, name string, argv ...string) string {
	out, err := output(ctx, 10*time.Second, b.dir, append([]string{"sh", "-c", `"$@" 2>&1`, "sh"}, argv...)...)
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	switch {
	case err != nil:
		return fmt.Sprintf("%s: %v", name, err)
	case strings.HasPrefix(strings.ToLower(line), name): // it names itself
		return line
	}
	return name + ": " + line
}
