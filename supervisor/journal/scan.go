package journal

import (
	"bytes"
	"errors"
	"io"
)

// Damage is bytes of a segment that are no record, or that are missing.
type Damage struct {
	Segment string `json:"segment"` // file name
	Offset  int64  `json:"offset"`
	Bytes   int64  `json:"bytes"`
	// Torn: the line that was being written when its writer died, so no more than
	// one. Nobody was told that it is there.
	Torn bool `json:"torn,omitempty"`
	// Missing: so many bytes have been cut off at the end.
	Missing bool `json:"missing,omitempty"`
}

// errStop ends a scan early; no error to its caller.
var errStop = errors.New("journal: enough")

// A scanner finds the whole lines in a stream of bytes that may be damaged
// anywhere. It keeps at most two lines in memory and never fails for what the
// bytes are: what is no line is told as damage, adjoining pieces together, but for
// the end.
type scanner struct {
	visit   func(offset int64, line []byte) error // line is valid during the call
	damaged func(offset, n int64, torn bool)

	at      int64 // offset of what is next to be judged
	bad     int64 // where pending damage begins
	badSize int64 // 0: none is pending
}

const window = 2 * maxLine // a line in it that is not whole is damage, or begins in its second half

func (s *scanner) scan(r io.Reader) error {
	buf := make([]byte, 0, window+maxLine)
	for {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return err
		}
		rest := buf[:len(buf)+n]
		for {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			if err := s.piece(rest[:i], 1); err != nil {
				return err
			}
			rest = rest[i+1:]
		}
		if ended {
			return s.tail(rest)
		}
		if len(rest) > window {
			if rest, err = s.overlong(rest); err != nil {
				return err
			}
		}
		buf = buf[:copy(buf[:cap(buf)], rest)]
	}
}

// piece judges what stands between two newlines, of which the second (newline is
// 1, or 0 at the end of the file) belongs to it.
func (s *scanner) piece(text []byte, newline int64) error {
	if whole(text) {
		return s.record(text, newline)
	}
	rest, err := s.salvage(text)
	if err != nil {
		return err
	}
	if len(rest) == 0 && len(text) > 0 {
		s.at += newline // only what was before its last record is damaged
		return nil
	}
	s.spoil(int64(len(rest)) + newline)
	return nil
}

// salvage finds whole records in text, which lost the newline between them, and
// returns what is behind the last.
func (s *scanner) salvage(text []byte) (rest []byte, err error) {
	for from := 0; ; {
		i := bytes.Index(text[from:], []byte(trailer))
		if i < 0 || from+i+sealed > len(text) {
			return text, nil
		}
		end := from + i + sealed
		// A record has one trailer, so it begins behind the last one that failed:
		// looking further back would make junk cost the square of its length.
		begin := from + bytes.LastIndex(text[from:from+i], []byte(begins))
		if begin < from || !whole(text[begin:end]) {
			from += i + 1
			continue
		}
		s.spoil(int64(begin))
		if err := s.record(text[begin:end], 0); err != nil {
			return nil, err
		}
		text, from = text[end:], 0
	}
}

// overlong passes over the beginning of text that no line can reach out of.
func (s *scanner) overlong(text []byte) (rest []byte, err error) {
	if rest, err = s.salvage(text); err != nil {
		return nil, err
	}
	if skip := len(rest) - maxLine; skip > 0 {
		s.spoil(int64(skip))
		rest = rest[skip:]
	}
	return rest, nil
}

// tail judges what has no newline behind it: the beginning of one line, and all
// that is bad before it had been written.
func (s *scanner) tail(text []byte) error {
	text, err := s.overlong(text)
	if err != nil {
		return err
	}
	s.flush(false)
	err = s.piece(text, 0)
	s.flush(true)
	return err
}

func (s *scanner) record(line []byte, newline int64) error {
	s.flush(false)
	if err := s.visit(s.at, line); err != nil {
		return err
	}
	s.at += int64(len(line)) + newline
	return nil
}

func (s *scanner) spoil(n int64) {
	if n == 0 {
		return
	}
	if s.badSize == 0 {
		s.bad = s.at
	}
	s.badSize += n
	s.at += n
}

func (s *scanner) flush(torn bool) {
	if s.badSize > 0 {
		s.damaged(s.bad, s.badSize, torn)
	}
	s.badSize = 0
}
