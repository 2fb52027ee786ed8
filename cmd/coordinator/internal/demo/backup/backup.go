// Package backup is the backup data of the demo: folders as coordinator snapshot
// reads and writes them, one for each bulkhead that has any. They are reviewed like
// code: what they answer is in this repository, and a test makes it anew from the
// demo's bulkheads and compares.
package backup

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
)

//go:embed all:orders all:history
var folders embed.FS

// Folder is the data of that bulkhead, such as orders.
func Folder(bulkhead string) (fs.FS, error) {
	folder, err := fs.Sub(folders, bulkhead)
	if err == nil {
		_, err = fs.Stat(folder, ".")
	}
	if err != nil {
		return nil, fmt.Errorf("demo: backup data of %s: %w", bulkhead, err)
	}
	return folder, nil
}

// Copy puts that data into the folder at dir, which is made, with whatever is above
// it. A file that is there already is an error.
func Copy(dir, bulkhead string) error {
	folder, err := Folder(bulkhead)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("demo: backup data: %w", err)
	}
	return os.CopyFS(dir, folder)
}
