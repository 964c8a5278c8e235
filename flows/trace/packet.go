package trace

import (
	"fmt"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// maxTags is how many 802.1Q tags a packet in the pipeline may have
// (FLOW_MAX_VLAN_HEADERS of Open vSwitch). One is read from a frame (other_config:
// vlan-limit, 1 by default); a second may be pushed.
const maxTags = 2

// maxLabels is how many label stack entries are read from a frame, and a packet in the
// pipeline may have (FLOW_MAX_MPLS_LABELS of Open vSwitch).
const maxLabels = 3

// tag is an 802.1Q or 802.1ad tag. It is there when its TCI has bit 12 set.
type tag struct{ tpid, tci uint16 }

// Ethernet types and IP protocols that the extractor knows.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherVLAN = 0x8100
	etherRARP = 0x8035
	etherIPv6 = 0x86dd
	etherSTag = 0x88a8
	// etherMPLS and etherMPLSM are of MPLS, unicast and multicast (RFC 5332).
	etherMPLS  = 0x8847
	etherMPLSM = 0x8848
	// etherMin is the lowest Ethernet type; below it is a length (IEEE 802.3).
	etherMin = 0x600
	// etherNone is what Open vSwitch matches for a frame without an Ethernet type.
	etherNone = 0x5ff

	protoICMP   = 1
	protoIGMP   = 2
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132

	tagPresent = 0x1000
)

// Bits of nw_frag.
const (
	fragAny   = 1
	fragLater = 2
)

// Packet is a frame as a switch sees it while it goes through the tables: its
// bytes, the fields that were read from them, and the metadata beside them (in_port,
// tunnel, registers, connection state). A copy of a Packet is a packet of its own.
type Packet struct {
	fields [flows.NumFields]flows.Value
	tags   [maxTags]tag
	labels [maxLabels]uint32 // MPLS label stack entries, the outermost first
	unsure fieldSet          // fields whose value is one of several, and nobody said which
	hashed bool              // the datapath has computed the hash by which select groups choose
	// misread says that the datapath takes tags for payload.
	misread bool
	frame   []byte // never changed in place
	at      layout
}

// Get is the value of a field. One that the packet does not have is zero.
func (p *Packet) Get(f flows.Field) flows.Value {
	if int(f) >= len(p.fields) {
		return flows.Value{}
	}
	return p.fields[f]
}

// Has reports whether the packet meets the prerequisites of a field. Only the first
// fragment of a packet has a transport header.
func (p *Packet) Has(f flows.Field) bool {
	if f >= flows.TCPSrc && p.fields[flows.IPFrag].Lo&fragLater != 0 {
		return false
	}
	alternatives := f.Prerequisites()
	for _, a := range alternatives {
		if p.Matches(a) {
			return true
		}
	}
	return len(alternatives) == 0
}

// Matches reports whether a match takes the packet as it is. (A lookup differs in
// that it sees no transport ports in a fragment; see Switch.)
func (p *Packet) Matches(m flows.Match) bool {
	for i := range m {
		if e := &m[i]; p.fields[e.Field].And(e.Mask) != e.Value {
			return false
		}
	}
	return true
}

// Set writes the bits under mask of a field that the packet has, as set-field does.
// It reports false, and does nothing, when the packet does not have the field.
func (p *Packet) Set(f flows.Field, v, mask flows.Value) bool {
	if !f.Valid() || !p.Has(f) {
		return false
	}
	mask = mask.And(f.FullMask())
	p.put(f, p.fields[f].AndNot(mask).Or(v.And(mask)))
	return true
}

// put writes a field whatever the packet is.
func (p *Packet) put(f flows.Field, v flows.Value) {
	t := &p.tags[0]
	switch f {
	case flows.VLANVID:
		// Writing the VID says that there is a tag.
		t.tci = t.tci&^0x1fff | uint16(v.Lo)&0xfff | tagPresent
	case flows.VLANPCP:
		t.tci = t.tci&^0xe000 | uint16(v.Lo)<<13 | tagPresent
	case flows.VLANTCI:
		t.tci = uint16(v.Lo)
	case flows.MPLSLabel, flows.MPLSTC, flows.MPLSTTL:
		p.putLabel(f, uint32(v.Lo))
		return
	case flows.InPort:
		if n := uint32(v.Lo); n >= flows.PortMax&0xffff && n < flows.PortMax {
			v = flows.U(uint64(flows.PortAny)) // no port number: the switch keeps 16 bits, and makes it this
		}
		p.fields[f] = v
		return
	case flows.ARPOp:
		p.fields[f] = v.And(flows.U(0xff)) // the switch keeps 8 bits of it
		return
	default:
		p.fields[f] = v
		return
	}
	if t.tpid == 0 && t.tci != 0 {
		t.tpid = etherVLAN
	}
	p.syncTag()
}

// syncTag makes the fields of the outer tag those of tags[0].
func (p *Packet) syncTag() {
	tci := uint64(p.tags[0].tci)
	p.fields[flows.VLANVID] = flows.U(tci & 0x1fff)
	p.fields[flows.VLANPCP] = flows.U(tci >> 13)
	p.fields[flows.VLANTCI] = flows.U(tci)
}

// countTags is how many tags the packet has.
func (p *Packet) countTags() int {
	n := 0
	for n < maxTags && p.tags[n].tci&tagPresent != 0 {
		n++
	}
	return n
}

// pushTag puts a tag on. What stands in vlan_tci without the present bit is no tag, but
// hides those behind it from now on.
func (p *Packet) pushTag(tpid uint16) {
	copy(p.tags[1:], p.tags[:])
	p.tags[0] = tag{tpid, tagPresent}
	p.syncTag()
}

func (p *Packet) popTag() {
	n := p.countTags()
	if n == 0 {
		return
	}
	copy(p.tags[:n], p.tags[1:n])
	p.tags[n-1] = tag{}
	p.syncTag()
}

// Match is the packet's non-zero fields as a match, for people to read. Fields
// whose prerequisites the packet does not meet are left out.
func (p *Packet) Match() flows.Match {
	var m flows.Match
	for f := flows.InPort; f.Valid(); f++ {
		switch {
		case f == flows.VLANTCI || f == flows.VLANPCP && p.fields[f].IsZero():
		case f != flows.EthType && f != flows.VLANVID && p.fields[f].IsZero():
		case f == flows.VLANVID && p.tags[0].tci&tagPresent == 0:
		case p.Has(f):
			m = append(m, flows.FieldMatch{Field: f, Value: p.fields[f], Mask: f.FullMask()})
		}
	}
	return m
}

// String is the packet in the words of ovs-ofctl.
func (p *Packet) String() string {
	s := p.Match().String()
	if n := p.countTags(); n > 1 {
		s = strings.Join([]string{s, fmt.Sprintf("inner_vlan_tci=0x%04x", p.tags[1].tci)}, ",")
	}
	return s
}

// InPort is the OpenFlow number of the port the packet came in by.
func (p *Packet) InPort() uint32 { return uint32(p.fields[flows.InPort].Lo) }
