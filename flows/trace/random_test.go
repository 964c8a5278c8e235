package trace

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// gen makes random packets, flows and groups. Values come from small pools, so that
// flows meet packets.
type gen struct {
	*rand.Rand
	// selects says that groups may be of type select, which ofproto/trace does not
	// follow beyond the hash.
	selects bool
}

func newGen(seed uint64) gen { return gen{Rand: rand.New(rand.NewPCG(seed, 0))} }

func (g gen) oneIn(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g gen, of ...T) T { return of[g.IntN(len(of))] }

func (g gen) mac() []byte {
	return pick(g, []byte{2, 0, 0, 0, 0, 1}, []byte{2, 0, 0, 0, 0, 2}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		[]byte{1, 0, 0x5e, 0, 0, 5}, []byte{0x33, 0x33, 0, 0, 0, 1}, []byte{1, 0x80, 0xc2, 0, 0, 0x0e})
}

func (g gen) ip4() []byte {
	return pick(g, []byte{10, 1, 1, 1}, []byte{10, 1, 1, 2}, []byte{10, 1, 2, 1}, []byte{255, 255, 255, 255}, []byte{224, 0, 0, 5}, []byte{0, 0, 0, 0})
}

func (g gen) ip6() []byte {
	b := make([]byte, 16)
	b[0], b[1], b[15] = 0xfd, pick[byte](g, 0, 1), pick[byte](g, 1, 2, 3)
	if g.oneIn(4) {
		b[0], b[1] = pick[byte](g, 0xff, 0xfe), pick[byte](g, 2, 0x80)
	}
	return b
}

func (g gen) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func cat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func u16b(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }

// frame is an Ethernet frame, mostly a sound one.
func (g gen) frame() []byte {
	b := cat(g.mac(), g.mac())
	for range pick(g, 0, 0, 0, 1, 1, 2, 3) {
		b = cat(b, u16b(pick(g, 0x8100, 0x8100, 0x88a8)), u16b(pick(g, 10, 20, 0, 4095)|pick(g, 0, 0, 3<<13)|pick(g, 0, 0, 0, 1<<12)))
	}
	etherType, payload := g.l3()
	switch g.IntN(12) {
	case 0:
		b = cat(b, u16b(8+len(payload)), []byte{0xaa, 0xaa, 3, 0, 0, 0}, u16b(etherType), payload)
	case 1:
		b = cat(b, u16b(len(payload)), []byte{0x42, 0x42, 3}, payload)
	default:
		b = cat(b, u16b(etherType), payload)
	}
	if g.oneIn(6) { // link-layer padding
		b = cat(b, g.bytes(g.IntN(30)))
	}
	if g.oneIn(8) && len(b) > 14 {
		b = b[:14+g.IntN(len(b)-14)]
	}
	if g.oneIn(10) {
		b[12+g.IntN(len(b)-12)] ^= byte(1 << g.IntN(8))
	}
	return b
}

func (g gen) l3() (etherType int, payload []byte) {
	switch g.IntN(12) {
	case 0, 1:
		op := pick(g, 1, 2, 3, 0, 256, 300)
		return pick(g, 0x0806, 0x0806, 0x8035), cat([]byte{0, 1, 8, 0, 6, 4}, u16b(op), g.mac(), g.ip4(), g.mac(), g.ip4())
	case 2:
		return pick(g, 0x88cc, 0x8847, 0x894f, 0x8100, 0x05ff, 0x0600, 0x8809), g.bytes(g.IntN(60))
	case 3, 4, 5, 6:
		return 0x86dd, g.ipv6()
	}
	return 0x0800, g.ipv4(g.IntN(5))
}

func (g gen) ipv4(transport int) []byte {
	proto, l4 := g.transport(transport)
	options := g.bytes(4 * pick(g, 0, 0, 0, 0, 1, 3))
	frag := 0
	if g.oneIn(4) {
		frag = pick(g, 0x2000, 0x4000, 0x2005, 0x0005, 0x8000, 0x1fff)
	}
	b := cat([]byte{byte(0x45 + len(options)/4), byte(pick(g, 0, 0x28, 3, 0xff))}, u16b(20+len(options)+len(l4)), []byte{0, 7},
		u16b(frag), []byte{byte(pick(g, 64, 64, 2, 1, 0, 255)), proto, 0, 0}, g.ip4(), g.ip4(), options)
	binary.BigEndian.PutUint16(b[10:], ^fold(sum16(0, b)))
	if g.oneIn(15) {
		binary.BigEndian.PutUint16(b[2:], uint16(g.IntN(2*(len(b)+len(l4)))))
	}
	if g.oneIn(20) {
		b[0] = byte(g.IntN(256))
	}
	return cat(b, l4)
}

func (g gen) ipv6() []byte {
	proto, l4 := g.transport(4 + g.IntN(6))
	for range pick(g, 0, 0, 0, 1, 2) {
		kind := pick[byte](g, 0, 43, 44, 51, 60)
		var h []byte
		switch kind {
		case 44:
			h = cat([]byte{proto, 0}, u16b(pick(g, 0, 0, 1, 8, 9, 0xfff8, 2)), []byte{0, 0, 0, 7})
		case 51:
			h = cat([]byte{proto, 2}, g.bytes(14))
		case 43:
			h = cat([]byte{proto, 2, 0, pick[byte](g, 0, 1)}, make([]byte, 4), g.ip6())
		default:
			h = cat([]byte{proto, pick[byte](g, 0, 0, 1)}, g.bytes(6))
			h = cat(h, make([]byte, 8*int(h[1])))
		}
		proto, l4 = kind, cat(h, l4)
	}
	n := len(l4)
	if g.oneIn(15) {
		n = g.IntN(2*n + 1)
	}
	word := binary.BigEndian.AppendUint32(nil, 6<<28|uint32(pick(g, 0, 0xb8, 3))<<20|pick[uint32](g, 0, 5, 0xfffff))
	return cat(word, u16b(n), []byte{proto, byte(pick(g, 64, 255, 1, 0))}, g.ip6(), g.ip6(), l4)
}

func (g gen) port() []byte { return u16b(pick(g, 53, 67, 80, 0, 65535)) }

func (g gen) transport(kind int) (proto byte, l4 []byte) {
	data := g.bytes(g.IntN(24))
	switch kind {
	case 0, 5:
		options := g.bytes(4 * pick(g, 0, 0, 0, 2))
		offset := byte(0x50 + 0x10*len(options)/4)
		if g.oneIn(10) {
			offset = byte(g.IntN(256))
		}
		return 6, cat(g.port(), g.port(), g.bytes(8), []byte{offset | pick[byte](g, 0, 1), pick[byte](g, 2, 0x12, 0x10, 0xff)}, g.bytes(6), options, data)
	case 1, 6:
		sum := g.bytes(2)
		if g.oneIn(3) {
			sum = []byte{0, 0}
		}
		return 17, cat(g.port(), g.port(), u16b(8+len(data)), sum, data)
	case 2:
		return 132, cat(g.port(), g.port(), g.bytes(8), data)
	case 3:
		kind := pick[byte](g, 8, 0, 3, 5, 11, 13)
		if kind == 3 || kind == 11 { // an error quotes a packet
			data = g.ipv4(g.IntN(3))
		}
		return 1, cat([]byte{kind, pick[byte](g, 0, 1, 4)}, g.bytes(6), data)
	case 4:
		return pick[byte](g, 2, 47, 89, 4, 41, 59, 132), data
	}
	kind6 := pick[byte](g, 135, 136, 135, 136, 128, 1, 143)
	b := cat([]byte{kind6, pick[byte](g, 0, 0, 0, 0, 1)}, g.bytes(2), pick(g, []byte{0, 0, 0, 0}, []byte{0xe0, 0, 0, 0}, []byte{0x40, 0, 0, 1}))
	if kind6 == 135 || kind6 == 136 {
		b = cat(b, g.ip6())
		for range pick(g, 0, 1, 1, 1, 2) {
			b = cat(b, []byte{pick[byte](g, 1, 2, 14), pick[byte](g, 1, 1, 1, 1, 2, 0)}, g.mac())
			if b[len(b)-7] == 2 {
				b = cat(b, make([]byte, 8))
			}
		}
		if g.oneIn(8) {
			b = cat(b, g.bytes(3))
		}
		return 58, b
	}
	return 58, cat(b, data)
}

// packet is a frame with where it comes from.
func (g gen) packet() *Packet {
	in := pick[uint32](g, 1, 2, 3, 4, 101, 102, 103, 0xfffffffe)
	p, err := NewPacket(in, g.frame())
	if err != nil {
		panic(err)
	}
	if 101 <= in && in <= 103 {
		p.u(flows.TunID, pick[uint64](g, 1000001, 7, 0))
		if g.oneIn(5) {
			p.fields[flows.TunIPv6Src] = be128(g.tep6())
			p.fields[flows.TunIPv6Dst] = be128(g.tep6())
		} else {
			p.u(flows.TunIPv4Src, be32(g.tep4()))
			p.u(flows.TunIPv4Dst, be32(g.tep4()))
		}
	}
	return p
}

func (g gen) tep4() []byte { return []byte{192, 168, 200, pick[byte](g, 20, 21, 22)} }

func (g gen) tep6() []byte {
	return cat([]byte{0xfd, 9}, make([]byte, 13), []byte{pick[byte](g, 20, 21)})
}

// asInput is the packet as the two arguments of ofproto/trace.
func (p *Packet) asInput() (flow, frame string) {
	var b strings.Builder
	fmt.Fprintf(&b, "in_port=%d", uint16(p.InPort()))
	for f := flows.PktMark; f <= flows.TunIPv6Dst; f++ {
		if v := p.fields[f]; !v.IsZero() {
			b.WriteString("," + flows.Match{{Field: f, Value: v, Mask: f.FullMask()}}.String())
		}
	}
	return b.String(), fmt.Sprintf("%x", p.frame)
}

// tables of random states are numbered from 0.
const testTables = 6

// testCase is a random state, and packets for it.
type testCase struct {
	flows   []*flows.Flow
	groups  []*flows.Group
	packets []*Packet
}

func (c *testCase) newSwitch() (*Switch, error) {
	return New(Config{Name: "br0", Ports: testPorts, State: flows.Flat(&flows.Part{Flows: c.flows, Groups: c.groups})})
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

// withoutHazard leaves either the connection tracker or the action sets of a case: a
// packet that comes back from the connection tracker with an action set, and has another
// action written to it, crashes Open vSwitch 3.1.0. With the tracker packets go forward
// only: ofproto/trace has no limit to how often a packet comes back.
func (c *testCase) withoutHazard(tracker bool) {
	for _, f := range c.flows {
		if tracker {
			f.Write = nil
		}
		f.Apply = slices.DeleteFunc(f.Apply, func(a flows.Action) bool {
			switch a := a.(type) {
			case flows.CT:
				return !tracker || a.Table <= f.Table
			case flows.Resubmit:
				return tracker && (a.Table <= f.Table || a.Table >= testTables)
			}
			return false
		})
	}
	for _, g := range c.groups {
		for i := range g.Buckets {
			g.Buckets[i].Actions = slices.DeleteFunc(g.Buckets[i].Actions, func(a flows.Action) bool {
				_, ct := a.(flows.CT)
				_, resubmit := a.(flows.Resubmit)
				return ct || resubmit && tracker
			})
		}
	}
}

// match takes some packet, as far as its fields are not changed on the way.
func (g gen) match(ps []*Packet) flows.Match {
	p := ps[g.IntN(len(ps))]
	var m flows.Match
	n := pick(g, 0, 1, 1, 2, 2, 3, 5)
	fields := p.Match()
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
	switch g.IntN(26) {
	case 24:
		return g.conntrack()
	case 25:
		return flows.CTClear{}
	case 0, 1, 2, 3, 4:
		return flows.Output{Port: pick(g, ports...)}
	case 5:
		return flows.ToController{MaxLen: pick[uint16](g, 64, 0xffff)}
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
		return flows.DecTTL{}
	case 15:
		return flows.Resubmit{Port: pick(g, flows.PortInPort, 1, 2), Table: pick[uint8](g, 255, 0, 1, 2, 3, 4, 5, 5, 5)}
	}
	f := flows.Field(1 + g.IntN(flows.NumFields-1))
	if g.oneIn(3) {
		f = pick(g, flows.Reg0, flows.Reg1, flows.TunID, flows.TunIPv4Dst, flows.VLANVID, flows.VLANTCI, flows.EthDst, flows.InPort)
	}
	mask := f.FullMask()
	if g.oneIn(3) && f != flows.InPort {
		n := uint16(1 + g.IntN(int(min(f.Bits(), 64))))
		mask = ones(n).Shl(uint(g.IntN(int(f.Bits()-n) + 1)))
	}
	v := g.value(f, ps)
	return flows.SetField{Field: f, Value: v.And(mask), Mask: mask}
}

func (g gen) conntrack() flows.CT {
	a := flows.CT{Table: pick[uint8](g, 3, 4, 5, 255), Zone: pick[uint16](g, 0, 7)}
	if g.oneIn(2) {
		a.Commit = true
		a.MarkMask = pick[uint32](g, 0, 0xff, ^uint32(0))
		a.Mark = pick[uint32](g, 0, 1, 7) & a.MarkMask
	}
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
			if to, ok := a.(flows.ToGroup); ok && to.ID <= id {
				continue // Open vSwitch refuses a loop
			}
			g.grow(holder, a, false)
		}
		b.Actions = holder.Apply
		gr.Buckets = append(gr.Buckets, b)
	}
	return gr
}
