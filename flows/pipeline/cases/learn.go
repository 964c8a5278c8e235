package cases

import p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"

// learns: whose MACs are learned behind a port of profile switch, and whose are not.
func learns(b *builder) {
	n, h := b.network(), b.someHosts(2)
	sw, full := b.bridge(n, h[0], 0), b.bridge(n, h[0], 1)
	a, c := b.guest(n, h[0], ipv4), b.guest(n, h[1], ipv4and6)
	known, fresh := b.station(sw), b.unlearned(sw)
	only, more := b.station(full), b.unlearned(full)

	b.packet("the port's own MAC", sw, plain(sw, c), to(c), by(p.FeatSpoofGuard), notBy(p.FeatLearn, p.FeatLearned))
	b.packet("a MAC that is learned", sw, plain(known, c), to(c), by(p.FeatLearned), notBy(p.FeatLearn, p.DropMACLimit))
	b.packet("to a MAC that is learned here", a, plain(a, known), to(sw), by(p.FeatLearned), notBy(p.FeatFlood))
	b.packet("to a MAC that is learned on another host", c, plain(c, known), to(sw), by(p.FeatLearned), notBy(p.FeatFlood))
	b.packet("a MAC that is not learned", sw, plain(fresh, c), told, to(c), by(p.FeatLearn), notBy(p.FeatLearned, p.DropTakenMAC))
	b.packet("IPv6 from a MAC that is not learned", sw, udp6(fresh, c), told, to(c), by(p.FeatLearn), notBy(p.DropIPv6NotDeclared))
	b.packet("IPv6 from a MAC that is learned", sw, udp6(known, c), to(c), by(p.FeatLearned), notBy(p.DropIPv6NotDeclared))
	b.packet("ARP from a MAC that is not learned", sw, asks(fresh, c.ip4), told, as(sw, tells(c, fresh)), by(p.FeatLearn, p.FeatARP))
	b.packet("a group address for a source", sw, plain(sw.withMAC(multicast), c), by(p.DropInvalidSource), notBy(p.FeatLearn))
	b.packet("no address for a source", sw, plain(sw.withMAC(zero), c), by(p.DropInvalidSource), notBy(p.FeatLearn))
	b.packet("the MAC of a port", sw, plain(sw.withMAC(c.mac), a), by(p.DropTakenMAC), notBy(p.FeatLearn, p.DropInvalidSource))
	b.packet("IPv6 with the MAC of a port", sw, udp6(sw.withMAC(c.mac), a), by(p.DropTakenMAC), notBy(p.FeatLearn, p.DropIPv6NotDeclared))
	b.packet("the MAC of a port of profile host, from another", a, plain(a.withMAC(c.mac), sw), by(p.DropSpoofedMAC), notBy(p.DropTakenMAC))
	b.packet("a MAC that is learned, at a full port", full, plain(only, c), to(c), by(p.FeatLearned), notBy(p.DropMACLimit))
	b.packet("a MAC too many", full, plain(more, c), by(p.DropMACLimit), notBy(p.FeatLearn))
	b.packet("IPv6 from a MAC too many", full, udp6(more, c), by(p.DropMACLimit), notBy(p.DropIPv6NotDeclared))
	b.packet("a MAC that is learned at another port", full, plain(full.withMAC(known.mac), c), by(p.DropMACLimit), notBy(p.FeatLearned))
	b.packet("a MAC that is learned at another port, and moves", sw, plain(sw.withMAC(only.mac), c), told, to(c), by(p.FeatLearn), notBy(p.FeatLearned))
}
