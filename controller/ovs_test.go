package controller

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
)

// testNetns is a network namespace for one test: the userspace datapath leaves
// its devices behind in the namespace in which it ran.
type testNetns struct {
	*testing.T
	handle netns.NsHandle
}

func newNamespace(t *testing.T) *testNetns {
	t.Helper()
	needOpenVSwitch(t)
	n := &testNetns{T: t}
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	if n.handle, err = netns.New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.handle.Close() })
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	n.leave(before)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// in runs f on a thread in the namespace; what f starts and listens on stays there.
func (n *testNetns) in(f func()) {
	n.Helper()
	runtime.LockOSThread()
	before, err := netns.Get()
	if err == nil {
		err = netns.Set(n.handle)
	}
	if err != nil {
		n.Fatal(err)
	}
	defer n.leave(before)
	f()
}

// leave puts the thread back; one that cannot go back stays locked, and ends
// with its goroutine.
func (n *testNetns) leave(to netns.NsHandle) {
	if err := netns.Set(to); err == nil {
		runtime.UnlockOSThread()
	}
	_ = to.Close()
}

// start runs a controller whose listeners are in the namespace.
func (n *testNetns) start(cfg *config.Config) (r *rig) {
	n.Helper()
	n.in(func() { r = start(n.T, cfg) })
	return r
}

// ovsHost is a real Open vSwitch in directories of its own.
type ovsHost struct {
	*testing.T
	dir string
}

// needOpenVSwitch skips a test that needs root and Open vSwitch.
func needOpenVSwitch(t *testing.T) {
	t.Helper()
	need.Have(t, need.Root(), need.OpenVSwitch(), need.Tun())
}

// newHost starts a database in the namespace, and a switch: on the kernel's datapath where
// there is one, as on users' hosts, and else on the userspace one.
func (n *testNetns) newHost() *ovsHost {
	n.Helper()
	h := n.newDatabase()
	args := []string{"unix:" + h.path("db.sock"), "--unixctl=" + h.path("vswitchd.ctl")}
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err != nil {
		args = append(args, "--disable-system")
	}
	n.in(func() { h.daemon("ovs-vswitchd", args...) })
	h.vsctl("show") // waits until the switch is there
	return h
}

// newDatabase starts a host that has no switch behind its database.
func (n *testNetns) newDatabase() *ovsHost {
	n.Helper()
	h := &ovsHost{T: n.T, dir: n.TempDir()}
	h.run("ovsdb-tool", "create", h.path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	n.in(func() {
		h.daemon("ovsdb-server", h.path("conf.db"), "--remote=punix:"+h.path("db.sock"),
			"--remote=db:Open_vSwitch,Open_vSwitch,manager_options", "--unixctl="+h.path("ovsdb.ctl"))
	})
	h.vsctl("--no-wait", "init")
	return h
}

func (h *ovsHost) path(name string) string { return filepath.Join(h.dir, name) }

func (h *ovsHost) command(program string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithCancel(context.Background())
	h.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+h.dir, "OVS_DBDIR="+h.dir, "OVS_LOGDIR="+h.dir)
	return cmd
}

// daemon runs a program until the end of the test.
func (h *ovsHost) daemon(program string, args ...string) {
	h.Helper()
	cmd := h.command(program, append(args, "-vconsole:off", "-vfile:off", "-vsyslog:off")...)
	if err := cmd.Start(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		_ = cmd.Process.Kill() // by the process that was started here
		_ = cmd.Wait()
	})
}

func (h *ovsHost) run(program string, args ...string) string {
	h.Helper()
	cmd := h.command(program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		h.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func (h *ovsHost) vsctl(args ...string) string {
	h.Helper()
	return h.run("ovs-vsctl", append([]string{"--db=unix:" + h.path("db.sock"), "--retry", "--timeout=60"}, args...)...)
}

// join makes the host connect to the controller, as its join command does.
func (h *ovsHost) join(r *rig, name, tep string) {
	h.Helper()
	target := func(a net.Addr) ovsdb.Target {
		return ovsdb.Target{Proto: "tcp", Host: "127.0.0.1", Port: uint16(a.(*net.TCPAddr).Port)}
	}
	command, err := ovsdb.JoinCommand(ovsdb.JoinSpec{
		Host: name, TEP: netip.MustParseAddr(tep), Manager: target(r.c.OVSDBAddr()), Controller: target(r.c.OpenFlowAddr()),
	})
	if err != nil {
		h.Fatal(err)
	}
	h.vsctl(append([]string{"--no-wait"}, command[1:]...)...)
}

// A real Open vSwitch: joins, gets its bridge, is programmed, and a second
// synchronisation finds nothing to change.
func TestRealOpenVSwitch(t *testing.T) {
	n := newNamespace(t)
	h := n.newHost()
	cfg := testConfig(t.TempDir())
	r := n.start(cfg)
	r.apply(strings.ReplaceAll(twoHosts, "encap: vxlan", "encap: geneve"))
	h.join(r, "host1", "192.168.200.20")
	r.until(func() string {
		st := r.c.view().hostStatus(r.c.engine.load().Host("host1"))
		if !st.OVSDB.Connected || !st.OpenFlow.Connected || st.Bridge == nil || st.Bridge.FailMode != "secure" {
			return "the host is not joined: " + strings.Join(st.Problems, "; ")
		}
		return ""
	})
	for _, port := range []string{"red-a", "blue-a"} {
		h.vsctl("add-port", "br-int", "t-"+port, "--", "set", "Interface", "t-"+port, "type=internal", "external_ids:iface-id="+port)
		r.until(func() string {
			if len(r.c.engine.load().Bindings(port)) == 0 {
				return port + " is not bound"
			}
			return r.synced()
		})
	}
	dump := func() *flows.State {
		d, err := r.c.hosts.find("host1").conn.Load().Dump(r.ctx())
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Unreadable) > 0 {
			t.Errorf("unreadable: %+v", d.Unreadable)
		}
		return d.State()
	}
	want, err := pipeline.Compile(r.c.engine.load().Snapshot, "host1")
	if err != nil {
		t.Fatal(err)
	}
	if d := flows.Diff(dump(), want); !d.Empty() {
		t.Errorf("the switch does not hold what is compiled: %+v", d)
	}
	r.stop()

	// A restart of the controller finds nothing to change.
	cfg.OVSDBListen, cfg.OpenFlowListen = r.c.OVSDBAddr().String(), r.c.OpenFlowAddr().String()
	again := n.start(cfg)
	again.until(func() string {
		hh := again.c.hosts.find("host1")
		if hh == nil || hh.sync.Load().confirmed == nil || len(again.c.engine.load().Bindings("red-a")) == 0 {
			return "host1 is not synchronised"
		}
		return again.synced()
	})
	metrics, err := again.c.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range metrics {
		if f.GetName() != "ofctl_lab_switch_entries_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			// Until the own ports are seen nothing is sent, so nothing at all may be.
			t.Errorf("a restart changed the switch: %s", m)
		}
	}
}

// A port that is unplugged, and plugged again under another number, is wired
// again without any command.
func TestRealPowerCycle(t *testing.T) {
	n := newNamespace(t)
	h := n.newHost()
	r := n.start(testConfig(t.TempDir()))
	r.apply(twoHosts)
	h.join(r, "host1", "192.168.200.20")
	r.until(func() string {
		if f := r.c.hosts.find("host1").facts.Load(); f == nil || !f.Bridge.Present {
			return "no bridge"
		}
		return ""
	})
	bound := func(port, iface string) {
		t.Helper()
		r.until(func() string {
			b := r.c.engine.load().Bindings(port)
			if (len(b) > 0) != (iface != "") {
				return port + " should be bound to " + iface
			}
			return r.synced()
		})
	}
	plug := func(iface, port, number string) {
		h.vsctl("add-port", "br-int", iface, "--", "set", "Interface", iface, "type=internal", "external_ids:iface-id="+port, "ofport_request="+number)
	}
	plug("t1", "red-a", "11")
	bound("red-a", "t1")
	h.vsctl("del-port", "br-int", "t1")
	bound("red-a", "")
	plug("t2", "blue-a", "11")
	bound("blue-a", "t2")
	plug("t3", "red-a", "12")
	bound("red-a", "t3")
	d, err := r.client.Flows(r.ctx(), "host1")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(d.Flows, func(f api.Flow) bool { return f.Port == "red-a" && f.Network == "red/web" && f.Tenant == "red" }) {
		t.Error("no flow of red-a has its names")
	}
	plug("t4", "nobody", "13")
	r.until(func() string {
		if u := r.c.engine.load().Unclaimed(); len(u) != 1 || u[0].IfaceID != "nobody" {
			return "nobody is not listed as unclaimed"
		}
		return ""
	})
}

// A second machine under the name of one that is alive is refused, and both are named.
func TestRealHostNameTwice(t *testing.T) {
	n := newNamespace(t)
	a, b := n.newDatabase(), n.newDatabase()
	r := n.start(testConfig(t.TempDir()))
	r.apply(twoHosts)
	a.join(r, "host1", "192.168.200.20")
	r.until(func() string {
		if h := r.c.hosts.find("host1"); !h.db.Load().connected {
			return "not connected"
		}
		return ""
	})
	first := r.c.hosts.find("host1").db.Load().peer
	b.join(r, "host1", "192.168.200.99")
	r.until(func() string {
		_, refused := r.c.hosts.find("host1").problemList()
		for _, p := range refused {
			if strings.Contains(p, first) && strings.Contains(p, "is refused") {
				return ""
			}
		}
		return "the second is not refused"
	})
	if got := r.c.hosts.find("host1").db.Load(); !got.connected || got.peer != first {
		t.Errorf("the first was disturbed: %+v", got)
	}
}
