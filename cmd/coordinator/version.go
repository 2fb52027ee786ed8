package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCommand is coordinator version.
type versionCommand struct {
	asJSON
}

// A build is what the binary knows of its own making.
type build struct {
	Version  string `json:"version"` // of the module; "(devel)" for a build outside a tagged tree
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"` // of the revision, RFC 3339
	Modified bool   `json:"modified"`       // the tree had changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (c *versionCommand) Run(t *terminal) error {
	b := thisBuild()
	if c.JSON {
		return writeJSON(t.stdout, b)
	}
	line := "coordinator " + b.Version
	if b.Revision != "" {
		line += " " + b.Revision
	}
	if b.Modified {
		line += " modified"
	}
	_, err := fmt.Fprintf(t.stdout, "%s, %s, %s\n", line, b.Go, b.Platform)
	return err
}

func thisBuild() build {
	b := build{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// version is what status and the workers show: the revision where the module
// has no version of its own.
func version() string {
	b := thisBuild()
	if b.Version == "(devel)" && b.Revision != "" {
		return b.Revision
	}
	return b.Version
}
