package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
)

const (
	// bridge is the bridge that features are tried on, and ports are its ports, number 1 and up.
	bridge = "br-probe"
	// underlay is the bridge on whose local port the tunnel endpoint is; wire is a port of it, at which the
	// frames of the tunnels come out.
	underlay = "br-under"
	wire     = "under1"

	schema      = "/usr/share/openvswitch/vswitch.ovsschema"
	startWithin = 30 * time.Second
	stopWithin  = 5 * time.Second
	dirPattern  = "ofctl-lab-probe-"
)

var ports = []string{"probe1", "probe2", "probe3"}

// scratch is an Open vSwitch of our own with a bridge of the wanted datapath type. Its daemons, its namespace and its
// datapath end with this process at the latest, also when that is killed; what is left then is a directory, which the
// next probe removes.
type scratch struct {
	dir      string
	lock     *os.File // on dir: what tells a probe that runs from one that was killed
	datapath Datapath
	ns       *netdev.Namespace
	c        *ovsctl.Client
	daemons  []*exec.Cmd
	wires    *wires
}

// startScratch starts it. ctx bounds the start only.
func startScratch(ctx context.Context, dp Datapath) (*scratch, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("trying a datapath needs root, for a network namespace: run it with sudo")
	}
	if err := sweep(); err != nil {
		return nil, err
	}
	dir, lock, err := ownDirectory()
	if err != nil {
		return nil, err
	}
	s := &scratch{dir: dir, lock: lock, datapath: dp, c: ovsctl.New(ovsctl.Options{RunDir: dir, Control: filepath.Join(dir, "ovs-vswitchd.ctl"), Timeout: startWithin})}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("scratch bridge of datapath type %s: %w", dp, err), s.Close())
	}
	return s, nil
}

// ownDirectory makes a directory and locks it. A process ID would not tell whose it is: a
// container has IDs of its own, and may share the directory for temporary files.
func ownDirectory() (string, *os.File, error) {
	for {
		dir, err := os.MkdirTemp("", dirPattern)
		if err != nil {
			return "", nil, err
		}
		lock, err := lockDirectory(dir)
		if err != nil {
			return "", nil, errors.Join(err, os.RemoveAll(dir))
		}
		if lock != nil {
			return dir, lock, nil
		}
		// Another probe's sweep was faster than the lock.
	}
}

// lockDirectory locks a directory for as long as the file is open; nil if another process has
// it locked, or if it has gone. Daemons do not inherit the file.
func lockDirectory(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		_, err = os.Stat(dir) // it may have gone before the lock
	}
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}

// sweep removes the directories that probes have left which were killed.
func sweep() error {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), dirPattern+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		lock, err := lockDirectory(dir)
		if err != nil {
			return err
		}
		if lock == nil {
			continue
		}
		err = os.RemoveAll(dir)
		lock.Close()
		if err != nil {
			return fmt.Errorf("remove what an earlier probe has left: %w", err)
		}
	}
	return nil
}

func (s *scratch) start(ctx context.Context) error {
	var err error
	if s.ns, err = netdev.NewNamespace(); err != nil {
		return err
	}
	// Nothing but what is sent here is to be on the wires.
	if err := s.ns.SetDefaultIPv6(netdev.IPv6Off); err != nil {
		return err
	}
	db := filepath.Join(s.dir, "conf.db")
	if out, err := exec.CommandContext(ctx, "ovsdb-tool", "create", db, schema).CombinedOutput(); err != nil {
		return fmt.Errorf("ovsdb-tool create: %w: %.200s", err, out)
	}
	socket := filepath.Join(s.dir, "db.sock")
	if err := s.daemon("ovsdb-server", db, "--remote=punix:"+socket); err != nil {
		return err
	}
	if err := listening(ctx, socket); err != nil {
		return err
	}
	if _, err := s.c.Vsctl(ctx, "--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:vlan-limit=2"); err != nil {
		return err
	}
	args := []string{"unix:" + socket}
	if s.datapath == Userspace {
		args = append(args, "--disable-system")
	}
	if err := s.daemon("ovs-vswitchd", args...); err != nil {
		return err
	}
	add := []string{"--timeout=25",
		"add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=" + string(s.datapath), "protocols=OpenFlow13", "fail_mode=secure", "--",
		"add-br", underlay, "--", "set", "Bridge", underlay, "datapath_type=" + string(s.datapath), "fail_mode=standalone", "--",
		"add-port", underlay, wire, "--", "set", "Interface", wire, "type=internal",
	}
	for i, port := range ports {
		add = append(add, "--", "add-port", bridge, port, "--", "set", "Interface", port, "type=internal", fmt.Sprintf("ofport_request=%d", i+1))
	}
	if _, err := s.c.Vsctl(ctx, add...); err != nil {
		return err
	}
	has, err := s.c.Vsctl(ctx, "--bare", "get", "Interface", bridge, "error")
	if err != nil {
		return err
	}
	if text := strings.Trim(strings.TrimSpace(has), `[]"`); text != "" {
		return errors.New(text)
	}
	s.wires, err = openWires(s.ns, append([]string{wire}, ports...)...)
	return err
}

// daemon starts a daemon in the namespace.
func (s *scratch) daemon(name string, args ...string) error {
	args = append(args, "--no-chdir", "--pidfile="+filepath.Join(s.dir, name+".pid"), "--unixctl="+filepath.Join(s.dir, name+".ctl"),
		"--log-file="+filepath.Join(s.dir, name+".log"), "-vconsole:off", "-vsyslog:off")
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+s.dir, "OVS_DBDIR="+s.dir, "OVS_LOGDIR="+s.dir, "OVS_SYSCONFDIR="+s.dir)
	// A group of its own, so that an interrupt from the terminal leaves it to Close.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := s.ns.Start(cmd); err != nil {
		return fmt.Errorf("start %s (Debian package openvswitch-switch): %w", name, err)
	}
	s.daemons = append(s.daemons, cmd)
	return nil
}

// listening waits until something accepts connections on a unix socket.
func listening(ctx context.Context, socket string) error {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("ovsdb-server did not listen in time: %w", err)
		}
	}
}

// alive says whether both daemons answer; a trial that failed since one of them ended says nothing about the datapath.
func (s *scratch) alive(ctx context.Context) error {
	if _, err := s.c.Appctl(ctx, "version"); err != nil {
		return fmt.Errorf("ovs-vswitchd of the scratch bridge is gone: %w", err)
	}
	if _, err := s.c.Vsctl(ctx, "--timeout=10", "br-exists", bridge); err != nil {
		return fmt.Errorf("ovsdb-server of the scratch bridge is gone: %w", err)
	}
	return nil
}

// Close removes every trace.
func (s *scratch) Close() error {
	var errs []error
	if s.wires != nil {
		errs = append(errs, s.wires.Close())
	}
	for i := len(s.daemons) - 1; i >= 0; i-- {
		errs = append(errs, stop(s.daemons[i]))
	}
	if s.ns != nil {
		errs = append(errs, s.ns.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir), s.lock.Close())...)
}

// stop ends a daemon, first politely, and waits until it is gone.
func stop(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", cmd.Path, err)
	}
	kill := time.AfterFunc(stopWithin, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	// How it ends is of no interest: it was told to.
	_ = cmd.Wait()
	return nil
}
