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

	"commerce.example/coordinator/supervisor/adaptive"
)

// HandoverVariable is how a successor learns what it inherits. It is no
// setting: the name does not begin with COORDINATOR_.
const HandoverVariable = "HANDOVER_FROM_COORDINATOR"

// Handover is what a supervisor that is being replaced gives to its successor:
// its listening sockets, the lock of its state directory, what operators have
// changed and adaptive limits have found, and a line to talk.
// A socket that both hold loses no connection: what one does not accept any
// more, the other does.
//
// The talk is three words. The successor starts its workers and says "ready";
// the old one says "go"; the successor accepts connections and says "serving".
// Until that last word the old supervisor has changed nothing and goes on when
// the successor fails, says nothing in time or dies. After it the old one
// drains. A successor whose old supervisor vanishes before "go" ends.
type Handover struct {
	Files map[string]int `json:"files"` // name to descriptor
	Sick  []string       `json:"sick"`  // bulkheads that have no worker in the old supervisor either

	Operated map[string]Operated       `json:"operated,omitempty"` // by bulkhead; an earlier version says nothing
	Limits   map[string]adaptive.Found `json:"limits,omitempty"`   // that follow their backends, by bulkhead

	in  *bufio.Reader
	out *os.File
}

// The names of Handover.Files besides those of the front's listeners, which are
// frontFile followed by the configured address.
const (
	frontFile  = "listen "
	adminFile  = "admin listen"
	socketFile = "admin socket"
	lockFileOf = "state lock"
	inFile     = "in"
	outFile    = "out"
)

// ParseHandover reads the value of HandoverVariable.
func ParseHandover(value string) (*Handover, error) {
	h := &Handover{}
	if err := json.Unmarshal([]byte(value), h); err != nil {
		return nil, fmt.Errorf("%s: %w", HandoverVariable, err)
	}
	for _, fd := range h.Files {
		unix.CloseOnExec(fd) // or every worker would inherit it
	}
	in, out := h.file(inFile), h.file(outFile)
	if in == nil || out == nil {
		return nil, fmt.Errorf("%s: no line to the old supervisor", HandoverVariable)
	}
	h.in, h.out = bufio.NewReader(in), out
	return h, nil
}

// file takes a descriptor over, once; nil when it was not handed down.
func (h *Handover) file(name string) *os.File {
	if h == nil {
		return nil
	}
	fd, ok := h.Files[name]
	if !ok {
		return nil
	}
	delete(h.Files, name)
	return os.NewFile(uintptr(fd), name)
}

// operated is what operators had changed in a bulkhead of the old supervisor.
func (h *Handover) operated(bulkhead string) Operated {
	if h == nil {
		return Operated{}
	}
	return h.Operated[bulkhead]
}

// limit is what the old supervisor's limit of a bulkhead has found; zero: nothing.
func (h *Handover) limit(bulkhead string) adaptive.Found {
	if h == nil {
		return adaptive.Found{}
	}
	return h.Limits[bulkhead]
}

// closeRest closes what this supervisor has no use for, such as a socket that is
// not in its configuration any more: clients would wait at it for ever.
func (h *Handover) closeRest() {
	if h == nil {
		return
	}
	for name := range h.Files {
		h.file(name).Close()
	}
}

// listener takes a listening socket over; nil, nil when it was not handed down.
func (h *Handover) listener(name string) (net.Listener, error) {
	f := h.file(name)
	if f == nil {
		return nil, nil
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("handed down %s: %w", name, err)
	}
	if u, ok := ln.(*net.UnixListener); ok {
		return adoptSocket(u)
	}
	return ln, nil
}

// takeOver says that this supervisor is ready and waits for its turn.
func (h *Handover) takeOver(unready []string) error {
	for _, name := range h.Sick {
		for i, u := range unready {
			if u == name {
				unready = append(unready[:i], unready[i+1:]...)
				break
			}
		}
	}
	if len(unready) > 0 {
		return fmt.Errorf("no worker of %s got ready", strings.Join(unready, ", "))
	}
	if err := h.say("ready"); err != nil {
		return err
	}
	word, err := h.in.ReadString('\n')
	if err != nil || word != "go\n" {
		return errors.New("the old supervisor went away before it handed over")
	}
	return nil
}

// Refuse tells the old supervisor why this one ends. It does nothing without a
// Handover, or without an error.
func (h *Handover) Refuse(why error) {
	if h != nil && why != nil {
		_ = h.say(strings.ReplaceAll(why.Error(), "\n", "; ")) // it also sees the end
	}
}

func (h *Handover) say(word string) error {
	_, err := h.out.WriteString(word + "\n")
	return err
}

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
