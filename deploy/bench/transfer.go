package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	transferWithin = 2 * time.Minute
	watchEvery     = 20 * time.Millisecond
	transferBuffer = 256 << 10
)

// stream moves one body through a system just started, down and then up.
func (b *bench) stream(ctx context.Context, round int, s *system) (err error) {
	i, err := b.start(ctx, s, b.sink, sizePath(1))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.stop()) }()
	pids, err := i.pids()
	if err != nil {
		return err
	}
	watch, err := watchMemory(pids)
	if err != nil {
		return err
	}
	var down, up time.Duration
	var errDown, errUp error
	var moving sync.WaitGroup
	moving.Go(func() { // not here: this goroutine has a thread to itself, which each wait would have to wake
		down, errDown = download(ctx, i.url, b.body)
		up, errUp = upload(ctx, i.url, b.body)
	})
	moving.Wait()
	grown, err := watch.end()
	if err := errors.Join(errDown, errUp, err); err != nil {
		return err
	}
	b.results.set(point{metric: streamDown, system: s.name}, round, float64(b.body)/1e6/down.Seconds())
	b.results.set(point{metric: streamUp, system: s.name}, round, float64(b.body)/1e6/up.Seconds())
	b.results.set(point{metric: streamGrowth, system: s.name}, round, float64(grown)/(1<<20))
	return nil
}

// transfer sends a request of size bytes, 0 for none, and reads the answer, whose
// body it gives to take.
func transfer(ctx context.Context, method, to string, size int64, take func(io.Reader) error) (time.Duration, error) {
	began := time.Now()
	conn, err := dial(ctx, to, began.Add(transferWithin))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	target, _ := url.Parse(to) // dial has
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, target.RequestURI(), target.Host)
	if size > 0 {
		head += fmt.Sprintf("Content-Length: %d\r\n", size)
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		return 0, err
	}
	if _, err := io.CopyBuffer(onlyWriter{conn}, io.LimitReader(zeros{}, size), make([]byte, transferBuffer)); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, transferBuffer), &http.Request{Method: method})
	if err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, errors.New(response.Status)
	}
	err = take(response.Body)
	return time.Since(began), err
}

func download(ctx context.Context, base string, size int64) (time.Duration, error) {
	return transfer(ctx, http.MethodGet, base+sizePath(size), 0, func(body io.Reader) error {
		n, err := io.CopyBuffer(onlyWriter{io.Discard}, body, make([]byte, transferBuffer))
		if err == nil && n != size {
			err = fmt.Errorf("%d bytes of %d arrived", n, size)
		}
		return err
	})
}

func upload(ctx context.Context, base string, size int64) (time.Duration, error) {
	return transfer(ctx, http.MethodPost, base+"/", size, func(body io.Reader) error {
		text, err := io.ReadAll(io.LimitReader(body, 100))
		if err == nil && string(text) != strconv.FormatInt(size, 10) {
			err = fmt.Errorf("the backend got %q bytes of %d", text, size)
		}
		return err
	})
}

// onlyWriter hides a ReadFrom that would not use the buffer.
type onlyWriter struct{ io.Writer }

// zeros is an endless body.
type zeros struct{}

// Read never fails, and leaves the buffer as it is: what is sent does not matter.
func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func dial(ctx context.Context, to string, deadline time.Time) (*net.TCPConn, error) {
	target, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Deadline: deadline}).DialContext(ctx, "tcp", target.Host)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), conn.SetDeadline(deadline)
}

// keptConns are connections that nothing is sent over any more.
type keptConns []*net.TCPConn

// open adds n, each of which has had one answer.
func (k *keptConns) open(ctx context.Context, to string, n int) error {
	target, err := url.Parse(to)
	if err != nil {
		return err
	}
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target.RequestURI(), target.Host)
	deadline := time.Now().Add(transferWithin)
	var answer bufio.Reader
	for range n {
		conn, err := dial(ctx, to, deadline)
		if err != nil {
			return err
		}
		*k = append(*k, conn)
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		answer.Reset(conn)
		response, err := http.ReadResponse(&answer, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK || response.Close {
			return fmt.Errorf("%s, and closes: %v", response.Status, response.Close)
		}
	}
	return nil
}

// closed is how many the other side has ended.
func (k keptConns) closed() int {
	n := 0
	for _, conn := range k {
		raw, err := conn.SyscallConn()
		if err != nil {
			n++
			continue
		}
		gone := false
		err = raw.Read(func(fd uintptr) bool {
			var b [1]byte
			_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			gone = err != syscall.EAGAIN
			return true
		})
		if gone || err != nil {
			n++
		}
	}
	return n
}

// close ends them by a reset, which leaves no ports waiting.
func (k keptConns) close() {
	for _, conn := range k {
		conn.SetLinger(0)
		conn.Close()
	}
}

// A memoryWatch sees how much processes grow.
type memoryWatch struct {
	stop, stopped chan struct{}
	grown         int64
	err           error
}

func watchMemory(pids []int) (*memoryWatch, error) {
	before := make([]int64, len(pids))
	for i, pid := range pids {
		var err error
		if before[i], err = resident(pid); err != nil {
			return nil, err
		}
	}
	w := &memoryWatch{stop: make(chan struct{}), stopped: make(chan struct{})}
	go w.run(pids, before)
	return w, nil
}

func (w *memoryWatch) run(pids []int, before []int64) {
	defer close(w.stopped)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		for i, pid := range pids {
			now, err := resident(pid)
			if err != nil {
				w.err = err
				return
			}
			w.grown = max(w.grown, now-before[i])
		}
		select {
		case <-tick.C:
		case <-w.stop:
			return
		}
	}
}

// end returns how many bytes that process had gained, at its largest, which
// gained most.
func (w *memoryWatch) end() (int64, error) {
	close(w.stop)
	<-w.stopped
	return w.grown, w.err
}
