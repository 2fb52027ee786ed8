package kept

import (
	"errors"
)

// Errors of what cannot be opened, besides those of the file system.
var (
	// ErrKey: the key that sealed it is not among ours.
	ErrKey = errors.New("kept: sealed with a key that is not in the key file")
	// ErrDamaged: it is not what was kept, or not of this request.
	ErrDamaged = errors.New("kept: damaged, or not of this request")
)

const (
	version     = 1
	headerBytes = 1 + keyIDBytes
)

// seal is the content of the file of that name.
func (k *Keys) seal(name, requestID string, plain []byte) ([]byte, error) {
	first := &k.all[0]
	aead, err := first.aead(name)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, headerBytes+len(plain)+aead.Overhead())
	out = append(append(out, version), first.id[:]...)
	return aead.Seal(out, nil, plain, additional(out, requestID)), nil
}

// open is the reverse of seal.
func (k *Keys) open(name, requestID string, file []byte) ([]byte, error) {
	if len(file) < headerBytes || file[0] != version {
		return nil, ErrDamaged
	}
	header := file[:headerBytes]
	with := k.find(header[1:])
	if with == nil {
		return nil, ErrKey
	}
	aead, err := with.aead(name)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, file[headerBytes:], additional(header, requestID))
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// additional is what is authenticated besides: the header has a fixed length, so
// no two pairs are one text.
func additional(header []byte, requestID string) []byte {
	return append(append(make([]byte, 0, headerBytes+len(requestID)), header[:headerBytes]...), requestID...)
}
