package pipeline

import (
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// A wire has rows in the tables that every network has, and in none of them a
// frame of it is looked into or changed: classify takes all that comes in by an
// end, above every row that would drop it for what it is; spoof_guard passes what
// comes from a local end, and from the tunnel what a peer sends; l2_dst has a row
// for each place that a frame comes from; output sends without touching tags.
// There is no flood, and no row of it that another network's frames could take,
// since all but those in classify match the network.

// wirePart are the rows of a wire with a local end: those that depend on where the
// other one is.
func wirePart(parts map[flows.PartID]*flows.Part, h *topo.Host, seg *topo.Segment) {
	n := seg.Network
	r := &rows{owner: n.ID}
	// What neither end's row takes comes from an end whose other one is nowhere.
	r.drop(L2Dst, l2WireRest, DropNoFarEnd, inNetwork(n))
	w := wire{r: r, h: h, n: n, tunnel: h.Tunnel(n.Encap)}
	for _, m := range seg.Members {
		if far := farEnd(seg, m); far != nil {
			w.end(m, far)
		}
	}
	w.fromTunnel()
	parts[flows.PartID{Owner: uint32(n.ID), Aspect: aspectOwn}] = &r.part
}

// farEnd is the bound end of a wire that is not m, nil if there is none. topo lets
// a wire have two.
func farEnd(seg *topo.Segment, m *topo.Member) *topo.Member {
	for _, far := range seg.Members {
		if far != m {
			return far
		}
	}
	return nil
}

// wire writes the rows of one wire that depend on both ends.
type wire struct {
	r      *rows
	h      *topo.Host
	n      *topo.Network
	tunnel uint32
	// out says that an end's frames leave by the tunnel; in is the local end that gets
	// what comes out of it, nil if there is none.
	out bool
	in  *topo.Member
}

// end are the rows for what a local end sends, in effect here or on standby: it goes
// to where the other one is in effect.
func (w *wire) end(m, far *topo.Member) {
	here := localTo(m, w.h)
	if here == nil {
		return
	}
	if (isRemote(far, w.h) || isStandbyElsewhere(far, w.h)) && (w.in == nil || isLocal(m, w.h)) {
		// Of two local ends, what is in effect here goes before what is on standby.
		w.in = here
	}
	switch {
	case isLocal(far, w.h):
		w.from(here.OFPort, flows.Set(regEgress, flows.U(uint64(far.OFPort))))
	case isRemote(far, w.h) && w.tunnel != 0:
		w.out = true
		w.from(here.OFPort, toTEP(far.Host), flows.Set(regEgress, flows.U(egressTunnel)))
	}
}

// from sends on what comes in by a port.
func (w *wire) from(port uint32, do ...flows.Action) {
	w.r.add(row{Table: L2Dst, Priority: l2Wire, Feature: FeatL2,
		Match: inNetwork(w.n).With(flows.InPort, flows.U(uint64(port))), Do: do, Next: Output})
}

// fromTunnel are the wire's rows for the tunnel.
func (w *wire) fromTunnel() {
	if w.out {
		outputTunnel(w.r, w.n, w.tunnel)
	}
	if w.in == nil || w.tunnel == 0 {
		return
	}
	w.r.add(row{
		Table: Classify, Priority: classifyWire, Feature: FeatClassify,
		Match: match().With(flows.InPort, flows.U(uint64(w.tunnel))).With(flows.TunID, flows.U(uint64(w.n.Key))),
		Do: []flows.Action{
			flows.Set(regNetwork, flows.U(uint64(w.n.ID))),
			flows.Set(regOrigin, flows.U(originTunnel)),
		},
		Next: SpoofGuard,
	})
	w.from(w.tunnel, flows.Set(regEgress, flows.U(uint64(w.in.OFPort))))
}

// wireMemberPart are the rows of a local end that do not depend on the other one.
func wireMemberPart(parts map[flows.PartID]*flows.Part, h *topo.Host, seg *topo.Segment, m *topo.Member) {
	here := localTo(m, h)
	if here == nil {
		delete(parts, memberID(seg, m))
		return
	}
	n := seg.Network
	r := &rows{owner: m.Port.ID}
	in := match().With(flows.InPort, flows.U(uint64(here.OFPort)))
	r.add(row{Table: Classify, Priority: classifyWire, Feature: FeatClassify,
		Match: in, Do: []flows.Action{flows.Set(regNetwork, flows.U(uint64(n.ID)))}, Next: SpoofGuard})
	g := guardOf(r, h, n, here)
	g.pass(guardOwn, g.in, L2Dst)
	// A wire has no MACs for rows of l2DstStandby: this one says to a controller that
	// was restarted in the middle of a migration which claim was not in effect.
	feature := FeatOutput
	if isStandby(m, h) {
		feature = FeatStandby
	}
	r.add(row{Table: Output, Priority: outputPort, Feature: feature,
		Match: inNetwork(n).With(regEgress, flows.U(uint64(here.OFPort))), Do: []flows.Action{flows.Output{Port: here.OFPort}}})
	parts[memberID(seg, m)] = &r.part
}
