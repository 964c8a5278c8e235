package cases

import p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"

// guards: a port of profile host sends in its own name, or not at all.
func guards(b *builder) {
	n, h := b.network(), b.someHosts(2)
	v4, v6, both := b.guest(n, h[0], ipv4), b.guest(n, h[0], ipv6), b.guest(n, h[0], ipv4and6)
	free, c := b.guest(n, h[0], nothing), b.guest(n, h[1], ipv4and6)
	ll := func(m *member) *member { return m.linkLocal() }

	for _, m := range []*member{v4, v6, both, free} {
		b.packet("a frame of its own", m, plain(m, c), to(c), by(p.FeatSpoofGuard), notBy(p.DropSpoofedMAC))
		b.packet("another's MAC", m, plain(m.withMAC(c.mac), c), by(p.DropSpoofedMAC), notBy(p.FeatSpoofGuard, p.DropTakenMAC))
		b.packet("ARP in another's name", m, arp(m.withMAC(c.mac), c.mac, 2, c.mac, c.addr4()), by(p.DropSpoofedMAC), notBy(p.FeatSpoofGuard))
	}
	for _, m := range []*member{v4, both} {
		other := m.withIP(c.ip4) // and not its own
		b.packet("its own IPv4 address", m, udp(m, c), to(c), by(p.FeatSpoofGuard), notBy(p.DropSpoofedIPv4))
		b.packet("another's IPv4 address", m, udp(other, c), by(p.DropSpoofedIPv4), notBy(p.FeatSpoofGuard))
		b.packet("ARP for its own address", m, tells(m, c), to(c), by(p.FeatSpoofGuard), notBy(p.DropSpoofedARP))
		b.packet("an ARP probe", m, asks(m.withIP(none4), strange4), everyone(n), by(p.FeatSpoofGuard), notBy(p.DropSpoofedARP))
		b.packet("no address in an ARP reply", m, tells(m.withIP(none4), c), by(p.DropSpoofedARP))
		b.packet("ARP for another's address", m, tells(other, c), by(p.DropSpoofedARP), notBy(p.FeatSpoofGuard))
	}
	b.packet("IPv4 where only IPv6 is declared", v6, udp(v6, c), by(p.DropSpoofedIPv4), notBy(p.FeatSpoofGuard))
	b.packet("ARP where only IPv6 is declared", v6, tells(v6, c), by(p.DropSpoofedARP), notBy(p.FeatSpoofGuard))
	b.packet("IPv6 where only IPv4 is declared", v4, udp6(ll(v4), c), by(p.DropIPv6NotDeclared), notBy(p.FeatSpoofGuard))
	for _, m := range []*member{v6, both} {
		b.packet("its own IPv6 address", m, udp6(m, c), to(c), by(p.FeatSpoofGuard), notBy(p.DropSpoofedIPv6, p.DropIPv6NotDeclared))
		b.packet("its link-local address", m, udp6(ll(m), c), to(c), by(p.FeatSpoofGuard), notBy(p.DropSpoofedIPv6))
		b.packet("another's IPv6 address", m, udp6(m.withIP(c.ip6), c), by(p.DropSpoofedIPv6), notBy(p.FeatSpoofGuard))
		b.packet("IPv6 with another's MAC", m, udp6(m.withMAC(c.mac), c), by(p.DropSpoofedMAC), notBy(p.DropIPv6NotDeclared))
		b.packet("advertises itself", m, advertises(m, c, m.ip6), to(c), by(p.FeatSpoofGuard), notBy(p.DropSpoofedND))
		b.packet("advertises its link-local address", m, advertises(ll(m), c, ll(m).ip6), to(c), by(p.FeatSpoofGuard), notBy(p.DropSpoofedND))
		b.packet("advertises another", m, advertises(m, c, c.ip6), by(p.DropSpoofedND), notBy(p.FeatSpoofGuard))
		b.packet("detects duplicates of its address", m, solicits(m.withIP(none6), m.ip6), everyone(n), by(p.FeatSpoofGuard), notBy(p.DropSpoofedIPv6))
		b.packet("IPv6 from no address", m, udp6(m.withIP(none6), c), by(p.DropSpoofedIPv6), notBy(p.FeatSpoofGuard))
	}
	// Where nothing is declared but the MAC, nothing else is guarded.
	b.packet("any IPv4 address", free, udp(free.withIP(c.ip4), c), to(c), by(p.FeatSpoofGuard), notBy(p.DropSpoofedIPv4))
	b.packet("any IPv6 address", free, udp6(free.withIP(c.ip6), c), to(c), by(p.FeatSpoofGuard), notBy(p.DropSpoofedIPv6))
	b.packet("ARP for any address", free, tells(free, c), to(c), by(p.FeatSpoofGuard), notBy(p.DropSpoofedARP))
	b.packet("ARP whose sender is another", free, withSource(free.mac, tells(free.withMAC(c.mac), c)), by(p.DropSpoofedARP), notBy(p.FeatSpoofGuard))
	b.packet("IPv6 with another's MAC", free, udp6(free.withMAC(c.mac), c), by(p.DropSpoofedMAC), notBy(p.DropIPv6NotDeclared))
}
