package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// outer is a frame in a tunnel, to be sent.
type outer struct {
	src, dst station // the tunnel's endpoints
	encap    string  // gre, vxlan, geneve, or "gre without key"
	key      uint32
}

// around puts the tunnel's headers round a frame.
func (o outer) around(t *testing.T, inner []byte) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, SrcIP: o.src.addr.AsSlice(), DstIP: o.dst.addr.AsSlice()}
	ls := []gopacket.SerializableLayer{
		&layers.Ethernet{SrcMAC: o.src.mac, DstMAC: o.dst.mac, EthernetType: layers.EthernetTypeIPv4}, ip}
	gre := &layers.GRE{Protocol: layers.EthernetTypeTransparentEthernetBridging, KeyPresent: true, Key: o.key}
	switch o.encap {
	case "gre without key":
		gre.KeyPresent = false
		fallthrough
	case "gre":
		ip.Protocol = layers.IPProtocolGRE
		ls = append(ls, gre)
	case "vxlan", "geneve":
		ip.Protocol = layers.IPProtocolUDP
		u := &layers.UDP{SrcPort: 50000, DstPort: 4789}
		var header gopacket.SerializableLayer = &layers.VXLAN{ValidIDFlag: true, VNI: o.key}
		if o.encap == "geneve" {
			u.DstPort = 6081
			// RFC 8926 section 3.4; gopacket only decodes it.
			header = gopacket.Payload{0, 0, 0x65, 0x58, byte(o.key >> 16), byte(o.key >> 8), byte(o.key), 0}
		}
		if err := u.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		ls = append(ls, u, header)
	default:
		t.Fatalf("no encapsulation %s", o.encap)
	}
	return serialize(t, append(ls, gopacket.Payload(inner))...)
}

// tunnelFromGuest: red-a sends what a peer would send, in the names of both
// tenants' networks. No switch takes the headers off.
func tunnelFromGuest(t *testing.T, l *spoofLab) {
	own := l.redA.station()
	tep1 := station{l.hostMAC(t, "host1"), tep(1)}
	tep2 := station{l.hostMAC(t, "host2"), tep(2)}
	// marker makes the frames of one test: what guests answer to those of another
	// may still be on its way.
	var marker string
	from := func(src station, to net.HardwareAddr) [][]byte {
		dst := station{to, tep2.addr}
		return [][]byte{
			outer{src, dst, "gre", 1000001}.around(t, udp(t, l.redC.station(), l.redB.station(), marker)),
			outer{src, dst, "vxlan", 1000002}.around(t, udp(t, l.blueA.station(), l.blueB.station(), marker)),
			outer{src, dst, "geneve", 1000003}.around(t, udp(t, l.gnvA.station(), l.gnvB.station(), marker)),
		}
	}
	t.Run("with a TEP's address", func(t *testing.T) {
		marker = t.Name() + ";"
		frames := slices.Concat(from(station{own.mac, tep1.addr}, tep2.mac), from(station{own.mac, tep1.addr}, tep1.mac),
			from(station{own.mac, tep1.addr}, broadcast))
		send := func() { l.redA.send(t, frames...) }
		l.mustDrop(t, drop{"host1", "spoofed-ipv4", "port red-a"}, marker, len(frames), send, l.all()...)
	})
	t.Run("with a TEP's address and MAC", func(t *testing.T) {
		marker = t.Name() + ";"
		frames := from(tep1, tep2.mac)
		send := func() { l.redA.send(t, frames...) }
		l.mustDrop(t, drop{"host1", "spoofed-mac", "port red-a"}, marker, len(frames), send, l.all()...)
		t.Run("control", func(t *testing.T) {
			// Nothing but the absence of a way out stands between the guest and the
			// underlay: with one, the frames are a peer's.
			l.wayOut(t, "host1")
			l.addForeign(t, "host1", fmt.Sprintf("table=0,priority=400,in_port=%d,actions=output:%d",
				l.portStatus(t, "red-a").OFPort, l.ofport(t, "host1", wayOutDevice)))
			send()
			l.delForeign(t, "host1")
			for _, w := range []way{{l.redC, l.redB}, {l.blueA, l.blueB}, {l.gnvA, l.gnvB}} {
				if delivered(t, marker, w) == "" {
					t.Errorf("with a patch to the underlay the frame for %s does not arrive either: the test proves nothing", w.to.port)
				}
			}
		})
	})
	t.Run("with its own address", func(t *testing.T) {
		marker = t.Name() + ";"
		frames := slices.Concat(from(own, tep2.mac), from(own, tep1.mac))
		send := func() { l.redA.send(t, frames...) }
		l.mustDrop(t, drop{"host1", "unknown-unicast", "network red/web"}, marker, len(frames), send, l.all()...)
	})
	t.Run("with its own address, to everybody", func(t *testing.T) {
		// A broadcast reaches its own network, as it is.
		wire := l.underlay(t, "host1")
		marker = t.Name() + ";"
		frames := from(own, broadcast)
		l.redA.send(t, frames...)
		for _, w := range l.red() {
			got := marked(w.from.flush(t, w.to), marker)
			for _, f := range got {
				if !slices.ContainsFunc(frames, func(sent []byte) bool { return slices.Equal(sent, f.Data) }) {
					t.Errorf("what arrived at %s is not as it was sent: % x", w.to.port, f.Data)
				}
			}
			if len(got) != len(frames) {
				t.Errorf("%d of %d broadcasts arrived at %s", len(got), len(frames), w.to.port)
			}
			if w.to != l.redB {
				continue
			}
			for _, d := range carried(t, wire, l.redA) {
				if d.encap != "gre" || d.key != 1000001 {
					t.Errorf("the underlay carried %v", d)
				}
			}
		}
		if got := delivered(t, marker, l.all()...); got != "" {
			t.Errorf("a switch took the headers off:\n%s", got)
		}
	})
}

// wayOutDevice is what wayOut adds to br-int.
const wayOutDevice = "e2e-out"

// wayOut connects br-int of a host with the underlay, with which it is not connected, until
// the test ends: by a patch where the uplink is in a bridge, else by a second interface on it.
func (l *testLab) wayOut(t *testing.T, host string) {
	t.Helper()
	atEnd := func(argv ...string) {
		t.Cleanup(func() {
			if err := l.command(cleanupContext(t), append([]string{"lab", "exec", host, "--"}, argv...)...).wait(); err != nil {
				t.Error(err)
			}
		})
	}
	if strings.Contains(l.vsctl(t, host, "list-br"), lab.UnderlayBridge) {
		const peer = "e2e-in"
		l.vsctl(t, host,
			"--", "add-port", lab.IntegrationBridge, wayOutDevice, "--", "set", "interface", wayOutDevice, "type=patch", "options:peer="+peer,
			"--", "add-port", lab.UnderlayBridge, peer, "--", "set", "interface", peer, "type=patch", "options:peer="+wayOutDevice)
		atEnd("ovs-vsctl", "--timeout=20", "del-port", wayOutDevice, "--", "del-port", peer)
		return
	}
	l.exec(t, host, "ip", "link", "add", "link", uplink, "name", wayOutDevice, "type", "macvlan", "mode", "private")
	atEnd("ip", "link", "delete", wayOutDevice)
	l.exec(t, host, "ip", "link", "set", wayOutDevice, "up")
	l.vsctl(t, host, "add-port", lab.IntegrationBridge, wayOutDevice)
	atEnd("ovs-vsctl", "--timeout=20", "del-port", wayOutDevice)
}

// uplink is the host's end of its link in the underlay.
const uplink = "uplink"

// forgedOnUnderlay: somebody on the underlay sends host2 frames in tunnels.
func forgedOnUnderlay(t *testing.T, l *spoofLab) {
	wire := l.underlay(t, "host2")
	tep1 := station{l.hostMAC(t, "host1"), tep(1)}
	tep2 := station{l.hostMAC(t, "host2"), tep(2)}
	stranger := station{net.HardwareAddr{0x02, 0xee, 0, 0, 0, 2}, netip.MustParseAddr("192.168.200.99")}
	red := l.networkID(t, "red/web")
	// Into red's network, whatever the key.
	let := func(encap string, key uint32) string {
		return fmt.Sprintf("table=0,priority=400,in_port=%d,tun_id=%d,actions=load:%d->NXM_NX_REG0[],load:1->NXM_NX_REG1[],goto_table:10",
			l.tunnelPort(t, "host2", encap), key, red)
	}
	cases := []struct {
		name, reason string
		outer        outer
		control      string // the flow that lets it pass; empty: it must pass without
	}{
		{"as a peer, gre", "", outer{tep1, tep2, "gre", 1000001}, ""},
		{"unknown key, gre", "unknown-key", outer{tep1, tep2, "gre", 7}, let("gre", 7)},
		{"unknown key, vxlan", "unknown-key", outer{tep1, tep2, "vxlan", 7}, let("vxlan", 7)},
		{"unknown key, geneve", "unknown-key", outer{tep1, tep2, "geneve", 7}, let("geneve", 7)},
		{"a key of another encapsulation", "unknown-key", outer{tep1, tep2, "vxlan", 1000001}, let("vxlan", 1000001)},
		{"a key above 24 bits whose low bits are a VNI", "unknown-key", outer{tep1, tep2, "gre", 1<<24 | 1000001}, let("gre", 1<<24|1000001)},
		{"the key of a network that is not on this host", "unknown-key", outer{tep1, tep2, "gre", 1000004}, let("gre", 1000004)},
		{"key 0", "unknown-key", outer{tep1, tep2, "gre", 0}, let("gre", 0)},
		{"no key", "unknown-key", outer{tep1, tep2, "gre without key", 0}, let("gre", 0)},
		{"unknown TEP", "unknown-tep", outer{stranger, tep2, "gre", 1000001}, "table=10,priority=200,reg1=1,actions=goto_table:60"},
		{"unknown TEP with a peer's MAC", "unknown-tep", outer{station{tep1.mac, stranger.addr}, tep2, "gre", 1000001}, "table=10,priority=200,reg1=1,actions=goto_table:60"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			marker := t.Name() + ";"
			frames := [][]byte{
				c.outer.around(t, udp(t, l.redA.station(), l.redB.station(), marker)),
				c.outer.around(t, experiment(l.redA.mac, broadcast, 0, []byte(marker))),
			}
			send := func() { sendAll(t, wire, frames) }
			// Sentinels on the same link; those of red to red-b.
			if c.reason == "" {
				send()
				if got := marked(l.redA.flush(t, l.redB), marker); len(got) != len(frames) {
					t.Errorf("%d of %d frames of a peer arrived", len(got), len(frames))
				}
				return
			}
			l.mustDrop(t, drop{"host2", c.reason, "host host2"}, marker, len(frames), send, l.all()...)
			t.Run("control", func(t *testing.T) { l.mustPass(t, "host2", c.control, marker, send, way{l.redA, l.redB}) })
		})
	}
	t.Run("the host's own TEP", func(t *testing.T) {
		forgedOwnTEP(t, l, wire, outer{station{stranger.mac, tep2.addr}, tep2, "gre", 1000001})
	})
	t.Run("a VLAN tag in the tunnel", func(t *testing.T) {
		marker := t.Name() + ";"
		frames := [][]byte{outer{tep1, tep2, "gre", 1000001}.around(t, experiment(l.redA.mac, l.redB.mac, 20, []byte(marker)))}
		send := func() { sendAll(t, wire, frames) }
		l.mustDrop(t, drop{"host2", "vlan-not-allowed", "host host2"}, marker, 1, send, l.all()...)
		t.Run("control", func(t *testing.T) { l.mustPass(t, "host2", let("gre", 1000001), marker, send, way{l.redA, l.redB}) })
	})
	t.Run("back into the tunnel", func(t *testing.T) {
		marker := t.Name() + ";"
		frames := [][]byte{outer{tep1, tep2, "gre", 1000001}.around(t, udp(t, l.redB.station(), l.redC.station(), marker))}
		send := func() { sendAll(t, wire, frames) }
		// red-c is on host1: to reach it the frame would have to go back.
		l.mustDrop(t, drop{"host2", "split-horizon", "host host2"}, marker, 1, send, way{l.redB, l.redC}, way{l.redA, l.redB})
		t.Run("control", func(t *testing.T) {
			flow := fmt.Sprintf("table=90,priority=300,reg1=1,reg0=%d,actions=load:1000001->NXM_NX_TUN_ID[],IN_PORT", red)
			l.mustPass(t, "host2", flow, marker, send, way{l.redB, l.redC})
		})
	})
}

// forgedOwnTEP: frames in tunnels that say that host2 itself has sent them, and come from the
// underlay. With the kernel's datapath they never reach the pipeline: the host's own IP stack
// takes no packet from outside whose source is one of its own addresses (a martian). Where it
// is told to (accept_local), and with the userspace datapath always, the pipeline drops them.
func forgedOwnTEP(t *testing.T, l *spoofLab, wire *netdev.PacketConn, forged outer) {
	const letAnyTEPPass = "table=10,priority=200,reg1=1,actions=goto_table:60"
	asDropped := drop{"host2", "unknown-tep", "host host2"}
	frames := func(t *testing.T) (marker string, send func()) {
		marker = t.Name() + ";"
		frames := [][]byte{
			forged.around(t, udp(t, l.redA.station(), l.redB.station(), marker)),
			forged.around(t, experiment(l.redA.mac, broadcast, 0, []byte(marker))),
		}
		return marker, func() { sendAll(t, wire, frames) }
	}
	if l.datapathType(t, "host2") == kernelDatapath {
		t.Run("martian", func(t *testing.T) {
			marker, send := frames(t)
			l.mustDrop(t, asDropped, marker, 0, send, l.all()...)
			// Not even a pipeline that lets every TEP pass is asked.
			l.addForeign(t, "host2", letAnyTEPPass)
			send()
			if got := delivered(t, marker, l.all()...); got != "" {
				t.Errorf("frames from the host's own TEP arrived:\n%s", got)
			}
		})
		l.acceptLocal(t, "host2")
	}
	t.Run("dropped by the pipeline", func(t *testing.T) {
		marker, send := frames(t)
		l.mustDrop(t, asDropped, marker, 2, send, l.all()...)
		t.Run("control", func(t *testing.T) { l.mustPass(t, "host2", letAnyTEPPass, marker, send, way{l.redA, l.redB}) })
	})
}

// acceptLocal has a host's IP stack take packets from outside whose source is one of its own
// addresses, until the test ends.
func (l *testLab) acceptLocal(t *testing.T, host string) {
	t.Helper()
	set := func(value string) error {
		ns := l.namespace(t, host)
		defer ns.Close()
		_, err := ns.SetSysctl("ipv4/conf/all/accept_local", value)
		return err
	}
	if err := set("1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set("0"); err != nil {
			t.Error(err)
		}
	})
}

// tunnelPort is the number of a host's tunnel port.
func (l *testLab) tunnelPort(t *testing.T, host, encap string) uint32 {
	t.Helper()
	h, err := l.api.Host(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	if h.Status.Bridge == nil || h.Status.Bridge.Tunnels[encap] == 0 {
		t.Fatalf("%s has no tunnel port for %s", host, encap)
	}
	return h.Status.Bridge.Tunnels[encap]
}

func sendAll(t *testing.T, c interface{ Send([]byte) error }, frames [][]byte) {
	t.Helper()
	for _, f := range frames {
		if err := c.Send(f); err != nil {
			t.Fatal(err)
		}
	}
}
