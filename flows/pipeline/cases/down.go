package cases

import (
	p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// downPorts: a port that is bound nowhere is answered for where the network says so.
func downPorts(b *builder) {
	n, h := b.networks(1, topo.AnswerDeclared)[0], b.someHosts(2)
	a, sw, off := b.guest(n, h[0], ipv4), b.bridge(n, h[1], 0), b.guest(n, nil, ipv4and6)
	trunk := b.trunk(nil, topo.ProfileHost, nil, n)[0]

	b.packet("asked for", a, asks(a, off.ip4), as(a, tells(off, a)), by(p.FeatARP), notBy(p.FeatFlood))
	b.packet("sent to", a, plain(a, off), by(p.DropPortDown), notBy(p.FeatL2, p.DropUnknownUnicast))
	b.packet("sent to by a tunnel", arrives(h[1], h[0], n), plain(a, off), by(p.DropPortDown), notBy(p.FeatL2))
	b.packet("its MAC is not to be had", sw, plain(sw.withMAC(off.mac), a), by(p.DropTakenMAC), notBy(p.FeatLearn))
	b.packet("sent to, a trunk", a, plain(a, trunk), by(p.DropPortDown), notBy(p.FeatL2))
	b.packet("a port that is up is sent to", a, plain(a, sw), to(sw), by(p.FeatL2), notBy(p.DropPortDown))

	// Where nobody is answered for who is not there.
	bound := b.private(topo.AnswerBound)
	c, gone := b.guest(bound, h[0], ipv4), b.guest(bound, nil, ipv4)
	b.guest(bound, h[1], nothing)
	b.packet("asked for, and not answered", c, asks(c, gone.ip4), everyone(bound), by(p.FeatFlood))
	b.packet("sent to, and not known", c, plain(c, gone), by(p.DropUnknownUnicast), notBy(p.DropPortDown))
	open := b.private(topo.AnswerBound)
	x, y, z := b.guest(open, h[0], nothing), b.bridge(open, h[1], 0), b.guest(open, nil, nothing)
	b.packet("its MAC, where it is not answered for", y, plain(y.withMAC(z.mac), x), told, to(x), by(p.FeatLearn), notBy(p.DropTakenMAC))
	b.packet("sent to, where it may be behind a switch", x, plain(x, z), everyone(open), by(p.FeatFlood), notBy(p.DropPortDown))
}
