package explain

import (
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// ip is an IPv4 or IPv6 packet; or the question for the MAC of its destination, if
// nobody is known to have it.
func (b *builder) ip() ([]byte, error) {
	v6 := b.get(flows.EthType, 0) == etherIPv6
	srcField, dstField := flows.IPv4Src, flows.IPv4Dst
	if v6 {
		srcField, dstField = flows.IPv6Src, flows.IPv6Dst
	}
	dst := b.addr(dstField)
	target := b.addr(flows.NDTarget)
	switch {
	case dst.IsValid():
	case target.IsValid():
		dst = solicited(target)
	default:
		return nil, badPacket("say where the packet goes, by nw_dst=… or ipv6_dst=…")
	}
	src, err := b.source(srcField, v6)
	if err != nil {
		return nil, err
	}
	mac, known := b.nextHop(dst)
	if !known {
		b.given = slices.DeleteFunc(slices.Clone(b.given), func(m flows.FieldMatch) bool {
			return m.Field > flows.EthType && m.Field != flows.VLANVID && m.Field != flows.VLANPCP
		})
		if !v6 {
			b.filled("no port of %s is known to have %s, so this is the ARP request for it, which a guest sends first", b.member.Network, dst)
			b.given = b.given.With(flows.ARPSPA, flows.IP(src))
			return b.arp(dst)
		}
		b.filled("no port of %s is known to have %s, so this is the neighbour solicitation for it, which a guest sends first", b.member.Network, dst)
		b.given = b.given.With(flows.IPProto, flows.U(protoICMPv6)).With(flows.ICMPv6Type, flows.U(layers.ICMPv6TypeNeighborSolicitation)).With(flows.NDTarget, flows.IP(dst))
		dst = solicited(dst)
		mac, _ = b.nextHop(dst)
	}
	if v6 {
		return b.ipv6(src, dst, mac)
	}
	return b.ipv4(src, dst, mac)
}

// nextHop is the MAC that a packet to an address has, and whether that is known.
func (b *builder) nextHop(dst netip.Addr) (topo.MAC, bool) {
	if b.has(flows.EthDst) {
		return b.macOf(flows.EthDst, topo.MAC{}), true
	}
	raw := dst.AsSlice()
	switch n := b.overlay.network(b.member.Network); {
	case dst.IsMulticast() && dst.Is4(): // RFC 1112 section 6.4
		return topo.MAC{0x01, 0x00, 0x5e, raw[1] & 0x7f, raw[2], raw[3]}, true
	case dst.IsMulticast(): // RFC 2464 section 7
		return topo.MAC{0x33, 0x33, raw[12], raw[13], raw[14], raw[15]}, true
	case dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}),
		n != nil && slices.ContainsFunc(n.Subnets, func(s netip.Prefix) bool { return lastOf(s) == dst }):
		return broadcastMAC, true
	}
	if p := b.overlay.holder(b.member.Network, dst); p != nil && !p.MAC.IsZero() {
		b.filled("dl_dst=%s: port %s has %s", p.MAC, p.Name, dst)
		return p.MAC, true
	}
	return topo.MAC{}, false
}

// lastOf is the broadcast address of an IPv4 subnet, invalid where it has none.
func lastOf(s netip.Prefix) netip.Addr {
	if !s.Addr().Is4() || s.Bits() > 30 {
		return netip.Addr{}
	}
	b := s.Masked().Addr().As4()
	for i := s.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// solicited is the solicited-node multicast address (RFC 4291 section 2.7.1).
func solicited(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// tos is the type of service or traffic class.
func (b *builder) tos() uint8 { return uint8(b.get(flows.IPDSCP, 0)<<2 | b.get(flows.IPECN, 0)) }

func (b *builder) ipv4(src, dst netip.Addr, mac topo.MAC) ([]byte, error) {
	proto := uint8(b.get(flows.IPProto, 255)) // reserved (RFC 3692)
	h := &layers.IPv4{Version: 4, TOS: b.tos(), TTL: uint8(b.get(flows.IPTTL, defaultTTL)), Id: 1, Flags: layers.IPv4DontFragment,
		Protocol: layers.IPProtocol(proto), SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	return b.ethernet(layers.EthernetTypeIPv4, mac, append([]gopacket.SerializableLayer{h}, b.transport(proto, h)...)...)
}

func (b *builder) ipv6(src, dst netip.Addr, mac topo.MAC) ([]byte, error) {
	proto := uint8(b.get(flows.IPProto, 59)) // no next header (RFC 8200 section 4.7)
	limit := uint64(defaultTTL)
	if t := b.get(flows.ICMPv6Type, 0); proto == protoICMPv6 && t >= layers.ICMPv6TypeRouterSolicitation && t <= layers.ICMPv6TypeRedirect {
		limit = 255 // RFC 4861 section 7.1
	}
	h := &layers.IPv6{Version: 6, TrafficClass: b.tos(), FlowLabel: uint32(b.get(flows.IPv6Label, 0)),
		HopLimit: uint8(b.get(flows.IPTTL, limit)), NextHeader: layers.IPProtocol(proto), SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	return b.ethernet(layers.EthernetTypeIPv6, mac, append([]gopacket.SerializableLayer{h}, b.transport(proto, h)...)...)
}

// transport are the layers behind the IP header.
func (b *builder) transport(proto uint8, ip gopacket.NetworkLayer) []gopacket.SerializableLayer {
	payload := gopacket.Payload(make([]byte, 16))
	port := func(f flows.Field, otherwise uint64) uint16 { return uint16(b.get(f, otherwise)) }
	switch proto {
	case protoICMP:
		return []gopacket.SerializableLayer{&layers.ICMPv4{Id: 1, Seq: 1, TypeCode: layers.CreateICMPv4TypeCode(
			uint8(b.get(flows.ICMPType, layers.ICMPv4TypeEchoRequest)), uint8(b.get(flows.ICMPCode, 0)))}, payload}
	case protoTCP:
		flags := b.get(flows.TCPFlags, flagSYN)
		t := &layers.TCP{SrcPort: layers.TCPPort(port(flows.TCPSrc, defaultSrcPort)), DstPort: layers.TCPPort(port(flows.TCPDst, defaultTCPPort)), Window: 65535,
			FIN: flags&1 != 0, SYN: flags&flagSYN != 0, RST: flags&4 != 0, PSH: flags&8 != 0, ACK: flags&16 != 0, URG: flags&32 != 0, ECE: flags&64 != 0, CWR: flags&128 != 0}
		_ = t.SetNetworkLayerForChecksum(ip) // ip is one of the two kinds that it takes
		return []gopacket.SerializableLayer{t}
	case protoUDP:
		u := &layers.UDP{SrcPort: layers.UDPPort(port(flows.UDPSrc, defaultSrcPort)), DstPort: layers.UDPPort(port(flows.UDPDst, defaultUDPPort))}
		_ = u.SetNetworkLayerForChecksum(ip)
		return []gopacket.SerializableLayer{u, payload}
	case protoSCTP:
		return []gopacket.SerializableLayer{&layers.SCTP{SrcPort: layers.SCTPPort(port(flows.SCTPSrc, defaultSrcPort)), DstPort: layers.SCTPPort(port(flows.SCTPDst, defaultTCPPort))}}
	case protoICMPv6:
		return b.icmpv6(ip)
	}
	return []gopacket.SerializableLayer{payload}
}

// icmpv6 is an echo request unless the description says otherwise.
func (b *builder) icmpv6(ip gopacket.NetworkLayer) []gopacket.SerializableLayer {
	kind := uint64(layers.ICMPv6TypeEchoRequest)
	asked := b.has(flows.NDTarget)
	if asked {
		kind = layers.ICMPv6TypeNeighborSolicitation
	}
	kind = b.get(flows.ICMPv6Type, kind)
	h := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(uint8(kind), uint8(b.get(flows.ICMPv6Code, 0)))}
	_ = h.SetNetworkLayerForChecksum(ip)
	body := make([]byte, 4, 32) // the identifier and number of an echo, or reserved
	if asked {
		a := b.addr(flows.NDTarget)
		body = append(body, a.AsSlice()...)
		option, f := byte(1), flows.NDSLL // RFC 4861 section 4.6.1
		if kind == layers.ICMPv6TypeNeighborAdvertisement {
			option, f = 2, flows.NDTLL
		}
		mac := b.macOf(f, b.macOf(flows.EthSrc, b.port.MAC))
		body = append(append(body, option, 1), mac[:]...)
	}
	return []gopacket.SerializableLayer{h, gopacket.Payload(body)}
}
