package kept

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

const (
	keyBytes     = 32
	keyIDBytes   = 8
	maxKeys      = 16
	maxKeyFile   = 4 << 10
	keyIDLabel   = "coordinator kept request key id"
	fileKeyLabel = "coordinator kept request"
)

// Keys seal and open. They are safe for concurrent use.
type Keys struct{ all []key }

type key struct {
	id     [keyIDBytes]byte
	secret [keyBytes]byte
}

// String keeps keys out of logs.
func (k *Keys) String() string { return "***" }

// GoString does too.
func (k *Keys) GoString() string { return "***" }

// ReadKeys reads a key file: 32 raw bytes, or a line each of 1 to 16 keys as 64
// hexadecimal digits or base64, between empty lines and such that begin with #. A
// file that others than its owner can open is refused; its group may read it, as
// that is how Kubernetes gives a Secret to a user that is not root. The errors say
// what is wanted and quote nothing of the file.
func ReadKeys(path string) (*Keys, error) {
	info, err := os.Stat(path) // before it is opened: a pipe would wait for its other end
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file; want a file with a key of 32 bytes")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o037 != 0 {
		return nil, fmt.Errorf("others can open it (mode %#o); want 0600, or 0640 for a group", mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	return ParseKeys(text)
}

// ParseKeys reads what a key file holds.
func ParseKeys(text []byte) (*Keys, error) {
	const want = "want 32 bytes, or on each line a key of 64 hexadecimal digits or of 32 bytes in base64"
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("more than %d bytes; %s", maxKeyFile, want)
	}
	if len(text) == keyBytes {
		return newKeys([][]byte{text})
	}
	var secrets [][]byte
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		secret, ok := decodeKey(string(line))
		if !ok {
			return nil, fmt.Errorf("line %d is no key; %s", n, want)
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("no key in it; %s", want)
	}
	return newKeys(secrets)
}

func decodeKey(line string) (secret []byte, ok bool) {
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if secret, err := decode(line); err == nil && len(secret) == keyBytes {
			return secret, true
		}
	}
	return nil, false
}

func newKeys(secrets [][]byte) (*Keys, error) {
	if len(secrets) > maxKeys {
		return nil, fmt.Errorf("%d keys; want at most %d", len(secrets), maxKeys)
	}
	keys := &Keys{}
	for i, secret := range secrets {
		if bytes.Count(secret, secret[:1]) == keyBytes {
			return nil, fmt.Errorf("key %d is one byte over and over; want a random one", i+1)
		}
		k := key{secret: [keyBytes]byte(secret)}
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(keyIDLabel))
		k.id = [keyIDBytes]byte(mac.Sum(nil))
		if slices.ContainsFunc(keys.all, func(other key) bool { return other.id == k.id }) {
			return nil, fmt.Errorf("key %d is there twice; want it once", i+1)
		}
		keys.all = append(keys.all, k)
	}
	return keys, nil
}

// find is the key of an id; nil: it is not among them.
func (k *Keys) find(id []byte) *key {
	for i := range k.all {
		if bytes.Equal(k.all[i].id[:], id) {
			return &k.all[i]
		}
	}
	return nil
}

// aead is the cipher of one file.
func (k *key) aead(name string) (cipher.AEAD, error) {
	own, err := hkdf.Key(sha256.New, k.secret[:], []byte(name), fileKeyLabel, keyBytes)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(own)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
