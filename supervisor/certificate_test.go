package supervisor_test

import (
	"crypto/tls"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// served is the serial number of the certificate that a new connection gets; 0: it
// got none within a second.
func (r *running) served() int64 {
	d := &net.Dialer{Timeout: time.Second}
	nc, err := tls.DialWithDialer(d, "tcp", r.addr, insecure())
	if err != nil {
		return 0
	}
	defer nc.Close()
	return nc.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// A certificate that is put back has the time that it had, like by cp -p.
func TestACertificateIsPutBack(t *testing.T) {
	dir, before := t.TempDir(), time.Now().Add(-time.Hour)
	cert, key := pair(t, dir, 1)
	was := make(map[string][]byte)
	for _, file := range []string{cert, key} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		was[file] = b
		os.Chtimes(file, before, before)
	}
	r := start(t, one("a"), func(o *supervisor.Options) { o.Config.TLSCert, o.Config.TLSKey = cert, key })
	pair(t, dir, 2)
	eventually(t, 10*time.Second, "the new one is served", func() bool { return r.served() == 2 })
	for file, b := range was {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		os.Chtimes(file, before, before)
	}
	eventually(t, 10*time.Second, "the old one is served again", func() bool { return r.served() == 1 })
}

// A disk that does not answer holds up the handshake that looks, and no other.
func TestADiskThatHangsStopsNoHandshakes(t *testing.T) {
	cert, key := pair(t, t.TempDir(), 1)
	r := start(t, one("a"), func(o *supervisor.Options) { o.Config.TLSCert, o.Config.TLSKey = cert, key })
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(cert, 0o600); err != nil { // to open it waits for a writer
		t.Fatal(err)
	}
	defer func() {
		f, err := os.OpenFile(cert, os.O_RDWR, 0) // which waits for nobody
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("none")
		f.Close()
	}()
	eventually(t, 10*time.Second, "one looks, and hangs", func() bool { return r.served() == 0 })
	for range 3 {
		if got := r.served(); got != 1 {
			t.Fatalf("another gets %d", got)
		}
	}
}
