//go:build unix

package accesslog_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"commerce.example/coordinator/supervisor/accesslog"
)

// A named pipe is a file like others when somebody reads it. When nobody does it
// is refused, and not waited for.
func TestNamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	o := accesslog.Options{Sampling: sampling(t, "all"), Path: path}
	if l, err := accesslog.Open(o); err == nil {
		shut(t, l)
		t.Fatal("a pipe that nobody reads was opened")
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	l := open(t, o)
	l.Add(full())
	shut(t, l)
	b := make([]byte, accesslog.MaxLineBytes)
	n, err := reader.Read(b)
	if err != nil || !slices.Equal(ids(t, b[:n]), []string{full().RequestID}) {
		t.Errorf("%v: %q", err, b[:n])
	}
}
