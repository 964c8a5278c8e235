package suite

import (
	"context"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	fleet "github.com/ofctl-lab/ofctl-lab/bench/switch"
)

// PacketInLatency is how long a switch waits for the answer to one packet-in.
func PacketInLatency() harness.Benchmark {
	return harness.Benchmark{
		Name:  "packet-in-latency",
		Title: "round trip of one packet-in, with nothing else to do",
		Means: "What the first packet of a conversation waits for where a controller decides: from just before the packet-in is written until " +
			"just after its answer is read, the median. " + packetInMeans,
		Unit: "µs", Better: harness.Lower,
		Comparisons: []harness.Comparison{
			{Peer: peerSession, Against: peerNull},
			{Peer: peerSession, Against: peerTestController},
			{Peer: peerSession, Against: peerOSKen},
			{Peer: peerSession, Against: peerTestController, Detail: cpuPerPacketIn},
		},
		Setup: func(ctx context.Context, size harness.Size) (*harness.Bench, error) {
			return setUpPacketIns(ctx, size, fleet.Options{Switches: 1, InFlight: 1}, func(r *fleet.Report) float64 {
				return float64(r.Latency.ValueAtQuantile(50)) / 1e3
			})
		},
	}
}
