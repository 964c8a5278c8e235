package trace

import (
	"encoding/binary"
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// do does a list of actions. It reports whether the list was broken off, which
// breaks off the flow that it belongs to as well.
func (r *run) do(as []flows.Action) (brokenOff bool) { return r.list(as, nil, nil) }

// list does actions, the instructions of a flow that follow them, and what is left of lists
// further out, which a recirculation has made one list of all.
func (r *run) list(as []flows.Action, then *flows.Flow, later []cont) (brokenOff bool) {
	last := r.last
	defer func() { r.last = last }()
	for i, a := range as {
		r.last = last && i == len(as)-1 && (then == nil || !hasRest(then)) && len(later) == 0 && len(r.set) == 0
		if r.failed != "" {
			return true
		}
		if r.wasMPLS && needsHeader(a) {
			r.freeze()
		}
		if r.exit {
			r.left(as[i:], then, later)
			return true
		}
		if c, ok := a.(flows.CheckLarger); ok {
			r.checkLarger(c, cont{as[i+1:], then, r.table, r.flow}, later)
			if r.exit && len(r.frozen) == 0 && r.failed == "" {
				r.unroll(as[i:], then, later)
			}
			return true
		}
		if r.action(a) {
			return true
		}
		if r.again {
			r.again, r.p.hashed = false, true
			r.freeze()
		}
		if r.exit && len(r.frozen) == 0 && r.failed == "" {
			if r.paused {
				i++
			}
			r.unroll(as[i:], then, later)
			return true
		}
	}
	if then != nil && hasRest(then) {
		if r.wasMPLS {
			r.freeze()
		}
		if r.exit {
			r.left(nil, then, later)
			return true
		}
		r.last = last && len(later) == 0 && len(r.set) == 0
		r.rest(then)
		r.last = last
	}
	if r.exit {
		r.left(nil, nil, later)
		return true
	}
	if len(later) == 0 {
		return false
	}
	return r.resume(later)
}

// action does one action, and reports whether it breaks off its list.
func (r *run) action(a flows.Action) (breaksOff bool) {
	switch a := a.(type) {
	case flows.Output:
		r.output(a.Port)
	case flows.ToController:
		if a.Pause {
			r.pause(a)
			return false
		}
		r.toController(a.MaxLen, r.reason(a.Reason))
	case flows.OutputReg:
		r.outputReg(a)
	case flows.ToGroup:
		return !r.group(a.ID)
	case flows.SetField:
		if !r.p.Has(a.Field) {
			r.skipped(a.Field)
			break
		}
		r.write(a.Field, a.Value, a.Mask)
	case flows.Move:
		r.move(a)
	case flows.PushVLAN:
		r.tagged(func() { r.p.pushTag(a.EtherType) })
	case flows.PopVLAN:
		r.tagged(r.p.popTag)
	case flows.DecTTL:
		return r.decTTL(a)
	case flows.Resubmit:
		r.resubmit(a)
	case flows.CT:
		r.conntrack(a)
	case flows.CTClear:
		r.untrack()
	default:
		return r.extension(a)
	}
	return false
}

// extension does the actions that the pipeline does not use.
func (r *run) extension(a flows.Action) (breaksOff bool) {
	switch a := a.(type) {
	case flows.OutputTrunc:
		r.outputTrunc(a)
	case flows.PushMPLS:
		r.pushMPLS(a)
	case flows.PopMPLS:
		r.popMPLS(a)
	case flows.DecMPLSTTL:
		return r.decMPLSTTL()
	case flows.Push:
		r.stack = append(r.stack, stacked{subfield(&r.p, a.Src), r.p.unsure.has(a.Src.Field)})
	case flows.Pop:
		r.pop(a)
	case flows.Clone:
		r.clone(a)
	case flows.Exit:
		r.exit = true
		if r.at != nil {
			r.step(Step{Kind: StepNote, Note: "exit: nothing more is done with the packet, the action set included"})
		}
	case flows.SetQueue, flows.PopQueue, flows.Note, flows.FinTimeout:
		// They change nothing of the packet, nor where it goes.
	default:
		r.unknown("action %T is not interpreted", a)
	}
	return false
}

// write writes a field and records the change.
func (r *run) write(f flows.Field, v, mask flows.Value) {
	was := r.p.fields[f]
	r.p.put(f, was.AndNot(mask).Or(v.And(mask)))
	if mask == f.FullMask() {
		r.p.unsure.remove(f)
	}
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
	unsure := r.p.unsure.has(a.Src.Field)
	r.writeBits(a.Dst, v)
	if unsure {
		r.p.unsure.add(a.Dst.Field)
	}
}

func (r *run) writeBits(s flows.Subfield, v flows.Value) {
	r.write(s.Field, v.Shl(uint(s.Offset)), ones(s.Bits).Shl(uint(s.Offset)))
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
// controllers and no further in this list.
func (r *run) decTTL(a flows.DecTTL) (expired bool) {
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
	for range a.ControllerIDs() {
		r.toController(flows.MaxLenAll, ReasonInvalidTTL)
	}
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

// reason is why an action sends the packet to the controller, when it says so or not.
func (r *run) reason(said flows.PacketInReason) Reason {
	switch said {
	case flows.ReasonNoMatch:
		return ReasonNoMatch
	case flows.ReasonInvalidTTL:
		return ReasonInvalidTTL
	case flows.ReasonActionSet:
		return ReasonActionSet
	case flows.ReasonGroup:
		return ReasonGroup
	case flows.ReasonPacketOut:
		return ReasonPacketOut
	}
	if r.flow != nil && r.flow.Priority == 0 && len(r.flow.Match) == 0 {
		return ReasonNoMatch
	}
	return ReasonAction
}

func (r *run) toController(maxLen uint16, why Reason) {
	r.emit()
	r.base.reads()
	told := r.p
	told.frame, told.at = r.base.frame, r.base.at
	r.send(Output{Port: flows.PortController, Frame: r.base.frame, MaxLen: maxLen, Reason: why, Packet: &told})
}

func (r *run) send(o Output) {
	o.Table, o.Flow = r.table, r.flow
	if r.cut > 0 {
		left := len(o.Frame) - r.cut
		r.cut = 0
		if left < MinFrame {
			r.note("what is left of the packet has no whole Ethernet header: it does not leave")
			return
		}
		o.Frame = o.Frame[:left]
	}
	o.unsure = r.p.unsure.or(r.base.unsure)
	r.branch.Outputs = append(r.branch.Outputs, o)
	if r.at != nil {
		r.step(Step{Kind: StepOutput, Output: &o})
	}
}

func (r *run) outputReg(a flows.OutputReg) {
	if !r.sure("the port of an output", a.Src.Field) {
		return
	}
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
		r.toController(a.MaxLen, r.reason(flows.ReasonAction))
		return
	}
	r.output(port)
}

func (r *run) output(port uint32) {
	if !r.sure("an output", flows.InPort) {
		return
	}
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
		r.toController(0, r.reason(flows.ReasonAction))
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
	if r.cut > 0 {
		// An output of a part was not done, and the next copy is cut short in its place.
		r.unknown("output to all ports: which copy is cut short is not known")
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
		for _, f := range [...]flows.Field{flows.TunID, flows.TunIPv4Dst, flows.TunIPv6Dst} {
			if !r.sure("where a tunnel leads", f) {
				return
			}
		}
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
	r.emit()
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
