package supervisor_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor"
)

// again runs a second supervisor with the first one's configuration changed.
func again(t *testing.T, change func(*supervisor.Config)) error {
	t.Helper()
	var first supervisor.Config
	start(t, one("a"), func(o *supervisor.Options) { first = o.Config })
	second := first
	second.AdminSocket += "2"
	change(&second)
	s, err := supervisor.New(supervisor.Options{
		Config: second, BuiltIn: func(string, string, int) (string, []string, bool) { return "", nil, false },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return s.Run(ctx, ctx)
}

func TestOneSupervisorToAStateDirectory(t *testing.T) {
	err := again(t, func(*supervisor.Config) {})
	if err == nil || !strings.Contains(err.Error(), "COORDINATOR_STATE_DIR") || !strings.Contains(err.Error(), "pid") {
		t.Errorf("got %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var dir string
	err = again(t, func(c *supervisor.Config) {
		c.StateDir += "2"
		dir = c.RuntimeDir
		c.Listen = []string{ln.Addr().String()}
	})
	if err == nil || !strings.Contains(err.Error(), "COORDINATOR_LISTEN="+ln.Addr().String()) {
		t.Errorf("got %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*", "g*"))
	if len(left) != 1 { // the first supervisor's
		t.Errorf("left behind: %v", left)
	}
}

func TestLeftoversAreRemovedAndOthersAreNot(t *testing.T) {
	var config supervisor.Config
	r := start(t, one("a"), func(o *supervisor.Options) { config = o.Config })
	mine, _ := filepath.Glob(filepath.Join(config.RuntimeDir, "*", "g*"))
	if len(mine) != 1 {
		t.Fatalf("generations: %v", mine)
	}
	base := filepath.Dir(mine[0])
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(base, "*")); len(left) > 0 {
		t.Errorf("a clean stop left %v", left)
	}
	dead := filepath.Join(base, "g1234")
	os.MkdirAll(filepath.Join(dead, "w1"), 0o700)
	os.WriteFile(filepath.Join(dead, "lock"), nil, 0o600)
	other := filepath.Join(config.RuntimeDir, "another")
	os.MkdirAll(other, 0o700)
	start(t, one("a"), func(o *supervisor.Options) {
		o.Config.StateDir, o.Config.RuntimeDir = config.StateDir, config.RuntimeDir
	})
	if _, err := os.Stat(dead); err == nil {
		t.Error("what a dead supervisor left is still there")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("another's folder was removed")
	}
}
