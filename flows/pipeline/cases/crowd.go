package cases

import (
	p "github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// crowd: more members of a network on one host than one group holds.
func crowd(b *builder) {
	n, h := b.private(topo.AnswerBound), b.someHosts(2)
	a, c := b.guest(n, h[0], nothing), b.guest(n, h[1], nothing)
	for range 700 {
		b.guest(n, h[0], nothing)
	}
	b.packet("flooded to all of them", a, typed(a, broadcast, experimental), everyone(n), by(p.FeatFlood))
	b.packet("flooded to all of them from another host", c, typed(c, broadcast, experimental), everyone(n), by(p.FeatFlood))
}
