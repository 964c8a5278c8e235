package verify

import (
	"math/bits"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// slotset is a set of slots.
type slotset [2]uint64

const _ = 128 - uint(flows.NumFields) // there are no more slots than a slotset has room for

func (s *slotset) add(x slot) {
	if x != noSlot {
		s[x/64] |= 1 << (x % 64)
	}
}

func (s *slotset) remove(x slot) { s[x/64] &^= 1 << (x % 64) }

func (s *slotset) has(x slot) bool { return x != noSlot && s[x/64]&(1<<(x%64)) != 0 }

func (s *slotset) or(o slotset) { s[0], s[1] = s[0]|o[0], s[1]|o[1] }

func (s *slotset) list() []slot {
	xs := make([]slot, 0, bits.OnesCount64(s[0])+bits.OnesCount64(s[1])+1)
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			xs = append(xs, slot(64*i+bits.TrailingZeros64(w)))
		}
	}
	return xs
}

// liveness finds what matters where, backwards from the last table.
func (p *program) liveness() {
	for changed := true; changed; {
		changed = false
		for n := len(p.tables) - 1; n >= 0; n-- {
			if t := p.tables[n]; t != nil && p.liveIn(t) {
				changed = true
			}
		}
	}
	for _, t := range p.tables {
		if t != nil {
			t.keeps(p)
		}
	}
	p.missing.keeps(p)
}

func (p *program) liveIn(t *table) (changed bool) {
	was := t.live
	for i := range t.rows {
		r := &t.rows[i]
		for k := range r.wants {
			t.live.add(r.wants[k].slot)
		}
		if r.flow != nil {
			t.live.or(p.reads(r.flow, p.ahead(r.flow)))
		}
	}
	for _, f := range [...]flows.Field{flows.TunID, flows.TunIPv4Dst, flows.TunIPv6Dst, flows.VLANVID} {
		t.live.add(p.slots[f])
	}
	return t.live != was
}

// keeps lists what is live in a table.
func (t *table) keeps(p *program) {
	in := p.slots[flows.InPort]
	live := t.live
	live.remove(in)
	t.keep[0] = live.list()
	t.keep[1] = append(t.keep[0], in)
}

// ahead is what is live where a flow sends packets.
func (p *program) ahead(f *flows.Flow) (live slotset) {
	p.successors(f, func(n uint8) {
		if t := p.tables[n]; t != nil {
			live.or(t.live)
		}
	})
	return live
}

// reads adds to what is live behind the actions of a flow what they copy from there.
func (p *program) reads(f *flows.Flow, live slotset) slotset {
	for i := len(f.Apply) - 1; i >= 0; i-- {
		switch a := f.Apply[i].(type) {
		case flows.Move:
			if live.has(p.slots[a.Dst.Field]) || a.Dst.Field == flows.TunID || a.Dst.Field == flows.VLANTCI {
				live.add(p.slots[a.Src.Field])
			}
		case flows.OutputReg:
			live.add(p.slots[a.Src.Field])
		}
	}
	return live
}

// successors are the tables that a flow sends packets to.
func (p *program) successors(f *flows.Flow, do func(uint8)) {
	if f.Goto != 0 {
		do(f.Goto)
	}
	for _, a := range f.Apply {
		switch a := a.(type) {
		case flows.Resubmit:
			do(resubmitTable(f.Table, a))
		case flows.CT:
			if a.Table != flows.CTNoTable {
				do(a.Table)
			}
		case flows.Output:
			if a.Port == flows.PortTable {
				do(0)
			}
		}
	}
}

// resubmitTable is where a resubmit in table n goes.
func resubmitTable(n uint8, a flows.Resubmit) uint8 {
	const same = 255
	if a.Table == same {
		return n
	}
	return a.Table
}
