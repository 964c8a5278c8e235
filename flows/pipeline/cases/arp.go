package cases

import (
	p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// arps: a request for a known address is answered where it is asked.
func arps(b *builder) {
	n, h := b.network(), b.someHosts(2)
	a, c, d, e := b.guest(n, h[0], ipv4), b.guest(n, h[0], ipv4), b.guest(n, h[1], ipv4and6), b.guest(n, h[1], nothing)
	t := b.trunk(h[0], topo.ProfileHost, nil, n)[0]

	b.packet("for an address here", a, asks(a, c.ip4), as(a, tells(c, a)), by(p.FeatARP, p.FeatOutput), notBy(p.FeatFlood))
	b.packet("for an address on another host", a, asks(a, d.ip4), as(a, tells(d, a)), by(p.FeatARP, p.FeatOutput), notBy(p.FeatFlood))
	b.packet("by a probe", a, asks(a.withIP(none4), d.ip4), as(a, tells(d, a.withIP(none4))), by(p.FeatARP), notBy(p.FeatFlood))
	b.packet("on a trunk", t, priority(4, asks(t, d.ip4)), as(t, priority(4, tells(d, t))), by(p.FeatARP), notBy(p.FeatFlood))
	b.packet("sent to its owner alone", a, arp(a, d.mac, 1, d.mac, d.addr4()), as(a, tells(d, a)), by(p.FeatARP))
	b.packet("for its own address", a, asks(a, a.ip4), everyone(n), by(p.FeatARP, p.FeatFlood))
	b.packet("for an address that nobody declared", a, asks(a, strange4), everyone(n), by(p.FeatARP, p.FeatFlood))
	b.packet("an answer", a, tells(a, d), to(d), by(p.FeatARP, p.FeatL2))
	b.packet("by a tunnel, where it was not answered", arrives(h[1], h[0], n), asks(a, d.ip4), everyone(n), by(p.FeatFlood), notBy(p.FeatARP))
	b.packet("no ARP", a, udp(a, e), to(e), by(p.FeatL2), notBy(p.FeatARP))
}
