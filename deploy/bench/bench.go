package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	buildWithin = 10 * time.Minute
	readyWithin = 60 * time.Second // a hundred workers take their time
	settle      = time.Second      // for what a start leaves running, before memory is looked at
)

// A bench is a benchmark in progress: what it has built and what runs in all its
// rounds.
type bench struct {
	*options
	progress io.Writer
	dir      string // all its files
	bin      string // what it has built
	systems  []*system
	missing  []string
	running  []*process // those of all rounds
	backend  string     // address; has the bodies of all sizes
	sink     string     // address; has bodies of any size, and takes them
	results  *results

	instances int // started so far; each has a folder
	lastPort  int // given to a listener
}

func newBench(ctx context.Context, o *options, progress io.Writer) (_ *bench, err error) {
	descriptors, err := raiseDescriptors()
	if err != nil {
		return nil, err
	}
	// Where Debian has daemons, and the PATH of its users has not.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin"); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "cbench-") // short, for the paths of sockets
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, progress: progress, dir: dir, bin: filepath.Join(dir, "bin"), results: newResults(o.rounds), lastPort: rand.IntN(ports)}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	b.systems, b.missing = found(o.systems)
	for _, text := range b.missing {
		b.say("%s", text)
	}
	const others = 500 // descriptors that are no idle connections
	if most := descriptors - others; o.idle > most {
		b.say("%d idle connections, not %d: the limit of open files is %d", most, o.idle, descriptors)
		o.idle = most
	}
	b.say("building")
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	return b, b.startBackends(ctx)
}

// close ends all that runs and removes all that was written.
func (b *bench) close() error {
	err := stopAll(b.running)
	return errors.Join(err, os.RemoveAll(b.dir))
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// build builds the coordinator as it is shipped, and the peers in the same way.
func (b *bench) build(ctx context.Context) error {
	out, err := output(ctx, time.Minute, "", "go", "env", "GOMOD")
	if err != nil {
		return err
	}
	module := strings.TrimSpace(string(out))
	if module == os.DevNull || module == "" {
		return errors.New("no go.mod here: start it in the folder of the repository")
	}
	// env, not os.Setenv: those who are measured must not inherit it.
	_, err = output(ctx, buildWithin, filepath.Dir(module), "env", "CGO_ENABLED=0",
		"go", "build", "-trimpath", "-o", b.bin+"/", "./cmd/coordinator", "./deploy/bench/peers/...")
	return err
}

// startBackends starts what the systems stand in front of.
func (b *bench) startBackends(ctx context.Context) error {
	var err error
	if b.sink, err = b.freeAddress(); err != nil {
		return err
	}
	if err := b.startBackend(ctx, b.sink, launch{[]string{filepath.Join(b.bin, "backend"), b.sink}}); err != nil {
		return err
	}
	b.backend = b.sink
	if !onPath("nginx") {
		b.say("no nginx on PATH: the backend is one in Go, which leaves less of the machine to the others (apt-get install nginx-light)")
		return nil
	}
	if b.backend, err = b.freeAddress(); err != nil {
		return err
	}
	files := filepath.Join(b.dir, "files")
	if err := os.Mkdir(files, 0o755); err != nil {
		return err
	}
	for _, size := range b.sizes {
		if err := os.WriteFile(filepath.Join(files, strconv.FormatInt(size, 10)), make([]byte, size), 0o644); err != nil {
			return err
		}
	}
	nginx, err := nginxFiles(b.dir, b.backend, files)
	if err != nil {
		return err
	}
	return b.startBackend(ctx, b.backend, nginx)
}

func (b *bench) startBackend(ctx context.Context, address string, l launch) error {
	p, err := startProcess(b.dir, l.argv...)
	if err != nil {
		return err
	}
	b.running = append(b.running, p)
	return ready(ctx, "http://"+address+sizePath(b.sizes[0]), p)
}

// Listeners are put below the ports that connections are given on their way out
// (32768 and above), or one of ten thousand connections could have taken theirs.
const firstPort, ports = 20_000, 12_000

// freeAddress is one on the loopback interface that nobody listens on. The next
// call gives another, whether this one is used or not.
func (b *bench) freeAddress() (string, error) {
	for range ports {
		b.lastPort++
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+b.lastPort%ports))
		if err == nil {
			return listener.Addr().String(), listener.Close()
		}
	}
	return "", fmt.Errorf("no free port from %d to %d on 127.0.0.1", firstPort, firstPort+ports)
}

// An instance is a system that runs.
type instance struct {
	*system
	url       string
	processes []*process
}

// start starts a system in front of a backend and waits until it answers at path.
func (b *bench) start(ctx context.Context, s *system, backend, path string) (_ *instance, err error) {
	b.instances++
	at := site{bin: b.bin, dir: filepath.Join(b.dir, strconv.Itoa(b.instances)), backend: backend}
	if err := os.Mkdir(at.dir, 0o700); err != nil {
		return nil, err
	}
	if at.address, err = b.freeAddress(); err != nil {
		return nil, err
	}
	if at.admin, err = b.freeAddress(); err != nil {
		return nil, err
	}
	launches, err := s.launches(at)
	if err != nil {
		return nil, err
	}
	i := &instance{system: s, url: "http://" + at.address}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", s.name, errors.Join(err, stopAll(i.processes)))
		}
	}()
	for _, l := range launches {
		p, err := startProcess(b.dir, l.argv...)
		if err != nil {
			return nil, err
		}
		i.processes = append(i.processes, p)
	}
	return i, ready(ctx, i.url+path, i.processes...)
}

// pids are the processes of the system, workers and what they have started
// included.
func (i *instance) pids() ([]int, error) {
	var roots []int
	for _, p := range i.processes {
		roots = append(roots, p.pid())
	}
	return family(roots...)
}

func (i *instance) stop() error { return stopAll(i.processes) }

// stopAll stops them in the reverse of the order in which they were started.
func stopAll(processes []*process) error {
	var err error
	for _, p := range slices.Backward(processes) {
		err = errors.Join(err, p.stop())
	}
	return err
}

// ready waits for a good answer, and gives up when a process ends.
func ready(ctx context.Context, url string, processes ...*process) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		err := get(ctx, &client, url)
		if err == nil {
			return nil
		}
		for _, p := range processes {
			select {
			case <-p.ended:
				return p.failed()
			default:
			}
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("not ready in %s: %w\n%s", readyWithin, err, processes[len(processes)-1].output)
		}
	}
}

func get(ctx context.Context, client *http.Client, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
