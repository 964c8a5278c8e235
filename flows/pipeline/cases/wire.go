package cases

import (
	p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// wires: what goes in at one end comes out at the other, whatever it is.
func wires(b *builder) {
	h := b.someHosts(4)
	a, z := b.wire(h[0], h[1])
	l, r := b.wire(h[0], h[0])
	for _, w := range [][2]*member{{a, z}, {z, a}, {l, r}, {r, l}} {
		m := w[0]
		for _, sent := range []struct {
			what  string
			frame []byte
		}{
			{"LLDP", typed(m, topo.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0e}, 0x88cc)},
			{"a tag", tag(7, 3, plain(m, m))},
			{"VLAN ID 0", tag(0, 0, plain(m, m))},
			{"two tags", push(tagS, 5, 1, tag(6, 2, plain(m, m)))},
			{"to all", typed(m, broadcast, experimental)},
			{"from nobody", plain(m.withMAC(zero), m)},
			{"from a group", plain(m.withMAC(multicast), m)},
			{"ARP", asks(m, strange4)},
			{"IPv6", udp6(m, m)},
		} {
			b.packet(sent.what, m, sent.frame, to(w[1]), by(p.FeatClassify, p.FeatSpoofGuard, p.FeatL2, p.FeatOutput),
				notBy(p.DropLLDP, p.DropDoubleTag, p.DropVLANNotAllowed, p.DropInvalidSource, p.DropNoFarEnd, p.FeatARP, p.FeatFlood))
		}
	}
	b.packet("by the tunnel", arrives(h[1], h[0], a.net), tag(9, 0, plain(a, z)), to(z), by(p.FeatClassify, p.FeatOutput))
	b.packet("by the tunnel, from nobody's address", arrives(h[1], h[0], a.net).from(b.unknownTEP()), plain(a, z), by(p.DropUnknownTEP))

	// One end only.
	loose, _ := b.wire(h[2], nil)
	b.packet("the other end is nowhere", loose, plain(loose, loose), by(p.DropNoFarEnd), notBy(p.FeatL2))
	b.packet("by the tunnel, to a wire with one end", arrives(h[2], h[0], loose.net), plain(loose, loose), by(p.DropUnknownKey))

	// An end on a host that has no tunnel for it.
	n := b.addNetwork(topo.Network{Type: topo.TypeWire})
	cut, _ := b.end(n, b.without(n.Encap)), b.end(n, h[3])
	b.packet("no tunnel to the other end", cut, plain(cut, cut), by(p.DropNoFarEnd), notBy(p.FeatL2))

	// One end is being migrated.
	m, far := b.wire(h[0], h[1])
	s := b.migrate(m, h[2])
	b.packet("to an end that is about to go", far, plain(far, m), to(m), by(p.FeatOutput), notBy(p.FeatStandby))
	b.packet("to an end on standby, from a host that has cut over", arrives(h[2], h[1], m.net), plain(far, m), to(s), by(p.FeatStandby))
	b.packet("from an end on standby", s, tag(3, 0, plain(s, far)), told, to(far), by(p.FeatArrival))

	// And arrives on the host where the other one is.
	left, q := b.wire(h[0], h[3])
	home := b.migrate(left, h[3])
	b.cut(left, home)
	b.packet("both ends on one host now", q, plain(q, home), to(home), by(p.FeatOutput), notBy(p.FeatStandby))
	b.packet("and back", home, plain(home, q), to(q), by(p.FeatOutput), notBy(p.FeatArrival))
	b.packet("from the end that was left", left, plain(left, q), to(q), by(p.FeatOutput), notBy(p.FeatArrival))

	// Both ends are being migrated, each to where the other one is.
	u, v := b.wire(h[0], h[1])
	us, vs := b.migrate(u, h[1]), b.migrate(v, h[0])
	b.packet("to where an end is in effect, and not on standby", u, plain(u, v), to(v), by(p.FeatOutput), notBy(p.FeatStandby))
	b.packet("to where the other one is", v, plain(v, u), to(u), by(p.FeatOutput), notBy(p.FeatStandby))
	b.packet("from standby to the other end here", us, plain(us, v), told, to(v), by(p.FeatArrival), notBy(p.FeatStandby))
	b.packet("from the other one's standby", vs, plain(vs, u), told, to(u), by(p.FeatArrival), notBy(p.FeatStandby))
}
