package verify

import (
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

const (
	tagPresent = 0x1000
	vidBits    = 0xfff
)

// Flags of a state.
const (
	moved       uint8 = 1 << iota // in_port is no longer where the packet came in
	renamed                       // eth_src is no longer the sender's
	answered                      // eth_dst is the sender's eth_src
	readdressed                   // tun_dst is no longer what it was on arrival
	nested                        // there is a tag under the tag that the packet came with
	retagged                      // a tag was pushed, so that the frame may be read otherwise
	stale                         // the datapath has read the frame anew, which no table has seen yet
)

// state is a set of packets on their way: what is known of each slot. except is a list
// of values that one slot does not have, while that is as it came.
type state struct {
	at     []tern
	flags  uint8
	except *except
}

// except says which whole values a slot does not have.
type except struct {
	slot   slot
	bits   uint16   // of the field, at most 64
	values []uint64 // ascending
	id     uint32   // from 1 on, other for other values
}

// number is the id, 0 when there is none.
func (e *except) number() uint32 {
	if e == nil {
		return 0
	}
	return e.id
}

func (s *state) clone() state {
	c := *s
	c.at = append([]tern(nil), s.at...)
	return c
}

// same reports whether the same is known of some slots.
func (s *state) same(o *state, of []slot) bool {
	for _, i := range of {
		if s.at[i] != o.at[i] {
			return false
		}
	}
	return true
}

// meets reports whether some packet of the set meets a row's wants, and whether all do;
// but for what it wants of a hidden slot, of which s knows nothing.
func (s *state) meets(r *row, hidden slot) (some, all bool) {
	all = true
	for i := range r.wants {
		w := &r.wants[i]
		have := &s.at[w.slot]
		if !have.agrees(w.tern) {
			return false, false
		}
		if all && w.slot != hidden && !have.within(w.tern) {
			all = false
		}
		if s.except != nil && s.except.slot == w.slot && s.except.takes(have.and(w.tern)) {
			return false, false
		}
	}
	return true, all
}

// takes reports whether a value is known whole and is one that the slot does not have.
func (e *except) takes(t tern) bool {
	if t.m.Lo != ^uint64(0)>>(64-e.bits) {
		return false
	}
	_, one := slices.BinarySearch(e.values, t.v.Lo)
	return one
}

// machine executes actions on a state. It is the same for sets that were made too
// large and for exact ones, which follow what a field was on arrival as well.
type machine struct {
	p *program
	s *state
	e *exact // nil unless exact
}

// write makes bits of a field known.
func (m *machine) write(f flows.Field, v, mask flows.Value) {
	switch f {
	case flows.VLANTCI:
		m.write(flows.VLANPCP, v.Shr(13), mask.Shr(13).And(flows.U(7)))
		m.bits(flows.VLANVID, v.And(flows.U(0x1fff)), mask.And(flows.U(0x1fff)))
		return
	case flows.VLANVID:
		v, mask = v.Or(flows.U(tagPresent)), mask.Or(flows.U(tagPresent))
	}
	m.bits(f, v, mask)
}

func (m *machine) bits(f flows.Field, v, mask flows.Value) {
	if mask.IsZero() {
		return
	}
	m.marks(f)
	s := m.p.slots[f]
	if s == noSlot {
		return
	}
	m.leave(s)
	t := &m.s.at[s]
	t.v, t.m = t.v.AndNot(mask).Or(v.And(mask)), t.m.Or(mask)
	if m.e != nil {
		x := &m.e.at[s]
		x.v, x.m = x.v.AndNot(mask).Or(v.And(mask)), x.m.Or(mask)
	}
	m.narrow(f, s)
}

// narrow makes of what was written to a field what Open vSwitch keeps of it: of arp_op 8
// bits, and of in_port 16, where what is no port number becomes ANY.
func (m *machine) narrow(f flows.Field, s slot) {
	t := &m.s.at[s]
	switch f {
	case flows.ARPOp:
		high := f.FullMask().AndNot(flows.U(0xff))
		t.v, t.m = t.v.AndNot(high), t.m.Or(high)
		if m.e != nil {
			x := &m.e.at[s]
			x.v, x.m = x.v.AndNot(high), x.m.Or(high)
		}
	case flows.InPort:
		n := uint32(t.v.Lo)
		switch {
		case t.m != f.FullMask():
			*t = tern{} // it may be ANY as well
			if m.e != nil {
				m.e.at[s] = origin{lost: true}
			}
		case n >= flows.PortMax&0xffff && n < flows.PortMax:
			t.v = flows.U(uint64(flows.PortAny))
			if m.e != nil {
				m.e.at[s] = origin{tern: tern{t.v, ones(128)}}
			}
		}
	}
}

// forget makes a field one of which nothing is known.
func (m *machine) forget(f flows.Field) {
	if f == flows.VLANTCI {
		m.forget(flows.VLANVID)
		f = flows.VLANPCP
	}
	m.marks(f)
	s := m.p.slots[f]
	if s == noSlot {
		return
	}
	m.leave(s)
	m.s.at[s] = tern{}
	if m.e != nil {
		m.e.at[s] = origin{lost: true}
	}
}

// leave ends an exception of a slot that is written.
func (m *machine) leave(s slot) {
	if m.s.except != nil && m.s.except.slot == s {
		m.s.except = nil
	}
}

// marks keeps the flags when a field is written.
func (m *machine) marks(f flows.Field) {
	switch f {
	case flows.InPort:
		m.s.flags |= moved
	case flows.EthSrc:
		m.s.flags |= renamed
	case flows.EthDst:
		m.s.flags &^= answered
	case flows.TunIPv4Dst, flows.TunIPv6Dst:
		m.s.flags |= readdressed
	}
}

// move copies bits. What comes from a field that has no slot or that fragments hide, or
// goes to the tag, is not followed.
func (m *machine) move(a flows.Move) {
	whole := a.Src.Field == flows.EthSrc && a.Dst.Field == flows.EthDst && a.Src.Bits == 48 && m.s.flags&renamed == 0
	src, dst := m.p.slots[a.Src.Field], m.p.slots[a.Dst.Field]
	if dst == noSlot && a.Dst.Field != flows.VLANTCI {
		return
	}
	if src == noSlot || dst == noSlot || !m.certain(a.Src.Field) || !m.certain(a.Dst.Field) ||
		transport(a.Src.Field) || transport(a.Dst.Field) || a.Dst.Field == flows.VLANVID || a.Dst.Field == flows.VLANPCP {
		m.forget(a.Dst.Field)
		return
	}
	m.marks(a.Dst.Field)
	if whole {
		m.s.flags |= answered
	}
	m.leave(dst)
	mask := ones(a.Dst.Bits).Shl(uint(a.Dst.Offset))
	shifted := func(t tern) tern {
		return tern{t.v.Shr(uint(a.Src.Offset)).Shl(uint(a.Dst.Offset)).And(mask),
			t.m.Shr(uint(a.Src.Offset)).Shl(uint(a.Dst.Offset)).And(mask)}
	}
	from, t := shifted(m.s.at[src]), &m.s.at[dst]
	t.v, t.m = t.v.AndNot(mask).Or(from.v), t.m.AndNot(mask).Or(from.m)
	if m.e != nil {
		m.e.move(src, dst, a, mask)
	}
	m.narrow(a.Dst.Field, dst)
}

func ones(n uint16) flows.Value {
	all := flows.Value{Hi: ^uint64(0), Lo: ^uint64(0)}
	return all.Shr(128 - uint(min(n, 128)))
}

// certain reports whether all packets of the set have a field, or none needs to be
// asked.
func (m *machine) certain(f flows.Field) bool {
	alternatives := f.Prerequisites()
	for _, a := range alternatives {
		all := true
		for _, e := range a {
			s := m.p.slots[e.Field]
			if s == noSlot || !m.s.at[s].within(tern{e.Value, e.Mask}) {
				all = false
				break
			}
		}
		if all {
			return true
		}
	}
	return len(alternatives) == 0
}

// transport reports whether lookups see a field as zero in fragments, whatever was
// written to it.
func transport(f flows.Field) bool { return f >= flows.TCPSrc && f <= flows.ICMPv6Code }

// set is a set-field.
func (m *machine) set(a flows.SetField) {
	if !m.certain(a.Field) || transport(a.Field) {
		m.forget(a.Field)
		return
	}
	m.write(a.Field, a.Value, a.Mask)
}

// simple does an action that only changes the packet. It reports false for others.
func (m *machine) simple(a flows.Action) bool {
	switch a := a.(type) {
	case flows.SetField:
		m.set(a)
	case flows.Move:
		m.move(a)
	case flows.SetQueue, flows.PopQueue, flows.Note, flows.FinTimeout:
		// They change nothing of the packet, nor where it goes.
	case flows.Exit:
		// What is not done behind it is in a set that is too large.
	case flows.PushVLAN:
		m.retag()
		m.forget(flows.VLANPCP)
		m.bits(flows.VLANVID, flows.U(tagPresent), flows.U(0x1fff))
	case flows.PopVLAN:
		m.forget(flows.VLANTCI)
	case flows.DecTTL:
		m.forget(flows.IPTTL)
	case flows.CTClear:
		for f := flows.CTState; f <= flows.CTLabel; f++ {
			m.bits(f, flows.Value{}, f.FullMask())
		}
	default:
		return false
	}
	return true
}
