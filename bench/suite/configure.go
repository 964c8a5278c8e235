package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
)

// Configure is how long 1,000 ports take from their declaration into the switches of two
// hosts, here and with OVN.
func Configure() harness.Benchmark {
	b := harness.Benchmark{
		Name:  "configure",
		Title: "many ports configured until all their flows are in the switches",
		Means: "How long a cloud waits for many ports at once. They are plugged in beforehand, half of them on each of two hosts. " +
			"The clock runs from the request that declares all but two of them (one PUT to the controller; one transaction on OVN's northbound database) " +
			"until every port is up and both switches have confirmed all flows by a barrier (OVN: hv_cfg has reached a number that was given when all were up), and the flows are there when they are counted. " +
			"Both answer ARP for the ports and drop what is sent from others' addresses. " +
			"The ports are in one network, or in ten of about the same size, which is easier for OVN: what it does per port grows with the ports of the network. " +
			"CPU and memory are those of every control process: controllers and database servers, those of the hosts included.",
		Unit:   "ms",
		Better: harness.Lower,
		Setup: func(ctx context.Context, size harness.Size) (*harness.Bench, error) {
			scale, err := portsOf(size, 1000, 20)
			if err != nil {
				return nil, err
			}
			if scale%2 != 0 {
				return nil, fmt.Errorf("%d ports: want an even number, half of them for each host", scale)
			}
			return setUpConfigure(ctx, scale)
		},
	}
	for _, networks := range configureNetworks {
		pair := harness.Comparison{Peer: inNetworks(peerOurs, networks), Against: inNetworks(peerOVN, networks), Better: harness.Lower}
		aim := pair
		aim.Aim = 0.1
		b.Comparisons = append(b.Comparisons, aim)
		for _, pair.Detail = range []string{controlCPU, switchCPU, controlPSS, flowsPerHost} {
			b.Comparisons = append(b.Comparisons, pair)
		}
	}
	return b
}

// configureNetworks are the numbers of networks that the ports are spread over.
var configureNetworks = []int{1, 10}

// inNetworks is the name of a peer that has so many networks.
func inNetworks(peer string, networks int) string {
	if networks == 1 {
		return peer + ", one network"
	}
	return fmt.Sprintf("%s, %d networks", peer, networks)
}

// The details of configure.
const (
	controlCPU   = "control_cpu_s"
	switchCPU    = "vswitchd_cpu_s"
	controlPSS   = "control_pss_mb"
	flowsPerHost = "flows_per_host"
	tooEarly     = "word_too_early_ms" // by how much the controller's word came before the flows
)

// portsOf is the number of ports of a size.
func portsOf(size harness.Size, usual, smallest int) (int, error) {
	switch n := size.Scale; {
	case size.Smallest:
		return smallest, nil
	case n == 0:
		return usual, nil
	case n < smallest || n > maxLabPorts:
		return 0, fmt.Errorf("%d ports: want %d … %d", n, smallest, maxLabPorts)
	default:
		return n, nil
	}
}

func setUpConfigure(ctx context.Context, ports int) (*harness.Bench, error) {
	all, err := contenders(ctx)
	if err != nil {
		return nil, err
	}
	b := &harness.Bench{
		Scale: ports,
		Load:  fmt.Sprintf("%d ports on two hosts, plugged in beforehand", ports),
		Close: all.Close,
	}
	for _, c := range all {
		if err := c.prepare(ctx, spread(ports, 1)); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", c.name, err), all.Close())
		}
	}
	for _, networks := range configureNetworks {
		for _, c := range all {
			p := harness.Peer{Name: inNetworks(c.name, networks), Role: c.role, Missing: c.missing, Version: c.version}
			if c.missing == "" {
				p.Run = (&configuring{contender: c, less: spread(2, 1), whole: spread(ports, networks), patience: time.Minute}).sample
			}
			b.Peers = append(b.Peers, p)
		}
	}
	return b, nil
}

// configuring makes one topology of another.
type configuring struct {
	*contender
	less, whole overlay.Topology
	// The flows of both switches with either topology once they were counted: later
	// samples must come to the same.
	flowsOfLess, flowsOfWhole int
	// patience bounds the wait for flows that a controller has said are there.
	patience time.Duration
}

func (c *configuring) sample(ctx context.Context) (harness.Sample, error) {
	if err := c.configure(ctx, c.less); err != nil {
		return harness.Sample{}, err
	}
	if _, err := c.awaitFlows(ctx, &c.flowsOfLess, 2*len(c.less.Ports)); err != nil {
		return harness.Sample{}, err
	}
	before, err := c.used()
	if err != nil {
		return harness.Sample{}, err
	}
	start := time.Now()
	if err := c.configure(ctx, c.whole); err != nil {
		return harness.Sample{}, err
	}
	elapsed := time.Since(start)
	late, err := c.awaitFlows(ctx, &c.flowsOfWhole, c.flowsOfLess+2*(len(c.whole.Ports)-len(c.less.Ports)))
	if err != nil {
		return harness.Sample{}, err
	}
	after, err := c.used()
	if err != nil {
		return harness.Sample{}, err
	}
	return harness.Sample{Value: ms(elapsed + late), Detail: map[string]float64{
		controlCPU:   (after.control - before.control).Seconds(),
		switchCPU:    (after.forwarding - before.forwarding).Seconds(),
		controlPSS:   float64(after.memory) / 1e6,
		flowsPerHost: float64(c.flowsOfWhole) / 2,
		tooEarly:     ms(late),
	}}, nil
}

// lateInterval is between two counts of flows that are late: each takes the switch some
// milliseconds, which a controller that is still at it should have.
const lateInterval = 20 * time.Millisecond

// awaitFlows checks a controller's word that all flows are in the switches, and waits for them
// if they are not: OVN 23.03 gives it too early now and then on a busy machine, seconds before the
// flows of one host. It returns how long that took. The flows must be as many as at the last
// time, known; at the first time, when that is 0, at least as many as told, and the same on both
// hosts, which have the same part of the ports.
func (c *configuring) awaitFlows(ctx context.Context, known *int, least int) (late time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.patience, fmt.Errorf("no more came in %s", c.patience))
	defer cancel()
	again := time.NewTicker(lateInterval)
	defer again.Stop()
	for start := time.Now(); ; late = time.Since(start) {
		counts, err := c.flows(ctx)
		if err != nil {
			return 0, err
		}
		sum, same := 0, true
		for _, n := range counts {
			sum, same = sum+n, same && n == counts[0]
		}
		if sum == *known || *known == 0 && same && sum >= least {
			*known = sum
			return late, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("the switches hold %v flows, and held %d in sum after an earlier sample (0: there was none; %d at least): %w", counts, *known, least, context.Cause(ctx))
		}
	}
}
