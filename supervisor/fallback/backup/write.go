package backup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Write writes e to the folder at dir, which must be there, in place of the file
// of that name: at any moment there is the old one or the new one, also when the
// machine loses its power. It refuses what Load would; other answers of the
// folder it does not look at.
func Write(dir string, e Entry) error {
	text, err := e.check()
	if err != nil {
		return fmt.Errorf("backup: %s: %w", e.File, err)
	}
	if err := replace(filepath.Join(dir, e.File), text); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// CheckName is nil for the name of an answer's file.
func CheckName(name string) error {
	bare, ok := strings.CutSuffix(name, Suffix)
	if !ok || bare == "" || len(name) > 100 || bare[0] == '.' || bare[0] == '-' || strings.Trim(bare, fileChars) != "" {
		return fmt.Errorf("the name %q; want NAME%s of letters, digits, -, _ and ., at most 100 in all", clip(name), Suffix)
	}
	return nil
}

const fileChars = "-_.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// check is the text of e's file, once read back: what Write writes can be loaded.
func (e Entry) check() ([]byte, error) {
	if err := CheckName(e.File); err != nil {
		return nil, err
	}
	for name, values := range e.Header {
		for _, value := range values {
			if err := checkField(name, value); err != nil {
				return nil, err
			}
		}
	}
	text, err := e.format()
	if err != nil {
		return nil, err
	}
	if _, mistakes := parse(e.File, e.File, text); len(mistakes) > 0 {
		return nil, errors.New(mistakes[0].Message)
	}
	return text, nil
}

// replace puts a file with that text at path. Its name begins with a dot until
// then, so that who loads passes it over.
func replace(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".*.new")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
