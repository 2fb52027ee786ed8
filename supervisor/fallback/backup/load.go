package backup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds are what a folder may hold. A bound that is 0 has its default.
type Bounds struct {
	Files     int   // answers; 1000
	FileBytes int64 // of one; 1 MiB
	Bytes     int64 // of all; 16 MiB
}

func (b Bounds) orDefault() Bounds {
	return Bounds{cmp.Or(b.Files, 1000), cmp.Or(b.FileBytes, 1<<20), cmp.Or(b.Bytes, 16<<20)}
}

// Load reads the folder at dir. The error is Mistakes, all that there are. A
// folder without an answer is none.
func Load(dir string, bounds Bounds) (*Set, error) {
	bounds = bounds.orDefault()
	names, mistakes := list(dir, bounds)
	var entries []Entry
	left := bounds.Bytes
	for _, name := range names {
		path := filepath.Join(dir, name)
		text, err := readBounded(path, min(bounds.FileBytes, left))
		if err == errTooLong && left < bounds.FileBytes {
			mistakes = append(mistakes, Mistake{dir, 0, fmt.Sprintf("more than %d bytes; want fewer or smaller answers", bounds.Bytes)})
			break
		}
		if err != nil {
			mistakes = append(mistakes, Mistake{path, 0, explain(err, bounds.FileBytes)})
			continue
		}
		left -= int64(len(text))
		entry, wrong := parse(path, name, text)
		mistakes = append(mistakes, wrong...)
		if entry.Pattern.text != "" {
			entries = append(entries, entry)
		}
	}
	mistakes = append(mistakes, conflicts(dir, entries)...)
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return newSet(entries), nil
}

// list is the names of the answers in dir, sorted.
func list(dir string, bounds Bounds) (names []string, mistakes Mistakes) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, Mistakes{{dir, 0, fmt.Sprintf("%s; want a folder", cause(err))}}
	}
	defer folder.Close()
	const others = 100 // requests, rules, what the system puts there
	all, err := folder.ReadDir(bounds.Files + others)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, Mistakes{{dir, 0, fmt.Sprintf("%s; want a folder", cause(err))}}
	}
	for _, file := range all {
		switch name := file.Name(); {
		case name[0] == '.' || isKnown(name):
		case strings.HasSuffix(name, Suffix):
			names = append(names, name)
		default:
			mistakes = append(mistakes, Mistake{filepath.Join(dir, name), 0,
				fmt.Sprintf("what is it? want NAME%s, %s, %s or README.md", Suffix, RequestsFile, RulesFile)})
		}
	}
	if len(names) > bounds.Files || len(all) == bounds.Files+others {
		return nil, append(mistakes, Mistake{dir, 0, fmt.Sprintf("more than %d files; want at most so many answers", bounds.Files)})
	}
	slices.Sort(names)
	return names, mistakes
}

func isKnown(name string) bool {
	return slices.Contains([]string{RequestsFile, RulesFile, "README", "README.md"}, name)
}

var (
	errTooLong = errors.New("too long")
	errNoFile  = errors.New("not a regular file")
)

// readBounded reads a regular file, or what a link to one leads to: a mounted
// ConfigMap has links.
func readBounded(path string, most int64) ([]byte, error) {
	// Stat first: opening a pipe would wait for its other end.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNoFile
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if int64(len(text)) > most {
		return nil, errTooLong
	}
	return text, err
}

func explain(err error, most int64) string {
	if err == errTooLong {
		return fmt.Sprintf("more than %d bytes; want at most so many", most)
	}
	return fmt.Sprintf("%s; want a file that can be read", cause(err))
}

// cause is err without the path that is said before it.
func cause(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}

// conflicts names each answer that cannot be beside an earlier one.
func conflicts(dir string, entries []Entry) (mistakes Mistakes) {
	for i, e := range entries {
		for _, before := range entries[:i] {
			if err := Conflict(e.Pattern, before.Pattern); err != nil {
				mistakes = append(mistakes, Mistake{filepath.Join(dir, e.File), 0, fmt.Sprintf("%s, of %s", err, before.File)})
				break
			}
		}
	}
	return mistakes
}
