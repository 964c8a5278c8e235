package suite

import (
	"context"
	"errors"
	"fmt"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"

	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
)

// FlowsPerPort is how many flows one more port costs: in the switch of its own host, and in
// that of another host with ports of its network. It is the slope between two sizes
// of a network, so that what a network costs once has no part in it.
func FlowsPerPort() harness.Benchmark {
	return harness.Benchmark{
		Name:   "flows-per-port",
		Title:  "flows that one more port of a network takes",
		Unit:   "flows",
		Better: harness.Lower,
		Rounds: 1, // it is a count, the same each time
		Comparisons: []harness.Comparison{
			{Peer: peerLocalPort, Aim: 12},
			{Peer: peerRemotePort, Aim: 2},
		},
		Setup: func(ctx context.Context, size harness.Size) (*harness.Bench, error) {
			scale := size.Scale
			if scale == 0 {
				scale = 100
			}
			if scale < 1 || scale > maxLabPorts {
				return nil, fmt.Errorf("%d ports: want 1 … %d", scale, maxLabPorts)
			}
			s, err := newSlope(ctx, scale)
			if err != nil {
				return nil, err
			}
			return &harness.Bench{
				Scale: scale,
				Load:  fmt.Sprintf("ports of one address in a GRE network; between %d on each host, and %d more on one", slopeBase, scale),
				Peers: []harness.Peer{
					{Name: peerLocalPort, Role: harness.Ours, Run: s.sample(overlay.Host1)},
					{Name: peerRemotePort, Role: harness.Ours, Run: s.sample(overlay.Host2)},
				},
				Close: s.lab.Close,
			}, nil
		},
	}
}

// The peers of flows-per-port.
const (
	peerLocalPort  = "local port"
	peerRemotePort = "remote port"
)

// slopeBase is the number of ports on each host to begin with.
const slopeBase = 10

// slope compares two topologies; the second one has more ports on host1.
type slope struct {
	lab         *overlay.Overlay
	less, whole overlay.Topology
}

func newSlope(ctx context.Context, more int) (*slope, error) {
	s := &slope{less: spread(2*slopeBase, 1)}
	s.whole.Networks = s.less.Networks
	s.whole.Ports = append(s.whole.Ports, s.less.Ports...)
	for i := range more {
		s.whole.Ports = append(s.whole.Ports, overlay.Port{ID: 2*slopeBase + i + 1, Network: s.less.Networks[0].Name, Host: overlay.Host1})
	}
	var err error
	if s.lab, err = overlay.Start(ctx); err != nil {
		return nil, err
	}
	if err := plugInternal(ctx, s.lab, s.whole.Ports); err != nil {
		return nil, errors.Join(err, s.lab.Close())
	}
	return s, nil
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
	if _, err := s.lab.Apply(ctx, t); err != nil {
		return 0, err
	}
	if err := s.lab.Up(ctx, t); err != nil {
		return 0, err
	}
	return s.lab.FlowCount(ctx, host)
}
