package trace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
)

// vswitch is a real ovs-vswitchd with one bridge, br0, whose ports are memory: it
// needs neither root nor a namespace.
type vswitch struct {
	t       testing.TB
	version Version
	dir     string
	ctl     *ovsctl.Control
	ports   map[uint32]string // names by OpenFlow port number, but for br0
	ofports map[uint32]uint32 // datapath port number → OpenFlow port number
	doing   string            // what to say when it fails
	skipped int               // packets that ofproto/trace cannot tell of
}

// The ports of br0, as the interpreter has them.
var testPorts = []Port{
	{Number: 1, Name: "p1"}, {Number: 2, Name: "p2"}, {Number: 3, Name: "p3"}, {Number: 4, Name: "p4"},
	{Number: 101, Name: "gre0", Tunnel: &Tunnel{Encap: "gre"}},
	{Number: 102, Name: "vxlan0", Tunnel: &Tunnel{Encap: "vxlan"}},
	{Number: 103, Name: "geneve0", Tunnel: &Tunnel{Encap: "geneve"}},
	{Number: 0xfffffffe, Name: "br0"},
}

// guestPort is a port of br0 that is no tunnel's.
func guestPort(n uint32) Port { return Port{Number: n, Name: fmt.Sprintf("p%d", n)} }

func isTunnelPort(n uint32) bool { return 101 <= n && n <= 103 }

func startVswitch(t testing.TB) *vswitch {
	t.Helper()
	need.Have(t, need.OpenVSwitch())
	// A socket's path has at most 107 bytes, which t.TempDir may exceed.
	dir, err := os.MkdirTemp("", "trace")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	v := &vswitch{t: t, dir: dir, ports: map[uint32]string{}}
	db := filepath.Join(dir, "conf.db")
	v.run("", "ovsdb-tool", "create", db, "/usr/share/openvswitch/vswitch.ovsschema")
	out, err := v.try("", "ovs-vswitchd", "--version")
	if err != nil {
		t.Fatal(err)
	}
	version, err := ParseVersion(regexp.MustCompile(`\(Open vSwitch\) (\S*)`).FindStringSubmatch(out + "(Open vSwitch) ")[1])
	if err != nil {
		t.Fatal(err)
	}
	v.version = version
	sock := "unix:" + filepath.Join(dir, "db.sock")
	v.daemon("ovsdb-server", db, "--remote=p"+sock, "--unixctl="+filepath.Join(dir, "db.ctl"))
	v.eventually(func() error {
		_, err := v.try("", "ovs-vsctl", "--timeout=1", "--db="+sock, "--no-wait", "init")
		return err
	})
	v.daemon("ovs-vswitchd", sock, "--enable-dummy", "--disable-system", "--unixctl="+filepath.Join(dir, "sw.ctl"))
	v.run("", "ovs-vsctl", "--timeout=60", "--db="+sock, "--", "add-br", "br0",
		"--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure", "protocols=OpenFlow13")
	v.eventually(func() error {
		v.ctl, err = ovsctl.DialControl(context.Background(), filepath.Join(dir, "sw.ctl"))
		return err
	})
	t.Cleanup(func() { v.ctl.Close() })
	v.run("", "ovs-ofctl", "-OOpenFlow13", "add-meter", "unix:"+filepath.Join(dir, "br0.mgmt"),
		fmt.Sprintf("meter=%d,pktps,bands=type=drop,rate=100000", testMeter))
	// Tunnels as the kernel has them: an action says where to and under which key.
	v.call("dpif/set-dp-features", "br0", "tnl_push_pop", "false")
	v.addPorts(testPorts[:len(testPorts)-1])
	return v
}

// addPorts adds ports, as far as they are not there yet.
func (v *vswitch) addPorts(ps []Port) {
	v.t.Helper()
	args := []string{"--timeout=60", "--db=unix:" + filepath.Join(v.dir, "db.sock")}
	for _, p := range ps {
		if v.ports[p.Number] != "" {
			continue
		}
		v.ports[p.Number] = p.Name
		args = append(args, "--", "add-port", "br0", p.Name, "--", "set", "interface", p.Name, "ofport_request="+strconv.Itoa(int(p.Number)))
		if p.Tunnel != nil {
			args = append(args, "type="+p.Tunnel.Encap, "options:remote_ip=flow", "options:key=flow")
		} else {
			args = append(args, "type=dummy", "mtu_request=9600", "options:tx_pcap="+filepath.Join(v.dir, p.Name+".pcap"))
		}
	}
	if len(args) == 2 {
		return
	}
	v.run("", "ovs-vsctl", args...)
	v.ofports = map[uint32]uint32{}
	for _, m := range regexp.MustCompile(`(\d+)/(\d+): \(`).FindAllStringSubmatch(v.call("dpif/show"), -1) {
		of, _ := strconv.Atoi(m[1])
		dp, _ := strconv.Atoi(m[2])
		if of == 0xfffe {
			of = 0xfffffffe
		}
		v.ofports[uint32(dp)] = uint32(of)
	}
	if len(v.ofports) != len(v.ports)+1 { // and br0
		v.t.Fatalf("ports: %v", v.ofports)
	}
}

func (v *vswitch) daemon(name string, args ...string) {
	v.t.Helper()
	c := exec.Command(name, args...)
	c.Env = v.env()
	if err := c.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
}

func (v *vswitch) env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+v.dir, "OVS_DBDIR="+v.dir, "OVS_LOGDIR="+v.dir)
}

func (v *vswitch) try(stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Env = v.env()
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	if err != nil {
		return "", errors.New(name + " " + strings.Join(args, " ") + ": " + err.Error() + ": " + string(out))
	}
	return string(out), nil
}

func (v *vswitch) run(stdin, name string, args ...string) {
	v.t.Helper()
	if _, err := v.try(stdin, name, args...); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vswitch) eventually(try func() error) {
	v.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			v.t.Fatal(err)
		}
	}
}

func (v *vswitch) call(command string, args ...string) string {
	v.t.Helper()
	out, err := v.ctl.Call(context.Background(), command, args...)
	if err != nil {
		v.t.Fatalf("%s%v", v.doing, err)
	}
	return out
}

// load makes the switch hold a state, in one bundle.
func (v *vswitch) load(c *testCase) error {
	v.addPorts(c.also)
	var b strings.Builder
	b.WriteString("flow delete\ngroup delete\n")
	for _, g := range c.groups {
		b.WriteString("group add " + g.String() + "\n")
	}
	for _, f := range c.flows {
		b.WriteString("flow add " + f.String() + "\n")
	}
	_, err := v.try(b.String(), "ovs-ofctl", "-OOpenFlow13", "bundle", "unix:"+filepath.Join(v.dir, "br0.mgmt"), "-")
	return err
}
