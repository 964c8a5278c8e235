package cases

import (
	p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// controlFrames: what is for the next switch ends here, under its protocol's name.
func controlFrames(b *builder) {
	n, h := b.network(), b.someHosts(2)
	a, c := b.guest(n, h[0], nothing), b.guest(n, h[1], nothing)
	bare := b.trunk(h[0], topo.ProfileHost, nil, n)[0].untagged()
	group := func(last byte) topo.MAC { return topo.MAC{0x01, 0x80, 0xc2, 0, 0, last} }
	cisco := func(last byte) topo.MAC { return topo.MAC{0x01, 0x00, 0x0c, 0xcc, 0xcc, last} }
	const lldp, slow, pause, eapol, mvrp, stp, snap = 0x88cc, 0x8809, 0x8808, 0x888e, 0x88f5, 0x42, 0xaa

	b.packet("LLDP", a, typed(a, group(0x0e), lldp), by(p.DropLLDP), notBy(p.DropControlFrame))
	b.packet("LLDP to the address of spanning tree", a, typed(a, group(0), lldp), by(p.DropLLDP), notBy(p.DropSTP))
	b.packet("LLDP to a station", a, typed(a, c.mac, lldp), by(p.DropLLDP))
	b.packet("LLDP on a trunk without a native network", bare, typed(bare, group(0x0e), lldp), by(p.DropLLDP), notBy(p.DropVLANNotAllowed))
	b.packet("LLDP under a tag", a, tag(7, 0, typed(a, group(0x0e), lldp)), by(p.DropLLDP), notBy(p.DropVLANNotAllowed))
	b.packet("LLDP by a tunnel", arrives(h[1], h[0], n), typed(a, group(0x0e), lldp), by(p.DropLLDP))
	b.packet("LACP", a, typed(a, group(2), slow), by(p.DropSlow), notBy(p.DropControlFrame))
	b.packet("LACP to a station", a, typed(a, c.mac, slow), by(p.DropSlow))
	b.packet("PAUSE", a, typed(a, group(1), pause), by(p.DropPause), notBy(p.DropControlFrame))
	b.packet("PAUSE to a station", a, typed(a, c.mac, pause), by(p.DropPause))
	b.packet("802.1X", a, typed(a, group(3), eapol), by(p.Drop8021X), notBy(p.DropControlFrame))
	b.packet("802.1X to a station", a, typed(a, c.mac, eapol), to(c), by(p.FeatL2), notBy(p.Drop8021X))
	b.packet("spanning tree", a, llc(a, group(0), stp), by(p.DropSTP), notBy(p.DropControlFrame))
	b.packet("spanning tree of a provider bridge", a, llc(a, group(8), stp), by(p.DropSTP), notBy(p.DropControlFrame))
	b.packet("PVST+", a, llc(a, cisco(0xcd), snap), by(p.DropSTP), notBy(p.DropCisco))
	b.packet("CDP", a, llc(a, cisco(0xcc), snap), by(p.DropCisco), notBy(p.DropSTP))
	b.packet("an LLC frame to a station", a, llc(a, c.mac, stp), to(c), by(p.FeatL2), notBy(p.DropSTP, p.DropCisco, p.DropControlFrame))
	b.packet("another protocol at a reserved address", a, typed(a, group(0x0d), experimental), by(p.DropControlFrame))
	b.packet("an LLC frame at a reserved address", a, llc(a, group(5), stp), by(p.DropControlFrame), notBy(p.DropSTP))
	b.packet("a group address that bridges forward", a, typed(a, group(0x21), mvrp), everyone(n), by(p.FeatFlood), notBy(p.DropControlFrame, p.DropLLDP, p.DropSlow, p.DropPause))
}
