package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// process is a process that cannot be mistaken for another with the same number:
// its start time and the boot it belongs to are part of it.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, proc(5) stat field 22
	Boot  string `json:"boot"`
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// identify is the process that has pid now.
func identify(pid int) (process, error) {
	boot, err := bootID()
	if err != nil {
		return process{}, err
	}
	start, _, err := procStat(pid)
	return process{PID: pid, Start: start, Boot: boot}, err
}

// procStat is the start time and the state letter of a process.
func procStat(pid int) (start uint64, status byte, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The command's name is in parentheses and may contain anything.
	end := bytes.LastIndexByte(b, ')')
	fields := strings.Fields(string(b[end+1:]))
	if end < 0 || len(fields) < 20 {
		return 0, 0, fmt.Errorf("/proc/%d/stat cannot be read", pid)
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return start, fields[0][0], err
}

// alive reports whether this very process runs.
func (p process) alive() bool {
	if p.PID <= 0 {
		return false
	}
	boot, err := bootID()
	if err != nil || boot != p.Boot {
		return false
	}
	start, status, err := procStat(p.PID)
	return err == nil && start == p.Start && status != 'Z' && status != 'X'
}

// signal sends sig to this very process: the handle is taken before it is
// recognised, so that its number cannot pass to another in between.
func (p process) signal(sig syscall.Signal) error {
	h, err := os.FindProcess(p.PID)
	if err != nil {
		return nil
	}
	defer h.Release()
	if !p.alive() {
		return nil
	}
	if err := h.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// nsID identifies a namespace: the device and inode of its file.
type nsID struct{ dev, ino uint64 }

func namespaceID(path string) (nsID, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return nsID{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nsID{}, false
	}
	return nsID{uint64(st.Dev), st.Ino}, true
}

// inhabitants are the processes in the namespaces, but this one.
func inhabitants(namespaces []string) ([]process, error) {
	ids := map[nsID]bool{}
	for _, name := range namespaces {
		// A file that is left without its namespace has an ID no process has.
		if id, ok := namespaceID(netdev.NamespacePath(name)); ok {
			ids[id] = true
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if id, ok := namespaceID(filepath.Join("/proc", e.Name(), "ns/net")); !ok || !ids[id] {
			continue
		}
		if p, err := identify(pid); err == nil && p.alive() {
			found = append(found, p)
		}
	}
	return found, nil
}

// stopTimeout is how long processes may take after SIGTERM, and after SIGKILL.
const stopTimeout = 3 * time.Second

// stop ends the processes: SIGTERM, and SIGKILL for those still there after
// stopTimeout. find is asked again until it finds none.
func stop(ctx context.Context, find func() ([]process, error)) error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		told := map[process]bool{}
		deadline := time.Now().Add(stopTimeout)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for time.Now().Before(deadline) {
			left, err := find()
			if err != nil {
				return err
			}
			if len(left) == 0 {
				return nil
			}
			for _, p := range left {
				if told[p] {
					continue
				}
				told[p] = true
				if err := p.signal(sig); err != nil {
					return err
				}
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	}
	left, err := find()
	if err != nil || len(left) == 0 {
		return err
	}
	return fmt.Errorf("%d processes outlive SIGKILL, the first is %d", len(left), left[0].PID)
}

func stillAlive(ps ...process) func() ([]process, error) {
	return func() ([]process, error) {
		var left []process
		for _, p := range ps {
			if p.alive() {
				left = append(left, p)
			}
		}
		return left, nil
	}
}

// run runs a program in the namespace to its end and returns its standard output
// and standard error. The error has the latter.
func run(ctx context.Context, ns *netdev.Namespace, env []string, argv ...string) (out, complaint string, err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A daemon that keeps the pipes open must not keep Wait for ever. On a busy machine it
	// takes seconds to read what a program that has ended has left in them.
	cmd.WaitDelay = 10 * time.Second
	err = ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if ctx.Err() != nil && err != nil {
		return "", "", fmt.Errorf("%s: %w", filepath.Base(argv[0]), ctx.Err())
	}
	if err != nil {
		return "", "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, lastLines(stderr.String()))
	}
	return stdout.String(), stderr.String(), nil
}

// lastLines is the end of a program's complaint.
func lastLines(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 600 {
		s = "…" + s[len(s)-600:]
	}
	return s
}

// startDetached starts a program in the namespace that outlives this process,
// in a session of its own, with its output in the log file.
func startDetached(ctx context.Context, ns *netdev.Namespace, c Command, log string) (process, error) {
	// The shell leaves the program to init at once, so that nobody has to wait for it.
	script := `"$@" </dev/null >>"$0" 2>&1 & echo $!`
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", script, log}, c.Argv...)...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := ns.Start(cmd); err != nil {
		return process{}, err
	}
	if err := cmd.Wait(); err != nil {
		return process{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		return process{}, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	p, err := identify(pid)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s ended at once%s", c.Argv[0], logTail(log))
	}
	return p, err
}

// logTail is the end of a log file, for an error.
func logTail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 2000 {
		if _, err := f.Seek(-2000, 2); err != nil {
			return ""
		}
	}
	b := make([]byte, 2000)
	n, _ := f.Read(b)
	if n == 0 {
		return ""
	}
	return "; " + path + " ends with: " + lastLines(string(b[:n]))
}

// readPIDFile is the process a daemon has put in its pidfile.
func readPIDFile(path string) (process, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return process{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return process{}, fmt.Errorf("%s: %w", path, err)
	}
	return identify(pid)
}
