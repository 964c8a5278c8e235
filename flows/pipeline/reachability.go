package pipeline

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Reachability: whether packets pass from one host to another is found out by sending
// one. The controller has a host send a probe by a tunnel (a packet-out, which needs no
// flow there), under a key that no network has, and the row of the other host tells the
// controller of it. No guest can send or get one: no row of a network has the key.

const (
	// ProbeKey is the tunnel key of probes. topo gives it to no network, since it is what
	// a tunnel without a key looks like.
	ProbeKey = 0
	// ProbeLen is the length of a probe's frame, the shortest that Ethernet has.
	ProbeLen = 60

	// etherProbe is the first Ethernet type for local experiments (IEEE Std 802-2014
	// section 9.2.4): nobody else's protocol is taken for a probe.
	etherProbe = 0x88b5
	// Locally administered addresses, made of the magic of our cookies.
	macProbeFrom = 0x020fc7000001
	macProbeTo   = 0x020fc7000002
)

// Probes that come to a host, from all of its peers: above what the controller makes
// peers send it (controller/reach.go), and little enough that forged ones are no load.
const (
	probeRate  = 100 // a second
	probeBurst = 200 // at once
	// probeMeter lies above those of ports.
	probeMeter = flows.MeterMin + ownMeters
)

// probeRows tell the controller of the probes that come by a host's tunnel ports.
func probeRows(r *rows, h *topo.Host) {
	for e := topo.GRE; e <= topo.Geneve; e++ {
		n := h.Tunnel(e)
		if n == 0 {
			continue
		}
		r.add(row{Table: Classify, Priority: classifyMember, Feature: FeatReachability,
			Match: match().With(flows.InPort, flows.U(uint64(n))).With(flows.TunID, flows.U(ProbeKey)).
				With(flows.VLANVID, flows.U(0)).With(flows.EthType, flows.U(etherProbe)).With(flows.EthDst, flows.U(macProbeTo)),
			Do: []flows.Action{flows.ToController{MaxLen: ProbeLen, Meter: probeMeter}}})
		if r.part.Meters == nil {
			r.part.Meters = []*flows.Meter{{ID: probeMeter, Pktps: true, Bands: []flows.MeterBand{{Rate: probeRate, Burst: probeBurst}}}}
		}
	}
}

// Peer is a host to which another one sends, over one encapsulation.
type Peer struct {
	Host  *topo.Host
	Encap topo.Encap
}

// PeersOf are the peers of a host in networks present there: those whose tunnel
// endpoints it lets in, by the encapsulations of the networks. They ascend by host ID,
// then encapsulation.
func PeersOf(h *topo.Host, segments []*topo.Segment) []Peer {
	found := map[Peer]bool{}
	for _, seg := range segments {
		if h.Tunnel(seg.Network.Encap) == 0 {
			continue
		}
		for _, m := range seg.Members {
			for peer := range peersOf(m, h) {
				if peer.Tunnel(seg.Network.Encap) != 0 {
					found[Peer{peer, seg.Network.Encap}] = true
				}
			}
		}
	}
	out := make([]Peer, 0, len(found))
	for p := range found {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(a.Host.ID, b.Host.ID), cmp.Compare(a.Encap, b.Encap))
	})
	return out
}

// Nonce tells a probe that the controller made from one that somebody else did.
type Nonce [16]byte

// Probe is what a probe says: which host sent it to which.
type Probe struct {
	Nonce    Nonce
	From, To topo.ID
}

// Frame is the probe as an Ethernet frame.
func (p Probe) Frame() []byte {
	b := make([]byte, 0, ProbeLen)
	b = append(b, binary.BigEndian.AppendUint64(nil, macProbeTo)[2:]...)
	b = append(b, binary.BigEndian.AppendUint64(nil, macProbeFrom)[2:]...)
	b = binary.BigEndian.AppendUint16(b, etherProbe)
	b = append(b, p.Nonce[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(p.From))
	b = binary.BigEndian.AppendUint32(b, uint32(p.To))
	return b[:ProbeLen]
}

// Send are the actions that send a probe's frame to a peer by a tunnel port.
func (p Peer) Send(tunnel uint32) []flows.Action {
	return []flows.Action{flows.Set(flows.TunID, flows.U(ProbeKey)), toTEP(p.Host), flows.Output{Port: tunnel}}
}

// ReadProbe is what a FeatReachability row told the controller: the probe, and the
// tunnel endpoint that sent it; false if it does not say so. Nothing of it is to be
// believed unless the nonce is known.
func ReadProbe(in flows.Match, frame []byte) (p Probe, from netip.Addr, ok bool) {
	const head = 14
	if len(frame) < head+len(p.Nonce)+8 || binary.BigEndian.Uint16(frame[head-2:]) != etherProbe {
		return Probe{}, netip.Addr{}, false
	}
	body := frame[head+copy(p.Nonce[:], frame[head:]):]
	a, b := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
	if from, ok = tunnelSource(in); !ok || a > uint32(topo.MaxID) || b > uint32(topo.MaxID) {
		return Probe{}, netip.Addr{}, false
	}
	p.From, p.To = topo.ID(a), topo.ID(b)
	return p, from, true
}

// tunnelSource is the outer source address of a packet that came by a tunnel.
func tunnelSource(in flows.Match) (netip.Addr, bool) {
	if m, ok := in.Get(flows.TunIPv4Src); ok {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(m.Value.Lo)))), true
	}
	if m, ok := in.Get(flows.TunIPv6Src); ok {
		b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, m.Value.Hi), m.Value.Lo)
		return netip.AddrFrom16([16]byte(b)), true
	}
	return netip.Addr{}, false
}
