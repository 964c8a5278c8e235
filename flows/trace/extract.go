package trace

import (
	"encoding/binary"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// layout is where the headers of a frame are, as far as they are whole: offsets
// from the start of the frame, 0 for a header that is not there.
type layout struct {
	etherType int // of the Ethernet type behind the tags that were read
	payload   int // of what is behind that type, and an LLC and SNAP header
	ipv4      int
	ipv6      int
	arp       int
	l4        int   // of the transport header
	end       int   // of the IP packet; link-layer padding follows
	proto     uint8 // of l4; 0 when the transport header is not whole
	routed    bool  // IPv6 with segments left: checksums are over another destination
}

// MinFrame is the length of the shortest frame that has an Ethernet header, in bytes.
const MinFrame = 14

// NewPacket reads a frame that came in by a port, as Open vSwitch does
// (miniflow_extract in its lib/flow.c): from a header that is cut short or malformed
// no field is read, and all fields behind it are zero. The frame is the packet's
// afterwards. A frame too short for an Ethernet header is an error.
func NewPacket(inPort uint32, frame []byte) (*Packet, error) {
	p := &Packet{}
	if err := p.Reset(inPort, frame); err != nil {
		return nil, err
	}
	return p, nil
}

// Reset makes p what NewPacket returns, in place of what it was.
func (p *Packet) Reset(inPort uint32, frame []byte) error {
	if len(frame) < MinFrame {
		return fmt.Errorf("frame of %d bytes: an Ethernet header alone has %d", len(frame), MinFrame)
	}
	*p = Packet{}
	p.fields[flows.InPort] = flows.U(uint64(inPort))
	p.extract(frame)
	return nil
}

// Frame is the packet's bytes as they came. They must not be changed.
func (p *Packet) Frame() []byte { return p.frame }

// reload reads a frame into p, whose metadata stays.
func (p *Packet) reload(frame []byte) {
	for f := flows.EthDst; f.Valid(); f++ {
		p.fields[f] = flows.Value{}
	}
	p.tags, p.labels = [maxTags]tag{}, [maxLabels]uint32{}
	p.extract(frame)
}

func (p *Packet) u(f flows.Field, v uint64) { p.fields[f] = flows.Value{Lo: v} }

func be16(b []byte) uint64 { return uint64(binary.BigEndian.Uint16(b)) }
func be32(b []byte) uint64 { return uint64(binary.BigEndian.Uint32(b)) }
func be48(b []byte) uint64 { return be16(b)<<32 | be32(b[2:]) }

func be128(b []byte) flows.Value {
	return flows.Value{Hi: binary.BigEndian.Uint64(b), Lo: binary.BigEndian.Uint64(b[8:])}
}

func (p *Packet) extract(frame []byte) {
	p.frame, p.at, p.misread = frame, layout{}, false
	p.u(flows.EthDst, be48(frame))
	p.u(flows.EthSrc, be48(frame[6:]))
	at := 12
	// One tag is read; another one behind it is an Ethernet type of its own.
	if t := be16(frame[at:]); (t == etherVLAN || t == etherSTag) && len(frame) >= at+6 {
		p.tags[0] = tag{uint16(t), uint16(be16(frame[at+2:])) | tagPresent}
		p.syncTag()
		at += 4
	}
	p.at.etherType = at
	etherType, at := readEtherType(frame, at)
	p.u(flows.EthType, etherType)
	p.at.payload = at
	switch etherType {
	case etherMPLS, etherMPLSM:
		p.extractLabels(at)
	case etherIPv4:
		p.extractIPv4(at)
	case etherIPv6:
		p.extractIPv6(at)
	case etherARP, etherRARP:
		p.extractARP(at)
	}
}

// readEtherType reads the Ethernet type at an offset, through an LLC and SNAP
// header if there is one (RFC 1042), and where its payload is.
func readEtherType(frame []byte, at int) (etherType uint64, payload int) {
	t := be16(frame[at:])
	at += 2
	if t >= etherMin {
		return t, at
	}
	const snap = "\xaa\xaa\x03\x00\x00\x00"
	if len(frame) < at+8 || string(frame[at:at+6]) != snap {
		return etherNone, at
	}
	if t = be16(frame[at+6:]); t >= etherMin {
		return t, at + 8
	}
	return etherNone, at + 8
}

func (p *Packet) extractARP(at int) {
	b := p.frame[at:]
	const ethernetIPv4 = "\x00\x01\x08\x00\x06\x04"
	if len(b) < 28 || string(b[:6]) != ethernetIPv4 {
		return
	}
	p.at.arp = at
	// Only the lower eight bits of the operation can be matched.
	if op := be16(b[6:]); op <= 0xff {
		p.u(flows.ARPOp, op)
	}
	p.u(flows.ARPSHA, be48(b[8:]))
	p.u(flows.ARPSPA, be32(b[14:]))
	p.u(flows.ARPTHA, be48(b[18:]))
	p.u(flows.ARPTPA, be32(b[24:]))
}

func (p *Packet) extractIPv4(at int) {
	b := p.frame[at:]
	if len(b) < 20 {
		return
	}
	header, total := int(b[0]&15)*4, int(be16(b[2:]))
	if header < 20 || header > total || total > len(b) {
		return
	}
	p.at.ipv4, p.at.end = at, at+total
	p.u(flows.IPv4Src, be32(b[12:]))
	p.u(flows.IPv4Dst, be32(b[16:]))
	p.u(flows.IPDSCP, uint64(b[1]>>2))
	p.u(flows.IPECN, uint64(b[1]&3))
	p.u(flows.IPTTL, uint64(b[8]))
	p.u(flows.IPProto, uint64(b[9]))
	frag := be16(b[6:])
	if frag&0x3fff != 0 {
		p.u(flows.IPFrag, fragAny)
	}
	if frag&0x1fff != 0 {
		p.u(flows.IPFrag, fragAny|fragLater)
		return
	}
	p.extractTransport(at + header)
}

func (p *Packet) extractIPv6(at int) {
	b := p.frame[at:]
	if len(b) < 40 || 40+int(be16(b[4:])) > len(b) {
		return
	}
	p.at.end = at + 40 + int(be16(b[4:]))
	p.fields[flows.IPv6Src] = be128(b[8:])
	p.fields[flows.IPv6Dst] = be128(b[24:])
	l4, proto, frag, ok := p.skipExtensions(at+40, b[6])
	if !ok {
		return
	}
	p.at.ipv6 = at
	word := be32(b)
	p.u(flows.IPv6Label, word&0xfffff)
	p.u(flows.IPDSCP, word>>22&0x3f)
	p.u(flows.IPECN, word>>20&3)
	p.u(flows.IPTTL, uint64(b[7]))
	p.u(flows.IPProto, uint64(proto))
	p.u(flows.IPFrag, frag)
	if frag&fragLater == 0 {
		p.extractTransport(l4)
	}
}

// IPv6 extension headers (RFC 8200 section 4; RFC 4302).
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extAH          = 51
	extDestination = 60
)

// skipExtensions follows the chain of extension headers from one at an offset. It
// is not ok when the chain is cut short.
func (p *Packet) skipExtensions(at int, proto uint8) (l4 int, last uint8, frag uint64, ok bool) {
	for {
		switch proto {
		case extHopByHop, extRouting, extDestination, extAH, extFragment:
		default:
			return at, proto, frag, true
		}
		b := p.frame[at:p.at.end]
		if len(b) < 8 {
			return 0, 0, 0, false
		}
		n := 8
		switch proto {
		case extAH:
			n = (int(b[1]) + 2) * 4
		case extFragment:
			offset := be16(b[2:])
			if offset != 0 {
				frag = fragAny
			}
			if offset&0xfff8 != 0 {
				return at + n, extFragment, fragAny | fragLater, true
			}
		case extRouting:
			p.at.routed = p.at.routed || b[3] != 0
			n = (int(b[1]) + 1) * 8
		default:
			n = (int(b[1]) + 1) * 8
		}
		if len(b) < n {
			return 0, 0, 0, false
		}
		proto = b[0]
		at += n
	}
}

func (p *Packet) extractTransport(at int) {
	b := p.frame[at:p.at.end]
	proto := uint8(p.fields[flows.IPProto].Lo)
	whole := true
	switch proto {
	case protoTCP:
		// A header with a length of nonsense is as good as none.
		if n := dataOffset(b); n >= 20 && n <= len(b) {
			p.ports(b, flows.TCPSrc, flows.TCPDst)
			p.u(flows.TCPFlags, be16(b[12:])&0xfff)
		}
		whole = len(b) >= 20
	case protoUDP:
		if whole = len(b) >= 8; whole {
			p.ports(b, flows.UDPSrc, flows.UDPDst)
		}
	case protoSCTP:
		if whole = len(b) >= 12; whole {
			p.ports(b, flows.SCTPSrc, flows.SCTPDst)
		}
	case protoICMP:
		if whole = len(b) >= 8; whole {
			p.u(flows.ICMPType, uint64(b[0]))
			p.u(flows.ICMPCode, uint64(b[1]))
		}
	case protoICMPv6:
		if whole = len(b) >= 8; whole {
			p.u(flows.ICMPv6Type, uint64(b[0]))
			p.u(flows.ICMPv6Code, uint64(b[1]))
			p.extractND(b)
		}
	}
	if whole {
		p.at.l4, p.at.proto = at, proto
	}
}

// dataOffset is the length of a TCP header by what it says itself (RFC 9293
// section 3.1), in bytes; 0 when there is not even that.
func dataOffset(b []byte) int {
	if len(b) < 20 {
		return 0
	}
	return int(b[12]>>4) * 4
}

func (p *Packet) ports(b []byte, src, dst flows.Field) {
	p.u(src, be16(b))
	p.u(dst, be16(b[2:]))
}

// Neighbour discovery (RFC 4861 sections 4.3, 4.4 and 4.6.1).
const (
	ndSolicit       = 135
	ndAdvert        = 136
	ndMessage       = 24 // bytes before the options
	ndSourceAddress = 1
	ndTargetAddress = 2
)

func (p *Packet) extractND(b []byte) {
	if b[0] != ndSolicit && b[0] != ndAdvert || b[1] != 0 {
		return
	}
	p.u(flows.NDReserved, be32(b[4:]))
	if len(b) < ndMessage {
		return
	}
	var address [3]uint64 // by type of option
	first := uint64(0)
	for o := b[ndMessage:]; len(o) >= 8; {
		n := int(o[1]) * 8
		if n == 0 || n > len(o) {
			break
		}
		if kind := o[0]; n == 8 && (kind == ndSourceAddress || kind == ndTargetAddress) {
			if address[kind] != 0 {
				// The same option twice: neither target nor addresses are believed.
				p.u(flows.NDOptionsType, first)
				return
			}
			address[kind] = be48(o[2:])
			if first == 0 {
				first = uint64(kind)
			}
		}
		o = o[n:]
	}
	p.fields[flows.NDTarget] = be128(b[8:])
	p.u(flows.NDSLL, address[ndSourceAddress])
	p.u(flows.NDTLL, address[ndTargetAddress])
	p.u(flows.NDOptionsType, first)
}
