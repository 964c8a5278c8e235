package pipeline

import (
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Priorities in classify.
const (
	classifyWire       = 400 // a wire's frames, whatever they are
	classifyDoubleTag  = 300
	classifyProtocol   = 270 // control frames, by Ethernet type
	classifyControl    = 260 // by address
	classifyControlAny = 250
	classifyMember     = 200 // a network's frames, and probes
	classifyMemberTag  = 190 // those with priority bits
	classifyTrunkRest  = 50
	classifyTaggedRest = 40 // also in a tunnel, whatever the key
	classifyTunnelRest = 30
)

// classifyHost are the rows of classify that every host has.
func classifyHost(r *rows, h *topo.Host) {
	// A tag under the tag would come to light when the outer one is taken off,
	// and could name a VLAN of another port: nothing with two tags passes.
	for _, tpid := range []uint64{etherVLAN, etherSTag} {
		r.drop(Classify, classifyDoubleTag, DropDoubleTag, match().With(flows.EthType, flows.U(tpid)))
	}
	classifyControlFrames(r)
	probeRows(r, h)
	for e := topo.GRE; e <= topo.Geneve; e++ {
		if n := h.Tunnel(e); n != 0 {
			r.drop(Classify, classifyTunnelRest, DropUnknownKey, match().With(flows.InPort, flows.U(uint64(n))))
		}
	}
	r.drop(Classify, classifyTaggedRest, DropVLANNotAllowed,
		match().WithMask(flows.VLANVID, flows.U(vlanPresent), flows.U(vlanPresent)))
	r.drop(Classify, 0, DropUnclaimedPort, match())
}

// classifyTunnel takes a network's frames from its encapsulation's tunnel port.
func classifyTunnel(r *rows, n *topo.Network, tunnel uint32) {
	r.add(row{
		Table: Classify, Priority: classifyMember, Feature: FeatClassify,
		Match: match().With(flows.InPort, flows.U(uint64(tunnel))).
			With(flows.TunID, flows.U(uint64(n.Key))).
			WithMask(flows.VLANVID, flows.U(0), flows.U(0xfff)),
		Do: []flows.Action{
			flows.Set(regNetwork, flows.U(uint64(n.ID))),
			flows.Set(regOrigin, flows.U(originTunnel)),
		},
		Next: SpoofGuard,
	})
}

// classifyMemberRows take what a local member sends into the network.
func classifyMemberRows(r *rows, n *topo.Network, m *topo.Member) {
	in := match().With(flows.InPort, flows.U(uint64(m.OFPort)))
	is := []flows.Action{flows.Set(regNetwork, flows.U(uint64(n.ID)))}
	if m.Learned != nil {
		is = append(is, flows.Set(regOrigin, flows.U(originSwitch)))
	}
	claim := func(priority uint16, m flows.Match, do ...flows.Action) {
		r.add(row{Table: Classify, Priority: priority, Feature: FeatClassify,
			Match: m, Do: append(do, is...), Next: SpoofGuard})
	}
	if m.Sub == nil {
		// VLAN ID 0 is no VLAN. Its priority bits go: an access guest has a
		// full-size MTU, and a tag inside the tunnel would not fit.
		claim(classifyMember, in.WithMask(flows.VLANVID, flows.U(0), flows.U(0xfff)), untag())
		return
	}
	if m.Sub.VLAN == 0 {
		claim(classifyMember, in.With(flows.VLANVID, flows.U(0)))
	}
	vid := in.With(flows.VLANVID, flows.U(vlanPresent|uint64(m.Sub.VLAN)))
	claim(classifyMember, vid.With(flows.VLANPCP, flows.U(0)), untag())
	if m.Sub.VLAN == 0 {
		claim(classifyMemberTag, vid)
	} else {
		claim(classifyMemberTag, vid, setVID(0))
	}
}

// classifyTrunkPort drops, under the port's own name, what a trunk does not carry.
func classifyTrunkPort(r *rows, m *topo.Member) {
	r.drop(Classify, classifyTrunkRest, DropVLANNotAllowed, match().With(flows.InPort, flows.U(uint64(m.OFPort))))
}
