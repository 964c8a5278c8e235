package cases

import (
	p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// migrations: a port that is on two hosts gets each frame once, and shows when it has arrived.
func migrations(b *builder) {
	n, h := b.network(), b.someHosts(4)
	from, dst, third := h[0], h[1], h[2]
	c, e := b.guest(n, third, ipv4and6), b.guest(n, dst, nothing)

	// Prepared: the standby host has all rows, and waits.
	a := b.guest(n, from, ipv4and6)
	s := b.migrate(a, dst)
	b.packet("to the port, which is still where it was", c, plain(c, a), to(a), by(p.FeatL2), notBy(p.FeatStandby))
	b.packet("to the port, from the host where it is on standby", e, plain(e, a), to(a), by(p.FeatL2), notBy(p.FeatStandby))
	b.packet("from where it still is", a, udp(a, c), to(c), by(p.FeatSpoofGuard), notBy(p.FeatArrival))
	b.packet("on standby, from a host that has cut over already", arrives(dst, third, n), plain(c, a), to(s), by(p.FeatStandby), notBy(p.DropSplitHorizon))
	b.packet("the first frame from standby", s, udp(s, c), told, to(c), by(p.FeatArrival))
	b.packet("an IPv6 frame from standby", s, udp6(s, c), told, to(c), by(p.FeatArrival))
	b.packet("a frame to all from standby", s, typed(s, broadcast, experimental), told, everyone(n), by(p.FeatArrival, p.FeatFlood))
	b.packet("an ARP request from standby", s, asks(s, c.ip4), told, as(s, tells(c, s)), by(p.FeatArrival, p.FeatARP))
	b.packet("an ARP probe from standby", s, asks(s.withIP(none4), strange4), told, everyone(n), by(p.FeatArrival))
	b.packet("an advertisement from standby", s, advertises(s, c, s.ip6), told, to(c), by(p.FeatArrival))
	b.packet("duplicate address detection from standby", s, solicits(s.withIP(none6), s.ip6), told, everyone(n), by(p.FeatArrival))
	b.packet("another's frame from standby", s, plain(s.withMAC(c.mac), c), by(p.DropSpoofedMAC), notBy(p.FeatArrival))

	// A trunk, in one of its networks.
	other := b.networks(1, topo.AnswerBound)[0]
	if other == n {
		other = b.private(topo.AnswerBound)
	}
	t := b.trunk(from, topo.ProfileHost, nil, other, n)
	ts := t[1].at(b.migrate(t[0], dst))
	b.packet("to a trunk's VLAN, which is still where it was", c, plain(c, t[1]), to(t[1]), by(p.FeatL2), notBy(p.FeatStandby))
	b.packet("to a trunk's VLAN on standby, from a host that has cut over already", arrives(dst, third, n), plain(c, t[1]), to(ts), by(p.FeatStandby))
	b.packet("a frame from a trunk's VLAN on standby", ts, priority(2, plain(ts, c)), told, to(c), by(p.FeatArrival))

	// Where nothing is declared but the MAC.
	free := b.guest(n, from, nothing)
	awaited := b.migrate(free, dst)
	b.packet("ARP from standby, for any address", awaited, tells(awaited, c), told, to(c), by(p.FeatArrival))
	b.packet("IPv6 from standby, from any address", awaited, udp6(awaited, c), told, to(c), by(p.FeatArrival))
	b.packet("a frame of no protocol from standby", awaited, plain(awaited, c), told, to(c), by(p.FeatArrival))

	// Cut over: what still comes to the old place is delivered there.
	old := b.guest(n, from, ipv4)
	now := b.migrate(old, dst)
	b.cut(old, now)
	b.packet("to a port that was cut over", c, plain(c, old), to(now), by(p.FeatL2), notBy(p.FeatStandby))
	b.packet("to where it was, from a host that has not", arrives(from, third, n), plain(c, old), to(old), by(p.FeatStandby))
	b.packet("from where it was, which nobody waits for", old, udp(old, c), to(c), by(p.FeatSpoofGuard), notBy(p.FeatArrival))

	// Watched again, with what is learned behind it.
	back := b.bridge(n, from, 0)
	behind, unseen := b.station(back), b.unlearned(back)
	there := b.migrate(back, dst)
	b.cut(back, there)
	b.watch(back)
	b.packet("to a MAC behind a port that was cut over", c, plain(c, behind), to(there), by(p.FeatLearned))
	b.packet("to a MAC behind it, from a host that has not", arrives(from, third, n), plain(c, behind), to(back), by(p.FeatStandby))
	b.packet("from a learned MAC, where it is waited for", back, plain(behind, c), told, to(c), by(p.FeatArrival), notBy(p.FeatLearned))
	b.packet("from a MAC that is not learned, where it is waited for", back, plain(unseen, c), told, to(c), by(p.FeatArrival), notBy(p.FeatLearn))
	b.packet("IPv6 from a MAC that is not learned, where it is waited for", back, udp6(unseen, c), told, to(c), by(p.FeatArrival), notBy(p.DropIPv6NotDeclared))
	b.packet("from the port's own MAC, where it is waited for", back, plain(back, c), told, to(c), by(p.FeatArrival))
	b.packet("from a learned MAC, where it is in effect", there, plain(behind, c), to(c), by(p.FeatLearned), notBy(p.FeatArrival))

	// In a network that is nowhere else.
	small := b.private(topo.AnswerBound)
	f, g := b.guest(small, from, nothing), b.guest(small, from, nothing)
	fs := b.migrate(f, dst)
	b.packet("from standby to the only other member, where it still is", fs, plain(fs, g), told, to(g), by(p.FeatArrival))
	b.packet("and from there", g, plain(g, f), to(f), by(p.FeatL2), notBy(p.FeatStandby))

	// From a host that nobody reaches.
	apart := b.private(topo.AnswerBound)
	x, y := b.guest(apart, b.refusedHost(), nothing), b.guest(apart, dst, nothing)
	xs := b.migrate(x, dst)
	b.packet("to a port on standby, which is where nobody gets", y, plain(y, x), by(p.DropUnknownUnicast), notBy(p.FeatL2, p.FeatStandby))
	b.packet("from it, before it arrives", xs, plain(xs, y), told, to(y), by(p.FeatArrival))
}
