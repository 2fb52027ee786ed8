package supervisor

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// killOrphans kills what the workers of a dead supervisor have started and left:
// the workers went with it, their children did not. They are known by their
// environment, which names the folder of their sockets: nobody else's does.
func killOrphans(dir string) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		if !bornIn(path, dir) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		held, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended, or the kernel is older than 5.3
		}
		if bornIn(path, dir) { // and not a stranger who has got the number
			_ = unix.PidfdSendSignal(held, unix.SIGKILL, nil, 0)
		}
		unix.Close(held)
	}
}

// bornIn reports whether a process was given sockets in dir; only those of this
// user can be read.
func bornIn(environ, dir string) bool {
	text, err := os.ReadFile(environ)
	return err == nil && bytes.Contains(append([]byte{0}, text...), []byte("\x00PLUGIN_UNIX_SOCKET_DIR="+dir+"/"))
}
