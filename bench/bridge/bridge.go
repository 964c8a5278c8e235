// Package bridge runs a private Open vSwitch with one bridge, for benchmarks that
// need a switch and no hosts. The program that uses it should be in a network
// namespace of its own (Isolate): the bridge's local port is an interface.
package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
)

const (
	// Name is the name of the bridge.
	Name = "br0"
	// Addr is where the bridge listens for OpenFlow connections.
	Addr = "127.0.0.1:6653"
	// Protocols are the OpenFlow versions of the bridge; ofnet needs both.
	Protocols = "OpenFlow10,OpenFlow13"

	schema = "/usr/share/openvswitch/vswitch.ovsschema"
	// startTimeout is how long a daemon may take to listen.
	startTimeout = 10 * time.Second
	// stopTimeout is how long a daemon may take to end before it is killed.
	stopTimeout = 5 * time.Second
)

// Bridge is an ovsdb-server and an ovs-vswitchd with one bridge in secure mode and the
// userspace datapath. Its methods may be used concurrently, except Close.
type Bridge struct {
	dir      string // run directory, database and logs; removed by Close
	db, vswd *exec.Cmd
}

// Start starts the daemons and adds the bridge. The daemons end with this process
// at the latest. ctx bounds the start only.
func Start(ctx context.Context) (*Bridge, error) {
	dir, err := TempDir()
	if err != nil {
		return nil, fmt.Errorf("run directory of Open vSwitch: %w", err)
	}
	b := &Bridge{dir: dir}
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Bridge) start(ctx context.Context) error {
	if _, err := b.run(ctx, "ovsdb-tool", "create", b.path("conf.db"), schema); err != nil {
		return err
	}
	var err error
	if b.db, err = b.daemon("ovsdb-server", b.path("conf.db"), "--remote=punix:"+b.path("db.sock")); err != nil {
		return err
	}
	if err := waitListening(ctx, b.path("db.sock")); err != nil {
		return err
	}
	if _, err := b.Vsctl(ctx, "--no-wait", "init"); err != nil {
		return err
	}
	if b.vswd, err = b.daemon("ovs-vswitchd", "unix:"+b.path("db.sock"), "--disable-system"); err != nil {
		return err
	}
	_, err = b.Vsctl(ctx, "add-br", Name, "--",
		"set", "bridge", Name, "datapath_type=netdev", "fail_mode=secure", "protocols="+Protocols, "--",
		"set-controller", Name, "ptcp:6653:127.0.0.1")
	return err
}

// waitListening waits until something accepts connections on a unix socket. (With
// --retry ovs-vsctl would wait too, but a full second between tries.)
func waitListening(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
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

// daemon starts a daemon that logs to a file of its own and does not outlive
// this process.
func (b *Bridge) daemon(name string, args ...string) (*exec.Cmd, error) {
	args = append(args, "--no-chdir", "--pidfile="+b.path(name+".pid"), "--unixctl="+b.path(name+".ctl"),
		"--log-file="+b.path(name+".log"), "-vconsole:off")
	cmd := exec.Command(name, args...)
	cmd.Env = b.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s (Debian package openvswitch-switch; make deps installs it): %w", name, err)
	}
	return cmd, nil
}

// Vsctl runs ovs-vsctl against the bridge's database, waiting at most 10 s for it, and
// returns its standard output.
func (b *Bridge) Vsctl(ctx context.Context, args ...string) ([]byte, error) {
	return b.run(ctx, "ovs-vsctl", append([]string{"--timeout=10", "--db=unix:" + b.path("db.sock")}, args...)...)
}

// Ofctl runs ovs-ofctl -O OpenFlow13 and returns its standard output.
func (b *Bridge) Ofctl(ctx context.Context, args ...string) ([]byte, error) {
	return b.run(ctx, "ovs-ofctl", append([]string{"-O", "OpenFlow13"}, args...)...)
}

// Connect makes the bridge connect to a controller at addr (host:port), retrying
// at least once a second, beside the listener at Addr.
func (b *Bridge) Connect(ctx context.Context, addr string) error {
	_, err := b.Vsctl(ctx, "--id=@c", "create", "controller", `target="tcp:`+addr+`"`, "max_backoff=1000", "--",
		"add", "bridge", Name, "controller", "@c")
	return err
}

var flowCount = regexp.MustCompile(`flow_count=(\d+)`)

// FlowCount is the number of flows in table.
func (b *Bridge) FlowCount(ctx context.Context, table uint8) (int, error) {
	out, err := b.Ofctl(ctx, "dump-aggregate", Name, fmt.Sprintf("table=%d", table))
	if err != nil {
		return 0, err
	}
	m := flowCount.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("ovs-ofctl dump-aggregate: no flow_count in %q", out)
	}
	return strconv.Atoi(string(m[1]))
}

// Control connects to the control socket of ovs-vswitchd. Close the connection before the bridge.
func (b *Bridge) Control(ctx context.Context) (*ovsctl.Control, error) {
	return ovsctl.DialControl(ctx, b.path("ovs-vswitchd.ctl"))
}

// CPU is the user and system time that ovs-vswitchd has used, in steps of 10 ms.
func (b *Bridge) CPU() (time.Duration, error) { return CPUTime(b.vswd.Process.Pid) }

// Close stops the daemons and removes their directory.
func (b *Bridge) Close() error {
	return errors.Join(stop(b.vswd), stop(b.db), os.RemoveAll(b.dir))
}

// stop ends a daemon, first politely, and waits until it is gone.
func stop(cmd *exec.Cmd) error {
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", cmd.Path, err)
	}
	kill := time.AfterFunc(stopTimeout, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	// How it ends is of no interest: it was told to.
	_ = cmd.Wait()
	return nil
}

func (b *Bridge) path(name string) string { return filepath.Join(b.dir, name) }

func (b *Bridge) env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+b.dir, "OVS_DBDIR="+b.dir, "OVS_LOGDIR="+b.dir)
}

// Command is a command whose ovs-* tools find this Open vSwitch.
func (b *Bridge) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = b.env()
	return cmd
}

func (b *Bridge) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := b.Command(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
