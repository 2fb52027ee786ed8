package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
)

// checkReadable opens a file that a variable names.
func (s *scope) checkReadable(key, path string) bool {
	if err := readable(path); err != nil {
		s.fail(key, "%s; want a file that can be read", cause(err))
		return false
	}
	return true
}

func readable(path string) error {
	// Stat first: opening a pipe would wait for its other end.
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// executable is nil when path is a file that somebody may run.
func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case info.Mode().Perm()&0o111 == 0:
		return errors.New("not executable")
	}
	return nil
}

// checkPair wants a certificate and its key, or neither.
func (s *scope) checkPair(certKey, cert, keyKey, key string) {
	switch {
	case !s.fine(certKey, keyKey), cert == "" && key == "":
		return
	case key == "":
		s.fail(certKey, "%s is not set; want both or neither", s.prefix+keyKey)
		return
	case cert == "":
		s.fail(keyKey, "%s is not set; want both or neither", s.prefix+certKey)
		return
	}
	certOK, keyOK := s.checkReadable(certKey, cert), s.checkReadable(keyKey, key)
	if !certOK || !keyOK {
		return
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		s.fail(certKey, "%s; want a PEM certificate and %s its key", err, s.prefix+keyKey)
	}
}

// checkRoots wants at least one certificate.
func (s *scope) checkRoots(key, path string) {
	if !s.checkReadable(key, path) {
		return
	}
	text, err := readBounded(path)
	if err != nil {
		s.fail(key, "%s; want a PEM file", cause(err))
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(text)) {
		s.fail(key, "no certificate in it; want a PEM file")
	}
}
