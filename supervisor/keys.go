package supervisor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/idempotency"
)

// IdempotencyMode is what the Idempotency-Key of an unsafe request means to a
// bulkhead.
type IdempotencyMode string

const (
	IdempotencyOff      IdempotencyMode = "off" // it is the backend's
	IdempotencyOptional IdempotencyMode = "optional"
	IdempotencyRequired IdempotencyMode = "required" // without one: 400
)

func (m IdempotencyMode) on() bool { return m == IdempotencyOptional || m == IdempotencyRequired }

// IdempotencyConfig is how a bulkhead keeps a repeat from doing work twice. Its keys
// outlive the process in the journal alone, so RecordConfig.Scope should be unsafe
// or all.
type IdempotencyConfig struct {
	Mode IdempotencyMode // empty: off
	idempotency.Settings
}

// keyring is what the keys of all bulkheads have in common: the secret of their
// digests, and whose turn it is to send requests that have one. Supervisors that
// share a state directory share both.
//
// A successor learns the keys of the supervisor before it from the journal, and
// could not learn of one that goes out later. So they go out from one of the two at
// a time: the old one lets them wait while it hands over, and sends none after.
type keyring struct {
	state  string
	log    hclog.Logger
	secret []byte // nil: no bulkhead has had keys; set before the first has

	mu      sync.Mutex    // guards what follows
	entered int           // requests whose intent is being recorded
	left    chan struct{} // closed when none is entered any more; nil: nobody waits for that
	paused  chan struct{} // closed by resume; nil: there is no pause
	ceded   bool          // a successor has the turn
}

func newKeyring(stateDir string, log hclog.Logger) *keyring {
	return &keyring{state: stateDir, log: log}
}

// errNotOurTurn is of a request with a key whose supervisor has a successor.
var errNotOurTurn = errors.New("a successor takes requests with idempotency keys")

// enter waits for the turn to record an intent with a key: for as long as a
// successor takes to take over, and no longer than its client and its deadline.
// Without an error, leave has to follow.
func (k *keyring) enter(ctx context.Context, deadline time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.paused != nil {
		paused := k.paused
		k.mu.Unlock()
		err := outlast(ctx, paused, deadline)
		k.mu.Lock()
		if err != nil {
			return err
		}
	}
	if k.ceded {
		return errNotOurTurn
	}
	k.entered++
	return nil
}

// outlast waits for the end of a pause.
func outlast(ctx context.Context, paused <-chan struct{}, deadline time.Time) error {
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	select {
	case <-paused:
		return nil
	case <-ctx.Done():
		return &exchange.Error{Fault: exchange.ClientGone, Err: context.Cause(ctx)}
	case <-late.C:
		return &exchange.Error{Fault: exchange.Deadline}
	}
}

func (k *keyring) leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.entered--; k.entered == 0 && k.left != nil {
		close(k.left)
		k.left = nil
	}
}

// pause keeps intents with a key from being recorded until resume is called, with
// whether somebody else goes on. Those that are being recorded it lets end; a disk
// that answers nothing may hold them for ever, so it gives up when ctx ends, and
// then there is no pause. There is one at a time.
func (k *keyring) pause(ctx context.Context) (resume func(ceded bool), err error) {
	k.mu.Lock()
	paused, left := make(chan struct{}), make(chan struct{})
	k.paused = paused
	if k.entered > 0 {
		k.left = left
	} else {
		close(left)
	}
	k.mu.Unlock()
	resume = func(ceded bool) {
		k.mu.Lock()
		k.ceded, k.paused, k.left = ceded, nil, nil
		k.mu.Unlock()
		close(paused)
	}
	select {
	case <-left:
		return resume, nil
	case <-ctx.Done():
		resume(false)
		return nil, fmt.Errorf("requests with idempotency keys are still being recorded: %w", context.Cause(ctx))
	}
}

// keySecret is the file with the secret, and secretLen its length in bytes.
const (
	keySecret = "idempotency.key"
	secretLen = 32
)

// open reads the secret, or makes it, if any bulkhead needs one. It does nothing
// when that was done before.
func (k *keyring) open(bulkheads []BulkheadConfig) (err error) {
	for _, b := range bulkheads {
		if b.Idempotency.Mode.on() && k.secret == nil {
			if k.secret, err = openSecret(filepath.Join(k.state, keySecret)); err != nil {
				return fmt.Errorf("secret of idempotency keys: %w", err)
			}
		}
	}
	return nil
}

// openSecret reads the file, which one process makes and any number read: it is
// complete before it has its name.
func openSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeSecret(path); err == nil {
			secret, err = os.ReadFile(path)
		}
	}
	if err == nil && len(secret) != secretLen {
		err = fmt.Errorf("%s has %d bytes, not %d: without it all keys in the journal are forgotten, so restore it, or remove it knowing that",
			path, len(secret), secretLen)
	}
	if err != nil {
		return nil, err
	}
	return secret, nil
}

func makeSecret(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), keySecret+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	secret := make([]byte, secretLen)
	rand.Read(secret)
	if _, err = f.Write(secret); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // another was first
	}
	return err
}

// store is where the keys of a bulkhead are: before, as c now has it, or a new one.
// It is nil when c has none. With an error the settings stay as they were.
func (k *keyring) store(c IdempotencyConfig, before *idempotency.Store) (*idempotency.Store, error) {
	switch {
	case !c.Mode.on():
		return nil, nil
	case before == nil:
		return idempotency.New(c.Settings, k.secret), nil
	}
	return before, before.Apply(c.Settings, time.Now())
}
