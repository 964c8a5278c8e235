package trace

import (
	"encoding/binary"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// emit makes base the packet that is now: its bytes are changed where p's fields
// are others, in a new frame, with checksums amended. What has no place in the frame
// (a port of a packet whose header is cut short) changes nothing. This is what the
// actions do that Open vSwitch puts before every output (commit_odp_actions).
//
// It returns what Open vSwitch makes of it when that is nothing of use.
func emit(base, p *Packet) (trouble string) {
	if base.fields == p.fields && base.tags == p.tags && base.labels == p.labels {
		return ""
	}
	if base.misread && base.behindTags(p) {
		trouble = garbles
	}
	base.assume(p)
	b, copied := base.frame, false
	edit := func() []byte {
		if !copied {
			b, copied = append([]byte(nil), b...), true
		}
		return b
	}
	e := editor{base, p, edit}
	at := base.at
	if e.differs(flows.EthDst) || e.differs(flows.EthSrc) {
		put48(edit(), 0, p.fields[flows.EthDst].Lo)
		put48(edit(), 6, p.fields[flows.EthSrc].Lo)
	}
	// What is behind a label stack can only be written once that is gone.
	bare := base.hasLabels() && !p.hasLabels()
	if bare {
		var survives bool
		if b, at, survives = relabel(edit(), base, p); !survives {
			trouble = aborts
		}
		base.at = at
	}
	if p.fields[flows.IPProto].IsZero() && p.fields[flows.ARPOp].IsZero() {
		// Open vSwitch takes that for a packet without a network header, and what was
		// set there waits until it has one.
		was := base.fields
		defer copy(base.fields[flows.IPDSCP:], was[flows.IPDSCP:])
	} else {
		e.network(at)
	}
	if !bare && (base.labels != p.labels || p.hasLabels() && e.differs(flows.EthType)) {
		var survives bool
		if b, at, survives = relabel(edit(), base, p); !survives {
			trouble = aborts
		}
	}
	if p.tags != base.tags {
		b, copied = retag(b, base, p), true
	}
	at.shift(4 * (p.countTags() - base.countTags()))
	base.fields, base.tags, base.labels = p.fields, p.tags, p.labels
	base.frame, base.at = b, at
	return trouble
}

// What Open vSwitch does, 3.1 and 3.5, that nobody can want.
const (
	aborts  = "Open vSwitch aborts: it takes a label off of which it read no bottom (flow_pop_mpls in commit_mpls_action)"
	garbles = "Open vSwitch writes over the wrong bytes: for a copy to the controller its userspace datapath read the packet anew, and took something else for the payload (flow_extract in dp_execute_cb)"
)

// emit is emit of the packet of this run.
func (r *run) emit() {
	if trouble := emit(&r.base, &r.p); trouble != "" {
		r.unknown("%s", trouble)
	}
}

// reads notes that the datapath reads the packet anew, and takes something else for the
// payload than when it came: there is another tag, of which one is read, or labels have
// taken the place of a length (IEEE 802.3).
func (p *Packet) reads() {
	tags := 0
	if t := be16(p.frame[12:]); (t == etherVLAN || t == etherSTag) && len(p.frame) >= 18 {
		tags = 1
	}
	_, payload := readEtherType(p.frame, 12+4*tags)
	p.misread = p.misread || p.at.payload != payload
}

// behindTags reports whether p differs behind the tags.
func (base *Packet) behindTags(p *Packet) bool {
	if base.labels != p.labels || base.hasLabels() != p.hasLabels() {
		return true
	}
	for f := flows.IPDSCP; f.Valid(); f++ {
		if base.fields[f] != p.fields[f] {
			return true
		}
	}
	return false
}

// assume makes what is unsure of the bytes what is unsure of p, where p is written.
func (base *Packet) assume(p *Packet) {
	if base.unsure.empty() && p.unsure.empty() {
		return
	}
	for f := flows.EthDst; f.Valid(); f++ {
		if base.fields[f] == p.fields[f] {
			continue
		}
		base.unsure.remove(f)
		if p.unsure.has(f) {
			base.unsure.add(f)
		}
	}
}

// network writes the network and the transport header.
func (e editor) network(at layout) {
	switch {
	case at.ipv4 != 0:
		e.ipv4(at)
	case at.ipv6 != 0:
		e.ipv6(at)
	case at.arp != 0 && e.p.fields[flows.EthType].Lo == etherARP: // RARP it leaves alone
		e.arp(at)
	}
	switch at.proto {
	case protoTCP:
		e.port(flows.TCPSrc, at.l4)
		e.port(flows.TCPDst, at.l4+2)
	case protoUDP:
		e.port(flows.UDPSrc, at.l4)
		e.port(flows.UDPDst, at.l4+2)
	case protoSCTP:
		if e.differs(flows.SCTPSrc) || e.differs(flows.SCTPDst) {
			amendSCTP(e.edit()[at.l4:at.end], uint16(e.lo(flows.SCTPSrc)), uint16(e.lo(flows.SCTPDst)))
		}
	case protoICMP:
		e.icmp(flows.ICMPType, flows.ICMPCode)
	case protoICMPv6:
		e.icmp(flows.ICMPv6Type, flows.ICMPv6Code)
		e.neighbour(at)
	}
}

// shift moves all offsets behind the tags.
func (l *layout) shift(n int) {
	l.etherType += n
	l.payload += n
	l.shiftPayload(n)
}

// shiftPayload moves all offsets behind the Ethernet type.
func (l *layout) shiftPayload(n int) {
	for _, p := range []*int{&l.ipv4, &l.ipv6, &l.arp, &l.l4, &l.end} {
		if *p != 0 {
			*p += n
		}
	}
}

// retag is frame with the tags of p. Tags that are the same, from the innermost
// out, stay as they are with their drop-eligible bit, which no field has; the others
// are taken off and written anew without it.
func retag(frame []byte, base, p *Packet) []byte {
	had, has := base.countTags(), p.countTags()
	for had > 0 && has > 0 && base.tags[had-1] == p.tags[has-1] {
		had--
		has--
	}
	b := make([]byte, 0, len(frame)+4*has)
	b = append(b, frame[:12]...)
	for _, t := range p.tags[:has] {
		b = binary.BigEndian.AppendUint16(b, t.tpid)
		b = binary.BigEndian.AppendUint16(b, t.tci&^tagPresent)
	}
	return append(b, frame[12+4*had:]...)
}

// editor writes what differs between two packets.
type editor struct {
	base, p *Packet
	edit    func() []byte // the frame, to be written
}

func (e editor) differs(f flows.Field) bool { return e.base.fields[f] != e.p.fields[f] }

func (e editor) lo(f flows.Field) uint64 { return e.p.fields[f].Lo }

func put48(b []byte, at int, v uint64) {
	binary.BigEndian.PutUint16(b[at:], uint16(v>>32))
	binary.BigEndian.PutUint32(b[at+2:], uint32(v))
}

func (e editor) ipv4(at layout) {
	for f, o := flows.IPv4Src, 12; f <= flows.IPv4Dst; f, o = f+1, o+4 {
		if !e.differs(f) {
			continue
		}
		// What is there may be another address than was known of: see run.nat.
		b := e.edit()
		was, is := flows.U(be32(b[at.ipv4+o:])), e.p.fields[f]
		amend(b, at.ipv4+10, was, is)
		amendTransport(b, at, was, is)
		binary.BigEndian.PutUint32(b[at.ipv4+o:], uint32(is.Lo))
	}
	set := func(o int, v uint8) {
		b := e.edit()[at.ipv4:]
		word := o &^ 1
		was := uint16(be16(b[word:]))
		b[o] = v
		amend16(b, 10, was, uint16(be16(b[word:])))
	}
	if e.differs(flows.IPDSCP) || e.differs(flows.IPECN) {
		set(1, uint8(e.lo(flows.IPDSCP)<<2|e.lo(flows.IPECN)))
	}
	if e.differs(flows.IPTTL) {
		set(8, uint8(e.lo(flows.IPTTL)))
	}
}

func (e editor) ipv6(at layout) {
	for f, o := flows.IPv6Src, 8; f <= flows.IPv6Dst; f, o = f+1, o+16 {
		if !e.differs(f) {
			continue
		}
		b := e.edit()
		was, is := be128(b[at.ipv6+o:]), e.p.fields[f]
		// Behind a routing header checksums are over the last destination (RFC 8200
		// section 8.1), which this is not. Open vSwitch does not look for what is behind
		// it, and amends none for the source either.
		if !at.routed {
			amendTransport(b, at, was, is)
		}
		binary.BigEndian.PutUint64(b[at.ipv6+o:], is.Hi)
		binary.BigEndian.PutUint64(b[at.ipv6+o+8:], is.Lo)
	}
	if e.differs(flows.IPDSCP) || e.differs(flows.IPECN) || e.differs(flows.IPv6Label) {
		b := e.edit()[at.ipv6:]
		word := binary.BigEndian.Uint32(b)&0xf0000000 | uint32(e.lo(flows.IPDSCP)<<22|e.lo(flows.IPECN)<<20|e.lo(flows.IPv6Label))
		binary.BigEndian.PutUint32(b, word)
	}
	if e.differs(flows.IPTTL) {
		e.edit()[at.ipv6+7] = uint8(e.lo(flows.IPTTL))
	}
}

func (e editor) arp(at layout) {
	for _, c := range [...]struct {
		f flows.Field
		o int
	}{{flows.ARPOp, 6}, {flows.ARPSHA, 8}, {flows.ARPSPA, 14}, {flows.ARPTHA, 18}, {flows.ARPTPA, 24}} {
		if !e.differs(c.f) {
			continue
		}
		b := e.edit()[at.arp:]
		switch c.f {
		case flows.ARPOp:
			binary.BigEndian.PutUint16(b[c.o:], uint16(e.lo(c.f)))
		case flows.ARPSPA, flows.ARPTPA:
			binary.BigEndian.PutUint32(b[c.o:], uint32(e.lo(c.f)))
		default:
			put48(b, c.o, e.lo(c.f))
		}
	}
}

// port writes a TCP or UDP port.
func (e editor) port(f flows.Field, o int) {
	if e.differs(f) {
		b := e.edit()
		amendTransport(b, e.base.at, flows.U(be16(b[o:])), e.p.fields[f])
		binary.BigEndian.PutUint16(b[o:], uint16(e.lo(f)))
	}
}

func (e editor) icmp(kind, code flows.Field) {
	if e.differs(kind) || e.differs(code) {
		b := e.edit()[e.base.at.l4:]
		was := uint16(be16(b))
		b[0], b[1] = uint8(e.lo(kind)), uint8(e.lo(code))
		amend16(b, 2, was, uint16(be16(b)))
	}
}

// neighbour writes what is behind the ICMPv6 header of a neighbour discovery
// message.
func (e editor) neighbour(at layout) {
	if at.end-at.l4 < ndMessage {
		return
	}
	if e.differs(flows.NDTarget) {
		b := e.edit()
		amend(b, at.l4+2, e.base.fields[flows.NDTarget], e.p.fields[flows.NDTarget])
		binary.BigEndian.PutUint64(b[at.l4+8:], e.p.fields[flows.NDTarget].Hi)
		binary.BigEndian.PutUint64(b[at.l4+16:], e.p.fields[flows.NDTarget].Lo)
	}
	if e.differs(flows.NDSLL) || e.differs(flows.NDTLL) {
		e.linkAddress(at)
	}
	if e.differs(flows.NDReserved) || e.differs(flows.NDOptionsType) {
		b := e.edit()
		binary.BigEndian.PutUint32(b[at.l4+4:], uint32(e.lo(flows.NDReserved)))
		// The type goes along with what is reserved, under a mask: of an option that is no
		// address it stays as it is, unless somebody wrote it.
		if at.end > at.l4+ndMessage && e.differs(flows.NDOptionsType) {
			b[at.l4+ndMessage] = uint8(e.lo(flows.NDOptionsType))
		}
		icmpv6Checksum(b, at)
	}
}

// linkAddress writes the address of the first option that has one.
func (e editor) linkAddress(at layout) {
	b := e.edit()
	for o := at.l4 + ndMessage; o+8 <= at.end && b[o+1] != 0; o += int(b[o+1]) * 8 {
		f := flows.NDSLL
		switch b[o] {
		case ndSourceAddress:
		case ndTargetAddress:
			f = flows.NDTLL
		default:
			continue
		}
		if b[o+1] != 1 {
			continue
		}
		was := flows.U(be48(b[o+2:]))
		amend(b, at.l4+2, was, e.p.fields[f])
		put48(b, o+2, e.lo(f))
		return
	}
}
