package pipeline

import (
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Learning of source MACs: what a port of profile switch may send from, and where
// what was learned is sent to. A frame from a MAC that is not learned goes on and a
// copy of it tells the controller (FeatLearn), until the port is full; then such
// frames are dropped. The rows of learned MACs (FeatLearned) let theirs go on
// without telling anybody.

// Priorities of learning in spoof_guard.
const (
	guardSource  = 130 // no frame has such a source, whatever else is known
	guardLearned = 100
	guardTaken   = 65 // below what the port's own MAC and those learned have
	guardLearn   = 60
)

// Copies for the controller, of each port: enough for a switch with all of its
// stations waking up at once to be learned within a second, and little enough that
// a host full of flooding ports is no load for a controller.
const (
	learnRate  = 100 // copies a second
	learnBurst = 200 // copies at once
	// learnLen is how much of a frame is asked for, in bytes: the Ethernet header.
	learnLen = 14
)

// ownMeters is how many port numbers have a meter of their own: Open vSwitch gives
// out numbers below it. Those above are only had by asking for them (ofport_request)
// and share one, since a switch has fewer meters than numbers.
const ownMeters = 0x8000

// meterOf is the meter for the copies of the local port with that number, and the
// owner of the part that it is in.
func meterOf(h *topo.Host, m *topo.Member) (id uint32, owner topo.ID) {
	if m.OFPort < ownMeters {
		return flows.MeterMin + m.OFPort, m.Port.ID
	}
	return flows.MeterMin, h.ID
}

// learnMeter is the meter that limits the copies.
func learnMeter(r *rows, id uint32) {
	r.part.Meters = append(r.part.Meters, &flows.Meter{ID: id, Pktps: true,
		Bands: []flows.MeterBand{{Rate: learnRate, Burst: learnBurst}}})
}

// learned guards a port of profile switch: the network and the VLAN list
// decide what gets here, and the number of source MACs is limited.
func (g *guard) learned(h *topo.Host, m *topo.Member) {
	g.drop(guardSource, DropInvalidSource, g.in.WithMask(flows.EthSrc, flows.U(1<<40), flows.U(1<<40)))
	g.drop(guardSource, DropInvalidSource, g.in.With(flows.EthSrc, flows.U(0)))
	if !m.Port.MAC.IsZero() {
		g.pass(guardLearned, g.in.With(flows.EthSrc, flows.MAC(m.Port.MAC)), ARPND)
	}
	for _, mac := range m.Learned.MACs {
		from := g.in.With(flows.EthSrc, flows.MAC(mac))
		if isAwaited(m) {
			g.pass(guardLearned, from, ARPND)
			continue
		}
		g.r.add(row{Table: SpoofGuard, Priority: guardLearned, Feature: FeatLearned, Match: from, Next: ARPND})
	}
	if m.Learned.Full {
		g.drop(guardLearn, DropMACLimit, g.in)
		return
	}
	if isAwaited(m) {
		// Where the port is not in effect nothing is learned; once it has arrived,
		// the next frame is.
		g.pass(guardLearn, g.in, ARPND)
		return
	}
	meter, _ := meterOf(h, m)
	g.r.add(row{Table: SpoofGuard, Priority: guardLearn, Feature: FeatLearn, Match: g.in,
		Do: []flows.Action{flows.ToController{MaxLen: learnLen, Meter: meter}}, Next: ARPND})
}

// spoofGuardTaken keeps the ports of profile switch on this host from sending in the
// name of a member, wherever that is.
func spoofGuardTaken(r *rows, n *topo.Network, m *topo.Member) {
	if m.Port.MAC.IsZero() {
		return
	}
	r.drop(SpoofGuard, guardTaken, DropTakenMAC,
		inNetwork(n).With(regOrigin, flows.U(originSwitch)).With(flows.EthSrc, flows.MAC(m.Port.MAC)))
}

// Sighting is what a copy that a FeatLearn row sent to the controller says: the
// network and the source MAC, false if it does not say so. Nothing of it is to be
// believed before topo has compared it with what is declared and bound.
func Sighting(in flows.Match, frame []byte) (network topo.ID, mac topo.MAC, ok bool) {
	reg, found := in.Get(regNetwork)
	if !found || len(frame) < 12 || reg.Value.Lo > uint64(topo.MaxID) {
		return 0, topo.MAC{}, false
	}
	return topo.ID(reg.Value.Lo), topo.MAC(frame[6:12]), true
}

// LearnedRow is what a row of a learned MAC is about; ok is false for other rows.
type LearnedRow struct {
	Network, Port topo.ID
	MAC           topo.MAC
	// Source says that it is the row that frames from the MAC pass, and not one of
	// those that send to it.
	Source bool
}

// Learned reads a flow of a switch as the row of a learned MAC.
func Learned(f *flows.Flow) (l LearnedRow, ok bool) {
	if !f.Cookie.Ours() || f.Cookie.Generation() != Generation || Feature(f.Cookie.Feature()) != FeatLearned {
		return l, false
	}
	field := flows.EthDst
	if l.Source = Table(f.Table) == SpoofGuard; l.Source {
		field = flows.EthSrc
	}
	network, found := f.Match.Get(regNetwork)
	mac, named := f.Match.Get(field)
	if !found || !named || mac.Mask != field.FullMask() || network.Value.Lo > uint64(topo.MaxID) || f.Cookie.Owner() > uint32(topo.MaxID) {
		return l, false
	}
	l.Network, l.Port = topo.ID(network.Value.Lo), topo.ID(f.Cookie.Owner())
	for i := range l.MAC {
		l.MAC[i] = byte(mac.Value.Lo >> (40 - 8*i))
	}
	return l, true
}
