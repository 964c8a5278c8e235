package trace

import (
	"encoding/binary"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// A label stack entry (RFC 3032 section 2.1): 20 bits of label, 3 of traffic class, one
// that says "bottom of stack", 8 of TTL.
const (
	lseBytes  = 4
	lseBottom = 1 << 8
)

// hasLabels reports whether the packet's Ethernet type is that of MPLS.
func (p *Packet) hasLabels() bool { return isMPLS(p.fields[flows.EthType].Lo) }

func isMPLS(etherType uint64) bool { return etherType == etherMPLS || etherType == etherMPLSM }

// extractLabels reads the label stack at an offset. Of one that is cut short, what is
// there is read.
func (p *Packet) extractLabels(at int) {
	for i := range p.labels {
		if len(p.frame) < at+lseBytes {
			break
		}
		p.labels[i] = binary.BigEndian.Uint32(p.frame[at:])
		if p.labels[i]&lseBottom != 0 {
			break
		}
		at += lseBytes
	}
	p.syncLabel()
}

// syncLabel makes the fields of the outermost label stack entry those of labels[0].
func (p *Packet) syncLabel() {
	lse := uint64(p.labels[0])
	p.u(flows.MPLSLabel, lse>>12)
	p.u(flows.MPLSTC, lse>>9&7)
	p.u(flows.MPLSBOS, lse>>8&1)
	p.u(flows.MPLSTTL, lse&0xff)
}

func (p *Packet) putLabel(f flows.Field, v uint32) {
	lse := &p.labels[0]
	switch f {
	case flows.MPLSLabel:
		*lse = *lse&0xfff | v<<12
	case flows.MPLSTC:
		*lse = *lse&^0xe00 | v<<9
	case flows.MPLSTTL:
		*lse = *lse&^0xff | v
	}
	p.syncLabel()
}

// countLabels is how many label stack entries Open vSwitch takes the packet to have
// (flow_count_mpls_labels in its lib/flow.c): those up to the bottom, or all that are not
// zero when there is none.
func (p *Packet) countLabels() int {
	n := 0
	if !p.hasLabels() {
		return 0
	}
	for i, lse := range p.labels {
		if lse&lseBottom != 0 {
			return i + 1
		}
		if lse != 0 {
			n++
		}
	}
	return n
}

// pushLabel puts a label stack entry on, in front of n. The first one makes the packet one
// of which nothing is known behind it.
func (p *Packet) pushLabel(n int, etherType uint16) {
	if n > 0 {
		copy(p.labels[1:n+1], p.labels[:n])
		p.labels[0] = p.labels[1] &^ lseBottom
	} else {
		const ipv6Null = 2 // explicit null (RFC 3032 section 2.1); IPv4's is 0
		label, tc, ttl := uint32(0), uint32(0), uint32(64)
		switch p.fields[flows.EthType].Lo {
		case etherIPv6:
			label = ipv6Null
			fallthrough
		case etherIPv4:
			tc = uint32(p.fields[flows.IPDSCP].Lo) & 7
			if v := uint32(p.fields[flows.IPTTL].Lo); v != 0 {
				ttl = v
			}
		}
		p.labels[0] = label<<12 | tc<<9 | lseBottom | ttl
		p.forgetPayload()
	}
	p.u(flows.EthType, uint64(etherType))
	p.syncLabel()
}

func (p *Packet) forgetPayload() {
	p.hashed = false
	clear(p.fields[flows.IPDSCP:])
	for f := flows.IPDSCP; f.Valid(); f++ {
		p.unsure.remove(f)
	}
}

// popLabel takes the outermost of n label stack entries off. It reports false, and does
// nothing, when what would come to light was not read.
func (p *Packet) popLabel(n int, etherType uint16) bool {
	if n == 0 || n == maxLabels && p.labels[n-1]&lseBottom == 0 {
		return false
	}
	copy(p.labels[:n-1], p.labels[1:n])
	p.labels[n-1] = 0
	p.u(flows.EthType, uint64(etherType))
	p.syncLabel()
	return true
}

// relabel is frame with the label stack and the Ethernet type of p, and where its headers
// are (commit_mpls_action of Open vSwitch): entries that are the same, from the innermost
// out, stay. It does not survive in Open vSwitch to take off what was pushed on a
// stack of which no bottom was read, which only a group's bucket or a clone can ask for.
func relabel(frame []byte, base, p *Packet) (b []byte, at layout, survives bool) {
	at, survives = base.at, true
	n, want := base.countLabels(), p.countLabels()
	common := 0
	for common < min(n, want) && base.labels[n-1-common] == p.labels[want-1-common] {
		common++
	}
	etherType := uint16(p.fields[flows.EthType].Lo)
	for n > common {
		if n-1 == common && want > common {
			binary.BigEndian.PutUint32(frame[at.payload:], p.labels[want-n])
			break
		}
		survives = survives && (n < maxLabels || base.labels[maxLabels-1]&lseBottom != 0)
		t := etherType
		if !p.hasLabels() && n > 1 {
			t = etherMPLS
		}
		setEtherType(frame, at, t)
		frame = append(frame[:at.payload], frame[at.payload+lseBytes:]...)
		at.shiftPayload(-lseBytes)
		n--
	}
	for n < want {
		setEtherType(frame, at, etherType)
		b := make([]byte, 0, len(frame)+lseBytes)
		b = append(b, frame[:at.payload]...)
		b = binary.BigEndian.AppendUint32(b, p.labels[want-n-1])
		frame = append(b, frame[at.payload:]...)
		at.shiftPayload(lseBytes)
		n++
	}
	return frame, at, survives
}

// setEtherType writes the Ethernet type in front of the payload, or, without a tag,
// behind the addresses: in an IEEE 802.3 frame that is the length (set_ethertype of Open
// vSwitch).
func setEtherType(frame []byte, at layout, t uint16) {
	o := 12
	if first := be16(frame[12:]); first == etherVLAN || first == etherSTag {
		o = at.payload - 2
	}
	binary.BigEndian.PutUint16(frame[o:], t)
}

// tooManyLabels ends the pass, or the group's bucket that it is in.
func (r *run) tooManyLabels() {
	r.fail("a label stack of more than %d entries", maxLabels)
	r.inBucket = true
}

// pushMPLS does the action.
func (r *run) pushMPLS(a flows.PushMPLS) {
	n := r.p.countLabels()
	if n == maxLabels {
		r.tooManyLabels()
		return
	}
	if n == 0 {
		r.emit()
	}
	r.relabelled(func() { r.p.pushLabel(n, a.EtherType) })
}

// popMPLS does the action. What is behind the last entry is only known once the packet has
// been read anew, which happens before anything looks at it.
func (r *run) popMPLS(a flows.PopMPLS) {
	n := r.p.countLabels()
	popped := false
	r.relabelled(func() { popped = r.p.popLabel(n, a.EtherType) })
	switch {
	case popped && !r.p.hasLabels():
		r.wasMPLS = true
	case !popped && n == maxLabels:
		if r.nested > 0 {
			r.unknown("Open vSwitch aborts: it drops all it has done so far in the middle of it (ofpbuf_clear in compose_mpls_pop_action)")
		}
		r.undo() // even if this is in a bucket, which ends alone
		r.tooManyLabels()
	case !popped:
		r.skipped(flows.MPLSLabel)
	}
}

// relabelled records what an action does to the outermost label stack entry.
func (r *run) relabelled(do func()) {
	was := r.p.fields
	do()
	for _, f := range [...]flows.Field{flows.EthType, flows.MPLSLabel, flows.MPLSTC, flows.MPLSBOS, flows.MPLSTTL} {
		r.changed(f, was[f])
	}
}

// decMPLSTTL does the action. One that has none left, or no label, goes no further in this
// list.
func (r *run) decMPLSTTL() (ended bool) {
	if !r.p.hasLabels() {
		r.note("the packet has no label to decrement the TTL of: it goes no further")
		return true
	}
	ttl := r.p.fields[flows.MPLSTTL].Lo
	if ttl > 1 {
		r.write(flows.MPLSTTL, flows.U(ttl-1), flows.MPLSTTL.FullMask())
		return false
	}
	r.note("the label's TTL is %d: it goes no further", ttl)
	r.toController(flows.MaxLenAll, ReasonInvalidTTL)
	return true
}
