package flows

import (
	"encoding/binary"
	"net/netip"
)

// matchOrder is the order in which ovs-ofctl prints the fields of a match, where
// it differs from ours; the word for the protocol comes at protocolWord.
var matchOrder = [...]Field{
	PktMark, CTState, CTZone, CTMark, CTLabel, protocolWord,
	Reg0, Reg1, Reg2, Reg3, Reg4, Reg5, Reg6, Reg7, Reg8, Reg9, Reg10, Reg11, Reg12, Reg13, Reg14, Reg15,
	TunID, TunIPv4Src, TunIPv4Dst, TunIPv6Src, TunIPv6Dst, Metadata, InPort, VLANVID, VLANPCP, VLANTCI,
	EthSrc, EthDst, EthType, IPv6Src, IPv6Dst, IPv6Label, ARPSPA, ARPTPA, IPv4Src, IPv4Dst,
	IPProto, ARPOp, ARPSHA, ARPTHA, IPDSCP, IPECN, IPTTL, MPLSLabel, MPLSTC, MPLSTTL, MPLSBOS, IPFrag,
	ICMPType, ICMPCode, ICMPv6Type, ICMPv6Code, NDTarget, NDSLL, NDTLL, NDReserved, NDOptionsType,
	TCPSrc, TCPDst, TCPFlags, UDPSrc, UDPDst, SCTPSrc, SCTPDst,
}

const protocolWord Field = 0

// protocol is a word that stands for a match on eth_type and perhaps ip_proto.
type protocol struct {
	word    string
	ethType uint16
	ipProto int16 // -1: any
}

// protocols are the words; of those with one meaning ovs-ofctl prints the first.
var protocols = [...]protocol{
	{"icmp", ethIPv4, protoICMP}, {"tcp", ethIPv4, protoTCP}, {"udp", ethIPv4, protoUDP}, {"sctp", ethIPv4, protoSCTP},
	{"icmp6", ethIPv6, protoV6}, {"tcp6", ethIPv6, protoTCP}, {"udp6", ethIPv6, protoUDP}, {"sctp6", ethIPv6, protoSCTP},
	{"ip", ethIPv4, -1}, {"ipv6", ethIPv6, -1}, {"arp", ethARP, -1}, {"rarp", ethRARP, -1},
	{"mpls", ethMPLS, -1}, {"mplsm", ethMPLSM, -1},
	{"icmpv6", ethIPv6, protoV6}, {"ip4", ethIPv4, -1}, {"ip6", ethIPv6, -1},
}

// word is the protocol word for m, nil if there is none.
func (m Match) word() *protocol {
	et, ok := m.Get(EthType)
	if !ok {
		return nil
	}
	proto := int64(-1)
	if e, ok := m.Get(IPProto); ok {
		proto = int64(e.Value.Lo)
	}
	for i := range protocols {
		w := &protocols[i]
		if uint64(w.ethType) == et.Value.Lo && (w.ipProto == -1 || int64(w.ipProto) == proto) {
			return w
		}
	}
	return nil
}

// match writes each entry and a comma.
func (p *printer) match(m Match) {
	w := m.word()
	for _, f := range matchOrder {
		if f == protocolWord {
			if w != nil {
				p.str(w.word)
				p.str(",")
			}
			continue
		}
		e, ok := m.Get(f)
		if !ok || w != nil && (f == EthType || f == IPProto && w.ipProto >= 0) || f == VLANPCP && p.pcpWritten(m) {
			continue
		}
		p.entry(m, e)
		p.str(",")
	}
}

// pcpWritten reports whether the entry for VLANVID has said VLANPCP too, as it
// does unless the VID is matched whole.
func (p *printer) pcpWritten(m Match) bool {
	vid, ok := m.Get(VLANVID)
	return ok && (vid.Mask != VLANVID.FullMask() || vid.Value.Lo&vlanPresent == 0)
}

func (p *printer) entry(m Match, e FieldMatch) {
	full := e.Mask == e.Field.FullMask()
	switch e.Field {
	case VLANVID:
		p.vlan(m, e)
		return
	case IPDSCP:
		p.str("nw_tos=")
		p.dec(e.Value.Lo << 2)
		return
	case IPFrag:
		p.str("nw_frag=")
		p.str(fragName(e))
		return
	case TCPFlags:
		p.str("tcp_flags=")
		p.flags(e, tcpFlagNames[:], full)
		return
	case CTState:
		p.str("ct_state=")
		p.flags(e, ctStateNames[:], CTState.flagBits().AndNot(e.Mask).IsZero())
		return
	}
	p.field(e.Field, e.Field.matchName())
	p.str("=")
	style := e.Field.info().style
	if !full && style == styleDec {
		p.printf("0x%x/0x%x", e.Value.Lo, e.Mask.Lo)
		return
	}
	switch e.Field {
	case IPv6Label:
		p.printf("0x%05x", e.Value.Lo)
	case EthType:
		p.printf("0x%04x", e.Value.Lo)
	default:
		if full {
			p.named(e.Field, e.Value)
		} else {
			p.value(e.Field, e.Value)
		}
	}
	if full {
		return
	}
	p.str("/")
	if n := prefixLen(e.Mask, e.Field.Bits()); n >= 0 && (style == styleIPv4 || style == styleIPv6) {
		p.dec(uint64(n))
		return
	}
	if e.Field == IPv6Label {
		p.printf("0x%05x", e.Mask.Lo)
		return
	}
	p.value(e.Field, e.Mask)
}

// matchName is the name of the field that ovs-ofctl prints in a match.
func (f Field) matchName() string {
	switch f {
	case EthSrc:
		return "dl_src"
	case EthDst:
		return "dl_dst"
	case EthType:
		return "dl_type"
	case VLANPCP:
		return "dl_vlan_pcp"
	case IPv4Src:
		return "nw_src"
	case IPv4Dst:
		return "nw_dst"
	case TCPSrc, UDPSrc, SCTPSrc:
		return "tp_src"
	case TCPDst, UDPDst, SCTPDst:
		return "tp_dst"
	case ICMPv6Type:
		return "icmp_type"
	case ICMPv6Code:
		return "icmp_code"
	}
	return f.Name()
}

// vlan writes the constraint on the tag: its VID alone, that there is none, or
// the bits of the TCI that are matched.
func (p *printer) vlan(m Match, e FieldMatch) {
	pcp, hasPCP := m.Get(VLANPCP)
	switch {
	case e.Mask == VLANVID.FullMask() && e.Value.Lo&vlanPresent != 0:
		p.printf("dl_vlan=%d", e.Value.Lo&^vlanPresent)
	case e.Mask.Lo == vlanPresent && e.Value.Lo == vlanPresent && hasPCP:
		p.printf("dl_vlan_pcp=%d", pcp.Value.Lo)
	default:
		v, mask := e.Value.Lo, e.Mask.Lo
		if hasPCP {
			v, mask = v|pcp.Value.Lo<<13, mask|pcp.Mask.Lo<<13
		}
		p.printf("vlan_tci=0x%04x/0x%04x", v, mask)
	}
}

// fragName is the word for a constraint on nw_frag (ovs-fields(7)).
func fragName(e FieldMatch) string {
	for _, f := range frags {
		if f.value == e.Value.Lo && f.mask == e.Mask.Lo {
			return f.name
		}
	}
	return "no"
}

var frags = [...]struct {
	name        string
	value, mask uint64
}{{"no", 0, 3}, {"yes", 1, 1}, {"first", 1, 3}, {"later", 3, 3}, {"not_later", 0, 2}}

// tcpFlagNames and ctStateNames are by bit.
var (
	tcpFlagNames = [...]string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"}
	ctStateNames = [...]string{"new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"}
)

// flagBits are the bits of a field of flags that have a meaning, which is all that Open
// vSwitch matches of it.
func (f Field) flagBits() Value {
	if f == CTState {
		return lowBits(uint16(len(ctStateNames)))
	}
	return f.FullMask()
}

// flags writes +a-b for masked flags and a|b for all of them.
func (p *printer) flags(e FieldMatch, names []string, whole bool) {
	if whole {
		if e.Value.IsZero() {
			p.str("0")
			return
		}
		n := len(p.b)
		for i, name := range names {
			if e.Value.Lo>>i&1 == 1 {
				if len(p.b) > n {
					p.str("|")
				}
				p.str(name)
			}
		}
		return
	}
	for i, name := range names {
		switch {
		case e.Mask.Lo>>i&1 == 0:
			continue
		case e.Value.Lo>>i&1 == 1:
			p.str("+")
		default:
			p.str("-")
		}
		p.str(name)
	}
}

func (p *printer) value(f Field, v Value) {
	switch f.info().style {
	case styleDec:
		p.dec(v.Lo)
	case stylePort:
		p.port(uint32(v.Lo))
	case styleMAC:
		p.printf("%02x:%02x:%02x:%02x:%02x:%02x", byte(v.Lo>>40), byte(v.Lo>>32), byte(v.Lo>>24),
			byte(v.Lo>>16), byte(v.Lo>>8), byte(v.Lo))
	case styleIPv4:
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(v.Lo))
		p.b = netip.AddrFrom4(b).AppendTo(p.b)
	case styleIPv6:
		if v.Hi == 0 && v.Lo>>32 == 0 && v.Lo>>16 != 0 {
			p.str("::") // as C libraries write an IPv4-compatible address
			p.value(IPv4Src, v)
			return
		}
		p.b = netip.AddrFrom16(v.bytes16()).AppendTo(p.b)
	default:
		if v.Hi != 0 {
			p.printf("0x%x%016x", v.Hi, v.Lo)
			return
		}
		p.hex(v.Lo)
	}
}

func (v Value) bytes16() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], v.Hi)
	binary.BigEndian.PutUint64(b[8:], v.Lo)
	return b
}

// prefixLen is the length of the prefix that mask is in a field of bits bits, -1
// if it is not one.
func prefixLen(mask Value, bits uint16) int {
	n := mask.onesCount()
	if mask == lowBits(uint16(n)).Shl(uint(int(bits)-n)) {
		return n
	}
	return -1
}
