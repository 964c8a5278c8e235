package cases

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Addresses that nobody declares, and those that mean many.
var (
	broadcast = topo.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	multicast = topo.MAC{0x01, 0x00, 0x5e, 0, 0, 5}
	strange4  = netip.MustParseAddr("10.99.99.99")
	strange6  = netip.MustParseAddr("fd00::99:99")
	none4     = netip.IPv4Unspecified()
	none6     = netip.IPv6Unspecified()
	nobodys   = topo.MAC{0x02, 0xff, 0, 0, 0, 1}
	zero      topo.MAC
)

// experimental is an Ethernet type that means nothing (IEEE 802 section 9.2.4).
const experimental = 0x88b5

// With another address a member pretends to be somebody else, or is a guest whose
// address nobody declared.

func (m *member) withMAC(mac topo.MAC) *member {
	c := *m
	c.mac = mac
	return &c
}

func (m *member) withIP(a netip.Addr) *member {
	c := *m
	if a.Is4() {
		c.ip4 = a
	} else {
		c.ip6 = a
	}
	return &c
}

// untagged is the member as one that sends without its VLAN's tag.
func (m *member) untagged() *member {
	c := *m
	c.vlan = 0
	return &c
}

// linkLocal is m with the IPv6 address that its MAC gives it (RFC 4291 appendix A).
func (m *member) linkLocal() *member {
	b := m.mac
	return m.withIP(netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80,
		8: b[0] ^ 2, 9: b[1], 10: b[2], 11: 0xff, 12: 0xfe, 13: b[3], 14: b[4], 15: b[5]}))
}

func (m *member) addr4() net.IP { return or(m.ip4, strange4) }
func (m *member) addr6() net.IP { return or(m.ip6, strange6) }

func or(a, instead netip.Addr) net.IP {
	if !a.IsValid() {
		a = instead
	}
	return a.AsSlice()
}

// serialize is the bytes of layers, with the tag that the sender's port carries. A
// frame has the 60 bytes that Ethernet asks for, before that tag.
func (m *member) serialize(ls ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		panic(err) // of layers that cannot be serialised, whatever is in them
	}
	if frame := buf.Bytes(); m.vlan == 0 {
		return frame
	} else {
		return tag(m.vlan, 0, frame)
	}
}

func (m *member) ethernet(dst topo.MAC, t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: m.mac[:], DstMAC: dst[:], EthernetType: t}
}

// typed is a frame of an Ethernet type that nobody looks into.
func typed(from *member, dst topo.MAC, etherType uint16) []byte {
	return from.serialize(from.ethernet(dst, layers.EthernetType(etherType)), gopacket.Payload("declared"))
}

// plain is a frame of no particular protocol.
func plain(from, to *member) []byte { return typed(from, to.mac, experimental) }

// llc is a frame with a length in place of an Ethernet type, and an LLC header.
func llc(from *member, dst topo.MAC, sap uint8) []byte {
	payload := append([]byte{sap, sap, 3}, make([]byte, 43)...)
	frame := from.serialize(from.ethernet(dst, layers.EthernetType(experimental)), gopacket.Payload(payload))
	at := tagAt
	if isTagged(frame) {
		at += 4
	}
	binary.BigEndian.PutUint16(frame[at:], uint16(len(payload)))
	return frame
}

func udp(from, to *member) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.addr4(), DstIP: to.addr4()}
	return overIP(from, to, layers.EthernetTypeIPv4, ip, ip)
}

func udp6(from, to *member) []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: from.addr6(), DstIP: to.addr6()}
	return overIP(from, to, layers.EthernetTypeIPv6, ip, ip)
}

func overIP(from, to *member, t layers.EthernetType, ip gopacket.SerializableLayer, sum gopacket.NetworkLayer) []byte {
	u := &layers.UDP{SrcPort: 4000, DstPort: 53}
	if err := u.SetNetworkLayerForChecksum(sum); err != nil {
		panic(err) // only for what is not IP
	}
	return from.serialize(from.ethernet(to.mac, t), ip, u, gopacket.Payload("declared"))
}

func arp(from *member, dst topo.MAC, op uint16, tha topo.MAC, tpa net.IP) []byte {
	return from.serialize(from.ethernet(dst, layers.EthernetTypeARP), &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: op, SourceHwAddress: from.mac[:], SourceProtAddress: from.addr4(), DstHwAddress: tha[:], DstProtAddress: tpa})
}

// asks is a request for the MAC of an address.
func asks(from *member, a netip.Addr) []byte {
	return arp(from, broadcast, layers.ARPRequest, topo.MAC{}, a.AsSlice())
}

// tells is the answer of from to a request of to.
func tells(from, to *member) []byte {
	return arp(from, to.mac, layers.ARPReply, to.mac, to.addr4())
}

// solicits is a neighbour solicitation for an address (RFC 4861 section 4.3).
func solicits(from *member, target netip.Addr) []byte {
	return from.nd(topo.MAC{0x33, 0x33, 0xff, 0, 0, 1}, netip.MustParseAddr("ff02::1:ff00:1").AsSlice(),
		layers.ICMPv6TypeNeighborSolicitation, &layers.ICMPv6NeighborSolicitation{TargetAddress: target.AsSlice()})
}

// advertises is a neighbour advertisement for an address (RFC 4861 section 4.4).
func advertises(from, to *member, target netip.Addr) []byte {
	return from.nd(to.mac, to.addr6(), layers.ICMPv6TypeNeighborAdvertisement,
		&layers.ICMPv6NeighborAdvertisement{Flags: 0x60, TargetAddress: target.AsSlice(), Options: layers.ICMPv6Options{
			{Type: layers.ICMPv6OptTargetAddress, Data: from.mac[:]}}})
}

func (m *member) nd(dst topo.MAC, ip net.IP, kind uint8, message gopacket.SerializableLayer) []byte {
	ip6 := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: m.addr6(), DstIP: ip}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip6); err != nil {
		panic(err) // only for what is not IP
	}
	return m.serialize(m.ethernet(dst, layers.EthernetTypeIPv6), ip6, icmp, message)
}

// withSource is a frame from another source, whatever is in it.
func withSource(mac topo.MAC, frame []byte) []byte {
	out := slices.Clone(frame)
	copy(out[6:], mac[:])
	return out
}

// Tags: where they are in a frame, and what kinds there are.
const (
	tagAt = 12
	tagC  = 0x8100
	tagS  = 0x88a8
)

func etherTypeOf(frame []byte) uint16 { return binary.BigEndian.Uint16(frame[tagAt:]) }

func isTagged(frame []byte) bool {
	return len(frame) >= tagAt+6 && (etherTypeOf(frame) == tagC || etherTypeOf(frame) == tagS)
}

// push puts a tag in front of what a frame has.
func push(tpid, vlan, pcp uint16, frame []byte) []byte {
	out := append(make([]byte, 0, len(frame)+4), frame[:tagAt]...)
	out = binary.BigEndian.AppendUint16(out, tpid)
	out = binary.BigEndian.AppendUint16(out, pcp<<13|vlan)
	return append(out, frame[tagAt:]...)
}

func tag(vlan, pcp uint16, frame []byte) []byte { return push(tagC, vlan, pcp, frame) }

// untag takes the outer tag off, if there is one.
func untag(frame []byte) []byte {
	if !isTagged(frame) {
		return frame
	}
	return append(append(make([]byte, 0, len(frame)), frame[:tagAt]...), frame[tagAt+4:]...)
}

// priorityOf is the priority of a frame's tag, 0 without one.
func priorityOf(frame []byte) uint16 {
	if !isTagged(frame) {
		return 0
	}
	return uint16(frame[tagAt+2] >> 5)
}

// priority gives the outer tag a priority; a frame without one gets a tag that is no
// VLAN's.
func priority(pcp uint16, frame []byte) []byte {
	if !isTagged(frame) {
		return tag(0, pcp, frame)
	}
	return tag(binary.BigEndian.Uint16(frame[tagAt+2:])&0xfff, pcp, untag(frame))
}
