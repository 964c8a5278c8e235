package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
)

// What the benchmarks of throughput share: the designs, and the path between the two guests of
// a design.

// throughputDesigns are the designs in the order in which they are reported.
func throughputDesigns() []string {
	return []string{
		peerGRE, peerVXLAN, peerGeneve, peerOneHost,
		peerOVN, peerOVNOneHost, peerVLAN, peerNormal,
		peerTunnel, peerLimit,
	}
}

// throughputComparisons are what is concluded from the value and from details of which
// less is better. Geneve beside OVN is like beside like; GRE and VXLAN are what the VLAN trunk
// is left for. What a bridge does that knows of no tenants has no aim: it shows what they cost.
func throughputComparisons(details ...string) []harness.Comparison {
	var all []harness.Comparison
	add := func(c harness.Comparison) {
		all = append(all, c)
		for _, d := range details {
			c.Detail, c.Better = d, harness.Lower
			all = append(all, c)
		}
	}
	for _, peer := range ourDesigns() {
		add(harness.Comparison{Peer: peer, Against: peerOVN, Aim: 1})
	}
	add(harness.Comparison{Peer: peerOneHost, Against: peerOVNOneHost, Aim: 1})
	for _, peer := range []string{peerGRE, peerVXLAN} {
		add(harness.Comparison{Peer: peer, Against: peerVLAN, Aim: 1})
	}
	return append(all,
		harness.Comparison{Peer: peerGRE, Against: peerTunnel},
		harness.Comparison{Peer: peerOneHost, Against: peerNormal},
		harness.Comparison{Peer: peerOneHost, Against: peerLimit})
}

const (
	// throughputWindow is how long a sample is measured, in ms, unless told otherwise.
	throughputWindow    = 1000
	maxThroughputWindow = 600_000
)

// throughputSpan is how long each sample of a benchmark of throughput warms up, and is measured.
type throughputSpan struct{ warmUp, window time.Duration }

func throughputSpanOf(size harness.Size) (throughputSpan, error) {
	switch n := size.Scale; {
	case size.Smallest:
		return throughputSpan{20 * time.Millisecond, 50 * time.Millisecond}, nil
	case n == 0:
		return throughputSpanOf(harness.Size{Scale: throughputWindow})
	case n < 1 || n > maxThroughputWindow:
		return throughputSpan{}, fmt.Errorf("%d ms for each sample: want 1 … %d", n, maxThroughputWindow)
	default:
		return throughputSpan{200 * time.Millisecond, time.Duration(n) * time.Millisecond}, nil
	}
}

// startThroughput brings up the wanted designs, with guests that know each other.
func startThroughput(ctx context.Context, size harness.Size) (*designs, error) {
	// A design that is measured with offloads only is wanted, too.
	wants := func(name string) bool { return size.Wants(name) || size.Wants(name+offloadsOn) }
	s, err := startWanted(ctx, throughputDesigns(), 1, wants)
	if err != nil {
		return nil, err
	}
	for _, d := range s.present() {
		if err := d.fixNeighbours(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// pass returns after d, or when ctx is done.
func pass(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
