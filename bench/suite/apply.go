package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
)

// Apply is how long a whole topology takes into the switches of two hosts whose ports
// are plugged in already: from the start of the request that puts the topology to the
// controller's word that both switches have confirmed, by a barrier, all flows.
func Apply() harness.Benchmark {
	return harness.Benchmark{
		Name:  "apply",
		Title: "a topology applied until all its flows are in the switches",
		Means: "How long a change of many ports takes. The clock runs from the start of the request that puts the topology to the controller's word " +
			"that both switches have confirmed, by a barrier, every flow of it. The ports are plugged in beforehand, as internal interfaces with an iface-id; " +
			"two of them and the tunnel ports stay between the samples. The switches must hold the same number of flows each time.",
		Unit:   "ms",
		Better: harness.Lower,
		Comparisons: []harness.Comparison{
			{Peer: peerOneNetwork, Aim: 200},
			{Peer: peerTenNetworks, Aim: 200},
		},
		Setup: func(ctx context.Context, size harness.Size) (*harness.Bench, error) {
			scale, err := portsOf(size, 500, 20)
			if err != nil {
				return nil, err
			}
			a, err := newApplying(ctx, scale)
			if err != nil {
				return nil, err
			}
			return &harness.Bench{
				Scale: scale,
				Load:  fmt.Sprintf("%d ports on two hosts, plugged in beforehand", scale),
				Peers: []harness.Peer{
					{Name: peerOneNetwork, Role: harness.Ours, Run: a.sample(1)},
					{Name: peerTenNetworks, Role: harness.Ours, Run: a.sample(10)},
				},
				Close: a.lab.Close,
			}, nil
		},
	}
}

// The peers of apply.
const (
	peerOneNetwork  = "one network"
	peerTenNetworks = "ten networks"
)

// maxLabPorts is the most ports that the figures plug into a lab of two hosts.
const maxLabPorts = 5000

type applying struct {
	lab   *overlay.Overlay
	ports int
	// flows are those of both switches after the first sample of each number of
	// networks; the others must come to the same.
	flows map[int]int
}

func newApplying(ctx context.Context, ports int) (*applying, error) {
	o, err := overlay.Start(ctx)
	if err != nil {
		return nil, err
	}
	a := &applying{lab: o, ports: ports, flows: map[int]int{}}
	if err := a.prepare(ctx); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return a, nil
}

// prepare plugs the ports in, and applies the whole once, so that the tunnel ports are there.
func (a *applying) prepare(ctx context.Context) error {
	whole := spread(a.ports, 1)
	if err := plugInternal(ctx, a.lab, whole.Ports); err != nil {
		return err
	}
	if err := a.apply(ctx, whole); err != nil {
		return err
	}
	return a.apply(ctx, spread(2, 1))
}

// apply returns when all flows of t are in the switches.
func (a *applying) apply(ctx context.Context, t overlay.Topology) error {
	if _, err := a.lab.Apply(ctx, t); err != nil {
		return err
	}
	// Ports are bound in a revision of their own, after that of the request.
	return a.lab.Up(ctx, t)
}

// spread is a topology of this many ports, every second one on either host, in a number of
// GRE networks of about the same size.
func spread(ports, networks int) overlay.Topology {
	var t overlay.Topology
	for n := range networks {
		t.Networks = append(t.Networks, overlay.Network{Name: fmt.Sprintf("net%d", n), Encap: "gre", Key: uint32(1_000_001 + n)})
	}
	for i := range ports {
		host := overlay.Host1
		if i%2 == 1 {
			host = overlay.Host2
		}
		t.Ports = append(t.Ports, overlay.Port{ID: i + 1, Network: t.Networks[i/2%networks].Name, Host: host})
	}
	return t
}

// plugInternal plugs ports in on both hosts.
func plugInternal(ctx context.Context, o *overlay.Overlay, ports []overlay.Port) error {
	for _, host := range []string{overlay.Host1, overlay.Host2} {
		if err := o.PlugInternal(ctx, host, ports); err != nil {
			return err
		}
	}
	return nil
}

// sample leaves the overlay a network with a port on each host, so that the encapsulation
// stays in use and its tunnel ports exist, and then applies the whole.
func (a *applying) sample(networks int) func(context.Context) (harness.Sample, error) {
	return func(ctx context.Context) (harness.Sample, error) {
		if err := a.apply(ctx, spread(2, 1)); err != nil {
			return harness.Sample{}, err
		}
		whole := spread(a.ports, networks)
		start := time.Now()
		if _, err := a.lab.Apply(ctx, whole); err != nil {
			return harness.Sample{}, err
		}
		put := time.Since(start)
		if err := a.lab.Up(ctx, whole); err != nil {
			return harness.Sample{}, err
		}
		elapsed := time.Since(start)
		flows, err := a.count(ctx)
		if err != nil {
			return harness.Sample{}, err
		}
		switch want, seen := a.flows[networks]; {
		case flows < 2*a.ports:
			return harness.Sample{}, fmt.Errorf("the switches hold %d flows: that cannot be all of %d ports", flows, a.ports)
		case seen && want != flows:
			return harness.Sample{}, fmt.Errorf("the switches hold %d flows, and held %d after an earlier sample", flows, want)
		}
		a.flows[networks] = flows
		return harness.Sample{Value: ms(elapsed), Detail: map[string]float64{"put_ms": ms(put), "flows": float64(flows)}}, nil
	}
}

// count is the flows in both switches.
func (a *applying) count(ctx context.Context) (int, error) {
	sum := 0
	for _, host := range []string{overlay.Host1, overlay.Host2} {
		n, err := a.lab.FlowCount(ctx, host)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
