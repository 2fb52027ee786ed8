package journal

import "time"

// A TestDisk is a disk with hooks, of which each may be nil.
type TestDisk struct {
	Create func(path string) error
	Write  func(path string, p []byte) (n int, err error) // before the real write; an error replaces it, n bytes are written all the same
	Sync   func(path string) error                        // instead of the real one
}

type testFile struct {
	file
	path string
	d    *TestDisk
}

func (f testFile) Write(p []byte) (int, error) {
	if f.d.Write != nil {
		if n, err := f.d.Write(f.path, p); err != nil {
			n, _ = f.file.Write(p[:n])
			return n, err
		}
	}
	return f.file.Write(p)
}

func (f testFile) Sync() error {
	if f.d.Sync != nil {
		return f.d.Sync(f.path)
	}
	return f.file.Sync()
}

func OpenOn(d *TestDisk, dir string, o Options) (*Journal, error) {
	on := realDisk
	on.syncDir = func(string) error { return nil }
	on.create = func(path string) (file, error) {
		if d.Create != nil {
			if err := d.Create(path); err != nil {
				return nil, err
			}
		}
		f, err := realDisk.create(path)
		return testFile{f, path, d}, err
	}
	return open(dir, o, on)
}

const MaxLine = maxLine

func AppendRecord(kind, entry string, at time.Time, r *Record) []byte {
	return appendRecord(nil, kind, []byte(entry), at, r)
}

// NewScanner is a scanner as the reader uses it.
var NewScanner = func(visit func(int64, []byte) error, damaged func(offset, n int64, torn bool)) *scanner {
	return &scanner{visit: visit, damaged: damaged}
}

var ScanAll = (*scanner).scan

// Seal ends a line that a test has written by hand.
func Seal(body string) []byte { return seal([]byte(body), 0) }

const CloseWithin = closeWithin
