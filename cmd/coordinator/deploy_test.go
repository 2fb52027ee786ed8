package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

func deployed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// workersEnd is what a stop takes beyond delay and drain: requests that are cut
// are told, and workers end or are killed.
const workersEnd = 7 * time.Second

// outlasts checks that whoever runs the coordinator kills it only after a stop
// that takes all its time.
func outlasts(t *testing.T, who string, c supervisor.Config, seconds string) {
	t.Helper()
	n, err := strconv.Atoi(seconds)
	if err != nil {
		t.Fatalf("%s: %q", who, seconds)
	}
	if stop := c.DrainDelay + c.DrainTimeout + workersEnd; time.Duration(n)*time.Second <= stop {
		t.Errorf("%s kills after %d s, and a stop may take %v", who, n, stop)
	}
}

func find(t *testing.T, text, expression string) string {
	t.Helper()
	match := regexp.MustCompile("(?m)" + expression).FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("nothing matches %s", expression)
	}
	return match[1]
}

func TestExampleConfiguration(t *testing.T) {
	c := valid(t, "coordinator.env.example", deployed(t, "coordinator.env.example")).Supervisor
	unit := deployed(t, "coordinator.service")
	outlasts(t, "coordinator.service", c, find(t, unit, `^TimeoutStopSec=(\d+)s$`))
	outlasts(t, "docker run", c, find(t, deployed(t, "README.md"), `--stop-timeout (\d+)`))
	if folder := "/run/" + find(t, unit, `^RuntimeDirectory=(.+)$`); filepath.Dir(c.AdminSocket) != folder {
		t.Errorf("the admin socket is %s, and the unit owns %s", c.AdminSocket, folder)
	}
	if folder := "/var/lib/" + find(t, unit, `^StateDirectory=(.+)$`); c.StateDir != folder {
		t.Errorf("the state directory is %s, and the unit owns %s", c.StateDir, folder)
	}
	descriptors, err := strconv.Atoi(find(t, unit, `^LimitNOFILE=(\d+)$`))
	if err != nil || descriptors < 2*c.Conns {
		t.Errorf("%d descriptors for %d connections of clients, %v", descriptors, c.Conns, err)
	}
}

func TestKubernetesConfiguration(t *testing.T) {
	manifest := deployed(t, "kubernetes/coordinator.yaml")
	_, rest, found := strings.Cut(manifest, "  coordinator.env: |\n")
	block, _, ended := strings.Cut(rest, "\n---\n")
	if !found || !ended {
		t.Fatal("the manifest has no coordinator.env")
	}
	c := valid(t, "kubernetes", strings.ReplaceAll(block, "\n    ", "\n")+"\n").Supervisor
	outlasts(t, "kubernetes", c, find(t, manifest, `^ +terminationGracePeriodSeconds: (\d+)$`))
	if c.DrainDelay < time.Second {
		t.Error("no delay: endpoints are withdrawn later than the listeners close")
	}
	for port, listen := range map[string]string{"http": c.Listen[0], "admin": c.AdminListen} {
		if want := find(t, manifest, `name: `+port+`, containerPort: (\d+)`); !strings.HasSuffix(listen, ":"+want) {
			t.Errorf("the container's port %s is %s, and the coordinator listens on %s", port, want, listen)
		}
	}
}
