package trace

import (
	"fmt"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// A packet that Open vSwitch cannot go on with before the datapath has read it anew (its
// labels are gone, a select group needs its hash, or the controller has it) is frozen: what is left to do, of all lists
// of actions that are being done, is one list, with which it goes on behind a
// recirculation. A group's bucket and a clone are frozen by themselves.

// needsHeader reports whether an action must not be done to a packet whose last label was
// taken off before the packet has been read anew (recirc_for_mpls in
// ofproto-dpif-xlate.c).
func needsHeader(a flows.Action) bool {
	switch a := a.(type) {
	case flows.Output, flows.OutputTrunc, flows.OutputReg, flows.SetQueue, flows.ToGroup:
		return false
	case flows.SetField:
		return a.Field >= flows.MPLSLabel
	}
	return true
}

func (r *run) freeze() { r.exit, r.freezing = true, true }

// left keeps what is left of a list, when its packet is frozen and has not just ended.
func (r *run) left(as []flows.Action, then *flows.Flow, later []cont) {
	if r.freezing {
		r.unroll(as, then, later)
	}
}

// hasRest reports whether a flow has instructions behind apply-actions.
func hasRest(f *flows.Flow) bool {
	return f.ClearActions || len(f.Write) > 0 || f.MetadataMask != 0 || f.Goto != 0
}

// unroll keeps what is left of a list. Open vSwitch does so behind an exit as well, in vain
// unless another bucket, or the other half of a check_pkt_larger, is frozen later: then that
// is what it goes on with.
func (r *run) unroll(as []flows.Action, then *flows.Flow, later []cont) {
	as = slices.DeleteFunc(slices.Clone(as), is[flows.Note]) // notes are not kept
	if then != nil && !hasRest(then) {
		then = nil
	}
	if len(as) > 0 || then != nil {
		r.frozen = append(r.frozen, cont{as, then, r.table, r.flow})
	}
	r.frozen = append(r.frozen, later...)
}

// resume goes on with what was left.
func (r *run) resume(cs []cont) (brokenOff bool) {
	c := cs[0]
	r.table, r.flow = c.table, c.flow
	return r.list(c.as, c.then, cs[1:])
}

// end ends a translation, or that of a clone: by the action set, or frozen.
func (r *run) end() {
	if !r.freezing {
		r.actionSet()
	}
	r.thaw()
}

// thaw lets a packet that was frozen wait for its recirculation.
func (r *run) thaw() {
	if !r.freezing || r.failed != "" {
		return
	}
	rest := r.frozen
	r.frozen, r.freezing = nil, false
	r.emit()
	if r.paused {
		r.paused = false
		return
	}
	w := waiting{p: r.p, set: slices.Clone(r.set), stack: slices.Clone(r.stack), rest: rest}
	w.p.unsure = r.p.unsure.or(r.base.unsure)
	w.step = r.step(Step{Kind: StepRecirculate, Table: r.table, Note: "the packet is read anew"})
	r.recirculate(w)
}

// recirculate reads a packet anew, from the bytes that it has now, and lets it wait.
func (r *run) recirculate(w waiting) {
	if r.came == maxRecirculations || r.sent == maxWaiting {
		r.note("the packet was recirculated %d times: it is dropped", r.came)
		return
	}
	r.sent++
	w.came = r.came + 1
	w.p.reload(r.base.frame)
	r.waiting = append(r.waiting, w)
}

// pause sends the packet to the controller, with what is left to do.
func (r *run) pause(a flows.ToController) {
	r.toController(a.MaxLen, r.reason(a.Reason))
	r.unknown("controller(pause): what the controller lets become of the packet, which waits for it, is not known")
	r.paused = true
	r.freeze()
}

// clone does actions on a copy of the packet, and an action set: in Open vSwitch 3.1 the
// packet's as it is then, in 3.5 one that begins empty.
func (r *run) clone(a flows.Clone) {
	as := a.Actions()
	p, stack, set := r.p, slices.Clone(r.stack), r.set
	if r.hidesSet("clone") {
		r.set = nil
	}
	r.within(r.step(Step{Kind: StepClone}), func() {
		// What cannot be undone by writing what was there before is done to a copy of the
		// bytes (reversible_actions in ofproto-dpif-xlate.c), unless nothing follows.
		if r.last || !slices.ContainsFunc(as, func(a flows.Action) bool { return is[flows.CT](a) || is[flows.OutputTrunc](a) }) {
			r.do(as)
			r.end()
			return
		}
		r.emit()
		base, cut, wasMPLS := r.base, r.cut, r.wasMPLS
		last := r.last
		r.nested++
		r.last = true
		r.do(as)
		r.end()
		r.nested--
		r.last = last
		r.base, r.cut, r.wasMPLS = base, cut, wasMPLS
	})
	r.p, r.stack, r.set = p, stack, set
}

// hidesSet reports whether the action set of the packet is not done as part of an action
// that has actions in it.
func (r *run) hidesSet(action string) bool {
	return len(r.set) > 0 && r.as35("the action set in "+action)
}

// checkLarger does what follows twice, as Open vSwitch does, and takes the one that the
// packet's length asks for: all that is left of this list of actions, and the action set.
// What follows further out goes on as if there had been no such action.
func (r *run) checkLarger(a flows.CheckLarger, left cont, later []cont) {
	if a.Dst.Field >= flows.EthDst {
		r.unknown("check_pkt_larger into %s: whether Open vSwitch writes a header depends on what else it looked at", a.Dst.Field)
	}
	r.emit()
	was := *r
	r.stack = slices.Clone(was.stack)
	rest := append([]cont{left}, later...)
	larger := uint64(0)
	if r.length() > int(a.Len) {
		larger = 1
	}
	if r.at != nil {
		r.step(Step{Kind: StepNote, Note: fmt.Sprintf("the packet has %d bytes: larger than %d is %d", r.length(), a.Len, larger)})
	}
	r.nested++
	r.last = true // of each half; the list, which this ends, has what it was before
	defer func() { r.nested-- }()
	for _, v := range [...]uint64{1, 0} {
		// In Open vSwitch 3.1 the action set is that which the first of the two left; in 3.5
		// both begin with none.
		if r.hidesSet("check_pkt_larger") {
			r.set = nil
		}
		taken := v == larger
		outputs, hits, unknown, queued := len(r.branch.Outputs), len(r.branch.Hits), len(r.branch.Unknown), len(r.waiting)
		steps := r.at
		if !taken {
			r.at = nil
		}
		// The stack is that which the first of the two left.
		r.p, r.base, r.cut, r.wasMPLS, r.exit = was.p, was.base, was.cut, was.wasMPLS, false
		r.writeBits(a.Dst, flows.U(v))
		r.resume(rest)
		r.end()
		r.at = steps
		if !taken {
			r.branch.Outputs, r.branch.Hits = r.branch.Outputs[:outputs], r.branch.Hits[:hits]
			r.branch.Unknown, r.waiting = r.branch.Unknown[:unknown], r.waiting[:queued]
		}
	}
	r.p, r.base, r.cut, r.set, r.stack, r.wasMPLS = was.p, was.base, was.cut, was.set, was.stack, was.wasMPLS
	r.table, r.flow = was.table, was.flow
}

// length is the packet's as the datapath takes it: without link-layer padding behind an
// IP packet, and without what is cut off.
func (r *run) length() int {
	n := len(r.base.frame) - r.cut
	if end := r.base.at.end; end != 0 {
		n -= len(r.base.frame) - end
	}
	return n
}

// pop takes what was pushed last off the stack. Open vSwitch goes on when there is nothing.
func (r *run) pop(a flows.Pop) {
	n := len(r.stack) - 1
	if n < 0 {
		if r.at != nil {
			r.step(Step{Kind: StepNote, Note: "nothing is on the stack to pop: the action has no effect"})
		}
		return
	}
	s := r.stack[n]
	r.stack = r.stack[:n:n]
	r.writeBits(a.Dst, s.v.And(ones(a.Dst.Bits)))
	if s.unsure {
		r.p.unsure.add(a.Dst.Field)
	}
}

// outputTrunc sends a part of the packet to a port. The datapath cuts what the packet had
// too much when it came to this action, from the copy that leaves next.
func (r *run) outputTrunc(a flows.OutputTrunc) {
	switch a.Port {
	case flows.PortTable, flows.PortNormal, flows.PortFlood, flows.PortAll, flows.PortController, flows.PortAny, flows.PortInPort:
		r.note("output of a part of the packet to %d is not done", a.Port)
		return
	case r.p.InPort():
		r.note("output to port %d, where the packet came from, is not done", a.Port)
		return
	}
	if _, ok := r.sw.Port(a.Port); !ok {
		r.note("output to port %d, which the switch does not have", a.Port)
		return
	}
	r.cut = max(0, len(r.base.frame)-int(max(a.MaxLen, MinFrame)))
	r.output(a.Port)
}
