package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// leafTopology has a leaf switch on each of two hosts: sw1, the vEOS stand-in, has
// nine NICs, of which the first is a trunk of two tenants' networks, in GRE and in
// VXLAN, and an untagged one; two wires between the leaves are bonded by LACP, and
// on the bonds are bridges that speak STP. %[1]s is the guests' image.
const leafTopology = twoHosts + `
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, key: 1000001, subnets: [10.1.1.0/24]}
      - {name: mgmt, encap: geneve, key: 1000003, subnets: [10.9.0.0/24]}
  - name: blue
    networks:
      - {name: web, encap: vxlan, key: 1000002, subnets: [10.2.1.0/24]}
  - name: fabric
    networks:
      - {name: cable1, type: wire, encap: gre, carrier: propagate}
      - {name: cable2, type: wire, encap: vxlan, carrier: propagate}
ports:
  - {name: red-a, network: red/web, host: host1, addresses: [10.1.1.3]}
  - {name: red-b, network: red/web, host: host2, addresses: [10.1.1.2]}
  - {name: blue-a, network: blue/web, host: host1, addresses: [10.2.1.3]}
  - {name: blue-b, network: blue/web, host: host2, addresses: [10.2.1.2]}
  - {name: mgmt-a, network: red/mgmt, host: host1, addresses: [10.9.0.11]}
  - {name: mgmt-b, network: red/mgmt, host: host2, addresses: [10.9.0.12]}
guests:
  - name: sw1
    host: host1
    nic_model: e1000
    memory: 192
    kernel: %[1]s/vmlinuz
    initrd: %[1]s/initramfs.img
    cmdline: quiet lldp bond.bond0=eth7,eth8,lacp bridge.br0=bond0,stp net.br0=10.7.0.1/24 bridge.br1=eth6,stp
    nics:
      - profile: switch
        trunk:
          native: {network: red/mgmt, addresses: [10.9.0.1]}
          vlans: {10: {network: red/web, addresses: [10.1.1.1]}, 20: {network: blue/web, addresses: [10.2.1.1]}}
      - {network: red/mgmt}
      - {network: red/mgmt}
      - {network: red/mgmt}
      - {network: red/mgmt}
      - {network: red/mgmt}
      - {network: red/mgmt, profile: switch}
      - {network: fabric/cable1}
      - {network: fabric/cable2}
  - name: sw2
    host: host2
    nic_model: e1000
    memory: 192
    kernel: %[1]s/vmlinuz
    initrd: %[1]s/initramfs.img
    cmdline: quiet lldp bond.bond0=eth1,eth2,lacp bridge.br0=bond0,stp net.br0=10.7.0.2/24
    nics:
      - {network: red/mgmt, addresses: [10.9.0.2]}
      - {network: fabric/cable1}
      - {network: fabric/cable2}
`

// The leaves, as targets of exec.
const (
	sw1 = "host1/sw1"
	sw2 = "host2/sw2"
)

// TestLeaves: virtual machines that are switches work on trunks and on wires, and
// do so again after any power-cycle.
func TestLeaves(t *testing.T) {
	t.Parallel()
	needVMs(t)
	l := up(t, "l", fmt.Sprintf(leafTopology, guestImage(t)))
	t.Run("trunk", func(t *testing.T) { leafTrunk(t, l) })
	t.Run("several MACs", func(t *testing.T) { leafMACs(t, l) })
	t.Run("nothing leaks", func(t *testing.T) { leafLeaks(t, l) })
	t.Run("control frames", func(t *testing.T) { leafControl(t, l) })
	t.Run("wires", func(t *testing.T) { leafWires(t, l) })
	t.Run("shut port", func(t *testing.T) { leafShut(t, l) })
	t.Run("power-cycle", func(t *testing.T) { leafPower(t, l) })
}

// soon is eventually for what takes a virtual machine or its protocols some seconds,
// and costs it something to be looked at.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, waiting{limit: bootPatience, look: 100 * time.Millisecond}, what, ok)
}

// in runs a shell command in a leaf and is what it writes, trimmed; busybox's words
// come before the tools' of the same name.
func (l *testLab) in(t *testing.T, leaf, command string) string {
	t.Helper()
	return strings.TrimSpace(l.exec(t, leaf, "/bin/sh", "-c", command))
}

// reaches holds that the ports and sw1 reach each other in all its networks.
func (l *testLab) reaches(t *testing.T) {
	t.Helper()
	for port, addr := range map[string]string{"red-b": "10.1.1.1", "blue-b": "10.2.1.1", "mgmt-b": "10.9.0.1", "red-a": "10.1.1.1"} {
		l.mustPing(t, port, addr)
	}
	l.in(t, sw1, "ping -c 1 -W 30 10.1.1.2 && ping -c 1 -W 30 10.2.1.2 && ping -c 1 -W 30 10.9.0.12")
}

// leafTrunk: nine NICs are in their order, and the trunk reaches both tenants and
// the untagged network on another host, TCP included.
func leafTrunk(t *testing.T, l *testLab) {
	l.nicOrder(t)
	l.reaches(t)
	size := 200_000
	l.in(t, sw1, fmt.Sprintf("dd if=/dev/zero bs=1000 count=%d 2>/dev/null | tr '\\0' x >/tmp/www && mkdir -p /tmp/w && mv /tmp/www /tmp/w/f && httpd -p 8080 -h /tmp/w", size/1000))
	for port, addr := range map[string]string{"red-b": "10.1.1.1", "blue-b": "10.2.1.1"} {
		get := fmt.Sprintf("exec 3<>/dev/tcp/%s/8080; printf 'GET /f HTTP/1.0\\r\\n\\r\\n' >&3; tr -dc x <&3 | wc -c", addr)
		a := l.attachment(t, port)
		if out := l.exec(t, a.Host+"/"+netns(a), "bash", "-c", get); strings.TrimSpace(out) != fmt.Sprint(size) {
			t.Errorf("%s got %s bytes by TCP, want %d", port, strings.TrimSpace(out), size)
		}
	}
}

// nicOrder holds that the n-th NIC of sw1 is the n-th of the topology.
func (l *testLab) nicOrder(t *testing.T) {
	t.Helper()
	spec, err := l.m.Spec(l.name)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(spec.Machines, func(m lab.Machine) bool { return m.Name == "sw1" })
	var want []string
	for n, nic := range spec.Machines[i].NICs {
		want = append(want, fmt.Sprintf("eth%d %s", n, nic.MAC))
	}
	// A bond gives its ports its own address.
	got := l.in(t, sw1, `for i in 0 1 2 3 4 5 6 7 8; do d=/sys/class/net/eth$i; f=$d/bonding_slave/perm_hwaddr
		[ -e $f ] || f=$d/address; echo eth$i $(cat $f); done`)
	if got != strings.Join(want, "\n") || len(want) != 9 {
		t.Errorf("sw1 has the NICs\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// leafMACs: behind one VLAN of the trunk is a second station with its own MAC.
func leafMACs(t *testing.T, l *testLab) {
	const mac = "02:0a:0b:0c:0d:0e"
	l.in(t, sw1, "/usr/bin/ip link add m0 link eth0.10 address "+mac+" type macvlan && /usr/bin/ip netns add station && "+
		"/usr/bin/ip link set m0 netns station && /usr/bin/ip -n station addr add 10.1.1.50/24 dev m0 && /usr/bin/ip -n station link set m0 up")
	l.mustPing(t, "red-b", "10.1.1.50")
	a := l.attachment(t, "red-b")
	if got := l.exec(t, a.Host+"/"+netns(a), "ip", "neigh", "show", "10.1.1.50"); !strings.Contains(got, mac) {
		t.Errorf("red-b knows the station as %q, want %s", got, mac)
	}
	l.mustPing(t, "red-b", "10.1.1.1")
	l.in(t, sw1, "/usr/bin/ip netns del station")
}

// ways are from a port on host1 to one on host2 in each of the trunk's networks.
func (l *testLab) leafWays(t *testing.T) (red, blue, mgmt way) {
	t.Helper()
	return way{l.guest(t, "red-a"), l.guest(t, "red-b")}, way{l.guest(t, "blue-a"), l.guest(t, "blue-b")},
		way{l.guest(t, "mgmt-a"), l.guest(t, "mgmt-b")}
}

// leafLeaks: a broadcast of sw1's in one VLAN reaches that network and no other.
func leafLeaks(t *testing.T, l *testLab) {
	red, blue, mgmt := l.leafWays(t)
	const fill = "a7"
	marker := string(bytes.Repeat([]byte{0xa7}, 20))
	shout := func(dev, addr string) {
		t.Helper()
		// Nobody answers a broadcast, so that ping fails.
		l.in(t, sw1, fmt.Sprintf("ping -c 2 -W 1 -p %s -I %s %s >/dev/null || true", fill, dev, addr))
	}
	for _, c := range []struct {
		dev, addr string
		in        way
		out       []way
	}{
		{"eth0.10", "10.1.1.255", red, []way{blue, mgmt}},
		{"eth0.20", "10.2.1.255", blue, []way{red, mgmt}},
		{"eth0", "10.9.0.255", mgmt, []way{red, blue}},
	} {
		shout(c.dev, c.addr)
		if delivered(t, marker, c.in) == "" {
			t.Errorf("a broadcast on %s did not reach %s", c.dev, c.in.to.port)
		}
		if got := delivered(t, marker, c.out...); got != "" {
			t.Errorf("a broadcast on %s leaked:\n%s", c.dev, got)
		}
	}
	t.Run("control", func(t *testing.T) {
		flow := fmt.Sprintf("table=0,priority=999,in_port=%d,dl_vlan=10,actions=strip_vlan,load:%d->NXM_NX_REG0[],goto_table:70",
			l.portStatus(t, "sw1-eth0").OFPort, l.networkID(t, "blue/web"))
		l.mustPass(t, "host1", flow, marker, func() { shout("eth0.10", "10.1.1.255") }, blue)
	})
}

// leafControl: the LLDP and STP frames of a leaf end at the ports of ordinary
// networks, by name.
func leafControl(t *testing.T, l *testLab) {
	_, _, mgmt := l.leafWays(t)
	for _, reason := range []string{"control-lldp", "control-stp"} {
		before := l.dropped(t, "host1", reason, "host host1")
		soon(t, "sw1 sends what is dropped as "+reason, func() bool { return l.dropped(t, "host1", reason, "host host1") > before })
	}
	for _, f := range mgmt.from.flush(t, mgmt.to) {
		if bytes.HasPrefix(f.Data, []byte{0x01, 0x80, 0xc2}) {
			t.Errorf("a control frame has reached %s: % x", mgmt.to.port, f.Data[:min(len(f.Data), 40)])
		}
	}
	if got := l.in(t, sw1, "/usr/bin/lldpcli -f keyvalue show neighbors ports eth0,eth1,eth6"); got != "" {
		t.Errorf("sw1 has neighbours on ordinary networks:\n%s", got)
	}
}

// leafWires: over two wires the leaves see each other as neighbours, bond by LACP,
// and agree on the root of their spanning tree.
func leafWires(t *testing.T, l *testLab) {
	for _, c := range []struct{ leaf, port, far, farPort string }{
		{sw1, "eth7", "sw2", "eth1"}, {sw1, "eth8", "sw2", "eth2"}, {sw2, "eth1", "sw1", "eth7"}, {sw2, "eth2", "sw1", "eth8"},
	} {
		soon(t, c.leaf+" sees its neighbour on "+c.port+" by LLDP", func() bool {
			n := l.in(t, c.leaf, "/usr/bin/lldpcli -f keyvalue show neighbors ports "+c.port)
			return strings.Contains(n, "."+c.port+".chassis.name="+c.far+"\n") && strings.Contains(n, "."+c.port+".port.descr="+c.farPort+"\n")
		})
	}
	address := map[string]string{sw1: l.in(t, sw1, "cat /sys/class/net/bond0/address"), sw2: l.in(t, sw2, "cat /sys/class/net/bond0/address")}
	for leaf, far := range map[string]string{sw1: sw2, sw2: sw1} {
		soon(t, leaf+" bonds with its partner on both wires", func() bool {
			return l.in(t, leaf, "cd /sys/class/net/bond0/bonding; cat ad_partner_mac ad_num_ports mii_status") == address[far]+"\n2\nup"
		})
	}
	root := func(leaf string) string { return l.in(t, leaf, "cat /sys/class/net/br0/bridge/root_id") }
	soon(t, "the leaves agree on the root by STP", func() bool { return root(sw1) == root(sw2) })
	if p1, p2 := l.in(t, sw1, "cat /sys/class/net/br0/bridge/root_port"), l.in(t, sw2, "cat /sys/class/net/br0/bridge/root_port"); (p1 == "0") == (p2 == "0") {
		t.Errorf("the root ports are %s and %s: one of the leaves must be the root", p1, p2)
	}
	l.acrossWires(t)
}

// acrossWires waits until sw1 reaches sw2 over the bond.
func (l *testLab) acrossWires(t *testing.T) {
	t.Helper()
	soon(t, "sw1 reaches sw2 over the bond", func() bool {
		_, err := l.try(t, sw1, "/bin/sh", "-c", "ping -c 1 -W 1 10.7.0.2")
		return err == nil
	})
}

// leafShut: a port that is shut is seen to be by the leaf at the other end of the
// wire, the bond goes on with the other wire, and takes the first one back.
func leafShut(t *testing.T, l *testLab) {
	ns, err := l.m.Namespace(l.name, lab.Target{Host: "host2"})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	tap := netdev.DeviceName('t', "sw2-eth1")
	set := func(state netdev.LinkState) {
		t.Helper()
		if _, err := ns.Configure(tap, netdev.LinkConfig{State: state}); err != nil {
			t.Fatal(err)
		}
	}
	ports := func(leaf string) string { return l.in(t, leaf, "cat /sys/class/net/bond0/bonding/ad_num_ports") }
	carrier := func() string { return l.in(t, sw1, "cat /sys/class/net/eth7/carrier") }
	if got := carrier(); got != "1" {
		t.Fatalf("sw1's eth7 has the carrier %s before", got)
	}
	set(netdev.Down)
	soon(t, "sw1 sees the far end shut", func() bool { return carrier() == "0" })
	soon(t, "sw1's bond goes on with one wire", func() bool { return ports(sw1) == "1" })
	l.acrossWires(t)
	set(netdev.Up)
	soon(t, "sw1 sees the far end open", func() bool { return carrier() == "1" })
	soon(t, "both bonds have two wires again", func() bool { return ports(sw1) == "2" && ports(sw2) == "2" })
}

// leafPower: whatever goes and comes back, the guest reaches all again, without a
// command to the controller.
func leafPower(t *testing.T, l *testLab) {
	for _, c := range []struct {
		name  string
		cycle func()
	}{
		{"qemu killed", func() {
			l.killMachine(t, "sw1")
			l.run(t, "lab", "start", "sw1")
		}},
		{"guest reboots", func() { l.run(t, "lab", "reboot", "sw1") }},
		{"ovs-vswitchd killed", func() { l.restartVSwitchd(t, "host1") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cycle()
			soon(t, "red-b reaches sw1", func() bool { return l.ping(t, "red-b", "10.1.1.1") == nil })
			soon(t, "sw1 is ready", func() bool {
				_, err := l.try(t, sw1, "/bin/true")
				return err == nil
			})
			l.settled(t)
			l.reaches(t)
			l.nicOrder(t)
			l.acrossWires(t)
		})
	}
}

// machine is the process of a machine's qemu.
func (l *testLab) machine(t *testing.T, name string) int {
	t.Helper()
	status, err := l.m.Status(t.Context(), l.name)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(status.Machines, func(m lab.MachineStatus) bool { return m.Name == name })
	if i < 0 || status.Machines[i].PID == 0 {
		t.Fatalf("%s does not run: %+v", name, status.Machines)
	}
	return status.Machines[i].PID
}

// killMachine kills a machine's qemu, as a crash would, and waits until its ports
// are down.
func (l *testLab) killMachine(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Kill(l.machine(t, name), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	soon(t, name+"'s port is down", func() bool { return l.portStatus(t, name+"-eth0").State == "down" })
	// The overlay knows a few milliseconds before the switch has confirmed it.
	soon(t, name+"'s port has no flow left", func() bool { return len(l.flows(t, "host1", "--port", name+"-eth0")) == 0 })
}
