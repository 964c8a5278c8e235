package cases

import (
	p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// tunnels: what a tunnel brings is taken by its key and its sender, and goes into no other.
func tunnels(b *builder) {
	n, h := b.network(), b.someHosts(4)
	at, peer, third, fourth := h[0], h[1], h[2], h[3]
	a, c, d := b.guest(n, at, nothing), b.guest(n, peer, nothing), b.guest(n, third, nothing)
	in := arrives(at, peer, n)

	elsewhere := b.private(topo.AnswerBound)
	e, f := b.guest(elsewhere, peer, nothing), b.guest(elsewhere, third, nothing)

	b.packet("from a peer", in, plain(c, a), to(a), by(p.FeatSpoofGuard), notBy(p.DropUnknownKey, p.DropUnknownTEP, p.DropSplitHorizon))
	b.packet("a key that nobody has", in.under(unusedKey), plain(c, a), by(p.DropUnknownKey), notBy(p.FeatClassify))
	b.packet("a key that differs in one bit", in.under(n.Key^1<<(13+b.IntN(10))), plain(c, a), by(p.DropUnknownKey), notBy(p.FeatClassify))
	b.packet("the key of a network that is elsewhere", arrives(at, peer, elsewhere), plain(e, f), by(p.DropUnknownKey), notBy(p.FeatClassify))
	b.packet("an address that is no peer's", in.from(b.unknownTEP()), plain(c, a), by(p.DropUnknownTEP), notBy(p.FeatSpoofGuard))
	b.packet("to a member on a third host", in, plain(c, d), by(p.DropSplitHorizon), notBy(p.FeatOutput))
	b.packet("to all, which does not go on to a third host", in, typed(c, broadcast, experimental), everyone(n), by(p.FeatFlood), notBy(p.DropSplitHorizon))

	// Two hosts with one endpoint: the one that was not declared is nobody's peer.
	quiet, refused := b.private(topo.AnswerBound), b.refusedHost()
	x, y := b.guest(quiet, fourth, nothing), b.guest(quiet, refused, nothing)
	b.packet("to a host whose endpoint is another's", x, plain(x, y), by(p.DropUnknownUnicast), notBy(p.FeatOutput))
}
