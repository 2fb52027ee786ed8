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
// forgotten a day after its own. The key stands in a file of mode 0600, so a restart
// or an upgrade changes no word. It is safe for concurrent use.
type Clients struct {
	dir     string
	loading sync.WaitGroup

	mu   sync.Mutex
	days [2]*clientDay // a request may end on the day after the one on which it began
}

// A clientDay has the words of one day.
type clientDay struct {
	from    time.Time
	overdue time.Time     // nobody waits for the key any longer
	loaded  chan struct{} // closed once key and err are there
	key     [32]byte
	err     error

	mu    sync.Mutex
	told  bool                  // err, or that the key is late
	words map[netip.Addr]string // so that a busy client is hashed once
}

const (
	maxWords    = 4 << 10                // that are remembered; all are forgotten then
	keyPatience = 100 * time.Millisecond // for the disk, of all who need the key together
)

var errKeyLate = fmt.Errorf("the disk has not given the key of the day within %v", keyPatience)

// NewClients keeps its keys in dir, which exists.
func NewClients(dir string) *Clients { return &Clients{dir: dir} }

// Hash is the word for addr at now: 16 hexadecimal digits. When the key can
// neither be read nor kept, one that is only in memory serves: the word is good for
// this process then. While a disk hangs there is none, and word is empty. The first
// one of the day who meets either is told by err.
func (c *Clients) Hash(addr netip.Addr, now time.Time) (word string, err error) {
	d := c.day(now.UTC().Truncate(24 * time.Hour))
	if !d.await() {
		return "", d.tell(errKeyLate)
	}
	return d.word(addr.Unmap().WithZone("")), d.tell(d.err)
}

// Close waits until no key is being read, at most so long.
func (c *Clients) Close(patience time.Duration) {
	done := make(chan struct{})
	go func() { defer close(done); c.loading.Wait() }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// day is the one that begins at from. The older of the others makes room for it.
func (c *Clients) day(from time.Time) *clientDay {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.days {
		if d != nil && d.from.Equal(from) {
			return d
		}
	}
	d := &clientDay{
		from: from, overdue: time.Now().Add(keyPatience), loaded: make(chan struct{}), words: make(map[netip.Addr]string),
	}
	if c.days[0] == nil || c.days[1] != nil && c.days[0].from.Before(c.days[1].from) {
		c.days[0] = d
	} else {
		c.days[1] = d
	}
	c.loading.Go(func() {
		defer close(d.loaded)
		d.key, d.err = c.keyOf(from)
	})
	return d
}

// await reports whether the key is there, in time.
func (d *clientDay) await() bool {
	select {
	case <-d.loaded:
		return true
	default:
	}
	timer := time.NewTimer(time.Until(d.overdue))
	defer timer.Stop()
	select {
	case <-d.loaded:
		return true
	case <-timer.C:
		return false
	}
}

// tell is err for the first who asks.
func (d *clientDay) tell(err error) error {
	if err == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.told {
		return nil
	}
	d.told = true
	return err
}

func (d *clientDay) word(addr netip.Addr) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if word, known := d.words[addr]; known {
		return word
	}
	mac := hmac.New(sha256.New, d.key[:])
	bytes := addr.As16()
	mac.Write(bytes[:])
	word := hex.EncodeToString(mac.Sum(nil)[:8])
	if len(d.words) == maxWords {
		clear(d.words)
	}
	d.words[addr] = word
	return word
}

const (
	keyPrefix = "clients-"
	keySuffix = ".key"
)

// keyOf reads the key of a day, or makes it. The file appears whole, and only
// once: of two processes the second takes the key of the first.
func (c *Clients) keyOf(day time.Time) (key [32]byte, err error) {
	c.forget(day.AddDate(0, 0, -1))
	path := filepath.Join(c.dir, keyPrefix+day.Format(time.DateOnly)+keySuffix)
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

// forget removes the keys of the days before this one, and what a crash left of making
// one.
func (c *Clients) forget(day time.Time) {
	entries, _ := os.ReadDir(c.dir)
	for _, e := range entries {
		name, isKey := strings.CutPrefix(e.Name(), keyPrefix)
		of, whole := strings.CutSuffix(name, keySuffix)
		if isKey && (!whole || of < day.Format(time.DateOnly)) { // years have four digits
			_ = os.Remove(filepath.Join(c.dir, e.Name()))
		}
	}
}
