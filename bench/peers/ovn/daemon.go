package ovn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// stopTimeout is how long a daemon may take to end before it is killed.
const stopTimeout = 5 * time.Second

// place is where a program runs.
type place struct {
	ns  *netdev.Namespace
	dir string // for its files
	env []string
}

// ovnEnv keeps OVN's programs within dir, and away from an OVN of the machine.
func ovnEnv(dir string) []string {
	return []string{"OVN_RUNDIR=" + dir, "OVN_DBDIR=" + dir, "OVN_LOGDIR=" + dir, "OVN_SYSCONFDIR=" + dir}
}

// command is a program of OVN or Open vSwitch that is not started yet.
func (p place) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), p.env...)
	// ovsdb-tool and ovsdb-server are Open vSwitch's and look for its variables.
	cmd.Env = append([]string{"OVS_RUNDIR=" + p.dir, "OVS_DBDIR=" + p.dir, "OVS_LOGDIR=" + p.dir}, cmd.Env...)
	return cmd
}

// run runs a program to its end.
func run(ctx context.Context, at place, program string, args ...string) error {
	cmd := at.command(ctx, program, args...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	err := at.ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return nil
}

// daemon is a program that runs until it is told to stop, or until this process ends.
type daemon struct {
	name  string
	log   string
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
}

// launch starts a daemon in the foreground, so that it ends with this process however that
// ends.
func (o *Overlay) launch(at place, name, program string, args ...string) error {
	d := &daemon{name: name, log: filepath.Join(at.dir, filepath.Base(name)+".log"), ended: make(chan struct{})}
	args = append([]string{"--no-chdir", "--log-file=" + d.log, "-vconsole:off"}, args...)
	if program != "ovn-controller" { // which refuses to be told
		args = append([]string{"--unixctl=" + filepath.Join(at.dir, name+".ctl")}, args...)
	}
	d.cmd = at.command(context.Background(), program, args...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := at.ns.Start(d.cmd); err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	o.daemons = append(o.daemons, d)
	go func() {
		// How it ends is of no interest: it was told to, or what needs it complains.
		_ = d.cmd.Wait()
		close(d.ended)
	}()
	return nil
}

// stop ends a daemon, first politely, and waits until it is gone.
func (d *daemon) stop() {
	kill := time.AfterFunc(stopTimeout, func() { d.signal(syscall.SIGKILL) })
	defer kill.Stop()
	d.signal(syscall.SIGTERM)
	<-d.ended
}

// signal sends a signal to the daemon, if it still runs: before Wait has returned its number
// cannot be another's.
func (d *daemon) signal(sig syscall.Signal) { _ = d.cmd.Process.Signal(sig) }

// complaints is what the daemons have warned of and who of them has ended, for an error.
func (o *Overlay) complaints() string {
	var b strings.Builder
	for _, d := range o.daemons {
		select {
		case <-d.ended:
			fmt.Fprintf(&b, "; %s has ended (%s)", d.name, d.cmd.ProcessState)
		default:
		}
		text, err := os.ReadFile(d.log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintf(&b, "; %s: %v", d.name, err)
		}
		last := ""
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "|WARN|") || strings.Contains(line, "|ERR|") || strings.Contains(line, "|EMER|") {
				last = strings.TrimSpace(line)
			}
		}
		if last != "" {
			fmt.Fprintf(&b, "; %s says: %s", d.name, last)
		}
	}
	return b.String()
}
