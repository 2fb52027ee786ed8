package config

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// checkAccessLog wants a file that lines can be appended to.
func (s *scope) checkAccessLog(g *global) {
	if g.AccessLogFile == "" || !s.fine("ACCESS_LOG", "ACCESS_LOG_FILE") {
		return
	}
	if g.AccessLog.Off() {
		s.warn("ACCESS_LOG_FILE", "has no effect: %sACCESS_LOG is off", s.prefix)
		return
	}
	if err := appendable(g.AccessLogFile); err != nil {
		s.fail("ACCESS_LOG_FILE", "%s; want a file that can be appended to, in a folder that is there", cause(err))
	}
}

// appendable makes no file: where there is none, its folder must be there.
func appendable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		folder, err := os.Stat(filepath.Dir(path))
		if err == nil && !folder.IsDir() {
			err = syscall.ENOTDIR
		}
		return err
	case err != nil:
		return err
	case info.IsDir():
		return syscall.EISDIR
	case !info.Mode().IsRegular(): // opening a pipe would wait for its reader
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
