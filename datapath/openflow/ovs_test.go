package openflow_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
)

// ovs is a private Open vSwitch with one bridge br0 on the dummy datapath, which
// has no devices and needs no privileges; the OpenFlow side is the real one.
type ovs struct {
	dir    string
	mayEnd bool // a test means its daemons to end
}

// startOVS starts one, or skips the test where there is none.
func startOVS(tb testing.TB) *ovs {
	tb.Helper()
	need.Have(tb, need.OpenVSwitch())
	dir, err := os.MkdirTemp("", "ovs") // not tb.TempDir: a socket's path has at most 107 bytes
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	o := &ovs{dir: dir}
	o.run(tb, "ovsdb-tool", "create", filepath.Join(dir, "conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	db := "unix:" + filepath.Join(dir, "db.sock")
	o.daemon(tb, "db.sock", "ovsdb-server", "--remote=p"+db, "--unixctl="+filepath.Join(dir, "db.ctl"), filepath.Join(dir, "conf.db"))
	o.vsctl(tb, "--no-wait", "init")
	o.daemon(tb, "ctl", "ovs-vswitchd", db, "--enable-dummy", "--disable-system", "--unixctl="+filepath.Join(dir, "ctl"))
	o.vsctl(tb, "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure",
		"protocols=OpenFlow13", "other_config:datapath-id=00000000000000aa")
	return o
}

func (o *ovs) env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+o.dir, "OVS_LOGDIR="+o.dir, "OVS_DBDIR="+o.dir, "OVS_SYSCONFDIR="+o.dir)
}

// daemon starts a daemon in the foreground and waits for its socket.
func (o *ovs) daemon(tb testing.TB, sock, name string, args ...string) {
	tb.Helper()
	cmd := exec.Command(name, args...)
	var log bytes.Buffer
	cmd.Env, cmd.Stderr = o.env(), &log
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tb.Cleanup(func() {
		select {
		case err := <-done:
			if !o.mayEnd {
				tb.Errorf("%s ended during the test: %v\n%s", name, err, log.String())
			}
			return
		default:
		}
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(time.Minute):
			cmd.Process.Kill()
			<-done
		}
	})
	for end := time.Now().Add(time.Minute); ; {
		if c, err := net.Dial("unix", filepath.Join(o.dir, sock)); err == nil {
			c.Close()
			return
		}
		select {
		case err := <-done:
			done <- err
			tb.Fatalf("%s ended: %v\n%s", name, err, log.String())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(end) {
			tb.Fatalf("%s does not listen on %s", name, sock)
		}
	}
}

// run runs a program and returns what it says.
func (o *ovs) run(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = o.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (o *ovs) vsctl(tb testing.TB, args ...string) string {
	tb.Helper()
	return o.run(tb, "ovs-vsctl", append([]string{"--db=unix:" + filepath.Join(o.dir, "db.sock")}, args...)...)
}

// ofctl runs ovs-ofctl COMMAND on the bridge.
func (o *ovs) ofctl(tb testing.TB, command string, args ...string) string {
	tb.Helper()
	all := append([]string{"-OOpenFlow13", command, "unix:" + o.mgmt()}, args...)
	if strings.HasPrefix(command, "--") {
		all = append([]string{"-OOpenFlow13", command, args[0], "unix:" + o.mgmt()}, args[1:]...)
	}
	return o.run(tb, "ovs-ofctl", all...)
}

// mgmt is the bridge's management socket.
func (o *ovs) mgmt() string { return filepath.Join(o.dir, "br0.mgmt") }

// connect dials the management socket.
func (o *ovs) connect(tb testing.TB, opts openflow.Options) *openflow.Conn {
	tb.Helper()
	nc, err := net.Dial("unix", o.mgmt())
	if err != nil {
		tb.Fatal(err)
	}
	c, err := openflow.Connect(tb.Context(), nc, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// accept makes the bridge dial the test, as it dials its controller.
func (o *ovs) accept(tb testing.TB, opts openflow.Options) *openflow.Conn {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute))
	o.vsctl(tb, "set-controller", "br0", "tcp:"+l.Addr().String())
	nc, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	c, err := openflow.Connect(tb.Context(), nc, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// eventually polls until ok or, after a minute, fails.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ctx, stop := context.WithTimeoutCause(tb.Context(), time.Minute, errors.New("gave up"))
	defer stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			tb.Fatalf("never came true: %s", what)
		case <-tick.C:
		}
	}
}
