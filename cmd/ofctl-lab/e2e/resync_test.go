package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// everyKind is a topology that makes the pipeline produce every kind of flow and
// group it can: the encapsulations, over an underlay of either family; ports of
// either profile, with addresses of both families, of one, and with none; trunks
// with and without a native network; networks on one host and on both.
func everyKind(underlay string, teps [2]string) string {
	return fmt.Sprintf(`
underlay: {subnet: "%s", mtu: 1600}
hosts:
  - {name: host1, tep: "%s"}
  - {name: host2, tep: "%s"}
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, key: 4000000001, subnets: [10.1.1.0/24, "fd00:1::/64"]}
      - {name: mgmt, encap: geneve, subnets: [10.9.0.0/24]}
      - {name: local, encap: vxlan, subnets: [10.8.0.0/24]}
  - name: blue
    networks:
      - {name: web, encap: vxlan, key: 1000002, subnets: [10.1.1.0/24]}
ports:
  - {name: red-a, network: red/web, host: host1, addresses: [10.1.1.1, "fd00:1::1"]}
  - {name: red-b, network: red/web, host: host2, addresses: [10.1.1.2, "fd00:1::2"]}
  - {name: red-6, network: red/web, host: host2, addresses: ["fd00:1::3"]}
  - {name: red-0, network: red/web, host: host1}
  - {name: red-l, network: red/local, host: host1, addresses: [10.8.0.1]}
  - {name: red-m, network: red/mgmt, host: host2, addresses: [10.9.0.2]}
  - {name: blue-a, network: blue/web, host: host1, addresses: [10.1.1.1]}
  - {name: blue-b, network: blue/web, host: host2, addresses: [10.1.1.2]}
  - {name: blue-s, network: blue/web, host: host2, profile: switch, addresses: [10.1.1.9]}
  - {name: sw1, host: host1, profile: switch, trunk: {native: red/mgmt, vlans: {10: red/web, 20: blue/web}}}
  - {name: sw2, host: host2, trunk: {vlans: {110: red/web, 20: blue/web}}}
`, underlay, teps[0], teps[1])
}

var families = []struct {
	name, suffix, topology string
}{
	{"IPv4", "4", everyKind("192.168.200.0/24", [2]string{"192.168.200.20", "192.168.200.21"})},
	{"IPv6", "6", everyKind("fd00:200::/64", [2]string{"fd00:200::20", "fd00:200::21"})},
}

// holds is what a switch holds.
type holds struct {
	flows  map[string]counted
	groups string
}

func (l *testLab) holds(t *testing.T, host string) holds {
	t.Helper()
	return holds{l.entries(t, host), l.groups(t, host)}
}

// unchanged holds that the switches hold what they held.
func (l *testLab) unchanged(t *testing.T, before map[string]holds) {
	t.Helper()
	for host, was := range before {
		is := l.holds(t, host)
		unchanged(t, host, was.flows, is.flows)
		if is.groups != was.groups {
			t.Errorf("the groups of %s were\n%s\nand are\n%s", host, was.groups, is.groups)
		}
	}
}

// hostState is what the controller says of a host.
func (l *testLab) hostState(t *testing.T, host string) api.HostStatus {
	t.Helper()
	h, err := l.api.Host(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	return h.Status
}

// cutOpenFlow breaks the connection of a host's switch, and returns when there is
// a new one and the switch is up to date again.
func (l *testLab) cutOpenFlow(t *testing.T, host string) {
	t.Helper()
	since := l.hostState(t, host).OpenFlow.Since
	l.exec(t, host, "ss", "--kill", "--tcp", "dport", "=", strconv.Itoa(lab.OpenFlowPort))
	eventually(t, host+" is connected anew and up to date", func() bool {
		s := l.hostState(t, host)
		return s.OpenFlow.Since.After(*since) && upToDate(s)
	})
}

// upToDate reports whether the host's switch has confirmed, on the connection it
// has, that it holds what it should.
func upToDate(s api.HostStatus) bool { return s.Ready && confirmed(s) }

// confirmed reports whether it has confirmed anything on the connection it has.
func confirmed(s api.HostStatus) bool {
	return s.OpenFlow.Connected && s.LastError == "" && s.LastSync != nil && !s.LastSync.Before(*s.OpenFlow.Since)
}

// TestSecondSynchronisation: a switch that holds what it should is asked, on a
// new connection and by a new controller, and sent nothing.
func TestSecondSynchronisation(t *testing.T) {
	t.Parallel()
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			l := up(t, "s"+family.suffix, family.topology)
			l.mustPing(t, "red-a", "10.1.1.2")
			before, taps := map[string]holds{}, map[string]*wiretap{}
			for _, h := range l.hosts {
				before[h] = l.holds(t, h)
				taps[h] = l.wiretap(t, h)
			}
			sent := l.metric(t, "ofctl_lab_switch_entries_total")
			if sent == 0 {
				t.Error("the controller counts nothing that it sent")
			}
			nothingSent := func() {
				t.Helper()
				for h, tap := range taps {
					m := tap.messages(t)
					if m["OFPST_FLOW"] == 0 {
						t.Errorf("%s was not asked for its flows: %v", h, m)
					}
					if mods := modifying(m); len(mods) != 0 {
						t.Errorf("%s was sent %v", h, mods)
					}
					taps[h] = l.wiretap(t, h)
				}
				l.unchanged(t, before)
			}

			for _, h := range l.hosts {
				l.cutOpenFlow(t, h)
			}
			nothingSent()
			if now := l.metric(t, "ofctl_lab_switch_entries_total"); now != sent {
				t.Errorf("the controller says it has sent %v entries since", now-sent)
			}

			l.restartController(t, lab.AtOnce)
			nothingSent()
			if now := l.metric(t, "ofctl_lab_switch_entries_total"); now != 0 {
				t.Errorf("the new controller says it has sent %v entries", now)
			}
			l.mustPing(t, "red-a", "10.1.1.2")

			t.Run("control: one flow less", func(t *testing.T) {
				l.ofctl(t, "host1", "--strict", "del-flows", lab.IntegrationBridge, "table=70,priority=0")
				l.cutOpenFlow(t, "host1")
				m := taps["host1"].messages(t)
				if len(modifying(m)) == 0 {
					t.Errorf("a flow was missing, and what the switch was sent is %v: this test sees no modification", m)
				}
				if now := l.metric(t, "ofctl_lab_switch_entries_total", `host="host1"`, `kind="flow"`, `op="add"`); now != 1 {
					t.Errorf("a flow was missing, and the controller says it has added %v", now)
				}
			})
		})
	}
}

// restartController ends the controller and starts it again, and returns when
// all hosts are ready.
func (l *testLab) restartController(t *testing.T, how lab.StopMode) {
	t.Helper()
	if err := l.m.RestartController(t.Context(), l.name, how); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all hosts are up to date with the new controller", func() bool {
		hosts, err := l.api.Hosts(t.Context())
		return err == nil && len(hosts) == len(l.hosts) &&
			!slices.ContainsFunc(hosts, func(h api.Host) bool { return !upToDate(h.Status) })
	})
}

// TestControllerKilled: while the controller is dead, and while a new one takes
// over, no packet is lost and no flow replaced.
func TestControllerKilled(t *testing.T) {
	t.Parallel()
	l := up(t, "c", families[0].topology)
	from, to := l.guest(t, "red-a"), l.guest(t, "red-b")
	from.flush(t, to)
	before := map[string]holds{}
	for _, h := range l.hosts {
		before[h] = l.holds(t, h)
	}
	s := from.stream(t, to.mac, t.Name())
	s.more(t, 100)
	if err := l.m.StopController(t.Context(), l.name, lab.AtOnce); err != nil {
		t.Fatal(err)
	}
	s.more(t, 200)
	l.restartController(t, lab.AtOnce)
	s.more(t, 200)
	s.arrivedOnce(t, to)
	l.unchanged(t, before)
	t.Run("ports still follow", func(t *testing.T) {
		l.run(t, "lab", "unplug", "red-b")
		l.run(t, "lab", "plug", "red-b")
		l.mustPing(t, "red-a", "10.1.1.2")
	})
}

// TestSteadyState: no guest's packet goes to the controller, whether it is delivered,
// answered, flooded or dropped. The controller's own probes do.
func TestSteadyState(t *testing.T) {
	t.Parallel()
	l := up(t, "n", families[0].topology)
	from, to := l.guest(t, "red-a"), l.guest(t, "red-b")
	taps := map[string]*wiretap{}
	for _, h := range l.hosts {
		taps[h] = l.wiretap(t, h)
	}
	l.exec(t, "host1/red-a", "ping", "-q", "-n", "-c", "1000", "-i", "0.002", "10.1.1.2")
	me, stranger := from.station(), station{mac: []byte{2, 9, 9, 9, 9, 9}, addr: netip.MustParseAddr("10.1.1.200")}
	from.send(t,
		udp(t, me, stranger, "unknown unicast"),
		udp(t, me, station{broadcast, stranger.addr}, "broadcast"),
		arp(t, layers.ARPRequest, broadcast, me, stranger, "unknown ARP"),
		udp(t, stranger, to.station(), "spoofed"),
		experiment(me.mac, []byte{1, 0x80, 0xc2, 0, 0, 0x0e}, 0, []byte("control frame")),
		experiment(me.mac, to.mac, 77, []byte("unmapped VLAN")),
	)
	from.flush(t, to)
	to.flush(t, from)
	for h, tap := range taps {
		if n := tap.messages(t)["OFPT_PACKET_IN"]; n != 0 {
			t.Errorf("%s sent %d packets to the controller", h, n)
		}
	}
	t.Run("control: a flow to the controller", func(t *testing.T) {
		l.addForeign(t, "host1", "table=0,priority=250,dl_type=0x88b5,actions=controller")
		from.send(t, experiment(me.mac, to.mac, 0, []byte("to the controller")))
		eventually(t, "the log shows a packet-in", func() bool { return taps["host1"].messages(t)["OFPT_PACKET_IN"] > 0 })
	})
	t.Run("control: probes are seen, and told apart", func(t *testing.T) {
		eventually(t, "the log shows a probe", func() bool { return taps["host2"].messages(t)[probeIn] > 0 })
		if n := taps["host2"].messages(t)["OFPT_PACKET_IN"]; n != 0 {
			t.Errorf("host2 sent %d other packets to the controller", n)
		}
	})
}

// TestSwitchRestart: an ovs-vswitchd that was killed and started again gets its
// flows back by itself.
func TestSwitchRestart(t *testing.T) {
	t.Parallel()
	l := up(t, "v", families[0].topology)
	l.mustPing(t, "red-a", "10.1.1.2")
	before := l.holds(t, "host1")
	ports := l.portNumbers(t, "host1")
	since := l.hostState(t, "host1").OpenFlow.Since
	l.restartVSwitchd(t, "host1")
	// Whether it is ready does not matter yet: without the TEP's address no packet passes.
	eventually(t, "host1 is connected anew and has all its flows", func() bool {
		s := l.hostState(t, "host1")
		return s.OpenFlow.Since.After(*since) && confirmed(s) && s.Flows == len(before.flows)
	})
	if now := l.portNumbers(t, "host1"); maps.Equal(now, ports) {
		flows, groups := l.entries(t, "host1"), l.groups(t, "host1")
		for flow := range before.flows {
			if _, ok := flows[flow]; !ok {
				t.Errorf("host1 has not got back %s", flow)
			}
		}
		if groups != before.groups {
			t.Errorf("the groups of host1 were\n%s\nand are\n%s", before.groups, groups)
		}
	} else {
		t.Logf("the ports were %v and are %v: the flows cannot be compared one by one", ports, now)
	}
	l.readdress(t, "host1", "192.168.200.20/24")
	eventually(t, "red-a reaches red-b again", func() bool { return l.ping(t, "red-a", "10.1.1.2") == nil })
	l.mustPing(t, "blue-a", "10.1.1.2")
	l.mustPing(t, "red-b", "10.1.1.1")
}

// portNumbers are the OpenFlow numbers of the devices on a host's br-int.
func (l *testLab) portNumbers(t *testing.T, host string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, dev := range strings.Fields(l.vsctl(t, host, "list-ports", lab.IntegrationBridge)) {
		out[dev] = l.ofport(t, host, dev)
	}
	return out
}

// restartVSwitchd kills a host's ovs-vswitchd and starts it with the same command.
func (l *testLab) restartVSwitchd(t *testing.T, host string) {
	t.Helper()
	l.exec(t, host, l.killDaemon(t, host, "ovs-vswitchd")...)
}

// daemon is the number of the process that a host's Open vSwitch has, or had, as program;
// 0 for a moment while another is being started.
func (l *testLab) daemon(t *testing.T, host, program string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(l.m.Dir(l.name), "hosts", host, program+".pid"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0 {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// killDaemon kills a daemon of a host's Open vSwitch, and gives the command by which it
// was started.
func (l *testLab) killDaemon(t *testing.T, host, program string) []string {
	t.Helper()
	pid := l.daemon(t, host, program)
	dir := fmt.Sprintf("/proc/%d", pid)
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		t.Fatal(err)
	}
	argv := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	if !strings.Contains(argv[0], program) {
		t.Fatalf("process %d is %q", pid, argv)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, program+" has ended", func() bool {
		_, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		return err != nil
	})
	return argv
}
