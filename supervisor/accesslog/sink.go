package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"syscall"
)

var newline = []byte{'\n'}

// sink is where lines go.
type sink struct {
	io.Writer
	file    *os.File // of its own; nil: the writer is not ours to close
	regular bool     // a file takes a block of any size in one piece
}

func openSink(path string, stdout io.Writer) (sink, error) {
	if path != "" {
		// Without O_NONBLOCK a named pipe that nobody reads would be waited for here.
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o640)
		if err != nil {
			return sink{}, fmt.Errorf("access log: %w", err)
		}
		return sink{Writer: f, file: f, regular: isRegular(f)}, nil
	}
	if stdout == nil {
		return sink{}, errors.New("access log: neither a path nor a standard output")
	}
	f, ok := stdout.(*os.File)
	return sink{Writer: stdout, regular: ok && isRegular(f)}, nil
}

func isRegular(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

func (s *sink) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// pieces are what is written at once: all of it to a file, as many whole lines as
// a pipe takes in one piece to anything else.
func (s *sink) pieces(block []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(block) > 0 {
			n := len(block)
			if !s.regular && n > MaxLineBytes {
				n = bytes.LastIndexByte(block[:MaxLineBytes], '\n') + 1
			}
			if !yield(block[:n]) {
				return
			}
			block = block[n:]
		}
	}
}

func countLines(b []byte) uint64 { return uint64(bytes.Count(b, newline)) }
