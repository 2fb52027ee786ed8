package supervisor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

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
