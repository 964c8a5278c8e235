package e2e

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/controller/explain"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

const verifyTopology = twoHosts + `
tenants:
  - name: red
    networks: [{name: web, encap: gre, key: 1000001, subnets: [10.1.1.0/24]}]
  - name: blue
    networks:
      - {name: web, encap: vxlan, key: 1000002, subnets: [10.1.1.0/24]}
      - {name: wire, type: wire, encap: geneve, key: 1000003}
ports:
  - {name: red-a,  network: red/web,  host: host1, netns: red-a,  addresses: [10.1.1.1]}
  - {name: red-b,  network: red/web,  host: host2, netns: red-b,  addresses: [10.1.1.2]}
  - {name: red-d,  network: red/web,  host: host1, netns: red-d,  addresses: [10.1.1.4]}
  - {name: blue-a, network: blue/web, host: host1, netns: blue-a, addresses: [10.1.1.1]}
  - {name: blue-b, network: blue/web, host: host2, netns: blue-b, addresses: [10.1.1.2]}
  - {name: sw1,    host: host1, netns: sw1, profile: switch, trunk: {vlans: {10: red/web, 20: blue/web}}}
  - {name: wire-a, network: blue/wire, host: host1, netns: wire-a}
  - {name: wire-b, network: blue/wire, host: host2, netns: wire-b}
`

// verification runs ofctl-lab verify and returns what it says and its exit status.
func (l *testLab) verification(t *testing.T, args ...string) (*explain.Verification, int) {
	t.Helper()
	c := l.command(t.Context(), append([]string{"verify", "-o", "json"}, args...)...)
	status := 0
	if err := c.wait(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
		status = exit.ExitCode()
	}
	v := &explain.Verification{}
	if err := json.Unmarshal(c.stdout.Bytes(), v); err != nil {
		t.Fatalf("exit status %d: %v\n%s%s", status, err, &c.stdout, &c.stderr)
	}
	return v, status
}

// mustVerify fails the test unless the flows that all switches hold are proved.
func (l *testLab) mustVerify(t *testing.T) {
	t.Helper()
	if v, status := l.verification(t); v.Verdict != explain.Isolated || status != 0 {
		t.Errorf("exit status %d, %s", status, verdictOf(v))
	}
}

// verdictOf is a verification in short.
func verdictOf(v *explain.Verification) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", v.Verdict)
	for _, x := range v.Violations {
		fmt.Fprintf(&b, "\n%s on %s from %s: %s: %s", x.Property, x.Host, x.From, x.What, x.Packet)
		if x.Flow != nil {
			fmt.Fprintf(&b, "\n  by %s %s", x.Table, x.Flow.Raw)
		}
	}
	for _, d := range v.Doubts {
		fmt.Fprintf(&b, "\nnot decided: %s: %s", d.Host, d.Why)
	}
	return b.String()
}

// harm is somebody's flow in a switch, and what of isolation it breaks. In its text RED
// and BLUE are the networks' numbers, RED-A, BLUE-A, SW1, OTHER, GRE and VXLAN ports'.
type harm struct {
	name string
	host string
	flow string
	want []string // the properties that are broken beside undeclared; none: it is not decided
	says string
	// reaches is a port at which the packet that verify shows arrives, sent as it says.
	reaches string
}

var harms = []harm{
	{"to another tenant's port", "host1", "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99,actions=output:BLUE-A",
		[]string{"isolation"}, "reaches port blue-a", "blue-a"},
	{"past the guards into another network", "host1", "table=0,priority=500,in_port=RED-A,dl_type=0x88b5,actions=set_field:BLUE->reg0,set_field:BLUE-A->reg2,resubmit(,90)",
		[]string{"isolation"}, "reaches port blue-a", "blue-a"},
	{"a VLAN of a trunk to two networks", "host1", "table=0,priority=500,in_port=SW1,dl_vlan=10,dl_vlan_pcp=3,actions=set_field:0->vlan_tci,output:BLUE-A",
		[]string{"isolation", "membership"}, "VLAN 10", "blue-a"},
	{"a VLAN that a trunk does not carry", "host1", "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99,actions=push_vlan:0x8100,set_field:4195->vlan_vid,output:SW1",
		[]string{"membership"}, "VLAN 99", "sw1"},
	{"from a port of nobody", "host1", "table=0,priority=500,in_port=OTHER,actions=output:RED-A", []string{"isolation"}, "of no network", ""},
	{"to a port of nobody", "host1", "table=60,priority=500,reg0=RED,actions=output:OTHER", []string{"membership"}, "in none", ""},
	{"under another network's key", "host1", "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99,actions=set_field:192.168.200.21->tun_dst,set_field:1000002->tun_id,output:VXLAN",
		[]string{"key", "loop"}, "that of blue/web", ""},
	{"under a key of nobody", "host1", "table=60,priority=500,reg0=RED,actions=set_field:192.168.200.21->tun_dst,set_field:77->tun_id,output:GRE",
		[]string{"key"}, "that of no network", ""},
	{"to where no host is", "host1", "table=60,priority=500,reg0=RED,actions=set_field:192.168.200.99->tun_dst,set_field:1000001->tun_id,output:GRE",
		[]string{"key"}, "192.168.200.99", ""},
	{"a key of nobody comes in", "host2", "table=0,priority=500,in_port=GRE,tun_id=77,actions=output:RED-B", []string{"isolation"}, "of no network", ""},
	{"from a tunnel into a tunnel", "host2", "table=60,priority=500,reg0=RED,reg1=1,actions=set_field:192.168.200.20->tun_dst,set_field:1000001->tun_id,in_port",
		[]string{"loop"}, "leaves host host2", ""},
	{"twice", "host1", "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99,actions=output:RED-D,output:RED-D", []string{"duplicate"}, "2 copies", "red-d"},
	{"back to its sender", "host1", "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99,actions=in_port", []string{"duplicate", "membership"}, "its sender", ""},
	{"a flow of nobody's, which only drops", "host1", "table=0,priority=500,in_port=RED-A,actions=drop", []string{}, "cookie is not of this pipeline", ""},
	{"NORMAL", "host1", "table=60,priority=500,reg0=RED,actions=NORMAL", nil, "NORMAL", ""},
}

// TestVerify plants every kind of violation in real switches. Where a packet is shown
// that a guest can send, it is sent, and arrives.
func TestVerify(t *testing.T) {
	l := up(t, "vf", verifyTopology)
	l.mustVerify(t)
	guests := map[string]*guest{}
	for _, p := range []string{"red-a", "red-b", "red-d", "blue-a", "blue-b"} {
		guests[p] = l.guest(t, p)
	}
	guests["sw1"] = l.guest(t, "sw1").on(10)
	l.vsctl(t, "host1", "add-port", lab.IntegrationBridge, "others", "--", "set", "interface", "others", "type=internal")
	eventually(t, "the port of nobody's has a number", func() bool { return l.vsctl(t, "host1", "get", "interface", "others", "ofport") != "[]" })
	l.mustVerify(t)

	for _, h := range harms {
		t.Run(h.name, func(t *testing.T) {
			words := []string{"RED-A", l.number(t, "red-a"), "RED-B", l.number(t, "red-b"), "RED-D", l.number(t, "red-d"), "BLUE-A", l.number(t, "blue-a"),
				"SW1", l.number(t, "sw1"), "RED", fmt.Sprint(l.networkID(t, "red/web")), "BLUE", fmt.Sprint(l.networkID(t, "blue/web")),
				"GRE", fmt.Sprint(l.tunnelPort(t, h.host, "gre")), "VXLAN", fmt.Sprint(l.tunnelPort(t, h.host, "vxlan"))}
			if h.host == "host1" {
				words = append(words, "OTHER", fmt.Sprint(l.ofport(t, "host1", "others")))
			}
			l.addForeign(t, h.host, strings.NewReplacer(words...).Replace(h.flow))
			v, status := l.verification(t)
			h.hold(t, v, status)
			if h.reaches != "" {
				arrives(t, v, guests, h)
			}
		})
	}
	l.mustVerify(t)
	l.misfloods(t)
	l.mustVerify(t)

	// A host that does not answer leaves the others proved, and all undecided.
	l.exec(t, "host2", "ovs-appctl", "-t", "ovs-vswitchd", "exit")
	eventually(t, "the controller knows that the switch is gone", func() bool {
		h, err := l.api.Host(t.Context(), "host2")
		return err == nil && !h.Status.OpenFlow.Connected
	})
	v, status := l.verification(t)
	if status != 1 || v.Verdict != explain.Undecided || !slices.Equal(v.Hosts, []string{"host1"}) || len(v.Doubts) != 1 || v.Doubts[0].Host != "host2" {
		t.Errorf("without the switch of host2: exit status %d, hosts %v, %s", status, v.Hosts, verdictOf(v))
	}
	if v, status := l.verification(t, "host1"); status != 0 || v.Verdict != explain.Isolated {
		t.Errorf("host1 alone: exit status %d, %s", status, verdictOf(v))
	}
	if v, status := l.verification(t, "--planned"); status != 0 || len(v.Hosts) != 2 {
		t.Errorf("planned: exit status %d, hosts %v, %s", status, v.Hosts, verdictOf(v))
	}
}

// number is a bound port's OpenFlow number.
func (l *testLab) number(t *testing.T, port string) string {
	return fmt.Sprint(l.portStatus(t, port).OFPort)
}

// hold holds what verify says against what is wrong.
func (h harm) hold(t *testing.T, v *explain.Verification, status int) {
	t.Helper()
	if h.want == nil {
		if status != 3 && status != 1 || len(v.Doubts) == 0 || !strings.Contains(verdictOf(v), h.says) {
			t.Errorf("exit status %d, %s", status, verdictOf(v))
		}
		return
	}
	var kinds []string
	for _, x := range v.Violations {
		kinds = append(kinds, x.Property)
	}
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)
	want := append(slices.Clone(h.want), "undeclared")
	slices.Sort(want)
	if status != 3 || v.Verdict != explain.Violated || !slices.Equal(kinds, want) || !strings.Contains(verdictOf(v), h.says) {
		t.Errorf("exit status %d, broken: %v, want %v and %q:\n%s", status, kinds, want, h.says, verdictOf(v))
	}
	for _, x := range v.Violations {
		if x.Flow == nil || x.Frame == "" || x.Trace == nil || len(x.Trace.Branches) == 0 {
			t.Errorf("%s: no flow, frame or trace: %+v", x.Property, x)
		}
	}
}

// arrives sends the packet that shows a violation, from the port that it comes from,
// and holds that it arrives where it must not.
func arrives(t *testing.T, v *explain.Verification, guests map[string]*guest, h harm) {
	t.Helper()
	i := slices.IndexFunc(v.Violations, func(x explain.Violation) bool { return slices.Contains(h.want, x.Property) })
	if i < 0 {
		return // said already
	}
	port, _, _ := strings.Cut(v.Violations[i].From, ",")
	from, to := guests[port], guests[h.reaches]
	frame, err := hex.DecodeString(v.Violations[i].Frame)
	if err != nil || from == nil {
		t.Fatalf("the packet from %s: %v", v.Violations[i].From, err)
	}
	from.send(t, frame)
	// A tag may have come or gone; the experiment's payload is the same.
	sender := frame[6:12]
	got, err := collect(t, to.PacketConn, func(f netdev.Frame) bool { return received(f) && bytes.Equal(f.Data[6:12], sender) }, received)
	if err != nil {
		t.Errorf("the packet that verify shows does not arrive at %s: %v; %d others did", h.reaches, err, len(got))
	}
}

// misfloods has a network's flood send to a port of another tenant's, and to one port twice.
func (l *testLab) misfloods(t *testing.T) {
	t.Helper()
	groups := l.ofctl(t, "host1", "dump-groups", lab.IntegrationBridge)
	out := "output:" + l.number(t, "red-d")
	var group string
	for line := range strings.Lines(groups) {
		if strings.Contains(line, out+",") || strings.HasSuffix(strings.TrimSpace(line), out) {
			group = strings.TrimSpace(line)
		}
	}
	if group == "" {
		t.Fatalf("no group has %s:\n%s", out, groups)
	}
	for _, c := range []struct{ bucket, want string }{
		{"output:" + l.number(t, "blue-a"), "isolation"},
		{out, "duplicate"},
	} {
		l.ofctl(t, "host1", "mod-group", lab.IntegrationBridge, group+",bucket=actions="+c.bucket)
		v, status := l.verification(t)
		if status != 3 || !slices.ContainsFunc(v.Violations, func(x explain.Violation) bool { return x.Property == c.want }) {
			t.Errorf("a bucket %s: exit status %d, %s", c.bucket, status, verdictOf(v))
		}
	}
	l.ofctl(t, "host1", "mod-group", lab.IntegrationBridge, group)
}
