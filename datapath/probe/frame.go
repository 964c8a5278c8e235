package probe

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// mac is a locally administered address.
func mac(n byte) net.HardwareAddr { return net.HardwareAddr{2, 0xbe, 0, 0, 0, n} }

var macA, macB = mac(1), mac(2)

// packet is what a frame of a trial is made of. Ports 0 mean the usual ones, addresses are those of the documentation.
type packet struct {
	src, dst     string // IPv4 or IPv6
	sport, dport uint16
	payload      int // bytes
	ttl          uint8
	vlans        []uint16 // outermost first; of two the outer one is an S-tag
	// first, if not 0, cuts an IPv4 datagram in two behind so many bytes of IP payload, a multiple of 8. The frame is
	// that of the first fragment, or with last that of the second.
	first int
	last  bool
	arp   bool // an ARP request for dst instead
	ns    bool // a neighbour solicitation for dst instead
	// from and to are the Ethernet addresses where they are others than those of a and b, and
	// kind the Ethernet type of a frame with nothing in it.
	from, to net.HardwareAddr
	kind     layers.EthernetType
}

// The UDP ports of a packet that names none.
const (
	usualSource      = 1000
	usualDestination = 2000
)

// frame is the frame from a to b.
func (p packet) frame() []byte {
	eth := &layers.Ethernet{SrcMAC: macA, DstMAC: macB}
	if p.from != nil {
		eth.SrcMAC = p.from
	}
	if p.to != nil {
		eth.DstMAC = p.to
	}
	if p.kind != 0 {
		eth.EthernetType = p.kind
		return serialize(eth, gopacket.Payload(make([]byte, 46)))
	}
	stack := []gopacket.SerializableLayer{eth}
	next := &eth.EthernetType
	for i, id := range p.vlans {
		*next = layers.EthernetTypeDot1Q
		if i == 0 && len(p.vlans) > 1 {
			*next = layers.EthernetTypeQinQ
		}
		tag := &layers.Dot1Q{VLANIdentifier: id}
		stack, next = append(stack, tag), &tag.Type
	}
	src, dst := netip.MustParseAddr(p.src), netip.MustParseAddr(p.dst)
	data := gopacket.Payload(slices.Repeat([]byte{0xa5}, p.payload))
	udp := &layers.UDP{SrcPort: layers.UDPPort(orDefault(p.sport, usualSource)), DstPort: layers.UDPPort(orDefault(p.dport, usualDestination))}
	ttl := p.ttl
	if ttl == 0 {
		ttl = 64
	}
	switch {
	case p.arp:
		*next = layers.EthernetTypeARP
		eth.DstMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		stack = append(stack, &layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
			SourceHwAddress: macA, SourceProtAddress: src.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: dst.AsSlice(),
		})
	case dst.Is4():
		*next = layers.EthernetTypeIPv4
		ip := &layers.IPv4{Version: 4, TTL: ttl, Protocol: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice(), Id: 7}
		must(udp.SetNetworkLayerForChecksum(ip))
		if p.first != 0 {
			return p.fragment(eth, ip, serialize(ip, udp, data)[ipv4Header:])
		}
		stack = append(stack, ip, udp, data)
	case p.ns:
		*next = layers.EthernetTypeIPv6
		ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
		must(icmp.SetNetworkLayerForChecksum(ip))
		stack = append(stack, ip, icmp, &layers.ICMPv6NeighborSolicitation{
			TargetAddress: dst.AsSlice(),
			Options:       layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: macA}},
		})
	default:
		*next = layers.EthernetTypeIPv6
		ip := &layers.IPv6{Version: 6, HopLimit: ttl, NextHeader: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		must(udp.SetNetworkLayerForChecksum(ip))
		stack = append(stack, ip, udp, data)
	}
	return serialize(stack...)
}

const ipv4Header = 20 // bytes, without options

// fragment is the frame of one of two fragments of a datagram with this IP payload.
func (p packet) fragment(eth *layers.Ethernet, ip *layers.IPv4, body []byte) []byte {
	if p.last {
		ip.FragOffset, body = uint16(p.first/8), body[p.first:]
	} else {
		ip.Flags, body = layers.IPv4MoreFragments, body[:p.first]
	}
	return serialize(eth, ip, gopacket.Payload(body))
}

func serialize(stack ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	must(gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, stack...))
	return buf.Bytes()
}

// orDefault is v, or d if that is 0.
func orDefault(v, d uint16) uint16 {
	if v == 0 {
		return d
	}
	return v
}

// must is for what can only fail by a mistake in a trial.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// description is what a frame is, as words "name=value".
type description []string

func (d description) String() string { return strings.Join(d, " ") }

// has says that every wanted word is there, and that checksums are right unless the opposite is wanted.
func (d description) has(want string) bool {
	for w := range strings.FieldsSeq(want) {
		if !slices.Contains(d, w) {
			return false
		}
	}
	return !slices.Contains(d, badChecksum) || strings.Contains(want, badChecksum)
}

const badChecksum = "bad_checksum"

// describe reads a frame, whatever it is, in the words of ovs-fields(7), with len of the whole. Of several headers of a
// kind the outermost counts: a frame of a tunnel is described by what carries it.
func describe(frame []byte) description {
	d := description{fmt.Sprintf("len=%d", len(frame))}
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	vlan, network := 0, false
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.Ethernet:
			d = append(d, "dl_src="+l.SrcMAC.String(), "dl_dst="+l.DstMAC.String())
		case *layers.Dot1Q:
			vlan++
			d = append(d, fmt.Sprintf("vlan%d=%d", vlan, l.VLANIdentifier))
		case *layers.MPLS:
			d = append(d, fmt.Sprintf("mpls=%d", l.Label))
		case *layers.ARP:
			d = append(d, fmt.Sprintf("arp_op=%d", l.Operation), "arp_spa="+net.IP(l.SourceProtAddress).String(), "arp_sha="+net.HardwareAddr(l.SourceHwAddress).String())
		case *layers.IPv4:
			network = true
			d = append(d, "nw_src="+l.SrcIP.String(), "nw_dst="+l.DstIP.String(), fmt.Sprintf("nw_ttl=%d", l.TTL), fmt.Sprintf("nw_proto=%d", l.Protocol), fmt.Sprintf("nw_tos=%d", l.TOS))
			if l.Flags&layers.IPv4DontFragment != 0 {
				d = append(d, "df")
			}
			if l.Flags&layers.IPv4MoreFragments != 0 {
				d = append(d, "more")
			}
			if l.FragOffset != 0 {
				d = append(d, fmt.Sprintf("offset=%d", l.FragOffset))
			}
			if sum(l.Contents, 0) != 0xffff {
				d = append(d, badChecksum)
			}
		case *layers.IPv6:
			network = true
			d = append(d, "nw_src="+l.SrcIP.String(), "nw_dst="+l.DstIP.String(), fmt.Sprintf("nw_ttl=%d", l.HopLimit), fmt.Sprintf("nw_proto=%d", l.NextHeader))
		case *layers.UDP:
			d = append(d, fmt.Sprintf("tp_src=%d", l.SrcPort), fmt.Sprintf("tp_dst=%d", l.DstPort))
			if l.Checksum == 0 {
				d = append(d, "no_checksum")
			} else if network && !udpChecksum(p, l) {
				d = append(d, badChecksum)
			}
			return d
		case *layers.ICMPv6NeighborAdvertisement:
			d = append(d, fmt.Sprintf("nd_flags=%#x", l.Flags), "nd_target="+l.TargetAddress.String())
		case *layers.GRE:
			if l.KeyPresent {
				d = append(d, fmt.Sprintf("key=%d", l.Key))
			}
			return d
		}
	}
	return d
}

// udpChecksum says whether the checksum of a datagram that is whole is right.
func udpChecksum(p gopacket.Packet, udp *layers.UDP) bool {
	segment := append(slices.Clone(udp.Contents), udp.Payload...)
	if int(udp.Length) > len(segment) || int(udp.Length) < len(udp.Contents) {
		return true // cut short, or the first fragment: it cannot be told
	}
	flow := p.NetworkLayer().NetworkFlow()
	pseudo := append(slices.Clone(flow.Src().Raw()), flow.Dst().Raw()...)
	pseudo = append(pseudo, 0, byte(layers.IPProtocolUDP), byte(udp.Length>>8), byte(udp.Length))
	return sum(segment[:udp.Length], sum(pseudo, 0)) == 0xffff
}

// sum is the Internet checksum's sum, added to one before.
func sum(data []byte, before uint32) uint32 {
	s := before
	for len(data) > 1 {
		s, data = s+uint32(binary.BigEndian.Uint16(data)), data[2:]
	}
	if len(data) == 1 {
		s += uint32(data[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return s
}
