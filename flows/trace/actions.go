package trace

import (
	"encoding/binary"
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// do does a list of actions. It reports whether the list was broken off, which
// breaks off the flow that it belongs to as well.
func (r *run) do(as []flows.Action) (brokenOff bool) {
	for _, a := range as {
		if r.failed != "" {
			return true
		}
		switch a := a.(type) {
		case flows.Output:
			r.output(a.Port)
		case flows.ToController:
			r.toController(a.MaxLen, r.reason())
		case flows.OutputReg:
			r.outputReg(a)
		case flows.ToGroup:
			if !r.group(a.ID) {
				return true
			}
		case flows.SetField:
			if !r.p.Has(a.Field) {
				r.skipped(a.Field)
				continue
			}
			r.write(a.Field, a.Value, a.Mask)
		case flows.Move:
			r.move(a)
		case flows.PushVLAN:
			r.tagged(func() { r.p.pushTag(a.EtherType) })
		case flows.PopVLAN:
			r.tagged(r.p.popTag)
		case flows.DecTTL:
			if r.decTTL() {
				return true
			}
		case flows.Resubmit:
			r.resubmit(a)
		case flows.CT:
			r.conntrack(a)
		case flows.CTClear:
			for f := flows.CTState; f <= flows.CTLabel; f++ {
				r.write(f, flows.Value{}, f.FullMask())
			}
		default:
			r.unknown("action %T is not interpreted", a)
		}
	}
	return false
}

// write writes a field and records the change.
func (r *run) write(f flows.Field, v, mask flows.Value) {
	was := r.p.fields[f]
	r.p.put(f, was.AndNot(mask).Or(v.And(mask)))
	r.changed(f, was)
}

// changed records that a field is another than it was, if it is.
func (r *run) changed(f flows.Field, was flows.Value) {
	now := r.p.fields[f]
	if r.at == nil || was == now {
		return
	}
	for i := range r.at.Changes {
		if c := &r.at.Changes[i]; c.Field == f {
			c.Now = now
			return
		}
	}
	r.at.Changes = append(r.at.Changes, Change{f, was, now})
}

// tagged records what an action does to the outermost tag.
func (r *run) tagged(do func()) {
	vid, pcp := r.p.fields[flows.VLANVID], r.p.fields[flows.VLANPCP]
	do()
	r.changed(flows.VLANVID, vid)
	r.changed(flows.VLANPCP, pcp)
}

// skipped notes an action on a field that the packet does not have.
func (r *run) skipped(f flows.Field) {
	if r.at != nil {
		r.step(Step{Kind: StepNote, Note: "the packet has no " + f.Name() + ": the action has no effect"})
	}
}

func (r *run) move(a flows.Move) {
	for _, f := range [...]flows.Field{a.Src.Field, a.Dst.Field} {
		if !r.p.Has(f) {
			r.skipped(f)
			return
		}
	}
	v := subfield(&r.p, a.Src)
	mask := ones(a.Dst.Bits).Shl(uint(a.Dst.Offset))
	r.write(a.Dst.Field, v.Shl(uint(a.Dst.Offset)), mask)
}

// subfield is the value of some bits of a field.
func subfield(p *Packet, s flows.Subfield) flows.Value {
	return p.fields[s.Field].Shr(uint(s.Offset)).And(ones(s.Bits))
}

// ones is a value with the n lowest bits set.
func ones(n uint16) flows.Value {
	all := flows.Value{Hi: ^uint64(0), Lo: ^uint64(0)}
	return all.Shr(128 - uint(min(n, 128)))
}

// decTTL decrements the TTL of an IP packet. One that has none left goes to the
// controller and no further in this list.
func (r *run) decTTL() (expired bool) {
	if !r.p.Has(flows.IPTTL) {
		r.skipped(flows.IPTTL)
		return false
	}
	ttl := r.p.fields[flows.IPTTL].Lo
	if ttl > 1 {
		r.write(flows.IPTTL, flows.U(ttl-1), flows.IPTTL.FullMask())
		return false
	}
	r.note("the packet's TTL is %d: it goes no further", ttl)
	r.toController(flows.MaxLenAll, ReasonInvalidTTL)
	return true
}

func (r *run) resubmit(a flows.Resubmit) {
	in, n := a.Port, a.Table
	if in == flows.PortInPort {
		in = r.p.InPort()
	}
	const sameTable = 255
	if n == sameTable {
		n = r.table
	}
	r.enter(n, in, missIgnore)
}

// reason is why an action now sends the packet to the controller.
func (r *run) reason() Reason {
	if r.flow != nil && r.flow.Priority == 0 && len(r.flow.Match) == 0 {
		return ReasonNoMatch
	}
	return ReasonAction
}

func (r *run) toController(maxLen uint16, why Reason) {
	emit(&r.base, &r.p)
	told := r.p
	told.frame, told.at = r.base.frame, r.base.at
	r.send(Output{Port: flows.PortController, Frame: r.base.frame, MaxLen: maxLen, Reason: why, Packet: &told})
}

func (r *run) send(o Output) {
	o.Table, o.Flow = r.table, r.flow
	r.branch.Outputs = append(r.branch.Outputs, o)
	if r.at != nil {
		r.step(Step{Kind: StepOutput, Output: &o})
	}
}

func (r *run) outputReg(a flows.OutputReg) {
	v := subfield(&r.p, a.Src)
	// The ports of Open vSwitch have 16 bits; a 16-bit number of a reserved port
	// means that port.
	port := uint32(v.Lo)
	switch {
	case v.Hi != 0 || v.Lo>>32 != 0:
		r.note("output to %s: %#x is no port", a.Src.Field, v.Lo)
		return
	case port >= 0xff00 && port <= 0xffff:
		port |= 0xffff0000
	}
	if port == flows.PortController {
		r.toController(a.MaxLen, r.reason())
		return
	}
	r.output(port)
}

func (r *run) output(port uint32) {
	in := r.p.InPort()
	switch port {
	case flows.PortInPort:
		r.outputTo(in)
	case flows.PortTable:
		r.enter(0, in, missDrops)
	case flows.PortNormal:
		r.unknown("NORMAL is not interpreted")
	case flows.PortFlood, flows.PortAll:
		r.flood(port)
	case flows.PortAny:
	case flows.PortController:
		r.toController(0, r.reason())
	case in:
		r.note("output to port %d, where the packet came from, is not done", port)
	default:
		r.outputTo(port)
	}
}

func (r *run) flood(port uint32) {
	if r.sw.ports == nil {
		r.unknown("output to all ports, which are not known")
		return
	}
	for _, p := range r.sw.order {
		if p.Number != r.p.InPort() && (port == flows.PortAll || !p.NoFlood) {
			r.outputTo(p.Number)
		}
	}
}

func (r *run) outputTo(n uint32) {
	port, ok := r.sw.Port(n)
	if !ok {
		r.note("output to port %d, which the switch does not have", n)
		return
	}
	o := Output{Port: n}
	if port.Tunnel != nil {
		o.Tunnel = r.via(port.Tunnel)
		if o.Tunnel.Remote == r.own || !o.Tunnel.Remote.IsValid() && !r.own.IsValid() {
			r.note("output to tunnel port %d: the destination %s is none, or where the packet was sent to before", n, o.Tunnel.Remote)
			// Open vSwitch leaves the packet with the source that the tunnel port
			// would have used, which is none.
			r.write(flows.TunIPv4Src, flows.Value{}, flows.TunIPv4Src.FullMask())
			r.write(flows.TunIPv6Src, flows.Value{}, flows.TunIPv6Src.FullMask())
			return
		}
	}
	emit(&r.base, &r.p)
	o.Frame = r.base.frame
	r.send(o)
}

// via is what a tunnel port makes of the packet's metadata.
func (r *run) via(t *Tunnel) *Via {
	v := &Via{Encap: t.Encap, Remote: t.Remote, Key: r.p.fields[flows.TunID].Lo}
	if !v.Remote.IsValid() {
		v.Remote = tunnelDst(&r.p)
	}
	if t.Key != nil {
		v.Key = *t.Key
	}
	return v
}

// tunnelDst is the destination of a packet's tunnel, of IPv4 if it has one. None is
// the zero Addr.
func tunnelDst(p *Packet) netip.Addr {
	if v := p.fields[flows.TunIPv4Dst]; !v.IsZero() {
		return ipv4(v)
	}
	return ipv6(p.fields[flows.TunIPv6Dst])
}

func ipv4(v flows.Value) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(v.Lo))
	return netip.AddrFrom4(b)
}

// ipv6 is the address, or none for ::.
func ipv6(v flows.Value) netip.Addr {
	if v.IsZero() {
		return netip.Addr{}
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], v.Hi)
	binary.BigEndian.PutUint64(b[8:], v.Lo)
	return netip.AddrFrom16(b).Unmap()
}
