// Package peers starts and stops the programs that benchmarks measure, each in a network
// namespace of its own that a veth joins to the caller's. What the programs are and how they are
// configured is in the directories below.
package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/proc"
)

const (
	// startTimeout is how long a program may take until it listens.
	startTimeout = 20 * time.Second
	// stopTimeout is how long it may take to end before it is killed.
	stopTimeout = 2 * time.Second
	// pollInterval is how often it is looked at meanwhile.
	pollInterval = 2 * time.Millisecond
	// keepStderr is how much of the end of its standard error an error message quotes, in bytes.
	keepStderr = 4 << 10
)

// Spec is a program that listens on a TCP port.
type Spec struct {
	Name    string // for error messages
	Program string // a path, or a name in PATH
	Args    []string
	Env     []string  // beside the environment of this process
	Dir     string    // working directory; this one's if empty
	Port    uint16    // where it listens, on any address
	Package string    // the Debian package that has it; empty for one that was built
	Stdout  io.Writer // for its standard output; nil drops it
}

// Missing says why the program cannot run here and what to install; empty if it can.
func (s Spec) Missing() string {
	_, err := exec.LookPath(s.Program)
	switch {
	case err == nil:
		return ""
	case s.Package == "":
		return err.Error()
	}
	return fmt.Sprintf("%s is not installed: Debian package %s (make bench-deps installs it)", s.Program, s.Package)
}

// Process is a program that runs. Its methods may be called concurrently.
type Process struct {
	spec   Spec
	cmd    *exec.Cmd
	link   *link
	stderr *tail

	ended chan struct{} // closed when the program is gone and waited for
}

// Start starts a program and returns when it listens. It ends with this process at the
// latest. ctx bounds the start only. It needs root.
func Start(ctx context.Context, s Spec) (*Process, error) {
	if lacks := s.Missing(); lacks != "" {
		return nil, fmt.Errorf("%s: %s", s.Name, lacks)
	}
	p := &Process{spec: s, stderr: &tail{}, ended: make(chan struct{})}
	p.cmd = exec.Command(s.Program, s.Args...)
	p.cmd.Env, p.cmd.Dir = append(os.Environ(), s.Env...), s.Dir
	p.cmd.Stdout, p.cmd.Stderr = s.Stdout, p.stderr
	p.cmd.WaitDelay = stopTimeout // for what it has started and left behind with its standard error
	// The namespace has no name and goes with its last process. The process group is its own, so
	// that what it has started goes too.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL, Setpgid: true,
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s in a network namespace of its own (it needs root): %w", s.Name, err)
	}
	go func() {
		_ = p.cmd.Wait() // exit says how it ended
		close(p.ended)
	}()
	var err, stopped error
	if p.link, err = join(p.PID()); err != nil {
		// Its namespace goes when it ends, under the hands of join.
		stopped = p.Close()
		err = fmt.Errorf("%w; it ended with %s", err, p.exit())
	} else if err = p.awaitListening(ctx); err != nil {
		stopped = p.Close()
	}
	if err != nil { // it is closed, and all that it has said is here
		return nil, errors.Join(fmt.Errorf("start %s: %w%s", s.Name, err, p.stderr), stopped)
	}
	return p, nil
}

// awaitListening waits until a socket of the program's namespace listens on its port. It does
// not try to connect: to a controller that would be a switch.
func (p *Process) awaitListening(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("nothing listens on port %d after %v", p.spec.Port, startTimeout))
	defer cancel()
	again := time.NewTicker(pollInterval)
	defer again.Stop()
	for {
		if ok, err := listens(p.PID(), p.spec.Port); ok {
			return nil
		} else if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-again.C:
		case <-p.ended:
			return fmt.Errorf("it ended at once: %s", p.exit())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// exit says how the program ended, once it has.
func (p *Process) exit() string { return p.cmd.ProcessState.String() }

// Addr is where the program listens, seen from the namespace that has started it.
func (p *Process) Addr() string { return netip.AddrPortFrom(p.link.far, p.spec.Port).String() }

// PID is that of the program.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// CPU is the user and system time that the program and its children have used.
func (p *Process) CPU() (time.Duration, error) { return proc.TreeCPUTime(p.PID()) }

// PSS is the proportional set size of the program and its children, in bytes. It takes
// milliseconds of the kernel's time.
func (p *Process) PSS() (uint64, error) { return proc.TreePSS(p.PID()) }

// Wait waits until a program that ends by itself has ended, and all its output is there. It is
// an error if it fails. Close it afterwards all the same.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.ended:
	case <-ctx.Done():
		return p.Explain(fmt.Errorf("wait for the end of %s: %w", p.spec.Name, context.Cause(ctx)))
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("%s failed: %s%s", p.spec.Name, p.exit(), p.stderr)
	}
	return nil
}

// Explain adds to an error that the use of the program has ended in whether it has died and
// what it said last.
func (p *Process) Explain(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-p.ended:
		return fmt.Errorf("%w; %s has ended: %s%s", err, p.spec.Name, p.exit(), p.stderr)
	default:
		return fmt.Errorf("%w; %s still runs%s", err, p.spec.Name, p.stderr)
	}
}

// Close ends the program and what it has started, and removes its link. It is idempotent.
func (p *Process) Close() error {
	group := -p.PID()
	// An error is that nobody is left.
	_ = syscall.Kill(group, syscall.SIGTERM)
	kill := time.NewTimer(stopTimeout)
	defer kill.Stop()
	select {
	case <-p.ended:
	case <-kill.C:
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // children that did not care
	<-p.ended
	if p.link == nil {
		return nil
	}
	return p.link.remove()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	if cut := len(t.end) - keepStderr; cut > 0 {
		t.end = append(t.end[:0], t.end[cut:]...)
	}
	return len(b), nil
}

// String is fit to follow an error message: empty, or a colon and the text.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(bytes.TrimSpace(t.end)) == 0 {
		return ""
	}
	return "; it said: " + strings.TrimSpace(strings.ToValidUTF8(string(t.end), "?"))
}
