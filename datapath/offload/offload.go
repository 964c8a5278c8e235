package offload

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// tryTimeout bounds one trial, whose daemons start within a second on an idle machine.
const tryTimeout = time.Minute

// Verdict is what a trial has found.
type Verdict struct {
	Datapath string `json:"datapath"` // "system" or "netdev"
	Version  string `json:"version"`  // of Open vSwitch
	// Tried says that frames were sent; without it nothing is known.
	Tried bool `json:"tried"`
	// Passes says that all arrived as they were meant.
	Passes  bool   `json:"passes"`
	Finding string `json:"finding"` // in words
}

// Mode is how the interfaces behind the datapath have to be: as the kernel makes
// them where it takes that, off where it does not or where nothing is known.
func (v Verdict) Mode() netdev.OffloadMode {
	if v.Passes {
		return netdev.OffloadsOn
	}
	return netdev.OffloadsOff
}

// Version is what the installed ovs-vswitchd says of itself.
func Version(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "ovs-vswitchd", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ovs-vswitchd --version: %w", err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first, nil
}

// Try sends frames with unfinished checksums, and long segments, through a scratch
// datapath of that type. A trial that could not be made is a verdict too: offloads
// off, with the reason. It needs root, and takes half a second, in which an Open
// vSwitch of its own starts.
func Try(ctx context.Context, datapath string) Verdict {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	v := Verdict{Datapath: datapath}
	var err error
	if v.Version, err = Version(ctx); err == nil {
		v.Passes, v.Finding, err = try(ctx, datapath)
	}
	if err != nil {
		v.Finding = fmt.Sprintf("it could not be tried whether offloads pass the datapath %s: %v", datapath, err)
		return v
	}
	v.Tried = true
	return v
}

func try(ctx context.Context, datapath string) (passes bool, finding string, err error) {
	options, ok := kinds[datapath]
	if !ok {
		return false, "", fmt.Errorf("there is no datapath type %q; use system or netdev", datapath)
	}
	s, err := start(ctx, datapath, options)
	if err != nil {
		return false, "", err
	}
	defer func() {
		if serr := s.stop(); err == nil {
			err = serr
		}
	}()
	if err := s.await(ctx, "prepared"); err != nil {
		return false, "", err
	}
	t, err := furnish(s.ns)
	if err != nil {
		return false, "", err
	}
	defer t.Close()
	if err := s.proceed(ctx, "wired"); err != nil {
		return false, "", err
	}
	return t.exchange(ctx, bulkTimeout)
}

// scratch is the running script, and with it all that it has started and made.
type scratch struct {
	cmd     *exec.Cmd
	ns      *netdev.Namespace
	in      io.WriteCloser
	lines   chan string // what it says; closed at its end
	stderr  bytes.Buffer
	started chan error
	ended   chan error
}

// start starts the script as the first process of its own namespaces: when it
// ends, so does all that it has started. It is killed when this process ends.
func start(ctx context.Context, datapath, options string) (*scratch, error) {
	s := &scratch{
		cmd:   exec.Command("/bin/sh", "-c", script, "trial", datapath, options),
		lines: make(chan string, 4), started: make(chan error, 1), ended: make(chan error, 1),
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	s.cmd.Stderr = &s.stderr
	s.cmd.WaitDelay = time.Second
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.in = in
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	go s.run(out)
	if err := <-s.started; err != nil {
		if errors.Is(err, syscall.EPERM) {
			err = fmt.Errorf("%w (run it as root, with leave to create namespaces)", err)
		}
		return nil, err
	}
	if s.ns, err = netdev.NamespaceOf(s.cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, ctx.Err()
}

// run starts the script and waits for its end, on one thread: the kernel kills the
// script when the thread that has started it is gone.
func (s *scratch) run(out io.Reader) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := s.cmd.Start()
	s.started <- err
	if err != nil {
		return
	}
	for sc := bufio.NewScanner(out); sc.Scan(); {
		select {
		case s.lines <- sc.Text():
		default: // more than anybody waits for
		}
	}
	close(s.lines)
	s.ended <- s.cmd.Wait()
}

// await waits until the script says so.
func (s *scratch) await(ctx context.Context, word string) error {
	for {
		select {
		case line, ok := <-s.lines:
			if ok && line == word {
				return nil
			}
			if !ok {
				err := <-s.ended
				s.ended <- err // for stop
				return fmt.Errorf("the scratch datapath was not made: %w: %s", err, lastLine(s.stderr.String()))
			}
		case <-ctx.Done():
			return fmt.Errorf("the scratch datapath is not %s: %w", word, ctx.Err())
		}
	}
}

// proceed lets the script go on, and waits until it says so.
func (s *scratch) proceed(ctx context.Context, word string) error {
	// An error is that of a script that has ended, which await knows more about.
	_, _ = io.WriteString(s.in, "\n")
	return s.await(ctx, word)
}

// stop ends the script and all that it has started.
func (s *scratch) stop() error {
	var err error
	if s.ns != nil {
		err = s.ns.Close()
	}
	// An error says that it has ended already.
	_ = s.cmd.Process.Kill()
	<-s.ended
	return err
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
