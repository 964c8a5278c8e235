package cases

import (
	p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// l2: to where the destination is, to all, or nowhere.
func l2(b *builder) {
	n, h := b.network(), b.someHosts(3)
	a, c, d := b.guest(n, h[0], nothing), b.guest(n, h[0], nothing), b.guest(n, h[1], nothing)

	b.packet("to a member here", a, plain(a, c), to(c), by(p.FeatL2, p.FeatOutput), notBy(p.FeatFlood, p.DropNoRow))
	b.packet("to a member on another host", a, plain(a, d), to(d), by(p.FeatL2, p.FeatOutput), notBy(p.FeatFlood, p.DropNoRow))
	b.packet("to itself", a, plain(a, a), by(p.FeatL2), notBy(p.FeatFlood))
	b.packet("to all", a, typed(a, broadcast, experimental), everyone(n), by(p.FeatL2, p.FeatFlood), notBy(p.FeatOutput))
	b.packet("to a group", a, typed(a, multicast, experimental), everyone(n), by(p.FeatL2, p.FeatFlood), notBy(p.FeatOutput))

	// Where all MACs are known, one that is not is nowhere.
	known := b.private(topo.AnswerBound)
	e := b.guest(known, h[0], nothing)
	b.guest(known, h[1], nothing)
	b.packet("to a MAC that nobody has", e, typed(e, nobodys, experimental), by(p.DropUnknownUnicast), notBy(p.FeatL2))
	b.packet("to a MAC that somebody has", e, plain(e, e), by(p.FeatL2), notBy(p.DropUnknownUnicast))

	// Behind a switch there may be anybody.
	open := b.private(topo.AnswerBound)
	f, g := b.guest(open, h[0], nothing), b.bridge(open, h[1], 0)
	b.guest(open, h[2], nothing)
	b.packet("to a MAC that may be behind a switch", f, plain(f, b.unlearned(g)), everyone(open), by(p.FeatL2, p.FeatFlood), notBy(p.DropUnknownUnicast))

	// A host that has no tunnel port of the encapsulation yet.
	lone := b.private(topo.AnswerBound)
	at := b.without(lone.Encap)
	x, y := b.guest(lone, at, nothing), b.guest(lone, h[0], nothing)
	b.packet("to another host, where there is no tunnel", x, plain(x, y), by(p.DropNoRow), notBy(p.FeatOutput))
}
