package pipeline

import (
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Priorities in l2_dst.
const (
	l2Wire      = 200
	l2WireRest  = 190 // above multicast, which a wire does not flood
	l2Standby   = 110 // before l2Known, for those that others have sent here already
	l2Known     = 100
	l2Multicast = 50
	l2Unknown   = 10
)

// l2DstHost are the rows that every host has.
func l2DstHost(r *rows) {
	r.add(row{Table: L2Dst, Priority: l2Multicast, Feature: FeatL2,
		Match: match().WithMask(flows.EthDst, flows.U(1<<40), flows.U(1<<40)), Next: Flood})
	r.drop(L2Dst, 0, DropNoRow, match())
}

// l2DstUnknown is the network's row for a MAC that nobody is known to have.
func l2DstUnknown(r *rows, s *topo.Segment) {
	if floodsUnknown(s) {
		r.add(row{Table: L2Dst, Priority: l2Unknown, Feature: FeatL2, Match: inNetwork(s.Network), Next: Flood})
		return
	}
	r.drop(L2Dst, l2Unknown, DropUnknownUnicast, inNetwork(s.Network))
}

// floodsUnknown reports whether the network has a port behind which there may
// be MACs that nobody declared.
func floodsUnknown(s *topo.Segment) bool {
	for _, m := range s.Members {
		if m.Port.Profile == topo.ProfileSwitch {
			return true
		}
	}
	return false
}

// l2DstMember sends a member's MAC, and those learned behind it, to it, wherever it is.
func l2DstMember(r *rows, h *topo.Host, n *topo.Network, m *topo.Member) {
	to := func(feature Feature, mac topo.MAC) {
		w := row{Table: L2Dst, Priority: l2Known, Feature: feature,
			Match: inNetwork(n).With(flows.EthDst, flows.MAC(mac)), Next: Output}
		if isLocal(m, h) {
			w.Do = []flows.Action{flows.Set(regEgress, flows.U(uint64(m.OFPort)))}
		} else {
			w.Do = []flows.Action{toTEP(m.Host), flows.Set(regEgress, flows.U(egressTunnel))}
		}
		r.add(w)
	}
	if !m.Port.MAC.IsZero() {
		to(FeatL2, m.Port.MAC)
	}
	if m.Learned != nil {
		for _, mac := range m.Learned.MACs {
			to(FeatLearned, mac)
		}
	}
}

// l2DstDown drops what is for a port that is down: it is known to be nowhere.
func l2DstDown(r *rows, n *topo.Network, m *topo.Member) {
	r.drop(L2Dst, l2Known, DropPortDown, inNetwork(n).With(flows.EthDst, flows.MAC(m.Port.MAC)))
}

// l2DstStandby delivers what other hosts send to a port that is on standby here:
// they have heard of the cut-over already, or not yet of the return. So it does not
// matter which host's switch follows first, and no frame takes both ways.
func l2DstStandby(r *rows, n *topo.Network, here *topo.Member) {
	to := func(mac topo.MAC) {
		r.add(row{Table: L2Dst, Priority: l2Standby, Feature: FeatStandby,
			Match: inNetwork(n).With(regOrigin, flows.U(originTunnel)).With(flows.EthDst, flows.MAC(mac)),
			Do:    []flows.Action{flows.Set(regEgress, flows.U(uint64(here.OFPort)))}, Next: Output})
	}
	if !here.Port.MAC.IsZero() {
		to(here.Port.MAC)
	}
	if here.Learned != nil {
		for _, mac := range here.Learned.MACs {
			to(mac)
		}
	}
}

// toTEP sets the outer destination to the host's tunnel endpoint.
func toTEP(h *topo.Host) flows.Action {
	if h.TEP.Is6() {
		return flows.Set(flows.TunIPv6Dst, flows.IP(h.TEP))
	}
	return flows.Set(flows.TunIPv4Dst, flows.IP(h.TEP))
}
