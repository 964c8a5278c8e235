// Package libvirttest runs a libvirt daemon for tests: without systemd and dbus, in
// a network namespace of the test's choice, with /run, /etc/libvirt, /var/lib,
// /var/cache and /var/log of its own, so that neither this machine's libvirt nor
// another test meets it.
package libvirttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// patience bounds every wait for the daemon. On a loaded machine it needs seconds to
// ask qemu what it can do.
const patience = time.Minute

// Options are those of a daemon.
type Options struct {
	// Namespace is the network namespace that the daemon and its virtual machines are in; nil is the
	// test's own. It stays open until the test ends.
	Namespace *netdev.Namespace
	// OVSRunDir is where the Open vSwitch that libvirt adds ports to has its db.sock.
	OVSRunDir string
	// Under is a command that runs the daemon, such as `.ci/without kvm`. Empty is none.
	Under []string
}

// Daemon is a libvirtd that ends with its test, and its virtual machines with it.
type Daemon struct {
	dir     string // what it has of its own
	argv    []string
	options Options
	cmd     *exec.Cmd
	exited  chan struct{}
}

// Missing is what this machine lacks for a daemon, nil if nothing.
func Missing() error {
	return errors.Join(need.Root(), need.QEMU(), need.Programs("libvirt-deps", "libvirtd", "virsh"), need.Programs("deps", "unshare"))
}

// Start starts a daemon and returns when it answers. Where there can be none the
// test is skipped, and fails on CI.
func Start(t testing.TB, o Options) *Daemon {
	t.Helper()
	need.Have(t, Missing())
	// Not t.TempDir: the paths of sockets below it must keep to 107 bytes.
	dir, err := os.MkdirTemp("", "lv")
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{dir: dir, options: o}
	t.Cleanup(func() { d.end(t) })
	if d.argv, err = Prepare(dir, o.OVSRunDir); err != nil {
		t.Fatal(err)
	}
	d.Start(t)
	return d
}

// qemuConf lets qemu run as root, without what is not there: cgroups, AppArmor,
// device namespaces and virtlogd.
const qemuConf = `user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
`

// libvirtdConf takes the UUID of the host.
const libvirtdConf = `host_uuid = "%s"
log_outputs = "3:file:/var/log/libvirtd.log"
unix_sock_group = "root"
auth_unix_ro = "none"
auth_unix_rw = "none"
`

// Prepare fills dir, which is short and need not exist, with what a daemon has of its
// own, and returns the command that runs it, in the foreground, in the network
// namespace in which it is started. Its socket is dir/run/libvirt/libvirt-sock.
func Prepare(dir, ovsRunDir string) (argv []string, err error) {
	// Without /run/lock no console can be opened: libvirt's lock on it is there.
	for _, sub := range []string{"run/lock", "run/openvswitch", "etc", "lib", "cache", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	// Debian's libvirt looks these up even if qemu.conf names others, and only
	// libvirt-daemon-system makes them.
	for file, entry := range map[string]string{
		"passwd": "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin\n",
		"group":  "libvirt-qemu:x:64055:\n",
	} {
		have, err := os.ReadFile(filepath.Join("/etc", file))
		if err != nil {
			return nil, err
		}
		if !strings.Contains("\n"+string(have), "\nlibvirt-qemu:") {
			have = append(have, entry...)
		}
		if err := os.WriteFile(filepath.Join(dir, file), have, 0o644); err != nil {
			return nil, err
		}
	}
	return []string{"unshare", "--uts", "--mount", "--propagation", "slave", "sh", "-c", script, "sh", dir, ovsRunDir}, errors.Join(
		os.WriteFile(filepath.Join(dir, "etc/qemu.conf"), []byte(qemuConf), 0o644),
		os.WriteFile(filepath.Join(dir, "etc/libvirtd.conf"), fmt.Appendf(nil, libvirtdConf, uuid.New()), 0o644))
}

// script is run in a mount namespace that is a slave of the test's: a network namespace
// deleted there goes here too.
const script = `set -eu
[ -z "$2" ] || mount --bind "$2" "$1/run/openvswitch"
mkdir -p /etc/libvirt
mount --bind "$1/etc" /etc/libvirt
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount --bind "$1/lib" /var/lib
mount --bind "$1/cache" /var/cache
mount --bind "$1/log" /var/log
mount --rbind "$1/run" /run
rm -f /run/libvirtd.pid
hostname "${1##*/}" # libvirt migrates to another host only, and asks for names and UUIDs
unset OVS_RUNDIR OVS_DBDIR OVS_LOGDIR OVS_SYSCONFDIR # ofctl-lab lab exec sets them
exec libvirtd`

// Start starts the daemon again after a Stop or Kill, and returns when it answers.
func (d *Daemon) Start(t testing.TB) {
	t.Helper()
	argv := slices.Concat(d.options.Under, d.argv)
	cmd := exec.Command(argv[0], argv[1:]...)
	out, err := os.Create(filepath.Join(d.dir, "log/output"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if d.options.Namespace != nil {
		err = d.options.Namespace.Start(cmd)
	} else {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(exited)
	}()
	d.cmd, d.exited = cmd, exited
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := libvirt.Connect(ctx, d.URI())
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-exited:
			t.Fatalf("libvirtd has ended:\n%s", d.log())
		case <-ctx.Done():
			t.Fatalf("libvirtd does not answer: %v\n%s", err, d.log())
		case <-tick.C:
		}
	}
}

// RunUnder has the daemon run by a command from its next start on, as Options.Under.
func (d *Daemon) RunUnder(argv ...string) { d.options.Under = argv }

// Stop ends the daemon as its service manager does. Its virtual machines go on.
func (d *Daemon) Stop(t testing.TB) { d.signal(t, syscall.SIGTERM) }

// Kill ends the daemon as a crash does. Its virtual machines go on.
func (d *Daemon) Kill(t testing.TB) { d.signal(t, syscall.SIGKILL) }

func (d *Daemon) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if d.cmd == nil {
		return
	}
	// The process is waited for above only once it has ended, so its number is its own.
	_ = d.cmd.Process.Signal(sig)
	select {
	case <-d.exited:
		d.cmd = nil
	case <-time.After(patience):
		t.Fatalf("libvirtd outlives %s", sig)
	}
}

// Socket is the daemon's socket, and URI the libvirt URI of it.
func (d *Daemon) Socket() string { return filepath.Join(d.dir, "run/libvirt/libvirt-sock") }

// URI is the libvirt URI of the daemon, which virsh understands too.
func (d *Daemon) URI() string { return "qemu+unix:///system?socket=" + d.Socket() }

// Connect connects to the daemon for the time of the test.
func (d *Daemon) Connect(t testing.TB) *libvirt.Conn {
	t.Helper()
	c, err := libvirt.Connect(t.Context(), d.URI())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// end ends the daemon and its virtual machines, and removes what it had.
func (d *Daemon) end(t testing.TB) {
	if t.Failed() {
		t.Logf("libvirtd says:\n%s", d.log())
	}
	d.Kill(t)
	for _, pid := range d.machines() {
		if err := kill(pid); err != nil {
			t.Error(err)
		}
	}
	if err := os.RemoveAll(d.dir); err != nil {
		t.Error(err)
	}
}

// machines are the processes of the virtual machines that run, by libvirt's own notes.
func (d *Daemon) machines() []int {
	notes, _ := filepath.Glob(filepath.Join(d.dir, "run/libvirt/qemu/*.pid"))
	var pids []int
	for _, note := range notes {
		text, err := os.ReadFile(note)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || !isQEMU(pid) {
			continue
		}
		pids = append(pids, pid)
	}
	return pids
}

// isQEMU reports whether the process is one of qemu: a note may be older than its
// process, and the number another's.
func isQEMU(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && strings.HasPrefix(filepath.Base(exe), "qemu-system-")
}

// kill ends a virtual machine and waits until it has gone.
func kill(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); errors.Is(err, syscall.ESRCH) {
		return nil
	} else if err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); isQEMU(pid); <-tick.C {
		if time.Now().After(deadline) {
			return fmt.Errorf("qemu %d outlives SIGKILL", pid)
		}
	}
	return nil
}

// log is what the daemon has said, and its virtual machines.
func (d *Daemon) log() string {
	var b strings.Builder
	_ = filepath.WalkDir(filepath.Join(d.dir, "log"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		text, err := os.ReadFile(path)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&b, "%s: %v\n%s\n", e.Name(), err, strings.Join(lines[max(0, len(lines)-15):], "\n"))
		return nil
	})
	return b.String()
}
