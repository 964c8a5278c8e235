package pipeline

import (
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Priorities in spoof_guard.
const (
	guardNDOwn      = 120
	guardNDRest     = 110
	guardOwn        = 100 // a source that is the port's own
	guardSameMAC    = 90  // right MAC, wrong address
	guardIPv6MAC    = 87  // wrong MAC, from a port that may use IPv6
	guardIPv6Rest   = 85
	guardOtherTypes = 80 // right MAC, neither ARP nor IP
	guardRest       = 70
)

const (
	protoICMPv6     = 58
	ndAdvertisement = 136
	ndSolicitation  = 135
	arpRequest      = 1
	arpReply        = 2
)

// spoofGuardHost are the rows that every host has.
func spoofGuardHost(r *rows) {
	fromTunnel := match().With(regOrigin, flows.U(originTunnel))
	r.drop(SpoofGuard, guardRest, DropUnknownTEP, fromTunnel)
	// Ports that may use IPv6 have rows of their own above this one, and those of
	// profile switch another origin.
	r.drop(SpoofGuard, guardIPv6Rest, DropIPv6NotDeclared,
		match().With(regOrigin, flows.U(originLocal)).With(flows.EthType, flows.U(etherIPv6)))
	r.drop(SpoofGuard, 0, DropNoRow, match())
}

// spoofGuardPeer lets in what a peer's tunnel endpoint sends.
func spoofGuardPeer(r *rows, tep netip.Addr) {
	src := flows.TunIPv4Src
	if tep.Is6() {
		src = flows.TunIPv6Src
	}
	r.add(row{
		Table: SpoofGuard, Priority: guardOwn, Feature: FeatSpoofGuard,
		Match: match().With(regOrigin, flows.U(originTunnel)).With(src, flows.IP(tep)),
		Next:  L2Dst,
	})
}

// spoofGuardMember are the rows of a local member, by what is behind its port.
// Those that let a frame through also tell the controller of it while the member
// is on standby here and watched: its guest has arrived.
func spoofGuardMember(r *rows, h *topo.Host, n *topo.Network, m *topo.Member) {
	g := guardOf(r, h, n, m)
	addresses := memberAddresses(m)
	switch {
	case m.Port.Profile == topo.ProfileSwitch:
		g.learned(h, m)
		return
	case len(addresses) == 0:
		// Nothing is declared but the MAC, so nothing but the MAC is guarded.
		g.mac = flows.MAC(m.Port.MAC)
		g.pass(guardOwn, g.own(etherARP).With(flows.ARPSHA, g.mac), ARPND)
		g.drop(guardSameMAC, DropSpoofedARP, g.own(etherARP))
		g.pass(guardSameMAC, g.own(etherIPv6), L2Dst)
		g.ipv6MAC()
	default:
		g.mac = flows.MAC(m.Port.MAC)
		g.ipv4(addresses)
		g.ipv6(addresses, m.Port.MAC)
	}
	g.pass(guardOtherTypes, g.in.With(flows.EthSrc, g.mac), L2Dst)
	g.drop(guardRest, DropSpoofedMAC, g.in)
}

// guardOf is the guard of a member, as localTo returns it.
func guardOf(r *rows, h *topo.Host, n *topo.Network, here *topo.Member) guard {
	g := guard{r: r, in: inNetwork(n).With(flows.InPort, flows.U(uint64(here.OFPort)))}
	if isAwaited(here) {
		meter, _ := meterOf(h, here)
		g.tell = []flows.Action{flows.ToController{MaxLen: arrivalLen, Meter: meter}}
	}
	return g
}

// guard writes one member's rows.
type guard struct {
	r   *rows
	in  flows.Match // port and network
	mac flows.Value
	// tell is what is done with a frame before it goes on.
	tell []flows.Action
}

// arrivalLen is how much of a frame the controller is sent, in bytes: nothing of
// it counts but that it came, so no more than tells a reader of a log what it was.
const arrivalLen = 64

func (g *guard) pass(priority uint16, m flows.Match, next Table) {
	feature := FeatSpoofGuard
	if g.tell != nil {
		feature = FeatArrival
	}
	g.r.add(row{Table: SpoofGuard, Priority: priority, Feature: feature, Match: m, Do: g.tell, Next: next})
}

func (g *guard) drop(priority uint16, reason Feature, m flows.Match) {
	g.r.drop(SpoofGuard, priority, reason, m)
}

// own matches frames of an Ethernet type with the port's own source MAC.
func (g *guard) own(ethType uint64) flows.Match {
	return g.in.With(flows.EthSrc, g.mac).With(flows.EthType, flows.U(ethType))
}

// ipv4 lets the declared addresses through as IPv4 source and ARP sender, and
// the sender 0.0.0.0 in requests: RFC 5227 probes.
func (g *guard) ipv4(addresses []netip.Addr) {
	arp := g.own(etherARP).With(flows.ARPSHA, g.mac)
	any4 := false
	for _, a := range addresses {
		if !a.Is4() {
			continue
		}
		any4 = true
		g.pass(guardOwn, arp.With(flows.ARPSPA, flows.IP(a)), ARPND)
		g.pass(guardOwn, g.own(etherIPv4).With(flows.IPv4Src, flows.IP(a)), L2Dst)
	}
	if any4 {
		g.pass(guardOwn, arp.With(flows.ARPOp, flows.U(arpRequest)).With(flows.ARPSPA, flows.U(0)), ARPND)
	}
	g.drop(guardSameMAC, DropSpoofedARP, g.own(etherARP))
	g.drop(guardSameMAC, DropSpoofedIPv4, g.own(etherIPv4))
}

// ipv6 lets the declared addresses and the MAC's link-local address (RFC 4291
// appendix A) through as source and as advertised target, and the unspecified
// address in solicitations: RFC 4862 duplicate address detection.
func (g *guard) ipv6(addresses []netip.Addr, mac topo.MAC) {
	var own []netip.Addr
	for _, a := range addresses {
		if a.Is6() {
			own = append(own, a)
		}
	}
	if len(own) == 0 {
		return
	}
	ip6 := g.own(etherIPv6)
	icmp6 := ip6.With(flows.IPProto, flows.U(protoICMPv6))
	for _, a := range append(own, linkLocal(mac)) {
		g.pass(guardOwn, ip6.With(flows.IPv6Src, flows.IP(a)), L2Dst)
		g.pass(guardNDOwn, icmp6.With(flows.IPv6Src, flows.IP(a)).
			With(flows.ICMPv6Type, flows.U(ndAdvertisement)).With(flows.ICMPv6Code, flows.U(0)).
			With(flows.NDTarget, flows.IP(a)), L2Dst)
	}
	g.pass(guardOwn, icmp6.With(flows.IPv6Src, flows.U(0)).With(flows.ICMPv6Type, flows.U(ndSolicitation)), L2Dst)
	g.drop(guardNDRest, DropSpoofedND, icmp6.With(flows.ICMPv6Type, flows.U(ndAdvertisement)))
	g.drop(guardSameMAC, DropSpoofedIPv6, ip6)
	g.ipv6MAC()
}

// ipv6MAC names what is wrong with IPv6 from another MAC: below, the host's row
// says that the port may not use IPv6 at all.
func (g *guard) ipv6MAC() {
	g.drop(guardIPv6MAC, DropSpoofedMAC, g.in.With(flows.EthType, flows.U(etherIPv6)))
}

// linkLocal is the modified EUI-64 link-local address of a MAC.
func linkLocal(m topo.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80,
		8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}
