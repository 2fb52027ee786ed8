package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Spec says what to run. Start keeps nothing of it but Line and Group.
type Spec struct {
	// Path is the binary, as execve(2) takes it: PATH is not searched, and a
	// relative path counts from Dir.
	Path string
	// Args is argv, Args[0] included. Empty means Path alone.
	Args []string
	// Env is the whole environment, "KEY=value" each. Nothing is inherited; nil
	// is an empty environment.
	Env []string
	// Dir is the working directory; empty is the parent's.
	Dir string
	// ExtraFiles[i] becomes descriptor 3+i of the child; nil leaves it closed.
	// The caller keeps them and may close them when Start has returned.
	// They become blocking for the parent too, as os.File.Fd makes them.
	ExtraFiles []*os.File
	// Lifeline is the descriptor at which the child finds its lifeline: that of
	// a nil entry of ExtraFiles, or the first after them. 0 is none.
	Lifeline int

	// Group holds the child from its first instruction to its end; nil is none.
	// It belongs to Start, also when that fails.
	Group Group
	// Memory is how much anonymous memory (RssAnon, in bytes) the child may have:
	// it is looked at every 250 ms and killed above that. Its descendants are not
	// looked at. 0 is no limit.
	Memory uint64

	// Line is the sink for what the child prints, called from one goroutine at a
	// time. It may be slow: the child is not held up, lines are dropped and
	// counted instead. It must return in the end, because Drained waits for it.
	// Nil discards.
	Line func(Line)
	// LineRate and LineBurst limit the lines per second given to the sink, both
	// streams together. 0 is DefaultLineRate and DefaultLineBurst.
	LineRate, LineBurst int
}

// launch is a Spec with its pipes open: the child's descriptors in order, and
// the parent's ends.
type launch struct {
	spec                     Spec
	files                    []*os.File // the child's, by number
	theirs                   []*os.File // those of files that this package opened
	stdout, stderr, lifeline *os.File   // ours; lifeline may be nil
	birthplace               *os.File   // directory of the group; nil: it is added later
}

func open(spec Spec) (_ *launch, err error) {
	l := &launch{spec: spec}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if spec.Path == "" {
		return nil, errors.New("no binary named")
	}
	if spec.LineRate < 0 || spec.LineBurst < 0 {
		return nil, errors.New("negative line rate or burst")
	}
	stdin, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	l.give(stdin)
	if spec.Group != nil {
		if l.birthplace, err = spec.Group.Open(); err != nil {
			return nil, err
		}
		if l.birthplace != nil {
			l.theirs = append(l.theirs, l.birthplace)
		}
	}
	if l.stdout, err = l.pipeFrom(); err != nil {
		return nil, err
	}
	if l.stderr, err = l.pipeFrom(); err != nil {
		return nil, err
	}
	l.files = append(l.files, spec.ExtraFiles...)
	if spec.Lifeline == 0 {
		return l, nil
	}
	return l, l.addLifeline(spec.Lifeline)
}

// give makes f the child's next descriptor.
func (l *launch) give(f *os.File) {
	l.files = append(l.files, f)
	l.theirs = append(l.theirs, f)
}

// pipeFrom gives the child the write end of a pipe and returns the other.
func (l *launch) pipeFrom() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	l.give(w)
	return r, nil
}

func (l *launch) addLifeline(fd int) error {
	if fd < 3 || fd > len(l.files) || fd < len(l.files) && l.files[fd] != nil {
		return fmt.Errorf("lifeline descriptor %d is taken or leaves a gap", fd)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	l.lifeline = w
	l.theirs = append(l.theirs, r)
	if fd == len(l.files) {
		l.files = append(l.files, nil)
	}
	l.files[fd] = r
	return nil
}

func (l *launch) argv() []string {
	if len(l.spec.Args) == 0 {
		return []string{l.spec.Path}
	}
	return l.spec.Args
}

// attr is what os.StartProcess takes. pidfd receives the child's pidfd, or stays
// -1 where there is none.
func (l *launch) attr(pidfd *int) *os.ProcAttr {
	env := l.spec.Env
	if env == nil {
		env = []string{} // to os.StartProcess nil means the parent's
	}
	return &os.ProcAttr{Dir: l.spec.Dir, Env: env, Files: l.files, Sys: sysProcAttr(pidfd, l.birthplace)}
}

// fork starts the child. Where the kernel, or a seccomp profile, does not know
// clone3(2) it cannot be born into its group.
func (l *launch) fork(pidfd *int) (*os.Process, error) {
	proc, err := os.StartProcess(l.spec.Path, l.argv(), l.attr(pidfd))
	if l.birthplace != nil && errors.Is(err, syscall.ENOSYS) {
		l.birthplace = nil
		proc, err = os.StartProcess(l.spec.Path, l.argv(), l.attr(pidfd))
	}
	return proc, err
}

// closeTheirs closes the child's ends, once it has them: the parent's reads end
// only when no other writer is left.
func (l *launch) closeTheirs() {
	for _, f := range l.theirs {
		f.Close()
	}
	l.theirs = nil
}

// close undoes open, and ends the group that no process has come to.
func (l *launch) close() {
	l.closeTheirs()
	for _, f := range []*os.File{l.stdout, l.stderr, l.lifeline} {
		if f != nil {
			f.Close()
		}
	}
	if l.spec.Group != nil {
		_ = l.spec.Group.Close()
	}
}
