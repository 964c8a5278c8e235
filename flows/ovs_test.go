package flows_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

// vswitch is an Open vSwitch of its own with one bridge, br0, on the userspace datapath.
type vswitch struct {
	t   testing.TB
	env []string
	dir string
}

// startVswitch starts one in a directory of its own and stops it, by its
// process, when the test ends. Without Open vSwitch or root the test is skipped,
// which CI does not accept.
func startVswitch(t testing.TB) *vswitch {
	t.Helper()
	need.Have(t, need.Root(), need.OpenVSwitch(), need.Tun())
	// A socket's path has at most 107 bytes, which t.TempDir may exceed.
	dir, err := os.MkdirTemp("", "flows")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	v := &vswitch{t: t, dir: dir, env: append(os.Environ(), "OVS_RUNDIR="+dir, "OVS_DBDIR="+dir, "OVS_LOGDIR="+dir)}
	db := filepath.Join(dir, "conf.db")
	sock := "unix:" + filepath.Join(dir, "db.sock")
	v.run("", "ovsdb-tool", "create", db, "/usr/share/openvswitch/vswitch.ovsschema")
	v.daemon("ovsdb-server", db, "--remote=p"+sock, "--unixctl="+filepath.Join(dir, "db.ctl"))
	v.retry("ovs-vsctl", "--db="+sock, "--no-wait", "init")
	v.daemon("ovs-vswitchd", sock, "--disable-system", "--unixctl="+filepath.Join(dir, "sw.ctl"))
	v.run("", "ovs-vsctl", "--timeout=60", "--db="+sock, "--", "add-br", "br0",
		"--", "set", "bridge", "br0", "datapath_type=netdev", "fail_mode=secure", "protocols=OpenFlow13")
	return v
}

func (v *vswitch) command(name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	v.t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, args...)
	c.Env = v.env
	return c
}

func (v *vswitch) daemon(name string, args ...string) {
	v.t.Helper()
	c := exec.Command(name, args...)
	c.Env = v.env
	// In a network namespace of its own: the taps of a userspace bridge are
	// persistent and would stay in the machine's.
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := c.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
}

func (v *vswitch) try(stdin, name string, args ...string) (string, error) {
	c := v.command(name, args...)
	c.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, &stderr)
	}
	return string(out), err
}

func (v *vswitch) run(stdin, name string, args ...string) string {
	v.t.Helper()
	out, err := v.try(stdin, name, args...)
	if err != nil {
		v.t.Fatal(err)
	}
	return out
}

// retry runs a command until the daemon it speaks to listens.
func (v *vswitch) retry(name string, args ...string) {
	v.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := v.try("", name, append([]string{"--timeout=1"}, args...)...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			v.t.Fatal(err)
		}
	}
}

// ofctl runs ovs-ofctl over OpenFlow 1.3 on br0: ofctl(stdin, command, args after the bridge).
func (v *vswitch) ofctl(stdin, command string, args ...string) (string, error) {
	all := append([]string{"--no-names", "-OOpenFlow13", command, filepath.Join("unix:"+v.dir, "br0.mgmt")}, args...)
	return v.try(stdin, "ovs-ofctl", all...)
}
