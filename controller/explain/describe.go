package explain

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// What stands in a packet where nobody says otherwise.
const (
	defaultTTL     = 64
	defaultSrcPort = 49152 // the first dynamic port (RFC 6335 section 6)
	defaultTCPPort = 80
	defaultUDPPort = 53
	minLength      = 60 // of an Ethernet frame without its checksum, in bytes
	flagSYN        = 0x02
)

var broadcastMAC = topo.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Describe makes the packet that a port would send by its description, which is a match
// of ovs-ofctl: icmp,nw_dst=10.1.1.2. What it leaves out is filled in: the source
// addresses are the port's; the destination MAC is that of the port in the network that
// has the destination address, and if there is none, what is traced is the ARP
// request or neighbour solicitation for it, which is what a guest would send. A
// description that cannot be meant is a *PacketError.
func Describe(o *Overlay, port, description string) (*Prepared, error) {
	p, err := o.bound(port)
	if err != nil {
		return nil, err
	}
	m, err := parseDescription(description)
	if err != nil {
		return nil, err
	}
	b := &builder{overlay: o, port: p, given: m, out: &Prepared{Port: p}}
	if err := b.chooseNetwork(); err != nil {
		return nil, err
	}
	b.out.Network = b.member.Network
	frame, err := b.build()
	if err != nil {
		return nil, err
	}
	if len(frame) < minLength {
		frame = append(frame, make([]byte, minLength-len(frame))...)
	}
	b.out.Frame = frame
	return b.out, nil
}

// builder makes one packet.
type builder struct {
	overlay *Overlay
	port    *Port
	given   flows.Match
	member  Membership
	out     *Prepared
}

func (b *builder) has(f flows.Field) bool { _, ok := b.given.Get(f); return ok }

// get is the value of a field that was given, or what it is otherwise.
func (b *builder) get(f flows.Field, otherwise uint64) uint64 {
	if m, ok := b.given.Get(f); ok {
		return m.Value.Lo
	}
	return otherwise
}

func (b *builder) filled(format string, args ...any) {
	b.out.Filled = append(b.out.Filled, fmt.Sprintf(format, args...))
}

// addr is the address that a field was given, invalid if none was.
func (b *builder) addr(f flows.Field) netip.Addr {
	m, ok := b.given.Get(f)
	if !ok {
		return netip.Addr{}
	}
	if f.Bits() == 32 {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(m.Value.Lo))))
	}
	return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, m.Value.Hi), m.Value.Lo)))
}

// macOf is the MAC that a field was given, otherwise another.
func (b *builder) macOf(f flows.Field, otherwise topo.MAC) topo.MAC {
	m, ok := b.given.Get(f)
	if !ok {
		return otherwise
	}
	return topo.MAC(binary.BigEndian.AppendUint64(nil, m.Value.Lo)[2:])
}

// destination is where the packet goes in its network layer.
func (b *builder) destination() netip.Addr {
	for _, f := range []flows.Field{flows.IPv4Dst, flows.IPv6Dst, flows.ARPTPA, flows.NDTarget} {
		if a := b.addr(f); a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

// chooseNetwork finds the network that the packet is for: by the VLAN ID that was
// given, or by the destination, or the one that frames without a tag are of.
func (b *builder) chooseNetwork() error {
	all := b.port.Networks
	is := func(vlan uint16) func(Membership) bool {
		return func(m Membership) bool { return m.VLAN == vlan && m.Tagged == (vlan != 0) }
	}
	if m, ok := b.overlay.wire(b.port); ok {
		b.member = m
		b.member.VLAN = uint16(b.get(flows.VLANVID, 0) & tciVID)
		b.member.Tagged = b.member.VLAN != 0
		return nil
	}
	if b.has(flows.VLANVID) {
		vlan := uint16(b.get(flows.VLANVID, 0) & tciVID)
		if i := slices.IndexFunc(all, is(vlan)); i >= 0 {
			b.member = all[i]
			return nil
		}
		b.member = Membership{Tagged: vlan != 0, VLAN: vlan}
		b.filled("port %s has no network for VLAN %d: it carries %s", b.port.Name, vlan, b.port.memberships())
		return nil
	}
	untagged := slices.IndexFunc(all, is(0))
	var near []int
	if to := b.destination(); to.IsValid() {
		for i, m := range all {
			if b.reaches(m.Network, to) {
				near = append(near, i)
			}
		}
	}
	switch {
	case len(all) == 1:
		b.member = all[0]
	case len(near) == 1:
		b.member = all[near[0]]
		b.filled("%s: the network of the destination", b.member.Network)
	case untagged >= 0:
		b.member = all[untagged]
		b.filled("%s: the network of frames without a tag", b.member.Network)
	case len(all) == 0:
		return badPacket("port %s is in no network", b.port.Name)
	default:
		return badPacket("port %s is a trunk without a network for frames without a tag; say which network is meant: %s", b.port.Name, b.port.memberships())
	}
	if b.member.Tagged {
		b.filled("dl_vlan=%d: %s on this trunk", b.member.VLAN, b.member.Network)
	}
	return nil
}

// reaches reports whether an address belongs to a network.
func (b *builder) reaches(network string, a netip.Addr) bool {
	n := b.overlay.network(network)
	return b.overlay.holder(network, a) != nil ||
		n != nil && slices.ContainsFunc(n.Subnets, func(s netip.Prefix) bool { return s.Contains(a) })
}

// Ethernet types and protocols that are built.
const (
	etherIPv4   = 0x0800
	etherARP    = 0x0806
	etherIPv6   = 0x86dd
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)

func (b *builder) build() ([]byte, error) {
	switch b.get(flows.EthType, 0) {
	case etherARP:
		return b.arp(b.addr(flows.ARPTPA))
	case etherIPv4, etherIPv6:
		return b.ip()
	}
	if !b.has(flows.EthDst) {
		return nil, badPacket("say what kind of packet it is (icmp, arp, tcp, udp, ip, icmp6, …), or give dl_type and dl_dst")
	}
	return b.ethernet(layers.EthernetType(b.get(flows.EthType, 0xffff)), b.macOf(flows.EthDst, topo.MAC{}), gopacket.Payload(make([]byte, 32)))
}

// ethernet is the frame with those layers in it.
func (b *builder) ethernet(kind layers.EthernetType, dst topo.MAC, in ...gopacket.SerializableLayer) ([]byte, error) {
	src := b.macOf(flows.EthSrc, b.port.MAC)
	if !b.has(flows.EthSrc) {
		b.filled("dl_src=%s: the port's", src)
	}
	eth := &layers.Ethernet{SrcMAC: src[:], DstMAC: dst[:], EthernetType: kind}
	all := []gopacket.SerializableLayer{eth}
	pcp := b.get(flows.VLANPCP, 0)
	if b.member.Tagged || b.has(flows.VLANPCP) {
		eth.EthernetType = layers.EthernetTypeDot1Q
		all = append(all, &layers.Dot1Q{VLANIdentifier: b.member.VLAN, Priority: uint8(pcp), Type: kind})
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, append(all, in...)...)
	if err != nil {
		return nil, badPacket("the packet cannot be made: %w", err)
	}
	return buf.Bytes(), nil
}

// source is the port's own address in the network, of a family.
func (b *builder) source(f flows.Field, v6 bool) (netip.Addr, error) {
	if a := b.addr(f); a.IsValid() {
		return a, nil
	}
	for _, a := range b.member.Addresses {
		if a.Is6() == v6 {
			b.filled("%s=%s: the port's", sourceName(f), a)
			return a, nil
		}
	}
	return netip.Addr{}, badPacket("port %s has no address of that kind in network %s: say %s=…", b.port.Name, b.member.Network, sourceName(f))
}

func sourceName(f flows.Field) string {
	if f == flows.IPv4Src {
		return "nw_src"
	}
	return f.Name()
}

// arp is an ARP packet, a request for target unless the description says otherwise.
func (b *builder) arp(target netip.Addr) ([]byte, error) {
	if !target.IsValid() {
		return nil, badPacket("an ARP packet asks for an address: say arp_tpa=…")
	}
	spa, err := b.source(flows.ARPSPA, false)
	if err != nil {
		return nil, err
	}
	src := b.macOf(flows.EthSrc, b.port.MAC)
	sha, tha := b.macOf(flows.ARPSHA, src), b.macOf(flows.ARPTHA, topo.MAC{})
	return b.ethernet(layers.EthernetTypeARP, b.macOf(flows.EthDst, broadcastMAC), &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: uint16(b.get(flows.ARPOp, layers.ARPRequest)), SourceHwAddress: sha[:], SourceProtAddress: spa.AsSlice(),
		DstHwAddress: tha[:], DstProtAddress: target.AsSlice(),
	})
}
