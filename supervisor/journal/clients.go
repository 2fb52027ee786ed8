package journal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Clients turns client addresses into words by which the requests of one client
// on one day (UTC) can be found, and nothing else: a keyed hash, whose key is
// forgotten with the day. The key stands in a file of mode 0600, so a restart or
// an upgrade changes no word. It is safe for concurrent use.
type Clients struct {
	dir string

	mu          sync.Mutex
	from, until time.Time // the day; zero: none yet
	key         [32]byte
	words       map[netip.Addr]string // of the day, so that a busy client is hashed once
}

// maxWords bounds the words that are remembered; all are forgotten then.
const maxWords = 4 << 10

// NewClients keeps its keys in dir, which exists.
func NewClients(dir string) *Clients { return &Clients{dir: dir, words: make(map[netip.Addr]string)} }

// Hash is the word for addr at now: 16 hexadecimal digits. When the key can
// neither be read nor kept, one that is only in memory serves, and the error says
// why; the word is good for this process then.
func (c *Clients) Hash(addr netip.Addr, now time.Time) (word string, err error) {
	addr = addr.Unmap().WithZone("")
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.from) || !now.Before(c.until) {
		day := now.UTC()
		c.from = time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, time.UTC)
		c.until = c.from.AddDate(0, 0, 1)
		c.key, err = c.keyOf(c.from.Format(time.DateOnly))
		clear(c.words)
	}
	if word, known := c.words[addr]; known {
		return word, err
	}
	mac := hmac.New(sha256.New, c.key[:])
	bytes := addr.As16()
	mac.Write(bytes[:])
	word = hex.EncodeToString(mac.Sum(nil)[:8])
	if len(c.words) == maxWords {
		clear(c.words)
	}
	c.words[addr] = word
	return word, err
}

const (
	keyPrefix = "clients-"
	keySuffix = ".key"
)

// keyOf reads the key of a day, or makes it. The file appears whole, and only
// once: of two processes the second takes the key of the first.
func (c *Clients) keyOf(day string) (key [32]byte, err error) {
	c.forget(day)
	path := filepath.Join(c.dir, keyPrefix+day+keySuffix)
	if key, err = readKey(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	rand.Read(key[:])
	part, err := os.CreateTemp(c.dir, keyPrefix+"*.part") // of mode 0600
	if err != nil {
		return key, err
	}
	defer os.Remove(part.Name())
	_, err = part.Write(key[:])
	if err = errors.Join(err, part.Close()); err != nil {
		return key, err
	}
	if err = os.Link(part.Name(), path); err != nil { // another was faster, or swept up the part
		return readKey(path)
	}
	return key, nil
}

// readKey gives a random key with any error, so that there always is one.
func readKey(path string) (key [32]byte, err error) {
	b, err := os.ReadFile(path)
	if err == nil && len(b) != len(key) {
		err = fmt.Errorf("journal: %s is no key", filepath.Base(path))
	}
	if err != nil {
		rand.Read(key[:])
		return key, err
	}
	return [32]byte(b), nil
}

// forget removes the keys of other days, and what a crash left of making one.
func (c *Clients) forget(today string) {
	entries, _ := os.ReadDir(c.dir)
	for _, e := range entries {
		name, isKey := strings.CutPrefix(e.Name(), keyPrefix)
		if isKey && name != today+keySuffix {
			_ = os.Remove(filepath.Join(c.dir, e.Name()))
		}
	}
}
