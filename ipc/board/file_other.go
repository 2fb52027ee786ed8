//go:build !linux

package board

import "os"

// anonymousFile is a temporary file without a name: only its descriptor leads
// to it.
func anonymousFile(name string) (*os.File, error) {
	f, err := os.CreateTemp("", name)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// seal does nothing: only Linux can keep a worker from cutting the file short.
func seal(*os.File) error { return nil }
