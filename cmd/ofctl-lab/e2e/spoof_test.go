package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// spoofTopology has two hosts; red has IPv4 and IPv6 addresses, blue IPv4 only,
// and only host1 has a port of red/solo.
const spoofTopology = twoHosts + `
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, key: 1000001, subnets: [10.1.1.0/24, "fd01::/64"]}
      - {name: gnv, encap: geneve, key: 1000003, subnets: [10.3.1.0/24]}
      - {name: solo, encap: gre, key: 1000004, subnets: [10.4.1.0/24]}
  - name: blue
    networks:
      - {name: web, encap: vxlan, key: 1000002, subnets: [10.1.1.0/24]}
ports:
  - {name: red-a,  network: red/web,  host: host1, addresses: [10.1.1.1, "fd01::1"]}
  - {name: red-b,  network: red/web,  host: host2, addresses: [10.1.1.2, "fd01::2"]}
  - {name: red-c,  network: red/web,  host: host1, addresses: [10.1.1.3, "fd01::3"]}
  - {name: blue-a, network: blue/web, host: host1, addresses: [10.1.1.1]}
  - {name: blue-b, network: blue/web, host: host2, addresses: [10.1.1.2]}
  - {name: gnv-a,  network: red/gnv,  host: host1, addresses: [10.3.1.1]}
  - {name: gnv-b,  network: red/gnv,  host: host2, addresses: [10.3.1.2]}
  - {name: solo,   network: red/solo, host: host1, addresses: [10.4.1.1]}
`

// spoofLab is the lab of spoofTopology with the wires of its guests.
type spoofLab struct {
	*testLab
	redA, redB, redC, blueA, blueB, gnvA, gnvB *guest
}

// red are the ways to where red-a may send.
func (l *spoofLab) red() []way { return []way{{l.redA, l.redB}, {l.redA, l.redC}} }

// all are ways to all guests that have a neighbour.
func (l *spoofLab) all() []way {
	return append(l.red(), way{l.redB, l.redA}, way{l.blueA, l.blueB}, way{l.blueB, l.blueA}, way{l.gnvA, l.gnvB}, way{l.gnvB, l.gnvA})
}

// TestSpoof: what is not a port's, a peer's or a network's own is dropped, and
// counted under its owner's name.
func TestSpoof(t *testing.T) {
	t.Parallel()
	l := &spoofLab{testLab: up(t, "s", spoofTopology)}
	for port, g := range map[string]**guest{"red-a": &l.redA, "red-b": &l.redB, "red-c": &l.redC,
		"blue-a": &l.blueA, "blue-b": &l.blueB, "gnv-a": &l.gnvA, "gnv-b": &l.gnvB} {
		*g = l.guest(t, port)
	}
	t.Run("source", func(t *testing.T) { spoofedSource(t, l) })
	t.Run("IPv6 undeclared", func(t *testing.T) { undeclaredIPv6(t, l) })
	t.Run("own announcements", func(t *testing.T) { ownAnnouncements(t, l) })
	t.Run("tunnel from a guest", func(t *testing.T) { tunnelFromGuest(t, l) })
	t.Run("underlay", func(t *testing.T) { forgedOnUnderlay(t, l) })
}

// v6 is an IPv6 address of a guest of red.
func v6(last byte) netip.Addr { return netip.AddrFrom16([16]byte{0xfd, 1, 15: last}) }

// spoofedSource: red-a presents itself as somebody else.
func spoofedSource(t *testing.T, l *spoofLab) {
	own, b, c := l.redA.station(), l.redB.station(), l.redC.station()
	own6, b6, c6 := station{own.mac, v6(1)}, station{b.mac, v6(2)}, station{c.mac, v6(3)}
	nobody := net.HardwareAddr{0x02, 0xee, 0, 0, 0, 1}
	linkLocal := func(last byte) netip.Addr { return netip.AddrFrom16([16]byte{0xfe, 0x80, 15: last}) }
	cases := []struct {
		name, reason string
		frames       func(t *testing.T, marker string) [][]byte
	}{
		{"MAC", "spoofed-mac", func(t *testing.T, marker string) [][]byte {
			return [][]byte{
				udp(t, station{c.mac, own.addr}, b, marker),
				udp(t, station{b.mac, own.addr}, c, marker),
				udp(t, station{nobody, own.addr}, b, marker),
				udp(t, station{nobody, v6(1)}, b6, marker),
				arp(t, layers.ARPReply, b.mac, station{c.mac, own.addr}, b, marker),
				experiment(nobody, broadcast, 0, []byte(marker)),
			}
		}},
		{"IPv4", "spoofed-ipv4", func(t *testing.T, marker string) [][]byte {
			var frames [][]byte
			for _, a := range []string{"10.1.1.2", "10.1.1.3", "10.1.1.99", "0.0.0.0", "255.255.255.255", "192.168.200.20"} {
				src := station{own.mac, netip.MustParseAddr(a)}
				frames = append(frames, udp(t, src, b, marker), udp(t, src, c, marker))
			}
			return frames
		}},
		{"ARP", "spoofed-arp", func(t *testing.T, marker string) [][]byte {
			stolen := station{own.mac, c.addr}
			return [][]byte{
				arp(t, layers.ARPReply, b.mac, stolen, b, marker),
				arp(t, layers.ARPRequest, broadcast, stolen, stolen, marker), // announcement, RFC 5227
				arp(t, layers.ARPReply, broadcast, stolen, stolen, marker),
				arp(t, layers.ARPReply, b.mac, station{own.mac, netip.IPv4Unspecified()}, b, marker),
				arpAs(t, own.mac, layers.ARPReply, b.mac, station{c.mac, own.addr}, b, marker),
				arpAs(t, own.mac, layers.ARPRequest, broadcast, station{c.mac, c.addr}, b, marker),
			}
		}},
		{"IPv6", "spoofed-ipv6", func(t *testing.T, marker string) [][]byte {
			var frames [][]byte
			for _, a := range []netip.Addr{v6(2), v6(3), v6(99), linkLocal(3), netip.IPv6Unspecified()} {
				src := station{own.mac, a}
				frames = append(frames, udp(t, src, b6, marker), udp(t, src, c6, marker))
			}
			// A solicitation in somebody else's name would redirect its traffic.
			return append(frames, nd(t, layers.ICMPv6TypeNeighborSolicitation, station{own.mac, v6(3)}, b6, v6(2), marker))
		}},
		{"ND", "spoofed-nd", func(t *testing.T, marker string) [][]byte {
			stolen := nd(t, layers.ICMPv6TypeNeighborAdvertisement, own6, b6, v6(3), marker)
			all := station{net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, netip.IPv6LinkLocalAllNodes()}
			return [][]byte{
				stolen,
				nd(t, layers.ICMPv6TypeNeighborAdvertisement, own6, all, v6(2), marker),
				// Extension headers do not hide it.
				withExtension(stolen, layers.IPProtocolIPv6HopByHop),
				withExtension(stolen, layers.IPProtocolIPv6Destination),
			}
		}},
	}
	control := fmt.Sprintf("table=10,priority=200,in_port=%d,actions=goto_table:60", l.portStatus(t, "red-a").OFPort)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			marker := t.Name() + ";"
			frames := c.frames(t, marker)
			send := func() { l.redA.send(t, frames...) }
			l.mustDrop(t, drop{"host1", c.reason, "port red-a"}, marker, len(frames), send, l.all()...)
			t.Run("control", func(t *testing.T) { l.mustPass(t, "host1", control, marker, send, l.red()...) })
		})
	}
}

// undeclaredIPv6: a port that declares IPv4 addresses only sends no IPv6, which
// nobody would guard.
func undeclaredIPv6(t *testing.T, l *spoofLab) {
	marker := t.Name() + ";"
	frame := udp(t, station{l.blueA.mac, v6(1)}, station{l.blueB.mac, v6(2)}, marker)
	send := func() { l.blueA.send(t, frame) }
	l.mustDrop(t, drop{"host1", "ipv6-not-declared", "host host1"}, marker, 1, send, l.all()...)
	t.Run("control", func(t *testing.T) {
		flow := fmt.Sprintf("table=10,priority=200,in_port=%d,actions=goto_table:60", l.portStatus(t, "blue-a").OFPort)
		l.mustPass(t, "host1", flow, marker, send, way{l.blueA, l.blueB})
	})
}

// ownAnnouncements: what a host sends to find out whether its address is free is
// not answered to its owner, and is answered to anybody else.
func ownAnnouncements(t *testing.T, l *spoofLab) {
	own, c := l.redA.station(), l.redC.station()
	marker := t.Name() + ";"
	probe := func(g *guest) []byte {
		return arp(t, layers.ARPRequest, broadcast, station{g.mac, netip.IPv4Unspecified()}, station{addr: own.addr}, marker)
	}
	l.redA.send(t,
		probe(l.redA), // RFC 5227 section 2.1.1
		arp(t, layers.ARPRequest, broadcast, own, own, marker), // section 2.3
		arp(t, layers.ARPReply, broadcast, own, own, marker),
		// RFC 4862 section 5.4.2
		nd(t, layers.ICMPv6TypeNeighborSolicitation, station{own.mac, netip.IPv6Unspecified()},
			station{net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 1}, netip.MustParseAddr("ff02::1:ff00:1")}, v6(1), marker),
	)
	for _, w := range l.red() {
		if got := marked(w.from.flush(t, w.to), marker); len(got) != 4 {
			t.Errorf("%d of red-a's 4 announcements arrived at %s", len(got), w.to.port)
		}
	}
	for _, from := range []*guest{l.redB, l.redC} {
		for _, f := range from.flush(t, l.redA) {
			// The guests' kernels still ask for addresses that were spoofed before.
			a := arpOf(f)
			if a != nil && a.Operation == layers.ARPReply || f.Packet().Layer(layers.LayerTypeICMPv6NeighborAdvertisement) != nil {
				t.Errorf("red-a's probe for its own address was answered: %v", f.Packet())
			}
		}
	}
	t.Run("control: another port's probe", func(t *testing.T) {
		l.redC.send(t, probe(l.redC))
		a := arpOf(l.redC.await(t, marker))
		if a == nil || a.Operation != layers.ARPReply || !slices.Equal(a.SourceHwAddress, own.mac) ||
			!slices.Equal(a.SourceProtAddress, own.addr.AsSlice()) || !slices.Equal(a.DstHwAddress, c.mac) {
			t.Errorf("red-c's probe for red-a's address was answered with %+v", a)
		}
		l.redC.send(t, nd(t, layers.ICMPv6TypeNeighborSolicitation, station{c.mac, netip.IPv6Unspecified()},
			station{net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 1}, netip.MustParseAddr("ff02::1:ff00:1")}, v6(1), marker))
		// red-a's own kernel answers.
		for {
			f := l.redC.await(t, string(v6(1).AsSlice()))
			if f.Packet().Layer(layers.LayerTypeICMPv6NeighborAdvertisement) != nil {
				break
			}
		}
	})
}

// arpAs is arp in a frame from another MAC than the packet's sender.
func arpAs(t *testing.T, src net.HardwareAddr, op uint16, to net.HardwareAddr, sender, target station, marker string) []byte {
	t.Helper()
	f := arp(t, op, to, sender, target, marker)
	copy(f[6:12], src)
	return f
}

// nd is a neighbour solicitation or advertisement (RFC 4861 sections 4.3 and 4.4)
// for a target, with the sender's MAC as its link-layer address.
func nd(t *testing.T, typ uint8, src, dst station, target netip.Addr, marker string) []byte {
	t.Helper()
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: src.addr.AsSlice(), DstIP: dst.addr.AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	var message gopacket.SerializableLayer = &layers.ICMPv6NeighborSolicitation{TargetAddress: target.AsSlice()}
	option := layers.ICMPv6OptSourceAddress
	if typ == layers.ICMPv6TypeNeighborAdvertisement {
		message = &layers.ICMPv6NeighborAdvertisement{Flags: 0x60, TargetAddress: target.AsSlice(),
			Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: src.mac}}}
	} else if !src.addr.IsUnspecified() { // RFC 4861 section 4.3: a probe has no option
		message = &layers.ICMPv6NeighborSolicitation{TargetAddress: target.AsSlice(),
			Options: layers.ICMPv6Options{{Type: option, Data: src.mac}}}
	}
	frame := serialize(t, &layers.Ethernet{SrcMAC: src.mac, DstMAC: dst.mac, EthernetType: layers.EthernetTypeIPv6}, ip, icmp, message)
	// Behind the packet, as padding: an option of unknown type would do as well.
	return append(frame, marker...)
}

// withExtension puts an empty extension header (RFC 8200 section 4) between the
// IPv6 header of a frame and what follows it. Checksums do not change.
func withExtension(frame []byte, header layers.IPProtocol) []byte {
	const ip = 14
	out := slices.Clone(frame)
	length := int(out[ip+4])<<8 | int(out[ip+5]) + 8
	out[ip+4], out[ip+5] = byte(length>>8), byte(length)
	next := out[ip+6]
	out[ip+6] = byte(header)
	// Next header, length 8, and a PadN option of 6.
	return slices.Insert(out, ip+40, next, 0, 1, 4, 0, 0, 0, 0)
}
