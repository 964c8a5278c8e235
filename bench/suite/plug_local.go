package suite

import (
	"context"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
)

// PlugFirstPingLocal is how long a guest waits for its network on a host that is full.
func PlugFirstPingLocal() harness.Benchmark {
	b := harness.Benchmark{
		Name:  "plug-first-ping-local",
		Title: "a port plugged in until its first ping across hosts, by number of ports on its own host",
		Means: "How long a guest waits for its network on a loaded hypervisor: as plug-first-ping, but the network's other ports are on the host where the guest is plugged in. " +
			"Open vSwitch looks at each of its interfaces when one comes, and once more when the kernel reports the new one, and serves no OpenFlow meanwhile; " +
			"with hundreds of ports that is what takes longest, with or without a controller, and the plug without one shows it.",
		Unit:   "ms",
		Better: harness.Lower,
		Setup: func(ctx context.Context, size harness.Size) (*harness.Bench, error) {
			return setUpPlugging(ctx, plugSizes(size, localPlugSizes), pluggers{
				ours: func(ctx context.Context, n int) (*plugging, error) { return ourPlugging(ctx, localPorts(n)) },
			})
		},
	}
	for _, n := range localPlugSizes {
		b.Comparisons = append(b.Comparisons, plugWithoutController(n)...)
	}
	smallest, largest := localPlugSizes[0], localPlugSizes[len(localPlugSizes)-1]
	b.Comparisons = append(b.Comparisons,
		harness.Comparison{Peer: peerPing(largest), Against: peerPing(smallest)},
		harness.Comparison{Peer: peerVsctl(largest), Against: peerVsctl(smallest)})
	return b
}

// localPlugSizes are the numbers of other ports where those are on the guest's own host.
var localPlugSizes = []int{10, 100, 500}
