package flows

import "fmt"

// style is how ovs-ofctl writes the value of a field.
type style uint8

const (
	styleHex style = iota
	styleDec
	stylePort
	styleMAC
	styleIPv4
	styleIPv6
	styleTCPFlags
	styleCTState
	styleFrag
)

// OXM and NXM classes (OpenFlow 1.3.5 section 7.2.3.2; nicira-ext.h). The class of
// the two ND extensions is one that Open vSwitch took for them.
const (
	classNXM0         uint16 = 0x0000
	classNXM1         uint16 = 0x0001
	classEricsson     uint16 = 0x1000
	classOpenFlow     uint16 = 0x8000
	classExperimenter uint16 = 0xffff
)

// onfExperimenter is the experimenter ID of the Open Networking Foundation.
const onfExperimenter uint32 = 0x4f4e4600

// Flags of fieldInfo.
const (
	maskable uint8 = 1 << iota // arbitrary masks in a match
	writable                   // may be the destination of set-field, load and move
)

type fieldInfo struct {
	name   string // as in a match and in set_field
	symbol string // as in load and move
	class  uint16
	number uint8
	bytes  uint8
	bits   uint16
	flags  uint8
	prereq prereq
	style  style
}

// fields is the table of fields, a row each; the numbers are those of Open
// vSwitch's meta-flow and a test holds them against ovs-ofctl.
var fields = [numFields]fieldInfo{
	InPort:        {"in_port", "OXM_OF_IN_PORT", classOpenFlow, 0, 4, 32, writable, preNone, stylePort},
	Metadata:      {"metadata", "OXM_OF_METADATA", classOpenFlow, 2, 8, 64, maskable | writable, preNone, styleHex},
	Reg0:          {"reg0", "NXM_NX_REG0", classNXM1, 0, 4, 32, maskable | writable, preNone, styleHex},
	Reg1:          {"reg1", "NXM_NX_REG1", classNXM1, 1, 4, 32, maskable | writable, preNone, styleHex},
	Reg2:          {"reg2", "NXM_NX_REG2", classNXM1, 2, 4, 32, maskable | writable, preNone, styleHex},
	Reg3:          {"reg3", "NXM_NX_REG3", classNXM1, 3, 4, 32, maskable | writable, preNone, styleHex},
	Reg4:          {"reg4", "NXM_NX_REG4", classNXM1, 4, 4, 32, maskable | writable, preNone, styleHex},
	Reg5:          {"reg5", "NXM_NX_REG5", classNXM1, 5, 4, 32, maskable | writable, preNone, styleHex},
	Reg6:          {"reg6", "NXM_NX_REG6", classNXM1, 6, 4, 32, maskable | writable, preNone, styleHex},
	Reg7:          {"reg7", "NXM_NX_REG7", classNXM1, 7, 4, 32, maskable | writable, preNone, styleHex},
	Reg8:          {"reg8", "NXM_NX_REG8", classNXM1, 8, 4, 32, maskable | writable, preNone, styleHex},
	Reg9:          {"reg9", "NXM_NX_REG9", classNXM1, 9, 4, 32, maskable | writable, preNone, styleHex},
	Reg10:         {"reg10", "NXM_NX_REG10", classNXM1, 10, 4, 32, maskable | writable, preNone, styleHex},
	Reg11:         {"reg11", "NXM_NX_REG11", classNXM1, 11, 4, 32, maskable | writable, preNone, styleHex},
	Reg12:         {"reg12", "NXM_NX_REG12", classNXM1, 12, 4, 32, maskable | writable, preNone, styleHex},
	Reg13:         {"reg13", "NXM_NX_REG13", classNXM1, 13, 4, 32, maskable | writable, preNone, styleHex},
	Reg14:         {"reg14", "NXM_NX_REG14", classNXM1, 14, 4, 32, maskable | writable, preNone, styleHex},
	Reg15:         {"reg15", "NXM_NX_REG15", classNXM1, 15, 4, 32, maskable | writable, preNone, styleHex},
	PktMark:       {"pkt_mark", "NXM_NX_PKT_MARK", classNXM1, 33, 4, 32, maskable | writable, preNone, styleHex},
	TunID:         {"tun_id", "NXM_NX_TUN_ID", classOpenFlow, 38, 8, 64, maskable | writable, preNone, styleHex},
	TunIPv4Src:    {"tun_src", "NXM_NX_TUN_IPV4_SRC", classNXM1, 31, 4, 32, maskable | writable, preNone, styleIPv4},
	TunIPv4Dst:    {"tun_dst", "NXM_NX_TUN_IPV4_DST", classNXM1, 32, 4, 32, maskable | writable, preNone, styleIPv4},
	TunIPv6Src:    {"tun_ipv6_src", "NXM_NX_TUN_IPV6_SRC", classNXM1, 109, 16, 128, maskable | writable, preNone, styleIPv6},
	TunIPv6Dst:    {"tun_ipv6_dst", "NXM_NX_TUN_IPV6_DST", classNXM1, 110, 16, 128, maskable | writable, preNone, styleIPv6},
	CTState:       {"ct_state", "NXM_NX_CT_STATE", classNXM1, 105, 4, 32, maskable, preNone, styleCTState},
	CTZone:        {"ct_zone", "NXM_NX_CT_ZONE", classNXM1, 106, 2, 16, 0, preNone, styleDec},
	CTMark:        {"ct_mark", "NXM_NX_CT_MARK", classNXM1, 107, 4, 32, maskable, preNone, styleHex},
	CTLabel:       {"ct_label", "NXM_NX_CT_LABEL", classNXM1, 108, 16, 128, maskable, preNone, styleHex},
	EthDst:        {"eth_dst", "NXM_OF_ETH_DST", classOpenFlow, 3, 6, 48, maskable | writable, preNone, styleMAC},
	EthSrc:        {"eth_src", "NXM_OF_ETH_SRC", classOpenFlow, 4, 6, 48, maskable | writable, preNone, styleMAC},
	EthType:       {"eth_type", "NXM_OF_ETH_TYPE", classOpenFlow, 5, 2, 16, 0, preNone, styleHex},
	VLANVID:       {"vlan_vid", "OXM_OF_VLAN_VID", classOpenFlow, 6, 2, 13, maskable | writable, preNone, styleDec},
	VLANPCP:       {"vlan_pcp", "OXM_OF_VLAN_PCP", classOpenFlow, 7, 1, 3, writable, preVLAN, styleDec},
	VLANTCI:       {"vlan_tci", "NXM_OF_VLAN_TCI", classNXM0, 4, 2, 16, maskable | writable, preNone, styleHex},
	MPLSLabel:     {"mpls_label", "OXM_OF_MPLS_LABEL", classOpenFlow, 34, 4, 20, writable, preMPLS, styleDec},
	MPLSTC:        {"mpls_tc", "OXM_OF_MPLS_TC", classOpenFlow, 35, 1, 3, writable, preMPLS, styleDec},
	MPLSBOS:       {"mpls_bos", "OXM_OF_MPLS_BOS", classOpenFlow, 36, 1, 1, 0, preMPLS, styleDec},
	MPLSTTL:       {"mpls_ttl", "NXM_NX_MPLS_TTL", classNXM1, 30, 1, 8, writable, preMPLS, styleDec},
	IPDSCP:        {"ip_dscp", "OXM_OF_IP_DSCP", classOpenFlow, 8, 1, 6, writable, preIP, styleDec},
	IPECN:         {"nw_ecn", "NXM_NX_IP_ECN", classOpenFlow, 9, 1, 2, writable, preIP, styleDec},
	IPTTL:         {"nw_ttl", "NXM_NX_IP_TTL", classNXM1, 29, 1, 8, writable, preIP, styleDec},
	IPFrag:        {"nw_frag", "NXM_NX_IP_FRAG", classNXM1, 26, 1, 2, maskable, preIP, styleFrag},
	IPProto:       {"nw_proto", "NXM_OF_IP_PROTO", classOpenFlow, 10, 1, 8, 0, preIP, styleDec},
	IPv4Src:       {"ip_src", "NXM_OF_IP_SRC", classOpenFlow, 11, 4, 32, maskable | writable, preIPv4, styleIPv4},
	IPv4Dst:       {"ip_dst", "NXM_OF_IP_DST", classOpenFlow, 12, 4, 32, maskable | writable, preIPv4, styleIPv4},
	IPv6Src:       {"ipv6_src", "NXM_NX_IPV6_SRC", classOpenFlow, 26, 16, 128, maskable | writable, preIPv6, styleIPv6},
	IPv6Dst:       {"ipv6_dst", "NXM_NX_IPV6_DST", classOpenFlow, 27, 16, 128, maskable | writable, preIPv6, styleIPv6},
	IPv6Label:     {"ipv6_label", "NXM_NX_IPV6_LABEL", classOpenFlow, 28, 4, 20, maskable | writable, preIPv6, styleHex},
	ARPOp:         {"arp_op", "NXM_OF_ARP_OP", classOpenFlow, 21, 2, 16, writable, preARP, styleDec},
	ARPSPA:        {"arp_spa", "NXM_OF_ARP_SPA", classOpenFlow, 22, 4, 32, maskable | writable, preARP, styleIPv4},
	ARPTPA:        {"arp_tpa", "NXM_OF_ARP_TPA", classOpenFlow, 23, 4, 32, maskable | writable, preARP, styleIPv4},
	ARPSHA:        {"arp_sha", "NXM_NX_ARP_SHA", classOpenFlow, 24, 6, 48, maskable | writable, preARP, styleMAC},
	ARPTHA:        {"arp_tha", "NXM_NX_ARP_THA", classOpenFlow, 25, 6, 48, maskable | writable, preARP, styleMAC},
	TCPSrc:        {"tcp_src", "NXM_OF_TCP_SRC", classOpenFlow, 13, 2, 16, maskable | writable, preTCP, styleDec},
	TCPDst:        {"tcp_dst", "NXM_OF_TCP_DST", classOpenFlow, 14, 2, 16, maskable | writable, preTCP, styleDec},
	TCPFlags:      {"tcp_flags", "NXM_NX_TCP_FLAGS", classExperimenter, 42, 2, 12, maskable, preTCP, styleTCPFlags},
	UDPSrc:        {"udp_src", "NXM_OF_UDP_SRC", classOpenFlow, 15, 2, 16, maskable | writable, preUDP, styleDec},
	UDPDst:        {"udp_dst", "NXM_OF_UDP_DST", classOpenFlow, 16, 2, 16, maskable | writable, preUDP, styleDec},
	SCTPSrc:       {"sctp_src", "OXM_OF_SCTP_SRC", classOpenFlow, 17, 2, 16, maskable | writable, preSCTP, styleDec},
	SCTPDst:       {"sctp_dst", "OXM_OF_SCTP_DST", classOpenFlow, 18, 2, 16, maskable | writable, preSCTP, styleDec},
	ICMPType:      {"icmp_type", "NXM_OF_ICMP_TYPE", classOpenFlow, 19, 1, 8, writable, preICMP, styleDec},
	ICMPCode:      {"icmp_code", "NXM_OF_ICMP_CODE", classOpenFlow, 20, 1, 8, writable, preICMP, styleDec},
	ICMPv6Type:    {"icmpv6_type", "NXM_NX_ICMPV6_TYPE", classOpenFlow, 29, 1, 8, writable, preICMPv6, styleDec},
	ICMPv6Code:    {"icmpv6_code", "NXM_NX_ICMPV6_CODE", classOpenFlow, 30, 1, 8, writable, preICMPv6, styleDec},
	NDTarget:      {"nd_target", "NXM_NX_ND_TARGET", classOpenFlow, 31, 16, 128, maskable | writable, preND, styleIPv6},
	NDSLL:         {"nd_sll", "NXM_NX_ND_SLL", classOpenFlow, 32, 6, 48, maskable | writable, preNDSolicit, styleMAC},
	NDTLL:         {"nd_tll", "NXM_NX_ND_TLL", classOpenFlow, 33, 6, 48, maskable | writable, preNDAdvert, styleMAC},
	NDReserved:    {"nd_reserved", "ERICOXM_OF_ICMPV6_ND_RESERVED", classEricsson, 1, 4, 32, writable, preND, styleDec},
	NDOptionsType: {"nd_options_type", "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", classEricsson, 2, 1, 8, writable, preND, styleDec},
}

// Ethernet types and IP protocols that prerequisites name.
const (
	ethIPv4   = 0x0800
	ethARP    = 0x0806
	ethRARP   = 0x8035
	ethIPv6   = 0x86dd
	ethMPLS   = 0x8847
	ethMPLSM  = 0x8848
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
	protoV6   = 58
	protoSCTP = 132

	ndSolicit = 135
	ndAdvert  = 136

	// vlanPresent is the bit of vlan_vid and vlan_tci that says "there is a tag".
	vlanPresent = 0x1000
)

// prereq indexes prerequisites.
type prereq uint8

const (
	preNone prereq = iota
	preVLAN
	preMPLS
	preARP
	preIPv4
	preIPv6
	preIP
	preTCP
	preUDP
	preSCTP
	preICMP
	preICMPv6
	preND
	preNDSolicit
	preNDAdvert
	numPrereqs
)

// prerequisites are the alternatives of which a match must contain one before
// it may constrain a field (OpenFlow 1.3.5 section 7.2.3.6).
var prerequisites = [numPrereqs][]Match{
	preVLAN:      {Match{{VLANVID, U(vlanPresent), U(vlanPresent)}}},
	preMPLS:      {ethernet(ethMPLS), ethernet(ethMPLSM)},
	preARP:       {ethernet(ethARP), ethernet(ethRARP)},
	preIPv4:      {ethernet(ethIPv4)},
	preIPv6:      {ethernet(ethIPv6)},
	preIP:        {ethernet(ethIPv4), ethernet(ethIPv6)},
	preTCP:       {transport(ethIPv4, protoTCP), transport(ethIPv6, protoTCP)},
	preUDP:       {transport(ethIPv4, protoUDP), transport(ethIPv6, protoUDP)},
	preSCTP:      {transport(ethIPv4, protoSCTP), transport(ethIPv6, protoSCTP)},
	preICMP:      {transport(ethIPv4, protoICMP)},
	preICMPv6:    {transport(ethIPv6, protoV6)},
	preND:        {neighbour(ndSolicit), neighbour(ndAdvert)},
	preNDSolicit: {neighbour(ndSolicit)},
	preNDAdvert:  {neighbour(ndAdvert)},
}

// These matches cannot ask the table of fields for full masks, since it is
// initialised beside them.

func ethernet(ethType uint64) Match { return Match{{EthType, U(ethType), lowBits(16)}} }

func transport(ethType, proto uint64) Match {
	return append(ethernet(ethType), FieldMatch{IPProto, U(proto), lowBits(8)})
}

// neighbour is a neighbour discovery message, whose code is 0 (RFC 4861 section 4).
func neighbour(icmpType uint64) Match {
	return append(transport(ethIPv6, protoV6),
		FieldMatch{ICMPv6Type, U(icmpType), lowBits(8)}, FieldMatch{ICMPv6Code, U(0), lowBits(8)})
}

// aliases are further names that ovs-ofctl prints or takes for fields in a
// match or a set_field. Names that depend on the rest of the match (tp_src,
// nw_src, icmp_type in icmp6) and names for other units (nw_tos, dl_vlan) are the
// parser's.
var aliases = map[string]Field{
	"in_port_oxm": InPort, "tunnel_id": TunID,
	"dl_src": EthSrc, "dl_dst": EthDst, "dl_type": EthType,
	"dl_vlan_pcp": VLANPCP,
	"ip_ecn":      IPECN, "ip_proto": IPProto, "ip_frag": IPFrag,
	"nw_src": IPv4Src, "nw_dst": IPv4Dst, "ipv4_src": IPv4Src, "ipv4_dst": IPv4Dst,
	"icmpv4_type": ICMPType, "icmpv4_code": ICMPCode, "ipv6_flabel": IPv6Label,
}

// symbolAliases are the OXM names of fields that load and move name by NXM, and
// the other way round, where both have the same layout.
var symbolAliases = map[string]Field{
	"OXM_OF_TUNNEL_ID": TunID, "OXM_OF_ETH_DST": EthDst, "OXM_OF_ETH_SRC": EthSrc, "OXM_OF_ETH_TYPE": EthType,
	"OXM_OF_IP_ECN": IPECN, "OXM_OF_IP_PROTO": IPProto, "OXM_OF_IPV4_SRC": IPv4Src, "OXM_OF_IPV4_DST": IPv4Dst,
	"OXM_OF_IPV6_SRC": IPv6Src, "OXM_OF_IPV6_DST": IPv6Dst, "OXM_OF_IPV6_FLABEL": IPv6Label,
	"OXM_OF_ARP_OP": ARPOp, "OXM_OF_ARP_SPA": ARPSPA, "OXM_OF_ARP_TPA": ARPTPA,
	"OXM_OF_ARP_SHA": ARPSHA, "OXM_OF_ARP_THA": ARPTHA, "OXM_OF_TCP_SRC": TCPSrc, "OXM_OF_TCP_DST": TCPDst,
	"OXM_OF_TCP_FLAGS": TCPFlags, "OXM_OF_UDP_SRC": UDPSrc, "OXM_OF_UDP_DST": UDPDst,
	"OXM_OF_ICMPV4_TYPE": ICMPType, "OXM_OF_ICMPV4_CODE": ICMPCode,
	"OXM_OF_ICMPV6_TYPE": ICMPv6Type, "OXM_OF_ICMPV6_CODE": ICMPv6Code,
	"OXM_OF_IPV6_ND_TARGET": NDTarget, "OXM_OF_IPV6_ND_SLL": NDSLL, "OXM_OF_IPV6_ND_TLL": NDTLL,
}

func (f Field) info() *fieldInfo {
	if f >= numFields {
		f = 0
	}
	return &fields[f]
}

// Valid reports whether f is a field of the table.
func (f Field) Valid() bool { return f > 0 && f < numFields }

// Name is the name ovs-ofctl gives the field, such as "reg0", "tun_id", "eth_src".
func (f Field) Name() string {
	if !f.Valid() {
		return fmt.Sprintf("field(%d)", uint8(f))
	}
	return f.info().name
}

// String is Name.
func (f Field) String() string { return f.Name() }

// Symbol is the NXM or OXM name by which the load and move actions of ovs-ofctl
// name the field, such as "NXM_NX_REG0".
func (f Field) Symbol() string { return f.info().symbol }

// Bits is the number of significant bits of the field, 0 if f is no field.
func (f Field) Bits() uint16 { return f.info().bits }

// FullMask is the mask with every significant bit of the field set.
func (f Field) FullMask() Value { return lowBits(f.info().bits) }

// Maskable reports whether a match on the field may have an arbitrary mask; any
// other field is matched whole.
func (f Field) Maskable() bool { return f.info().flags&maskable != 0 }

// Writable reports whether set-field, load and move may write the field. The
// connection-tracking fields are written by the ct action only.
func (f Field) Writable() bool { return f.info().flags&writable != 0 }

// Prerequisites are the alternatives of which a Match must contain one, entry by
// entry, before it may constrain the field, and a flow must match before it may
// write it (OpenFlow 1.3.5 section 7.2.3.6). None means that there is no condition.
// The result is shared and must not be changed.
func (f Field) Prerequisites() []Match { return prerequisites[f.info().prereq] }

// OXMHeader is the field's place on the wire: the OXM (or NXM) class, the field
// number within the class and the bytes of its value, to which a mask adds the
// same again (OpenFlow 1.3.5 section 7.2.3.2). In class 0xffff an experimenter ID,
// OXMExperimenter, stands before the value and is not counted in bytes. For no
// field bytes is 0.
func (f Field) OXMHeader() (class uint16, field uint8, bytes int) {
	i := f.info()
	return i.class, i.number, int(i.bytes)
}

// OXMExperimenter is the experimenter ID of a field in OXM class 0xffff, 0 for
// all others.
func (f Field) OXMExperimenter() uint32 {
	if f.info().class == classExperimenter {
		return onfExperimenter
	}
	return 0
}

// FieldByOXM finds the field with that OXM header.
func FieldByOXM(class uint16, field uint8) (Field, bool) {
	for f := InPort; f < numFields; f++ {
		if i := &fields[f]; i.number == field && i.class == class {
			return f, true
		}
	}
	return 0, false
}

// ByName finds a field by its Name or another name ovs-ofctl has for it.
func ByName(name string) (Field, bool) {
	for f := InPort; f < numFields; f++ {
		if fields[f].name == name {
			return f, true
		}
	}
	f, ok := aliases[name]
	return f, ok
}

// BySymbol finds a field by the NXM or OXM name that load and move use.
func BySymbol(symbol string) (Field, bool) {
	for f := InPort; f < numFields; f++ {
		if fields[f].symbol == symbol {
			return f, true
		}
	}
	f, ok := symbolAliases[symbol]
	return f, ok
}

// contains reports whether m constrains everything that want does, to the same values.
func (m Match) contains(want Match) bool {
	for _, w := range want {
		e, ok := m.Get(w.Field)
		if !ok || e.Mask.And(w.Mask) != w.Mask || e.Value.And(w.Mask) != w.Value {
			return false
		}
	}
	return true
}

// satisfies reports whether m meets the prerequisites of f.
func (m Match) satisfies(f Field) bool {
	alternatives := f.Prerequisites()
	if len(alternatives) == 0 {
		return true
	}
	for _, a := range alternatives {
		if m.contains(a) {
			return true
		}
	}
	return false
}
