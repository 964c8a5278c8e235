package suite

import (
	"context"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	fleet "github.com/ofctl-lab/ofctl-lab/bench/switch"
)

// PacketInRate is how many packet-ins a controller answers per second when it always has work.
func PacketInRate() harness.Benchmark {
	return harness.Benchmark{
		Name:  "packet-in-rate",
		Title: "packet-ins answered per second, 16 switches with 100 in flight each",
		Means: "How much a controller withstands when switches ask it, as after a power failure or in an attack. " + packetInMeans,
		Unit:  "answers/s", Better: harness.Higher,
		Comparisons: []harness.Comparison{
			{Peer: peerSession, Against: peerNull, Aim: 0.5},
			{Peer: peerSession, Against: peerTestController, Aim: 10},
			{Peer: peerSession, Against: peerOSKen},
			{Peer: peerSession, Against: peerTestController, Detail: cpuPerPacketIn, Better: harness.Lower},
			{Peer: peerSession, Against: peerNull, Detail: cpuPerPacketIn, Better: harness.Lower},
		},
		Setup: func(ctx context.Context, size harness.Size) (*harness.Bench, error) {
			return setUpPacketIns(ctx, size, fleet.Options{Switches: 16, InFlight: 100}, (*fleet.Report).Rate)
		},
	}
}
