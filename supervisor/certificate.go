package supervisor

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificate serves a key pair and reads it again when its files change.
type certificate struct {
	certFile, keyFile string
	warn              func(error)

	mu      sync.Mutex
	pair    *tls.Certificate
	changed time.Time // of the files that pair is from
	looked  time.Time
}

// lookEvery is how often a handshake looks at the files.
const lookEvery = time.Second

func newCertificate(certFile, keyFile string, warn func(error)) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, warn: warn}
	return c, c.load(time.Now())
}

func (c *certificate) load(now time.Time) error {
	changed := latest(c.certFile, c.keyFile)
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	c.looked = now
	if err != nil {
		return fmt.Errorf("COORDINATOR_TLS_CERT=%s, COORDINATOR_TLS_KEY=%s: %w", c.certFile, c.keyFile, err)
	}
	c.pair, c.changed = &pair, changed
	return nil
}

// get implements tls.Config.GetCertificate. A pair that cannot be read, as in
// the middle of its replacement, leaves the old one in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) > lookEvery {
		c.looked = now
		if latest(c.certFile, c.keyFile).After(c.changed) {
			if err := c.load(now); err != nil {
				c.warn(err)
			}
		}
	}
	return c.pair, nil
}

func latest(files ...string) time.Time {
	var t time.Time
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.ModTime().After(t) {
			t = info.ModTime()
		}
	}
	return t
}
