package cases

import (
	p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// trunks: tags come off, go on and are kept off other networks.
func trunks(b *builder) {
	n, h := b.networks(3, topo.AnswerBound), b.someHosts(2)
	near := b.trunk(h[0], topo.Profile(b.IntN(2)), n[0], n[1], n[2])
	bare := b.trunk(h[0], topo.Profile(b.IntN(2)), nil, n[1])
	far := b.trunk(h[1], topo.ProfileHost, n[0], n[1])
	access := b.guest(n[1], h[1], nothing)
	native, one, two := near[0], near[1], near[2]
	other := b.vlan(near[0].port.Trunk)

	b.packet("from a VLAN to the same network's on another trunk", one, plain(one, far[1]), to(far[1]), by(p.FeatClassify, p.FeatOutput), notBy(p.DropVLANNotAllowed))
	b.packet("with a priority, to a trunk", one, priority(5, plain(one, bare[0])), to(bare[0]), by(p.FeatClassify))
	b.packet("with a priority, to an access port", one, priority(5, plain(one, access)), to(access), by(p.FeatClassify))
	b.packet("from an access port to a VLAN", access, plain(access, one), to(one), by(p.FeatOutput))
	b.packet("from an access port, its priority lost", access, priority(5, plain(access, one)), to(one), by(p.FeatOutput))
	b.packet("from the native network to another trunk's", native, plain(native, far[0]), to(far[0]), by(p.FeatClassify))
	b.packet("from the native network, with a priority", native, priority(6, plain(native, far[0])), to(far[0]), by(p.FeatClassify))
	b.packet("VLAN ID 0 without a priority", native, priority(0, plain(native, far[0])), to(far[0]), by(p.FeatClassify))
	b.packet("by a tunnel to a VLAN, with a priority", arrives(h[0], h[1], n[1]), priority(3, plain(access, one)), to(one), by(p.FeatClassify))
	b.packet("flooded to ports of every form", one, priority(1, typed(one, broadcast, experimental)), everyone(n[1]), by(p.FeatFlood))
	b.packet("flooded on one VLAN, and no other", two, typed(two, broadcast, experimental), everyone(n[2]), by(p.FeatFlood))
	b.packet("a VLAN ID that the trunk does not carry", native, tag(other, 0, plain(native, far[0])), by(p.DropVLANNotAllowed), notBy(p.FeatClassify))
	b.packet("untagged, where there is no native network", bare[0], plain(bare[0].untagged(), one), by(p.DropVLANNotAllowed), notBy(p.FeatClassify))
	b.packet("the VLAN ID that means nothing", native, tag(4095, 0, plain(native, far[0])), by(p.DropVLANNotAllowed), notBy(p.FeatClassify))
}
