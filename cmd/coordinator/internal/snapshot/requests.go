package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor/fallback/backup"
)

// A request is one block of the file.
type request struct {
	file   string
	ask    *url.URL // its host may be empty
	pat    backup.Pattern
	header http.Header
	line   int
}

const (
	maxRequests = 1000
	maxFile     = 1 << 20
)

// readFile reads a file of the folder that people write.
func readFile(dir, name string) (path, text string, err error) {
	path = filepath.Join(dir, name)
	f, err := os.Open(path)
	if err != nil {
		return path, "", fmt.Errorf("%w; want the file that says what to do", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s: more than %d bytes; want at most so many", path, maxFile)
	}
	return path, string(bytes.TrimPrefix(content, []byte("\ufeff"))), err
}

// readRequests is the blocks of the file at path, in order. The error has a line
// for each mistake.
func readRequests(path, text string) ([]request, error) {
	var all []request
	var mistakes []error
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		var err error
		switch {
		case strings.HasSuffix(line, backup.Suffix) && !strings.ContainsAny(line, " :"):
			err = backup.CheckName(line)
			all = append(all, request{file: line, header: http.Header{}, line: number})
		case len(all) == 0:
			err = fmt.Errorf("%q before the name of a file; want NAME%s first", line, backup.Suffix)
		default:
			err = all[len(all)-1].read(line)
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s:%d: %w", path, number, err))
		}
	}
	for i, r := range all {
		if err := r.check(all[:i]); err != nil && len(mistakes) == 0 {
			mistakes = append(mistakes, fmt.Errorf("%s:%d: %w", path, r.line, err))
		}
	}
	switch {
	case len(mistakes) > 0:
		return nil, errors.Join(mistakes...)
	case len(all) == 0:
		return nil, fmt.Errorf("%s: no request; want NAME%s, ask TARGET and for PATTERN, each on a line", path, backup.Suffix)
	case len(all) > maxRequests:
		return nil, fmt.Errorf("%s: %d requests; want at most %d", path, len(all), maxRequests)
	}
	return all, nil
}

func (r *request) read(line string) (err error) {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	name, isField := strings.CutSuffix(word, ":")
	switch {
	case word == "ask" && r.ask == nil:
		r.ask, err = parseAsk(rest)
	case word == "for" && r.pat.String() == "":
		r.pat, err = backup.ParsePattern(rest)
	case isField && credential.IsSecret(name): // no file that is reviewed is a place for it
		err = fmt.Errorf("%s is a credential; want it given to the command by --header-file, and in no file that is reviewed", name)
	case isField && name != "" && rest != "":
		r.header.Add(name, rest)
	default:
		err = fmt.Errorf("%q; want ask TARGET or for PATTERN, once for each file, or NAME: VALUE of a field", line)
	}
	return err
}

func parseAsk(text string) (*url.URL, error) {
	host, path, found := strings.Cut(text, "/")
	if !found || strings.ContainsAny(text, "# {}") {
		return nil, fmt.Errorf("ask %q; want a path and a query as they are sent, with a host before them where routes have hosts", text)
	}
	u, err := url.ParseRequestURI("/" + path)
	if err != nil {
		return nil, fmt.Errorf("ask %q; want a path and a query, percent-encoded", text)
	}
	u.Host = host
	return u, nil
}

// check wants r to be whole, and to get along with those before it.
func (r *request) check(before []request) error {
	if r.ask == nil || r.pat.String() == "" {
		return fmt.Errorf("%s without ask or for; want both", r.file)
	}
	if _, ok := r.pat.Captures(r.ask); !ok {
		return fmt.Errorf("%s: %s does not match what is asked; want a pattern that does", r.file, r.pat)
	}
	for _, other := range before {
		if other.file == r.file {
			return fmt.Errorf("%s again, after line %d; want another name", r.file, other.line)
		}
		if err := backup.Conflict(r.pat, other.pat); err != nil {
			return fmt.Errorf("%s: %w", r.file, err)
		}
	}
	return nil
}
