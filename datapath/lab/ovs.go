package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The datapath types of Open vSwitch.
const (
	datapathSystem = "system" // the kernel's
	datapathNetdev = "netdev" // in userspace, needs nothing of the kernel
)

// detectDatapath is the datapath type to use here: the kernel's if it has one.
// Asking for its generic netlink family also loads the module.
func detectDatapath() string {
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err == nil {
		return datapathSystem
	}
	return datapathNetdev
}

// Prerequisites reports what this machine lacks for a lab, nil if nothing.
func Prerequisites() error {
	if os.Geteuid() != 0 {
		return errors.New("a lab needs root, for network namespaces: run it with sudo")
	}
	for _, program := range []string{"ovsdb-server", "ovs-vswitchd", "ovsdb-tool", "ovs-vsctl", "ovs-appctl"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("a lab needs Open vSwitch, and there is no %s in $PATH (%s): install it with `apt-get install openvswitch-switch`, and have /usr/sbin in $PATH",
				program, os.Getenv("PATH"))
		}
	}
	if err := netdev.CheckTun(); err != nil && detectDatapath() == datapathNetdev {
		return fmt.Errorf("a lab needs tap devices, since this kernel has no openvswitch: %w", err)
	}
	return nil
}

// ovs is one Open vSwitch: a directory for its files and the namespace its
// daemons run in.
type ovs struct {
	l        *instance
	role     string // "host1", the first part of its processes' names
	dir      string
	datapath string
	ns       *netdev.Namespace
}

// ovsEnv makes Open vSwitch's programs work on the one in dir.
func ovsEnv(dir string) []string {
	return []string{"OVS_RUNDIR=" + dir, "OVS_DBDIR=" + dir, "OVS_LOGDIR=" + dir, "OVS_SYSCONFDIR=" + dir}
}

// ensureRunning starts the daemons that do not run.
func (o ovs) ensureRunning(ctx context.Context) error {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	db := filepath.Join(o.dir, "conf.db")
	if _, err := os.Stat(db); errors.Is(err, fs.ErrNotExist) {
		// Under another name first: a database half created would be kept for good.
		fresh := db + ".new"
		if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, _, err := run(ctx, o.ns, ovsEnv(o.dir), "ovsdb-tool", "create", fresh); err != nil {
			return err
		}
		if err := os.Rename(fresh, db); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	socket := filepath.Join(o.dir, "db.sock")
	started, err := o.ensureDaemon(ctx, "ovsdb-server", db,
		"--remote=punix:"+socket, "--remote=db:Open_vSwitch,Open_vSwitch,manager_options")
	if err != nil {
		return err
	}
	if started {
		version, err := o.version(ctx)
		if err != nil {
			return err
		}
		// On a real host ovs-ctl writes the version, which ovs-vswitchd does not.
		if _, err := o.vsctl(ctx, "--no-wait", "init", "--", "set", "Open_vSwitch", ".", "ovs_version="+version); err != nil {
			return err
		}
	}
	args := []string{"unix:" + socket}
	if o.datapath == datapathNetdev {
		args = append(args, disableSystem)
	}
	if err := o.endOtherType(ctx); err != nil {
		return err
	}
	_, err = o.ensureDaemon(ctx, "ovs-vswitchd", args...)
	return err
}

// version is that of ovs-vswitchd.
func (o ovs) version(ctx context.Context) (string, error) {
	out, _, err := run(ctx, o.ns, ovsEnv(o.dir), "ovs-vswitchd", "--version")
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(out, "\n")
	_, version, ok := strings.Cut(first, "(Open vSwitch) ")
	if !ok {
		return "", fmt.Errorf("ovs-vswitchd --version says %.80q, and no version", first)
	}
	return version, nil
}

// disableSystem keeps ovs-vswitchd from the kernel's datapath.
const disableSystem = "--disable-system"

// endOtherType ends an ovs-vswitchd that runs for the other datapath type, with the
// datapath that it has in the kernel, which would go on taking the ports' frames.
func (o ovs) endOtherType(ctx context.Context) error {
	o.l.mu.Lock()
	daemon := o.l.st.Processes[o.role+"/ovs-vswitchd"]
	o.l.mu.Unlock()
	if !daemon.alive() {
		return nil
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", daemon.PID))
	if err != nil || slices.Contains(strings.Split(string(line), "\x00"), disableSystem) == (o.datapath == datapathNetdev) {
		return nil // one that has ended meanwhile is started anew
	}
	if _, err := o.appctl(ctx, "exit", "--cleanup"); err != nil {
		return err
	}
	return stop(ctx, stillAlive(daemon))
}

// ensureType makes a bridge, if it is there, use the host's datapath type.
func (o ovs) ensureType(ctx context.Context, bridge string) error {
	have, err := o.vsctl(ctx, "--bare", "--columns=datapath_type", "find", "bridge", "name="+bridge)
	have = strings.TrimSpace(have)
	if err != nil || have == o.datapath || have == "" && o.datapath == datapathSystem {
		return err
	}
	// A bridge that is not there has no type either: then there is nothing to set.
	_, err = o.vsctl(ctx, "--if-exists", "set", "bridge", bridge, "datapath_type="+o.datapath)
	return err
}

// ensureDaemon starts one daemon unless it runs; with --detach it returns when
// the daemon is ready.
func (o ovs) ensureDaemon(ctx context.Context, program string, args ...string) (started bool, err error) {
	key := o.role + "/" + program
	o.l.mu.Lock()
	known := o.l.st.Processes[key]
	o.l.mu.Unlock()
	if known.alive() {
		return false, nil
	}
	pidfile := filepath.Join(o.dir, program+".pid")
	log := filepath.Join(o.dir, program+".log")
	// An Up that was interrupted after the start, before the note of it.
	if p, err := readPIDFile(pidfile); err == nil && p.alive() && p.runs(program) {
		return false, o.l.update(func(st *state) { st.Processes[key] = p })
	}
	if err := os.Remove(pidfile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	argv := append([]string{program, "--detach", "--no-chdir", "--pidfile=" + pidfile, "--log-file=" + log, "-vconsole:off"}, args...)
	if _, _, err := run(ctx, o.ns, ovsEnv(o.dir), argv...); err != nil {
		return false, fmt.Errorf("%w%s", err, logTail(log))
	}
	p, err := readPIDFile(pidfile)
	if err != nil {
		return false, fmt.Errorf("start %s: %w%s", program, err, logTail(log))
	}
	return true, o.l.update(func(st *state) { st.Processes[key] = p })
}

// runs reports whether the process executes a program of that name.
func (p process) runs(program string) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID))
	return err == nil && filepath.Base(exe) == program
}

// vsctl runs ovs-vsctl, which waits for ovs-vswitchd to have done it. Without
// the bound it would wait for ever for a dead one.
func (o ovs) vsctl(ctx context.Context, args ...string) (string, error) {
	out, complaint, err := run(ctx, o.ns, ovsEnv(o.dir), append([]string{"ovs-vsctl", "--timeout=20"}, args...)...)
	// A device that ovs-vswitchd cannot use does not change the exit code.
	if err == nil && strings.Contains(complaint, "Error detected while setting up") {
		err = fmt.Errorf("ovs-vsctl %s: %s", strings.Join(args, " "), lastLines(complaint))
	}
	return out, err
}

// awaitDevices waits until ovs-vswitchd has the devices in its bridges. vsctl
// alone does not where it had nothing to write, as after an Up that was killed
// while ovs-vswitchd was still at it.
func (o ovs) awaitDevices(ctx context.Context, devs ...string) error {
	var args []string
	for _, dev := range devs {
		args = append(args, "--", "wait-until", "interface", dev, "ofport>=1")
	}
	_, err := o.vsctl(ctx, args...)
	return err
}

func (o ovs) appctl(ctx context.Context, args ...string) (string, error) {
	out, _, err := run(ctx, o.ns, ovsEnv(o.dir), append([]string{"ovs-appctl", "--timeout=20"}, args...)...)
	return out, err
}

// quote writes a value so that ovs-vsctl takes it as it is.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // a string always marshals
		return `""`
	}
	return string(b)
}
