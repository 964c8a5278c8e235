package suite

import (
	"context"
	"errors"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
)

// FlowsPerPort is how many flows one more port costs: in the switch of its own host, and in
// that of another host with ports of its network, here and with OVN.
func FlowsPerPort() harness.Benchmark {
	return harness.Benchmark{
		Name:  "flows-per-port",
		Title: "flows that one more port of a network takes",
		Means: "What a port costs in the flow tables, and so in the memory of the switch and the time to program it: on its own host (local), and on each other host of its network (remote). " +
			"Ports have one address; both answer ARP for them and drop what is sent from others' addresses. " +
			"The flows of the integration bridge are counted with two sizes of a network, and the difference is divided by the ports between, so that what a network costs once has no part in it.",
		Unit:   "flows",
		Better: harness.Lower,
		Rounds: 1, // it is a count, the same each time
		Comparisons: []harness.Comparison{
			{Peer: localTo(peerOurs), Aim: 12},
			{Peer: remoteTo(peerOurs), Aim: 2},
			{Peer: localTo(peerOurs), Against: localTo(peerOVN)},
			{Peer: remoteTo(peerOurs), Against: remoteTo(peerOVN)},
		},
		Setup: func(ctx context.Context, size harness.Size) (*harness.Bench, error) {
			scale, err := portsOf(size, 100, 1)
			if err != nil {
				return nil, err
			}
			return setUpSlopes(ctx, scale)
		},
	}
}

// The names of the peers of flows-per-port.
func localTo(peer string) string  { return peer + ", local port" }
func remoteTo(peer string) string { return peer + ", remote port" }

// slopeBase is the number of ports on each host to begin with.
const slopeBase = 10

func setUpSlopes(ctx context.Context, more int) (*harness.Bench, error) {
	all, err := contenders(ctx)
	if err != nil {
		return nil, err
	}
	b := &harness.Bench{
		Scale: more,
		Load:  fmt.Sprintf("ports of one address in one network; between %d on each host, and %d more on one", slopeBase, more),
		Close: all.Close,
	}
	for _, c := range all {
		s := newSlope(c, more)
		if err := c.prepare(ctx, s.whole); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", c.name, err), all.Close())
		}
		for _, p := range []struct{ name, host string }{{localTo(c.name), overlay.Host1}, {remoteTo(c.name), overlay.Host2}} {
			peer := harness.Peer{Name: p.name, Role: c.role, Missing: c.missing, Version: c.version}
			if c.missing == "" {
				peer.Run = s.sample(p.host)
			}
			b.Peers = append(b.Peers, peer)
		}
	}
	return b, nil
}

// slope compares two topologies; the second one has more ports on host1.
type slope struct {
	*contender
	less, whole overlay.Topology
}

func newSlope(c *contender, more int) *slope {
	s := &slope{contender: c, less: spread(2*slopeBase, 1)}
	s.whole.Networks = s.less.Networks
	s.whole.Ports = append(s.whole.Ports, s.less.Ports...)
	for i := range more {
		s.whole.Ports = append(s.whole.Ports, overlay.Port{ID: 2*slopeBase + i + 1, Network: s.less.Networks[0].Name, Host: overlay.Host1})
	}
	return s
}

// sample counts the flows of one host with both topologies.
func (s *slope) sample(host string) func(context.Context) (harness.Sample, error) {
	return func(ctx context.Context) (harness.Sample, error) {
		less, err := s.count(ctx, s.less, host)
		if err != nil {
			return harness.Sample{}, err
		}
		whole, err := s.count(ctx, s.whole, host)
		if err != nil {
			return harness.Sample{}, err
		}
		added := len(s.whole.Ports) - len(s.less.Ports)
		return harness.Sample{
			Value:  float64(whole-less) / float64(added),
			Detail: map[string]float64{"flows_before": float64(less), "flows_after": float64(whole)},
		}, nil
	}
}

func (s *slope) count(ctx context.Context, t overlay.Topology, host string) (int, error) {
	if err := s.configure(ctx, t); err != nil {
		return 0, err
	}
	return s.FlowCount(ctx, host)
}
