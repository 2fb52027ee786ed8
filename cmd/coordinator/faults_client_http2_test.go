//go:build linux

package main_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// sharedH2 is a client with one HTTP/2 connection for all that it asks.
func (f *clientTrial) sharedH2() (client *http.Client, dials *atomic.Int64) {
	dials = new(atomic.Int64)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols, DisableCompression: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 15 * time.Second}, dials
}

// endless is a body that counts what was taken of it.
type endless struct{ taken *atomic.Int64 }

func (e endless) Read(p []byte) (int, error) {
	e.taken.Add(int64(len(p)))
	return len(p), nil
}

// unreadUploads has uploads that the backend of their bulkhead does not read
// fill all windows that they can, on a connection which others use as well.
func unreadUploads(f *clientTrial) {
	client, dials := f.sharedH2()
	var taken atomic.Int64
	var stuck sync.WaitGroup
	const uploads = 20
	ctx, leave := context.WithCancel(f.t.Context())
	defer leave()
	f.wellOn(client, "/healthy/ok", nil) // opens the connection
	for range uploads {
		stuck.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/unread/x", endless{&taken})
			if err != nil {
				f.t.Error(err)
				return
			}
			if resp, err := client.Do(req); err == nil {
				resp.Body.Close()
				f.t.Errorf("an upload that nobody read was answered with %s", resp.Status)
			}
		})
	}
	eventually(f.t, 3*time.Second, "they are all in flight", func() bool { return f.bulkhead("unread").InFlight == uploads })
	for seen := int64(-1); seen != taken.Load(); time.Sleep(150 * time.Millisecond) { // until none has moved between two looks
		seen = taken.Load()
	}
	f.t.Logf("%d uploads stand still after %d KiB", uploads, taken.Load()>>10)
	for range 10 {
		f.wellOn(client, "/healthy/ok", nil)
		f.wellOn(client, "/healthy/sink", &pattern{1 << 20})
	}
	if n := f.bulkhead("unread").InFlight; n != uploads {
		f.t.Errorf("%d uploads are in flight, want %d still", n, uploads)
	}
	leave()
	stuck.Wait()
	if n := dials.Load(); n != 1 {
		f.t.Errorf("%d connections, want all on one", n)
	}
	f.idle("unread", 2*time.Second)
}

// wellOn asks on a client's own connection for what has to be answered at once.
func (f *clientTrial) wellOn(client *http.Client, target string, body io.Reader) {
	f.t.Helper()
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+target, body)
	if err != nil {
		f.t.Fatal(err)
	}
	begun := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		f.t.Errorf("%s: %v", target, err)
		return
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		f.t.Errorf("%s: %s %v", target, resp.Status, err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		f.t.Errorf("%s took %v", target, took)
	}
}

// unreadDownloads has downloads whose client takes nothing, beside others on
// the same connection.
func unreadDownloads(f *clientTrial) {
	c := f.dialH2(f.t)
	const downloads = 10
	for i := range uint32(downloads) {
		c.ask(2*i+1, true, asksH2("GET", "/faulty/big?n=67108864")...)
	}
	eventually(f.t, 2*time.Second, "they are in flight", func() bool { return f.bulkhead("faulty").InFlight == downloads })
	stream := uint32(2 * downloads)
	for range 10 {
		stream += 2
		small, large := stream-1, stream+1
		c.ask(small, true, asksH2("GET", "/healthy/ok")...)
		c.ask(large, true, asksH2("GET", "/healthy/big?n=1048576")...)
		c.wrote(c.fr.WriteWindowUpdate(large, 1<<20))
		begun := time.Now()
		got, gone := c.answers(small, large)
		if gone || got[small].word() != "200" || got[large].body != 1<<20 {
			f.t.Fatalf("beside unread downloads: %s, and %s with %d bytes", got[small].word(), got[large].word(), got[large].body)
		}
		if took := time.Since(begun); took > 2*time.Second {
			f.t.Errorf("1 MiB took %v", took)
		}
		stream += 2
	}
	f.t.Logf("slots of unread downloads were free after %v", f.idle("faulty", 5*time.Second))
	var unread []uint32
	for i := range uint32(downloads) {
		unread = append(unread, 2*i+1)
	}
	got, _ := c.answers(unread...)
	for _, id := range unread {
		if a := got[id]; a != nil && !a.reset {
			f.t.Errorf("an unread download ended as %s with %d bytes", a.word(), a.body)
		}
	}
}
