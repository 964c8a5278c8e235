package pipeline

import (
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Priorities in arp_nd.
const (
	arpOwn    = 100
	arpAnswer = 90
)

// arpNDHost are the rows that every host has.
func arpNDHost(r *rows) {
	r.add(row{Table: ARPND, Priority: 0, Feature: FeatARP, Match: match(), Next: L2Dst})
}

// arpNDMember answers requests for a member's addresses, wherever it is.
func arpNDMember(r *rows, h *topo.Host, n *topo.Network, m *topo.Member) {
	if m.Port.MAC.IsZero() {
		return
	}
	for _, a := range memberAddresses(m) {
		if !a.Is4() {
			continue
		}
		request := arpRequestFor(n, a)
		if here := localTo(m, h); here != nil {
			// The owner's own announcements and probes (RFC 5227) must not be
			// answered, or it would think its address taken.
			r.add(row{Table: ARPND, Priority: arpOwn, Feature: FeatARP,
				Match: request.With(flows.InPort, flows.U(uint64(here.OFPort))), Next: L2Dst})
		}
		arpNDAnswer(r, n, m, a)
	}
}

// arpNDDown answers requests for the addresses of a port that is down.
func arpNDDown(r *rows, n *topo.Network, m *topo.Member) {
	for _, a := range memberAddresses(m) {
		if a.Is4() {
			arpNDAnswer(r, n, m, a)
		}
	}
}

func arpNDAnswer(r *rows, n *topo.Network, m *topo.Member, a netip.Addr) {
	r.add(row{Table: ARPND, Priority: arpAnswer, Feature: FeatARP,
		Match: arpRequestFor(n, a), Do: arpAnswerActions(m.Port.MAC, a), Next: Output})
}

func arpRequestFor(n *topo.Network, a netip.Addr) flows.Match {
	return inNetwork(n).With(flows.EthType, flows.U(etherARP)).
		With(flows.ARPOp, flows.U(arpRequest)).With(flows.ARPTPA, flows.IP(a))
}

// arpAnswerActions turn a request into its answer (RFC 826) and point it back.
func arpAnswerActions(mac topo.MAC, a netip.Addr) []flows.Action {
	return []flows.Action{
		move(flows.EthSrc, flows.EthDst),
		flows.Set(flows.EthSrc, flows.MAC(mac)),
		flows.Set(flows.ARPOp, flows.U(arpReply)),
		move(flows.ARPSHA, flows.ARPTHA),
		move(flows.ARPSPA, flows.ARPTPA),
		flows.Set(flows.ARPSHA, flows.MAC(mac)),
		flows.Set(flows.ARPSPA, flows.IP(a)),
		// Back to where it came from, through output, which knows the tag. A
		// packet is not sent to its own in_port (OpenFlow 1.3.5 section A.2.1),
		// so in_port is taken away.
		flows.Move{Src: flows.Subfield{Field: flows.InPort, Bits: 16},
			Dst: flows.Subfield{Field: regEgress, Bits: 16}},
		flows.SetBits(flows.InPort, 0, 16, 0),
	}
}

func move(src, dst flows.Field) flows.Action {
	return flows.Move{Src: flows.Subfield{Field: src, Bits: src.Bits()},
		Dst: flows.Subfield{Field: dst, Bits: dst.Bits()}}
}
