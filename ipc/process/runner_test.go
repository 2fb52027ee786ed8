package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"commerce.example/coordinator/ipc/process"
)

var _ runner.Runner = (*process.Runner)(nil)

// The library itself is the judge of Runner: these tests drive its client.

var handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "COOKIE", MagicCookieValue: "yes"}

type service struct{ plugin.NetRPCUnsupportedPlugin }

func (service) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }
func (service) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return service{}, nil
}

func init() {
	roles["plugin"] = func(args []string) {
		// What crashes a host that lets the library read stderr.
		io.WriteString(os.Stderr, `{"@message":7,"@level":[],"@timestamp":{}}`+"\n")
		if len(args) > 0 {
			cmd := exec.Command("/bin/sleep", "60")
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			newSession(cmd)
			if cmd.Start() == nil {
				fmt.Fprintln(os.Stderr, cmd.Process.Pid)
			}
		}
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig: handshake,
			Plugins:         plugin.PluginSet{"service": service{}},
			GRPCServer:      plugin.DefaultGRPCServer,
			Logger:          hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Error}),
		})
	}
}

// client is a started plugin client, or the error of its start.
func client(t *testing.T, s process.Spec) (*plugin.Client, *process.Runner, error) {
	var r *process.Runner
	dir := t.TempDir()
	c := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugin.PluginSet{"service": service{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     5 * time.Second,
		SkipHostEnv:      true,
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			s.Env = append(s.Env, cmd.Env...)
			r = process.NewRunner(s)
			return r, nil
		},
	})
	t.Cleanup(func() {
		if p := r.Process(); p != nil {
			p.KillGroup()
		}
		c.Kill()
	})
	_, err := c.Start()
	return c, r, err
}

func TestPluginServesAndStops(t *testing.T) {
	var lines sink
	s := spec(t, "plugin")
	s.Line = lines.put
	c, r, err := client(t, s)
	if err != nil {
		t.Fatal(err)
	}
	rpc, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	if err := rpc.Ping(); err != nil {
		t.Fatal(err)
	}
	killed := make(chan struct{})
	go func() { c.Kill(); close(killed) }()
	within(t, killed, 5*time.Second, "killed")
	within(t, r.Process().Drained(), time.Second, "drained")
	if !c.Exited() {
		t.Error("the client does not know of the end")
	}
	if got := lines.texts(process.Stderr); len(got) == 0 || !strings.Contains(got[0], "@message") {
		t.Errorf("stderr %q", got)
	}
}

// A worker that was stopped, with a descendant that holds its outputs: the two
// things that the library's own runner never returns from.
func TestPluginKillAfterGroupKill(t *testing.T) {
	var lines sink
	s := spec(t, "plugin", "with a descendant")
	s.Line = lines.put
	c, r, err := client(t, s)
	if err != nil {
		t.Fatal(err)
	}
	p := r.Process()
	if _, err := c.Client(); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := p.KillGroup(); err != nil {
		t.Fatal(err)
	}
	within(t, p.Done(), time.Second, "done")
	killed := make(chan struct{})
	go func() { c.Kill(); close(killed) }()
	within(t, killed, 5*time.Second, "killed")
	eventually(t, time.Second, "the client to know of the end", c.Exited)
	pid, err := strconv.Atoi(lines.texts(process.Stderr)[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the descendant was not alive: %v", err)
	}
}

func TestPluginStartFails(t *testing.T) {
	for name, c := range map[string]struct {
		spec process.Spec
		want string
	}{
		"exits at once":    {spec(t, "exit", "1"), "exit status 1"},
		"garbage first":    {spec(t, "garbage"), "too long for a handshake"},
		"missing binary":   {process.Spec{Path: "/nowhere/worker"}, "no such file"},
		"not a handshake":  {spec(t, "echo", `"hello\x1b[2J\n"`, `""`), "hello\ufffd[2J"},
		"stdout just ends": {spec(t, "echo", `""`, `"x\n"`), "stdout ended"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, r, err := client(t, c.spec)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if d := time.Since(began); d > 4*time.Second {
				t.Errorf("took %v", d)
			}
			if p := r.Process(); p != nil {
				within(t, p.Done(), time.Second, "done")
			}
		})
	}
}

func TestRunnerBeforeStart(t *testing.T) {
	r := process.NewRunner(process.Spec{Path: "/nowhere/worker"})
	ctx := t.Context()
	if err := r.Start(ctx); err == nil || r.ID() != "" || r.Process() != nil {
		t.Errorf("start of nothing: %v", err)
	}
	if err := r.Kill(ctx); err != nil {
		t.Error(err)
	}
	if err := r.Wait(ctx); !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	if b, err := io.ReadAll(io.MultiReader(r.Stdout(), r.Stderr())); len(b) > 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}
