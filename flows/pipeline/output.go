package pipeline

import (
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Priorities in output.
const (
	outputSplitHorizon = 200
	outputPort         = 100
)

// outputHost are the rows that every host has.
func outputHost(r *rows) {
	r.drop(Output, outputSplitHorizon, DropSplitHorizon,
		match().With(regOrigin, flows.U(originTunnel)).With(regEgress, flows.U(egressTunnel)))
	r.drop(Output, 0, DropNoRow, match())
}

// outputTunnel sends a network's frames out under its key.
func outputTunnel(r *rows, n *topo.Network, tunnel uint32) {
	r.add(row{Table: Output, Priority: outputPort, Feature: FeatOutput,
		Match: inNetwork(n).With(regEgress, flows.U(egressTunnel)),
		Do:    []flows.Action{setKey(n), flows.Output{Port: tunnel}}})
}

func setKey(n *topo.Network) flows.Action { return flows.Set(flows.TunID, flows.U(uint64(n.Key))) }

// outputMember sends a network's frames to a local member.
func outputMember(r *rows, n *topo.Network, m *topo.Member) {
	r.add(row{Table: Output, Priority: outputPort, Feature: FeatOutput,
		Match: inNetwork(n).With(regEgress, flows.U(uint64(m.OFPort))),
		Do:    deliver(m)})
}

// deliver gives a frame the form that the member's port carries and sends it.
func deliver(m *topo.Member) []flows.Action {
	out := flows.Output{Port: m.OFPort}
	switch {
	case m.Sub == nil:
		return []flows.Action{untag(), out}
	case m.Sub.VLAN == 0:
		// Untagged, or priority-tagged where there are priority bits to keep. A
		// switch whose vlan-limit was raised shows, and strips, one tag of two:
		// whatever is left must not name a VLAN of this trunk.
		return []flows.Action{flows.SetBits(flows.VLANTCI, 0, 12, 0), out}
	}
	return []flows.Action{setVID(m.Sub.VLAN), out}
}
