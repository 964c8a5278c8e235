package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// datapaths are those that can be used here.
func datapaths() []string {
	if detectDatapath() == datapathSystem {
		return []string{datapathSystem, datapathNetdev}
	}
	return []string{datapathNetdev}
}

// offloadsOn are the offloads that are on, of an interface of a lab's namespace.
func offloadsOn(t *testing.T, m *Manager, lab, target, dev string) []string {
	t.Helper()
	at, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := m.Namespace(lab, at)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	on, err := ns.Offloads(dev)
	if err != nil {
		t.Fatal(err)
	}
	return on
}

// holdsTEP fails unless a host has its TEP on the interface of its datapath type, on
// no other, and no trace of the other type's way.
func holdsTEP(t *testing.T, m *Manager, s Spec, h Host, datapath string) {
	t.Helper()
	ns, err := m.Namespace(s.Name, Target{Host: h.Name})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	links, err := ns.Links()
	if err != nil {
		t.Fatal(err)
	}
	var at []string
	macs := map[string]string{}
	for _, l := range links {
		macs[l.Name] = l.MAC.String()
		for _, p := range l.Addresses {
			if p.Addr() == h.TEP {
				at = append(at, l.Name)
			}
		}
	}
	want := uplinkDevice
	if datapath == datapathNetdev {
		want = UnderlayBridge
	}
	if !slices.Equal(at, []string{want}) || macs[want] != underlayMAC(s.Name, h.Name).String() {
		t.Errorf("%s on %s: the TEP is on %v with MACs %v; want it on %s alone", h.Name, datapath, at, macs, want)
	}
	if datapath == datapathNetdev && macs[uplinkDevice] == macs[UnderlayBridge] {
		t.Errorf("%s: uplink and br-phy have the same MAC: the kernel takes the frames too", h.Name)
	}
	bridges := output(t, m, s.Name, h.Name, "ovs-vsctl", "list-br")
	if strings.Contains(bridges, UnderlayBridge) != (datapath == datapathNetdev) {
		t.Errorf("%s on %s: bridges %q", h.Name, datapath, bridges)
	}
	kinds := output(t, m, s.Name, h.Name, "ovs-vsctl", "--bare", "--columns=datapath_type", "list", "bridge")
	for _, kind := range strings.Fields(kinds) {
		if kind != datapath {
			t.Errorf("%s: bridges of types %q; want %s", h.Name, kinds, datapath)
		}
	}
	if dev, err := m.TEPDevice(s.Name, h.Name); dev != want || err != nil {
		t.Errorf("%s: TEPDevice %q, %v; want %s", h.Name, dev, err, want)
	}
}

// tcp sends by TCP between two guests what takes many long segments.
func tcp(t *testing.T, m *Manager, lab string, from, to Target, addr string) {
	t.Helper()
	const size = 1 << 20
	var (
		listener net.Listener
		conn     net.Conn
	)
	in(t, m, lab, to, func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(addr, "0"))
		return err
	})
	defer listener.Close()
	received := make(chan error, 1)
	go func() {
		peer, err := listener.Accept()
		if err == nil {
			_, err = io.CopyN(io.Discard, peer, size)
			peer.Close()
		}
		received <- err
	}()
	in(t, m, lab, from, func() (err error) {
		conn, err = (&net.Dialer{Timeout: 20 * time.Second}).Dial("tcp", listener.Addr().String())
		return err
	})
	defer conn.Close()
	err := conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err == nil {
		_, err = conn.Write(make([]byte, size))
	}
	if err != nil {
		listener.Close()
		t.Errorf("TCP from %s to %s: %v", from, to, err)
	} else if err := <-received; err != nil {
		t.Errorf("TCP from %s to %s: %v", from, to, err)
	}
}

// The TEP is where the datapath type needs it, also after that has changed, and packets
// cross the underlay each time, with offloads as the datapaths can take them.
func TestTEPByDatapath(t *testing.T) {
	needLab(t)
	for _, family := range []struct {
		name   string
		subnet string
		teps   [2]string
	}{
		{"4", "192.168.200.0/24", [2]string{"192.168.200.20", "192.168.200.21"}},
		{"6", "fd00:200::/64", [2]string{"fd00:200::20", "fd00:200::21"}},
	} {
		t.Run("IPv"+family.name, func(t *testing.T) {
			m := New(t.TempDir())
			s := twoHosts(testLab(t, "t"+family.name))
			s.Underlay.Subnets = []netip.Prefix{netip.MustParsePrefix(family.subnet)}
			s.Attachments = s.Attachments[:2]
			s.Attachments[0].MTU, s.Attachments[1].MTU = 1400, 1400 // VXLAN over IPv6 leaves 1430
			for i := range s.Hosts {
				s.Hosts[i].TEP = netip.MustParseAddr(family.teps[i])
			}
			// Beside each other and changing over: each host has had each type before.
			rounds := [][2]string{{datapathNetdev, datapathNetdev}}
			if len(datapaths()) == 2 {
				rounds = [][2]string{
					{datapathSystem, datapathSystem}, {datapathSystem, datapathNetdev},
					{datapathNetdev, datapathSystem}, {datapathNetdev, datapathNetdev}, {datapathSystem, datapathSystem}}
			}
			t.Cleanup(func() { down(t, m, s.Name) })
			for round, types := range rounds {
				for i := range s.Hosts {
					s.Hosts[i].Datapath = types[i]
				}
				if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
					t.Fatalf("%v: %v", types, err)
				}
				if st, err := m.Status(testCtx(t), s.Name); err != nil || !st.Ready() {
					t.Fatalf("%v: not ready: %+v, %v", types, st, err)
				}
				for i, h := range s.Hosts {
					holdsTEP(t, m, s, h, types[i])
					guest := "host1/red-a"
					if i == 1 {
						guest = "host2/red-b"
					}
					on := offloadsOn(t, m, s.Name, guest, "eth0")
					if (len(on) > 0) != (types[i] == datapathSystem) {
						t.Errorf("%v: %s has offloads %v on", types, guest, on)
					}
					if on := offloadsOn(t, m, s.Name, h.Name, uplinkDevice); (len(on) > 0) != (types == [2]string{datapathSystem, datapathSystem}) {
						t.Errorf("%v: the uplink of %s has offloads %v on", types, h.Name, on)
					}
				}
				if round == 0 {
					vxlans(t, m, s)
				}
				for _, h := range s.Hosts {
					output(t, m, s.Name, h.Name, "ovs-ofctl", "add-flow", IntegrationBridge, "actions=NORMAL")
				}
				output(t, m, s.Name, "host1/red-a", "ping", "-c1", "-w5", "10.1.1.2")
				tcp(t, m, s.Name, Target{"host1", "red-a"}, Target{"host2", "red-b"}, "10.1.1.2")
				tcp(t, m, s.Name, Target{"host2", "red-b"}, Target{"host1", "red-a"}, "10.1.1.1")
			}
		})
	}
}

// vxlans connects the hosts of a lab without a controller, as tunnels does, with VXLAN,
// which works over IPv6 too.
func vxlans(t *testing.T, m *Manager, s Spec) {
	t.Helper()
	for i, h := range s.Hosts {
		peer := s.Hosts[1-i]
		output(t, m, s.Name, h.Name, "ovs-vsctl", "add-port", IntegrationBridge, "vxlan0", "--", "set", "interface", "vxlan0",
			"type=vxlan", "options:remote_ip="+quote(peer.TEP.String()), fmt.Sprintf("options:key=%d", 7))
	}
}

// A lab of before the TEP was on the uplink, with br-phy on the kernel datapath.
func TestOldUnderlayBridge(t *testing.T) {
	needLab(t)
	if len(datapaths()) < 2 {
		t.Skip("SKIPPED: br-phy on the kernel datapath needs one")
	}
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "o"))
	up(t, m, s, UpOptions{})
	for i, h := range s.Hosts {
		output(t, m, s.Name, h.Name, "ip", "address", "flush", "dev", uplinkDevice)
		output(t, m, s.Name, h.Name, "ip", "link", "set", uplinkDevice, "arp", "off")
		output(t, m, s.Name, h.Name, "ovs-vsctl", "add-br", UnderlayBridge,
			"--", "set", "bridge", UnderlayBridge, "other_config:hwaddr="+quote(underlayMAC(s.Name, h.Name).String()),
			"--", "add-port", UnderlayBridge, uplinkDevice)
		output(t, m, s.Name, h.Name, "ip", "address", "add", fmt.Sprintf("192.168.200.2%d/24", i), "dev", UnderlayBridge)
		output(t, m, s.Name, h.Name, "ip", "link", "set", UnderlayBridge, "up")
	}
	if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, h := range s.Hosts {
		holdsTEP(t, m, s, h, datapathSystem)
	}
}

// Nothing that Open vSwitch does by itself is on br-phy: an OVSDB manager makes it add
// hidden flows to bridges that are not out-of-band.
func TestUnderlayBridgeHasNoHiddenFlows(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "h"))
	s.Hosts, s.Attachments = s.Hosts[:1], nil
	s.Hosts[0].Datapath = datapathNetdev
	up(t, m, s, UpOptions{})
	output(t, m, s.Name, "host1", "ovs-vsctl", "set-manager", "tcp:100.64.0.1:6640")
	hidden := func() bool {
		out := output(t, m, s.Name, "host1", "ovs-appctl", "bridge/dump-flows", UnderlayBridge)
		return strings.Contains(out, "nw_dst=100.64.0.1") || strings.Contains(out, "tp_dst=6640")
	}
	if hidden() {
		t.Error("br-phy has hidden flows")
	}
	output(t, m, s.Name, "host1", "ovs-vsctl", "remove", "bridge", UnderlayBridge, "other_config", "disable-in-band")
	eventually(t, "without the setting there are some", hidden)
	if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the setting is back", func() bool { return !hidden() })
}

// The trunk's sub-interfaces and a guest that migrates have what the host's datapath
// can take, as any other.
func TestOffloadsAgree(t *testing.T) {
	needLab(t)
	for _, datapath := range datapaths() {
		t.Run(datapath, func(t *testing.T) {
			m := New(t.TempDir())
			s := twoHosts(testLab(t, "f"+datapath[:1]))
			for i := range s.Hosts {
				s.Hosts[i].Datapath = datapath
			}
			s.Attachments = append(s.Attachments[:2], member("sw-a", "host1", "10.3.0.1/24"), member("sw-b", "host1", "10.3.0.2/24"))
			for i, n := range []string{"10.4.0.1/24", "10.4.0.2/24"} {
				s.Attachments[2+i].VLANs = []VLAN{{ID: 10, Addresses: []netip.Prefix{netip.MustParsePrefix(n)}}}
			}
			up(t, m, s, UpOptions{})
			for _, h := range s.Hosts {
				output(t, m, s.Name, h.Name, "ovs-ofctl", "add-flow", IntegrationBridge, "actions=NORMAL")
			}
			want := datapath == datapathSystem
			check := func(host, netns, dev string) {
				t.Helper()
				on := offloadsOn(t, m, s.Name, host+"/"+netns, dev)
				if (len(on) > 0) != want {
					t.Errorf("%s of %s has %v on", dev, netns, on)
				}
			}
			check("host1", "red-a", "eth0")
			tcp(t, m, s.Name, Target{"host1", "sw-a"}, Target{"host1", "sw-b"}, "10.3.0.2")
			tcp(t, m, s.Name, Target{"host1", "sw-a"}, Target{"host1", "sw-b"}, "10.4.0.2")
			yes := func(context.Context) error { return nil }
			if _, err := m.Migrate(testCtx(t), s.Name, "red-a", "host2", Handover{Prepared: yes, Over: yes}); err != nil {
				t.Fatal(err)
			}
			check("host2", "red-a", "eth0")
			if got := offloadsOn(t, m, s.Name, "host2", s.Attachments[0].Device()); (len(got) > 0) != want {
				t.Errorf("the port of red-a on host2 has %v on", got)
			}
			if err := m.Move(testCtx(t), s.Name, "red-a", "host1", PlugOptions{}); err != nil {
				t.Fatal(err)
			}
			check("host1", "red-a", "eth0")
		})
	}
}

// A frame with an unfinished checksum is whole when a guest behind a tap gets it, which
// has not said that it takes others (e1000) or speaks no header (the lab's own taps).
func TestTapGetsWholeChecksums(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "p"))
	s.Hosts, s.Attachments = s.Hosts[:1], s.Attachments[:1]
	up(t, m, s, UpOptions{})
	ns, err := m.Namespace(s.Name, Target{Host: "host1"})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	tap, err := ns.OpenTap("tap0")
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	if _, err := ns.Configure("tap0", netdev.LinkConfig{IPv6: netdev.IPv6Off, ARP: netdev.Down, State: netdev.Up}); err != nil {
		t.Fatal(err)
	}
	output(t, m, s.Name, "host1", "ovs-vsctl", "add-port", IntegrationBridge, "tap0")
	output(t, m, s.Name, "host1", "ovs-ofctl", "add-flow", IntegrationBridge, "actions=NORMAL")
	checkTap(t, m, s, tap)
}

// checkTap sends a datagram from red-a to the guest behind the tap, and looks at its
// checksum.
func checkTap(t *testing.T, m *Manager, s Spec, tap *os.File) {
	t.Helper()
	output(t, m, s.Name, "host1/red-a", "ip", "neighbour", "replace", "10.1.1.9", "lladdr", "02:00:00:00:00:99", "dev", "eth0")
	in(t, m, s.Name, Target{"host1", "red-a"}, func() error {
		conn, err := net.Dial("udp", "10.1.1.9:9")
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("whole?"))
		return err
	})
	if err := tap.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	for {
		n, err := tap.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		p := netdev.Frame{Data: buf[:n]}.Packet()
		udp, ok := p.TransportLayer().(*layers.UDP)
		if !ok || string(udp.Payload) != "whole?" {
			continue
		}
		got := udp.Checksum
		if err := udp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
			t.Fatal(err)
		}
		if err := gopacket.SerializeLayers(gopacket.NewSerializeBuffer(), gopacket.SerializeOptions{ComputeChecksums: true},
			udp, gopacket.Payload(udp.Payload)); err != nil {
			t.Fatal(err)
		}
		if got != udp.Checksum || got == 0 {
			t.Errorf("the datagram arrived with checksum %#04x; its own is %#04x", got, udp.Checksum)
		}
		return
	}
}
