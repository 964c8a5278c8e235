package cases

import (
	p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// doubleTags: nothing with two tags passes, but by a wire.
func doubleTags(b *builder) {
	n, h := b.network(), b.someHosts(2)
	a, c := b.guest(n, h[0], nothing), b.guest(n, h[1], nothing)
	t := b.trunk(h[0], topo.ProfileSwitch, nil, n)[0]

	for _, outer := range []uint16{tagC, tagS} {
		for _, inner := range []uint16{tagC, tagS} {
			b.packet("two tags on an access port", a, push(outer, 0, 0, push(inner, 7, 0, plain(a, c))), by(p.DropDoubleTag), notBy(p.FeatClassify))
			b.packet("two tags on a trunk", t, push(outer, t.vlan, 2, push(inner, 0, 0, plain(t.untagged(), c))), by(p.DropDoubleTag), notBy(p.FeatClassify))
			b.packet("two tags by a tunnel", arrives(h[1], h[0], n), push(outer, 0, 0, push(inner, 0, 0, plain(a, c))), by(p.DropDoubleTag), notBy(p.FeatClassify))
		}
	}
	b.packet("one tag", t, plain(t, c), to(c), by(p.FeatClassify), notBy(p.DropDoubleTag))
	b.packet("one tag, and what looks like one in the payload", a, typed(a, c.mac, 0x9100), to(c), by(p.FeatClassify), notBy(p.DropDoubleTag))
}
