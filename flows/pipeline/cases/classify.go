package cases

import p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"

// classify: which network a frame is in.
func classify(b *builder) {
	n, h := b.network(), b.someHosts(3)
	a, c, d := b.guest(n, h[0], nothing), b.guest(n, h[0], ipv4), b.guest(n, h[1], nothing)
	in, nobody, second := arrives(h[1], h[0], n), b.stray(h[2]), b.rival(a, h[2])

	b.packet("untagged", a, plain(a, c), to(c), by(p.FeatClassify), notBy(p.DropVLANNotAllowed, p.DropUnclaimedPort))
	b.packet("VLAN ID 0, which is none", a, tag(0, 5, plain(a, d)), to(d), by(p.FeatClassify))
	b.packet("a VLAN ID on an access port", a, tag(7, 0, plain(a, c)), by(p.DropVLANNotAllowed), notBy(p.FeatClassify))
	b.packet("by a tunnel", in, plain(a, d), to(d), by(p.FeatClassify), notBy(p.DropUnknownKey))
	b.packet("by a tunnel, with priority bits", in, tag(0, 3, plain(a, d)), to(d), by(p.FeatClassify))
	b.packet("by a tunnel, with a VLAN ID", in, tag(7, 0, plain(a, d)), by(p.DropVLANNotAllowed), notBy(p.FeatClassify))
	b.packet("from an interface that claims a port that nobody declared", nobody, plain(nobody, c), by(p.DropUnclaimedPort))
	b.packet("from an interface that claims a port that is elsewhere", second, plain(second, c), by(p.DropUnclaimedPort))
}
