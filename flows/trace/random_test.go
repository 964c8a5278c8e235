package trace

import (
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// tables of random states are numbered from 0.
const testTables = 6

// testMeter is a meter that the test switch has.
const testMeter = 5

// testCase is a random state, and packets for it.
type testCase struct {
	also    []Port // that the switch has beside the test ports
	flows   []*flows.Flow
	groups  []*flows.Group
	packets []*Packet
}

func (c *testCase) newSwitch(v Version) (*Switch, error) {
	return New(Config{Name: "br0", Version: v, Ports: slices.Concat(testPorts, c.also), State: flows.Flat(&flows.Part{Flows: c.flows, Groups: c.groups})})
}

func (g gen) testCase(nFlows, nPackets int) *testCase {
	c := &testCase{}
	for range nPackets {
		c.packets = append(c.packets, g.packet())
	}
	for id := uint32(1); id <= 4; id++ {
		c.groups = append(c.groups, g.group(id, c.packets))
	}
	for i := range nFlows {
		f := g.flow(c.packets)
		f.Priority = uint16(i + 1)
		c.flows = append(c.flows, f)
	}
	defer c.withoutHazard(g.oneIn(2))
	// Each table takes what nothing else does, most of the time.
	for n := range uint8(testTables) {
		if f := g.flow(c.packets); !g.oneIn(4) {
			f.Table, f.Match, f.Priority = n, nil, 0
			if f.Goto != 0 {
				f.Goto = min(n+1, testTables-1)
			}
			if f.Goto <= n {
				f.Goto = 0
			}
			f = flows.Normalize(f)
			if f.Validate() == nil {
				c.flows = append(c.flows, f)
			}
		}
	}
	return c
}

// withoutHazard leaves either what has a packet recirculated or the action sets of a case:
// a packet that is recirculated with an action set crashes Open vSwitch 3.1.0 and 3.5.0, when another
// action is written to it, or when less is left to do than there is in the set. With the tracker packets go forward only:
// ofproto/trace has no limit to how often a packet comes back.
func (c *testCase) withoutHazard(tracker bool) {
	selects := slices.ContainsFunc(c.groups, func(g *flows.Group) bool { return g.Type == flows.GroupSelect })
	for _, f := range c.flows {
		if tracker || selects {
			f.Write = nil
		}
		f.Apply = without(f.Apply, func(a flows.Action) bool {
			switch a := a.(type) {
			case flows.CT:
				return !tracker || a.Table <= f.Table
			case flows.PopMPLS:
				return !tracker
			case flows.ToController:
				return !tracker && a.Pause
			case flows.Resubmit:
				return tracker && (a.Table <= f.Table || a.Table >= testTables)
			}
			return false
		})
		f.Apply, f.Write = stillValid(f, f.Apply, f.Write)
	}
	for _, g := range c.groups {
		for i := range g.Buckets {
			g.Buckets[i].Actions = without(g.Buckets[i].Actions, func(a flows.Action) bool {
				to, _ := a.(flows.ToController)
				return is[flows.CT](a) || is[flows.Resubmit](a) && tracker || (is[flows.PopMPLS](a) || to.Pause) && !tracker
			})
			g.Buckets[i].Actions, _ = stillValid(&flows.Flow{}, g.Buckets[i].Actions, nil)
		}
	}
}

// stillValid is the actions of a flow that it may have when others are gone.
func stillValid(of *flows.Flow, apply, write []flows.Action) (a, w []flows.Action) {
	f := *of
	f.Apply, f.Write = nil, nil
	for _, x := range apply {
		if f.Apply = append(f.Apply, x); f.Validate() != nil {
			f.Apply = f.Apply[:len(f.Apply)-1]
		}
	}
	for _, x := range write {
		if f.Write = append(f.Write, x); f.Validate() != nil {
			f.Write = f.Write[:len(f.Write)-1]
		}
	}
	return f.Apply, f.Write
}

// without is a list without some actions, inside clones as well.
func without(as []flows.Action, some func(flows.Action) bool) []flows.Action {
	var out []flows.Action
	for _, a := range as {
		if c, ok := a.(flows.Clone); ok {
			inner := without(c.Actions(), some)
			if len(inner) == 0 {
				continue
			}
			a = flows.NewClone(inner...)
		}
		if !some(a) {
			out = append(out, a)
		}
	}
	return out
}

// match takes some packet, as far as its fields are not changed on the way.
func (g gen) match(ps []*Packet) flows.Match {
	p := ps[g.IntN(len(ps))]
	var m flows.Match
	n := pick(g, 0, 1, 1, 2, 2, 3, 5)
	fields := p.Match()
	// Many actions need an Ethernet type.
	if g.oneIn(2) {
		m = m.With(flows.EthType, p.fields[flows.EthType])
	}
	for range n {
		var e flows.FieldMatch
		switch {
		case len(fields) > 0 && !g.oneIn(4):
			e = fields[g.IntN(len(fields))]
		default:
			f := flows.Field(1 + g.IntN(flows.NumFields-1))
			e = flows.FieldMatch{Field: f, Value: g.value(f, ps), Mask: f.FullMask()}
		}
		if e.Field.Maskable() && g.oneIn(4) {
			// ovs-ofctl takes an IPv6 mask that begins with a digit for the length of a prefix.
			e.Mask = e.Mask.And(flows.Value{Hi: g.Uint64() | g.Uint64() | 0xf<<60, Lo: g.Uint64() | g.Uint64()})
		}
		if e.Field == flows.CTState {
			// ofproto/trace does not say that a connection is translated.
			e.Mask = e.Mask.AndNot(flows.U(natBits))
			e.Value = e.Value.And(e.Mask)
		}
		if e.Field == flows.IPFrag {
			e.Mask = flows.U(pick[uint64](g, 1, 3))
			if e.Mask.Lo == 1 {
				e.Value.Lo = 1
			}
		}
		with := m.WithMask(e.Field, e.Value, e.Mask)
		// With a prerequisite of the packet's kind, one time after the other.
		for range 4 {
			if flows.Normalize(&flows.Flow{Match: with}).Match.Validate() == nil {
				break
			}
			for _, alternatives := range [][]flows.Match{e.Field.Prerequisites()} {
				if len(alternatives) == 0 {
					break
				}
				for _, need := range alternatives[g.IntN(len(alternatives))] {
					with = with.WithMask(need.Field, need.Value, need.Mask)
				}
			}
		}
		if with = (flows.Normalize(&flows.Flow{Match: with}).Match); with.Validate() == nil {
			m = with
		}
	}
	return m
}

// value is one that a packet has, or a small one.
func (g gen) value(f flows.Field, ps []*Packet) flows.Value {
	if g.oneIn(3) {
		for range 5 {
			if p := ps[g.IntN(len(ps))]; p.Has(f) {
				return p.fields[f]
			}
		}
	}
	switch f {
	case flows.TunIPv4Dst, flows.TunIPv4Src:
		return flows.U(be32(g.tep4()))
	case flows.TunIPv6Dst, flows.TunIPv6Src:
		return be128(g.tep6())
	case flows.InPort:
		return flows.U(uint64(pick[uint32](g, 1, 2, 3, 4, 101, 102, 103, 0xfffffffe)))
	case flows.VLANVID:
		return flows.U(pick[uint64](g, 0x100a, 0x1014, 0x1fff))
	}
	return flows.Value{Hi: g.Uint64() & 3, Lo: pick(g, 0, 1, 2, 7, g.Uint64())}.And(f.FullMask())
}

func (g gen) flow(ps []*Packet) *flows.Flow {
	f := &flows.Flow{Table: uint8(g.IntN(testTables)), Match: g.match(ps)}
	if f.Table < testTables-1 && !g.oneIn(3) {
		f.Goto = f.Table + 1 + uint8(g.IntN(testTables-1-int(f.Table)))
	}
	if g.oneIn(8) {
		f.MetadataMask = pick(g, ^uint64(0), 0xff, g.Uint64())
		f.Metadata = g.value(flows.Metadata, ps).Lo & f.MetadataMask
	}
	f.ClearActions = g.oneIn(12)
	if g.oneIn(15) {
		f.Meter = testMeter
	}
	for range pick(g, 0, 1, 1, 2, 3, 5) {
		g.grow(f, g.action(ps), false)
	}
	for range pick(g, 0, 0, 0, 1, 3) {
		g.grow(f, g.action(ps), true)
	}
	return f
}

// noDestination reports whether an action may leave a packet without a tunnel
// destination, in which datapaths differ: the kernel's sends it to where the last one
// went.
func noDestination(a flows.Action) bool {
	var f flows.Field
	switch a := a.(type) {
	case flows.SetField:
		if !a.Value.IsZero() {
			return false
		}
		f = a.Field
	case flows.Move:
		f = a.Dst.Field
	case flows.Pop:
		f = a.Dst.Field
	case flows.CheckLarger:
		f = a.Dst.Field
	case flows.Clone:
		return slices.ContainsFunc(a.Actions(), noDestination)
	}
	return f == flows.TunIPv4Dst || f == flows.TunIPv6Dst
}

// grow adds an action to a flow if it is valid there.
func (g gen) grow(f *flows.Flow, a flows.Action, set bool) {
	if noDestination(a) {
		return
	}
	with := *f
	if set {
		with.Write = append(with.Write[:len(with.Write):len(with.Write)], a)
	} else {
		with.Apply = append(with.Apply[:len(with.Apply):len(with.Apply)], a)
	}
	if n := flows.Normalize(&with); n.Validate() == nil {
		*f = *n
	}
}

func (g gen) subfield(bits uint16) flows.Subfield {
	f := flows.Field(1 + g.IntN(flows.NumFields-1))
	if g.oneIn(2) {
		f = flows.Reg(g.IntN(4))
	}
	return flows.Subfield{Field: f, Offset: uint16(g.IntN(max(1, int(f.Bits())-int(bits)+1))), Bits: bits}
}

func (g gen) action(ps []*Packet) flows.Action {
	ports := []uint32{1, 2, 3, 4, 4, 101, 102, 103, flows.PortInPort, flows.PortLocal, flows.PortAll, flows.PortFlood, 77}
	kind := g.IntN(40)
	if g.oneIn(6) { // few flows can have these
		kind = 24 + g.IntN(5)
	}
	switch kind {
	case 24:
		return g.conntrack()
	case 25:
		return flows.CTClear{}
	case 26:
		return flows.PushMPLS{EtherType: pick[uint16](g, 0x8847, 0x8848)}
	case 27:
		return flows.PopMPLS{EtherType: pick[uint16](g, 0x8847, 0x0800, 0x86dd, 0x0806, 0x1234)}
	case 28:
		return flows.DecMPLSTTL{}
	case 29:
		return flows.Push{Src: g.subfield(pick[uint16](g, 1, 8, 16, 32, 48))}
	case 30:
		return flows.Pop{Dst: g.subfield(pick[uint16](g, 1, 8, 16, 32, 48))}
	case 31:
		return flows.OutputTrunc{Port: pick(g, ports...), MaxLen: pick[uint32](g, 14, 20, 60, 1<<20)}
	case 32:
		return g.plain()
	case 33, 34:
		var as []flows.Action
		for range 1 + g.IntN(4) {
			as = append(as, g.action(ps))
		}
		return flows.NewClone(as...)
	case 35:
		dst := g.subfield(1)
		if dst.Field >= flows.EthDst { // see checkLarger
			dst.Field, dst.Offset = flows.Metadata, dst.Offset%64
		}
		return flows.CheckLarger{Len: pick[uint16](g, 20, 40, 60, 1500), Dst: dst}
	case 0, 1, 2, 3, 4:
		return flows.Output{Port: pick(g, ports...)}
	case 5:
		a := flows.ToController{MaxLen: pick[uint16](g, 64, 0xffff)}
		if g.oneIn(4) {
			a.ID, a.Reason = pick[uint16](g, 0, 3), pick(g, flows.ReasonAction, flows.ReasonNoMatch, flows.ReasonInvalidTTL)
			a.UserData, a.Pause = pick(g, "", "abc"), g.oneIn(3)
		}
		return a
	case 6:
		return flows.OutputReg{Src: flows.Subfield{Field: flows.Reg(g.IntN(3)), Bits: pick[uint16](g, 2, 16, 32)}, MaxLen: 0xffff}
	case 7, 8:
		return flows.ToGroup{ID: uint32(1 + g.IntN(4))}
	case 9, 10:
		bits := pick[uint16](g, 1, 8, 16, 32, 48)
		return flows.Move{Src: g.subfield(bits), Dst: g.subfield(bits)}
	case 11:
		return flows.PushVLAN{EtherType: pick[uint16](g, 0x8100, 0x88a8)}
	case 12, 13:
		return flows.PopVLAN{}
	case 14:
		return flows.DecTTL{IDs: pick(g, "", "", "\x00\x01", "\x00\x00\x00\x02")}
	case 15:
		return flows.Resubmit{Port: pick(g, flows.PortInPort, 1, 2), Table: pick[uint8](g, 255, 0, 1, 2, 3, 4, 5, 5, 5)}
	}
	f := flows.Field(1 + g.IntN(flows.NumFields-1))
	if g.oneIn(3) {
		f = pick(g, flows.Reg0, flows.Reg1, flows.TunID, flows.TunIPv4Dst, flows.VLANVID, flows.VLANTCI, flows.EthDst, flows.InPort)
	}
	mask := f.FullMask()
	if g.oneIn(3) {
		n := uint16(1 + g.IntN(int(min(f.Bits(), 64))))
		mask = ones(n).Shl(uint(g.IntN(int(f.Bits()-n) + 1)))
	}
	v := g.value(f, ps)
	return flows.SetField{Field: f, Value: v.And(mask), Mask: mask}
}

// plain is one of the actions without arguments that matter.
func (g gen) plain() flows.Action {
	return pick[flows.Action](g, flows.Exit{}, flows.PopQueue{}, flows.SetQueue{ID: 1}, flows.Note{Data: "abcdef"}, flows.FinTimeout{Idle: 5})
}

// nat is one that leaves no choice, or the first of several, which is what ofproto/trace
// takes.
func (g gen) nat(commit bool) flows.NAT {
	if !commit || g.oneIn(3) {
		return flows.NAT{Kind: pick(g, flows.NATNone, flows.NATNone, flows.NATExisting)}
	}
	n := flows.NAT{Kind: pick(g, flows.NATSource, flows.NATDestination)}
	if g.oneIn(6) {
		return n
	}
	n.Min, _ = netip.AddrFromSlice(pick(g, g.ip4(), g.ip6()))
	if g.oneIn(2) {
		n.PortMin = pick[uint16](g, 80, 1000)
	}
	return n
}

func (g gen) conntrack() flows.CT {
	a := flows.CT{Table: pick[uint8](g, 3, 4, 5, 255), Zone: pick[uint16](g, 0, 7)}
	if g.oneIn(2) {
		a.Commit = true
		a.MarkMask = pick[uint32](g, 0, 0xff, ^uint32(0))
		a.Mark = pick[uint32](g, 0, 1, 7) & a.MarkMask
	}
	a.NAT = g.nat(a.Commit)
	if g.oneIn(3) {
		a.Zone, a.ZoneSrc = 0, flows.Subfield{Field: flows.Reg1, Bits: 16}
	}
	return a
}

// group is one of any type.
func (g gen) group(id uint32, ps []*Packet) *flows.Group {
	gr := &flows.Group{ID: id, Type: pick(g, flows.GroupAll, flows.GroupAll, flows.GroupIndirect, flows.GroupFastFailover)}
	if g.selects && g.oneIn(2) {
		gr.Type = flows.GroupSelect
	}
	n := pick(g, 0, 1, 2, 4)
	if gr.Type == flows.GroupIndirect {
		n = 1
	}
	for range n {
		b := flows.Bucket{WatchPort: flows.PortAny, WatchGroup: flows.GroupAny}
		if gr.Type == flows.GroupSelect {
			b.Weight = pick[uint16](g, 0, 1, 1, 5)
		}
		if gr.Type == flows.GroupFastFailover {
			b.WatchPort = pick[uint32](g, 1, 2, 77)
		}
		holder := &flows.Flow{}
		for range 1 + g.IntN(4) {
			a := g.action(ps)
			if slices.ContainsFunc((&flows.Flow{Apply: []flows.Action{a}}).Groups(), func(to uint32) bool { return to <= id }) {
				continue // Open vSwitch refuses a loop
			}
			if is[flows.CheckLarger](a) {
				continue // ovs-ofctl does not read it in front of another bucket
			}
			g.grow(holder, a, false)
		}
		b.Actions = holder.Apply
		gr.Buckets = append(gr.Buckets, b)
	}
	return gr
}
