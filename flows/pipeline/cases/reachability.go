package cases

import (
	p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// reachability: the controller is told of its probes, and of nothing that is nearly one.
func reachability(b *builder) {
	n, h := b.network(), b.someHosts(2)
	at, peer := h[0], h[1]
	a, c := b.guest(n, at, nothing), b.guest(n, peer, nothing)
	in := arrives(at, peer, n)
	probe := p.Probe{Nonce: p.Nonce{1, 2, 3}, From: 1, To: 2}.Frame()
	to := topo.MAC(probe[:6])

	b.packet("a probe", in.under(p.ProbeKey), probe, told, by(p.FeatReachability), notBy(p.DropUnknownKey))
	b.packet("a probe from nobody's endpoint, which is for the controller to judge", in.under(p.ProbeKey).from(b.unknownTEP()), probe,
		told, by(p.FeatReachability), notBy(p.DropUnknownTEP))
	b.packet("another frame without a key", in.under(p.ProbeKey), plain(c, a), by(p.DropUnknownKey), notBy(p.FeatReachability))
	b.packet("another type for the address of probes", in.under(p.ProbeKey), typed(c, to, experimental+1), by(p.DropUnknownKey), notBy(p.FeatReachability))
	b.packet("a probe with a tag", in.under(p.ProbeKey), tag(7, 0, probe), by(p.DropVLANNotAllowed), notBy(p.FeatReachability))
	b.packet("a probe under a key that nobody has", in.under(unusedKey), probe, by(p.DropUnknownKey), notBy(p.FeatReachability))
	b.packet("a probe from a guest", a, probe, by(p.DropSpoofedMAC), notBy(p.FeatReachability))
}
