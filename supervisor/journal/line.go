package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
)

// The frame of a line. Neither text can stand inside a value: there each quote
// has a backslash before it.
const (
	begins  = `{"v":`
	prefix  = `{"v":1,"kind":"`
	trailer = `,"crc":"`
	sealed  = len(trailer) + 8 + len(`"}`) // bytes from the trailer to the end, newline apart
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal ends the line that begins at b[begin:].
func seal(b []byte, begin int) []byte {
	sum := crc32.Checksum(b[begin:], castagnoli)
	b = append(b, trailer...)
	b = appendHex(b, sum)
	return append(b, '"', '}', '\n')
}

func appendHex(b []byte, sum uint32) []byte {
	const hex = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, hex[sum>>shift&15])
	}
	return b
}

// whole reports whether line, without its newline, is what was written.
func whole(line []byte) bool {
	if len(line) > maxLine || len(line) < len(begins)+sealed || !bytes.HasPrefix(line, []byte(begins)) {
		return false
	}
	body, end := line[:len(line)-sealed], line[len(line)-sealed:]
	var want [sealed]byte
	out := append(want[:0], trailer...)
	out = appendHex(out, crc32.Checksum(body, castagnoli))
	out = append(out, '"', '}')
	return bytes.Equal(end, out)
}

// peek reads the kind of a whole line, and the entry of a request's, without
// decoding it. A line of another version has no kind.
func peek(line []byte) (kind, entry []byte) {
	rest, ok := bytes.CutPrefix(line, []byte(prefix))
	if !ok {
		return nil, nil
	}
	kind, rest, _ = bytes.Cut(rest, []byte{'"'})
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"entry":"`)); ok {
		entry, _, _ = bytes.Cut(rest, []byte{'"'})
	}
	return kind, entry
}

// isRequest reports whether a line of that kind is about a request.
func isRequest(kind []byte) bool { return string(kind) == KindIntent || string(kind) == KindClose }

func decodeRecord(line []byte) (*Record, error) {
	r := &Record{}
	if err := json.Unmarshal(line, r); err != nil {
		return nil, fmt.Errorf("journal: a line with a right checksum: %w", err)
	}
	return r, nil
}

func decodeMark(line []byte) (*mark, error) {
	m := &mark{}
	if err := json.Unmarshal(line, m); err != nil {
		return nil, fmt.Errorf("journal: a line with a right checksum: %w", err)
	}
	return m, nil
}
