package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
)

// FirstPacket is how long the first packet of a flow is on its way between guests on two hosts
// whose datapaths are empty. Three times on the way the datapath has to ask: out of the guest, in from the
// underlay, and out of the tunnel. The limit with a tunnel asks as often and has one flow to go through, that of one
// bridge asks once.
func FirstPacket() harness.Benchmark {
	b := harness.Benchmark{
		Name:  "first-packet",
		Title: "the first packet of a flow between guests on two hosts",
		Means: "What a guest waits until its first packet is with another guest, while the datapaths of both switches are empty, so that " +
			"every table has its part in it: one way, by the machine's one clock. Guests and hosts know all addresses. next_us is the packet after that, from " +
			"another UDP port: what one more connection between the two waits for.",
		Unit:   "µs",
		Better: harness.Lower,
		Setup:  setUpFirstPacket,
	}
	b.Comparisons = tunnelComparisons(nextPacket)
	return b
}

// nextPacket is a detail of first-packet: the median time of the second packet.
const nextPacket = "next_us"

const (
	firstPackets    = 30 // of each sample, unless told otherwise
	maxFirstPackets = 10_000
	// firstSourcePort is below those that a kernel chooses itself.
	firstSourcePort = 1024
)

func setUpFirstPacket(ctx context.Context, size harness.Size) (*harness.Bench, error) {
	n := size.Scale
	switch {
	case size.Smallest:
		n = 1
	case n == 0:
		n = firstPackets
	}
	if n < 1 || n > maxFirstPackets {
		return nil, fmt.Errorf("%d first packets in each sample: want 1 … %d", n, maxFirstPackets)
	}
	s, err := startDesigns(ctx, append(ourDesigns(), peerVLAN, peerOVN, peerTunnel, peerLimit), 1)
	if err != nil {
		return nil, err
	}
	for _, d := range s.present() {
		if err := d.fixNeighbours(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	b := s.bench(func(ctx context.Context, d *design) (harness.Sample, error) { return d.firstPackets(ctx, n) })
	b.Scale, b.Load = n, fmt.Sprintf("%d times in each sample, a UDP datagram after the datapath flows of both hosts are gone, and one more from another port", n)
	return b, nil
}

// firstPackets measures n first packets, each with the one after it.
func (d *design) firstPackets(ctx context.Context, n int) (_ harness.Sample, err error) {
	near, err := overlay.Wire(d.guests[0])
	if err != nil {
		return harness.Sample{}, err
	}
	defer func() { err = errors.Join(err, near.Close()) }()
	far, err := overlay.Wire(d.guests[1])
	if err != nil {
		return harness.Sample{}, err
	}
	defer func() { err = errors.Join(err, far.Close()) }()
	if err := d.warm(ctx); err != nil {
		return harness.Sample{}, err
	}
	probe, err := traffic.NewProbe(near, far, d.guests[1], station(d.ports[0]), station(d.ports[1]))
	if err != nil {
		return harness.Sample{}, err
	}
	defer func() { err = errors.Join(err, probe.Close()) }()
	s := harness.Sample{Latency: harness.NewLatency()}
	var first, next []float64
	for i := range n {
		if err := d.forget(ctx); err != nil {
			return s, err
		}
		for j, times := range []*[]float64{&first, &next} {
			took, err := probe.OneWay(ctx, uint16(firstSourcePort+2*i+j))
			if err != nil {
				return s, err
			}
			*times = append(*times, us(took))
			if j == 0 {
				err = s.Latency.RecordValue(took.Nanoseconds())
			}
			if err != nil {
				return s, err
			}
		}
	}
	s.Value = harness.Median(first)
	s.Detail = map[string]float64{nextPacket: harness.Median(next)}
	return s, nil
}

// us is d in microseconds.
func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
