package ovsctl

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newSwitch starts an ovsdb-server and an ovs-vswitchd in a namespace of their
// own, with a bridge br-int in user space.
func newSwitch(t *testing.T) *Client {
	t.Helper()
	need.Have(t, need.Root(), need.OpenVSwitch(), need.Tun())
	dir := t.TempDir()
	c := New(Options{Timeout: time.Minute, RunDir: dir, Control: filepath.Join(dir, "vswitchd.ctl")})
	ctx := context.Background()
	command := func(program string, args ...string) {
		t.Helper()
		if _, err := c.run(ctx, program, args...); err != nil {
			t.Fatal(err)
		}
	}
	db := filepath.Join(dir, "conf.db")
	command("ovsdb-tool", "create", db, "/usr/share/openvswitch/vswitch.ovsschema")

	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = before.Close() }()
	fresh, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fresh.Close() }()
	daemon := func(program string, args ...string) {
		t.Helper()
		cmd := exec.Command(program, append(args, "-vconsole:off", "-vfile:off", "-vsyslog:off")...)
		cmd.Env = append(os.Environ(), "OVS_RUNDIR="+dir, "OVS_DBDIR="+dir, "OVS_LOGDIR="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	daemon("ovsdb-server", db, "--remote=punix:"+filepath.Join(dir, "db.sock"), "--unixctl="+filepath.Join(dir, "ovsdb.ctl"))
	vsctl := []string{"--db=" + c.o.DB, "--retry", "--timeout=60"}
	command("ovs-vsctl", append(vsctl, "--no-wait", "init")...)
	daemon("ovs-vswitchd", c.o.DB, "--disable-system", "--unixctl="+c.o.Control)
	if err := netns.Set(before); err != nil {
		t.Fatal(err) // the thread stays locked and ends with this goroutine
	}
	runtime.UnlockOSThread()
	command("ovs-vsctl", append(vsctl, "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "protocols=OpenFlow13", "fail_mode=secure")...)
	return c
}

func TestRecords(t *testing.T) {
	c, ctx := newSwitch(t), context.Background()
	const key, value = "ofctl-lab-attach", `{"a":"b, \"c\" {d}=\u00e9"}`
	if got, err := c.Interfaces(ctx, key); err != nil || len(got) != 0 {
		t.Fatalf("%v, %v; want none", got, err)
	}
	for _, p := range []Port{
		{Bridge: "br-int", Name: "tap1", Type: Internal, IfaceID: "red-b"},
		{Bridge: "br-int", Name: "tap0", Type: Internal, OFPort: 7},
		{Bridge: "br-int", Name: "other", Type: Internal},
	} {
		if err := c.AddPort(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	// A port whose device is not there, as after a reboot: ovs-vsctl says so, and adds it.
	_ = c.AddPort(ctx, Port{Bridge: "br-int", Name: "gone"})
	for _, name := range []string{"tap0", "tap1", "gone"} {
		for _, v := range []string{"before", value} { // the later one stands
			if err := c.SetExternalID(ctx, name, key, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := c.Interfaces(ctx, key)
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v, %v; want three", got, err)
	}
	if i := got[0]; i.Name != "gone" || i.OFPort != 0 || !strings.Contains(i.Error, "No such device") {
		t.Errorf("%+v", i)
	}
	if want := (Interface{Name: "tap0", OFPort: 7, ExternalIDs: map[string]string{key: value}}); !cmp.Equal(got[1], want) {
		t.Error(cmp.Diff(want, got[1]))
	}
	if i := got[2]; i.Name != "tap1" || i.OFPort == 0 || i.ExternalIDs["iface-id"] != "red-b" || i.ExternalIDs[key] != value {
		t.Errorf("%+v", i)
	}
	if err := c.SetExternalID(ctx, "nobody", key, value); err == nil || !strings.Contains(err.Error(), "no such interface") {
		t.Errorf("an interface that is not there: %v", err)
	}
	if err := c.SetExternalID(ctx, "tap0", key, "\xff"); err != nil {
		t.Errorf("invalid UTF-8, which becomes U+FFFD: %v", err)
	}
}

func TestPorts(t *testing.T) {
	c, ctx := newSwitch(t), context.Background()
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	p := Port{Bridge: "br-int", Name: "tap0", Type: Internal, IfaceID: `red "a"\`, AttachedMAC: mac, MTU: 1458, OFPort: 7}
	for range 2 { // the second time it is there
		if err := c.AddPort(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	get := func(column string) string {
		t.Helper()
		out, err := c.run(ctx, "ovs-vsctl", "--db="+c.o.DB, "--bare", "get", "Interface", "tap0", column)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	if get("ofport") != "7" || get("mtu") != "1458" || get("external_ids:attached-mac") != `"02:00:00:00:00:01"` {
		t.Errorf("ofport %s, mtu %s, attached-mac %s", get("ofport"), get("mtu"), get("external_ids:attached-mac"))
	}
	if err := c.SetMTU(ctx, "tap0", 1400); err != nil {
		t.Fatal(err)
	}
	if get("mtu") != "1400" {
		t.Errorf("mtu %s", get("mtu"))
	}
	if got, err := c.PortsByIfaceID(ctx, p.IfaceID); err != nil || !cmp.Equal(got, []string{"tap0"}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := c.Ports(ctx, "br-int"); err != nil || !cmp.Equal(got, []string{"tap0"}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := c.Bridges(ctx); err != nil || !cmp.Equal(got, []string{"br-int"}) {
		t.Errorf("%v, %v", got, err)
	}
	for range 2 { // the second time it is gone
		if err := c.DeletePort(ctx, "br-int", "tap0"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.Ports(ctx, "br-int"); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}

	var failed *CommandError
	err := c.AddPort(ctx, Port{Bridge: "br-none", Name: "tap0"})
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "ovs-vsctl") || !strings.Contains(err.Error(), "no bridge named br-none") {
		t.Errorf("%v does not carry the command and what it said", err)
	}
}

// Many calls at once, each with more flags than the library's shared slice bears.
func TestConcurrentCalls(t *testing.T) {
	c := newSwitch(t)
	var group sync.WaitGroup
	for _, name := range []string{"tap1", "tap2", "tap3", "tap4", "tap5", "tap6"} {
		group.Go(func() {
			if err := c.AddPort(context.Background(), Port{Bridge: "br-int", Name: name, Type: Internal, IfaceID: "id-" + name}); err != nil {
				t.Error(err)
			}
			if got, err := c.PortsByIfaceID(context.Background(), "id-"+name); err != nil || !cmp.Equal(got, []string{name}) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	group.Wait()
}

func TestDumpAndTrace(t *testing.T) {
	c, ctx := newSwitch(t), context.Background()
	if err := c.AddPort(ctx, Port{Bridge: "br-int", Name: "tap0", Type: Internal, OFPort: 3}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"add-flow", "table=0,priority=5,in_port=3,actions=set_field:0x7->reg1,goto_table:10"},
		{"add-flow", "table=10,reg1=0x7,ip,actions=ct(table=20,zone=7)"},
		{"add-flow", "table=20,ip,actions=IN_PORT"},
		{"add-group", "group_id=1,type=all,bucket=output:3"},
	} {
		if _, err := c.run(ctx, "ovs-ofctl", "-OOpenFlow13", args[0], "unix:"+c.OpenFlowSocket("br-int"), args[1]); err != nil {
			t.Fatal(err)
		}
	}
	flows, err := c.DumpFlowsText(ctx, "br-int")
	if err != nil || !strings.Contains(flows, "set_field:0x7->reg1,goto_table:10") {
		t.Errorf("%s, %v", flows, err)
	}
	groups, err := c.DumpGroupsText(ctx, "br-int")
	if err != nil || !strings.Contains(groups, "group_id=1,type=all") {
		t.Errorf("%s, %v", groups, err)
	}
	trace, err := c.Trace(ctx, "br-int", "in_port=3,ip,nw_src=10.0.0.1,nw_dst=10.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	if len(trace.Actions) != 2 || !strings.HasPrefix(trace.Actions[0], "ct(zone=7),recirc(") {
		t.Errorf("actions %q", trace.Actions)
	}
	trace, err = c.Trace(ctx, "br-int", "in_port=9,arp")
	if err != nil || !cmp.Equal(trace.Actions, []string{"drop"}) {
		t.Errorf("actions %q, %v", trace.Actions, err)
	}
	if _, err := c.Trace(ctx, "br-int", "no_such_field=1"); err == nil || !strings.Contains(err.Error(), "no_such_field") {
		t.Errorf("%v does not name the field", err)
	}
}

func TestRefused(t *testing.T) {
	c, ctx := New(Options{RunDir: t.TempDir()}), context.Background()
	for _, name := range []string{"", "-x", "--db=x", "a b", "a/b", "sixteen-bytes-xx", "a\nb"} {
		if err := c.AddPort(ctx, Port{Bridge: "br-int", Name: name}); err == nil || !strings.Contains(err.Error(), "a name has") {
			t.Errorf("port %q: %v", name, err)
		}
		if _, err := c.Ports(ctx, name); err == nil || !strings.Contains(err.Error(), "a name has") {
			t.Errorf("bridge %q: %v", name, err)
		}
	}
	if err := c.SetMTU(ctx, "tap0", 0); err == nil {
		t.Error("MTU 0")
	}
	if _, err := c.Trace(ctx, "br-int", "--consistent"); err == nil {
		t.Error("an option as a flow")
	}
	var failed *CommandError
	if _, err := c.run(ctx, "no-such-tool"); !errors.As(err, &failed) || !strings.Contains(err.Error(), "apt-get install") {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.run(ended, "sleep", "60"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	endless := func() io.Reader { return io.LimitReader(rand.Reader, 1<<20) }
	kept := &limitedBuffer{limit: 1000}
	if _, err := io.Copy(kept, endless()); !errors.Is(err, errTooMuch) {
		t.Errorf("endless output: %v, %d bytes kept", err, kept.kept.Len())
	}
	kept = &limitedBuffer{limit: 1000, lossy: true}
	if _, err := io.Copy(kept, endless()); err != nil || kept.kept.Len() != 1000 {
		t.Errorf("endless output: %v, %d bytes kept", err, kept.kept.Len())
	}
}
