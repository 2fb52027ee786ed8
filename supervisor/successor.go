package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// successor is the new process, seen from the old supervisor.
type successor struct {
	process *os.Process
	line    *os.File // what in reads
	in      *bufio.Reader
	out     *os.File
	ended   chan struct{}
	state   *os.ProcessState // once ended is closed; may be nil

	operated map[string]Operated // as it was told
}

// Upgrade replaces this process by a new one of the binary that stands at its
// path now, without losing a connection. When the new one does not get ready in
// time, this one goes on as if nothing had been asked.
func (s *Supervisor) Upgrade(ctx context.Context) Report {
	begun := time.Now()
	r := Report{Action: "upgrade", Bulkheads: []string{}}
	pid, err := s.upgrade(ctx)
	r.took(begun)
	s.metrics.operated(r.Action, err)
	if err != nil {
		r.Error = err.Error() + "; this supervisor goes on"
		s.log.Error("upgrade failed", "error", err, "took_ms", r.TookMS)
		return r
	}
	r.Did = fmt.Sprintf("pid %d serves, pid %d drains and ends", pid, os.Getpid())
	s.log.Info("upgraded: "+r.Did, "took_ms", r.TookMS)
	close(s.replaced)
	return r
}

func (s *Supervisor) upgrade(ctx context.Context) (pid int, err error) {
	defer s.drill.bar("an upgrade")()
	s.operate.Lock()
	defer s.operate.Unlock()
	switch {
	case os.Getpid() == 1:
		return 0, errors.New("PID 1 of a container cannot hand over to another process: roll the container")
	case s.options.Successor == nil:
		return 0, errors.New("this supervisor does not know how it was started")
	case *s.state.Load() != stateReady:
		return 0, fmt.Errorf("the supervisor is %s", *s.state.Load())
	}
	if err := begins(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startWait+5*time.Second, errors.New("the new process was not ready in time"))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	defer context.AfterFunc(s.life, func() { giveUp(errors.New("the supervisor was told to stop")) })()
	next, err := s.launchSuccessor()
	if err != nil {
		return 0, err
	}
	defer next.line.Close()
	defer next.out.Close()
	begun := time.Now()
	var resume func(ceded bool) // nil: it has not been told to go
	if err = next.await(ctx, "ready"); err == nil && !maps.Equal(s.operated(), next.operated) {
		err = errors.New("meanwhile a bulkhead was drained, resumed, resized or its breaker forced: ask again")
	}
	if err == nil {
		if resume, err = s.keys.pause(ctx); err == nil {
			err = next.takeOver(ctx)
		}
	}
	if err != nil {
		_ = next.process.Kill()
		<-next.ended
		s.generation.reclaim()
		if resume != nil {
			s.keys.restore(s.life, keysOf(s.bulkheads()), begun, s.journal.runs()) // it may have sent some
			resume(false)
		}
		return 0, err
	}
	resume(true)
	s.handOver(next.process.Pid)
	return next.process.Pid, nil
}

func (n *successor) takeOver(ctx context.Context) error {
	_, err := n.out.WriteString("go\n")
	if err == nil {
		err = n.await(ctx, "serving")
	}
	if err != nil {
		return fmt.Errorf("the new process failed as it took over: %w", err)
	}
	return nil
}

// lastWords is how long after a successor's end what it said is still read: its
// end of the line may have gone on to a process of its own.
const lastWords = 100 * time.Millisecond

// await waits for a word. Anything else that the successor says is why it fails.
func (n *successor) await(ctx context.Context, word string) error {
	said := make(chan string, 1)
	go func() { // ends with the process, at the latest
		line, _ := n.in.ReadString('\n')
		said <- strings.TrimSpace(line)
	}()
	select {
	case line := <-said:
		switch line {
		case word:
			return nil
		case "":
			_ = n.process.Kill() // it will not say any more
			<-n.ended
			return fmt.Errorf("the new process ended before it was %s (%v)", word, n.state)
		}
		return errors.New("the new process: " + line)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// launchSuccessor starts the new process with all that it inherits.
func (s *Supervisor) launchSuccessor() (_ *successor, err error) {
	path, args, env, err := s.options.Successor()
	if err != nil {
		return nil, err
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		ourOut.Close()
		return nil, err
	}
	defer theirOut.Close()
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr}
	h := Handover{Files: make(map[string]int), Sick: s.unready(), Operated: s.operated(), Limits: s.limitsFound()}
	give := func(name string, f *os.File) {
		h.Files[name] = len(files)
		files = append(files, f)
	}
	give(inFile, theirIn)
	give(outFile, theirOut)
	give(lockFileOf, s.generation.state)
	dups, err := s.listeningFiles()
	defer func() {
		for _, f := range dups {
			f.Close()
		}
		if err != nil {
			ourOut.Close()
			ourIn.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	for name, f := range dups {
		give(name, f)
	}
	value, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	proc, err := os.StartProcess(path, args, &os.ProcAttr{
		Env: append(env, HandoverVariable+"="+string(value)), Files: files,
	})
	if err != nil {
		return nil, err
	}
	n := &successor{process: proc, line: ourIn, in: bufio.NewReader(ourIn), out: ourOut, ended: make(chan struct{}), operated: h.Operated}
	go func() { // as long as the process: whoever upgrades ends with it, or has killed it
		n.state, _ = proc.Wait()
		_ = n.line.SetReadDeadline(time.Now().Add(lastWords))
		close(n.ended)
	}()
	return n, nil
}

// listeningFiles duplicates every listening socket.
func (s *Supervisor) listeningFiles() (map[string]*os.File, error) {
	files := make(map[string]*os.File)
	dup := func(name string, ln net.Listener) error {
		f, err := dupListener(name, ln)
		if err == nil {
			files[name] = f
		}
		return err
	}
	for _, ln := range s.listeners {
		if err := dup(ln.name, ln.Listener); err != nil {
			return files, err
		}
	}
	for name, ln := range s.admin.listeners {
		if err := dup(name, ln); err != nil {
			return files, err
		}
	}
	return files, nil
}

// dupListener is what File of a net.Listener is, but for one thing: starting a
// process with that would set the socket to blocking, for both descriptors, and
// nothing could end an Accept any more when the successor did not undo it.
func dupListener(name string, ln net.Listener) (*os.File, error) {
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	number, dupErr := -1, error(nil)
	if err := raw.Control(func(fd uintptr) {
		number, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, os.NewSyscallError("fcntl", dupErr)
	}
	return os.NewFile(uintptr(number), name), nil
}

// unready lists the bulkheads without a worker.
func (s *Supervisor) unready() []string {
	names := []string{}
	for _, b := range s.bulkheads() {
		if b.ready() == 0 {
			names = append(names, b.settings.Load().Name)
		}
	}
	return names
}

// handOver leaves the sockets' paths to the successor, and tells the service
// manager whom to watch.
func (s *Supervisor) handOver(pid int) {
	s.handed.Store(true)
	s.setState(stateDraining)
	for _, ln := range s.listeners {
		if u, ok := ln.Listener.(*unixSocket); ok {
			u.leave()
		}
	}
	for _, ln := range s.admin.listeners {
		if u, ok := ln.(*unixSocket); ok {
			u.leave()
		}
	}
	if s.options.Replaced != nil {
		s.options.Replaced(pid)
	}
}
