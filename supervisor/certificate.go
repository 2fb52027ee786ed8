package supervisor

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificate serves a key pair and reads it again when its files change.
type certificate struct {
	certFile, keyFile string
	warn              func(error)
	pair              atomic.Pointer[tls.Certificate]

	mu     sync.Mutex // of the handshake that looks at the files: no other waits for it
	of     [2]time.Time
	looked time.Time
}

// lookEvery is how often a handshake looks at the files.
const lookEvery = time.Second

func newCertificate(certFile, keyFile string, warn func(error)) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, warn: warn, looked: time.Now()}
	of, _ := c.changed()
	return c, c.load(of)
}

// load reads the files, which were changed last at those times.
func (c *certificate) load(of [2]time.Time) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("COORDINATOR_TLS_CERT=%s, COORDINATOR_TLS_KEY=%s: %w", c.certFile, c.keyFile, err)
	}
	c.of = of
	c.pair.Store(&pair)
	return nil
}

// get implements tls.Config.GetCertificate. A pair that cannot be read, as in
// the middle of its replacement, leaves the old one in use; so does, for all
// handshakes but one, a disk that does not answer.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		c.look(time.Now())
	}
	return c.pair.Load(), nil
}

func (c *certificate) look(now time.Time) {
	if now.Sub(c.looked) <= lookEvery {
		return
	}
	c.looked = now
	of, err := c.changed()
	if err != nil || of == c.of {
		return
	}
	if err := c.load(of); err != nil {
		c.warn(err)
	}
}

// changed is when the files were. Any other time than before is a change: what is put
// back is older.
func (c *certificate) changed() (of [2]time.Time, err error) {
	for i, file := range [...]string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return of, err
		}
		of[i] = info.ModTime()
	}
	return of, nil
}
