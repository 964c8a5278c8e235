package flows

// Field is a match field that Open vSwitch knows, by its place in the table
// below; zero is no field. The order is the canonical order of a Match.
type Field uint8

// The fields, in canonical order: metadata and registers first, then the
// packet from the outside in, each after its prerequisites.
const (
	InPort   Field = iota + 1 // in_port, 32 bit
	Metadata                  // metadata, 64 bit
	Reg0
	Reg1
	Reg2
	Reg3
	Reg4
	Reg5
	Reg6
	Reg7
	Reg8
	Reg9
	Reg10
	Reg11
	Reg12
	Reg13
	Reg14
	Reg15
	PktMark
	TunID      // tunnel key, 64 bit in Open vSwitch
	TunIPv4Src // tun_src
	TunIPv4Dst // tun_dst
	TunIPv6Src // tun_ipv6_src
	TunIPv6Dst // tun_ipv6_dst
	CTState
	CTZone
	CTMark
	CTLabel
	EthDst
	EthSrc
	EthType
	VLANVID // 13 bits: CFI/present bit and VID (OXM_OF_VLAN_VID)
	VLANPCP
	VLANTCI // NXM_OF_VLAN_TCI, 16 bits, for actions: bit 12 says "present"
	MPLSLabel
	MPLSTC
	MPLSBOS
	MPLSTTL
	IPDSCP
	IPECN
	IPTTL
	IPFrag
	IPProto
	IPv4Src
	IPv4Dst
	IPv6Src
	IPv6Dst
	IPv6Label
	ARPOp
	ARPSPA
	ARPTPA
	ARPSHA
	ARPTHA
	TCPSrc
	TCPDst
	TCPFlags
	UDPSrc
	UDPDst
	SCTPSrc
	SCTPDst
	ICMPType
	ICMPCode
	ICMPv6Type
	ICMPv6Code
	NDTarget
	NDSLL
	NDTLL
	NDReserved
	NDOptionsType
	numFields
)

// Reg is register n, 0 … 15.
func Reg(n int) Field { return Reg0 + Field(n) }

// NumFields is one more than the last Field, for arrays that are indexed by fields.
const NumFields = int(numFields)
