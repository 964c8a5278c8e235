package suite

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
)

// DatapathFlows is how many flows, and masks of flows, a standard mix of traffic leaves in the datapaths. A pipeline
// that looks at more of a packet than it needs has the datapath remember more cases: each is made by asking
// ovs-vswitchd, and each mask is one more lookup for the packets that no cache knows.
func DatapathFlows() harness.Benchmark {
	b := harness.Benchmark{
		Name:  "datapath-flows",
		Title: "datapath flows of a host for a mix of traffic",
		Means: "What the traffic of a few guests costs the datapath of a host: every datapath flow (megaflow) is a packet that had to wait for ovs-vswitchd, " +
			"and every mask a lookup more for packets that no cache knows. Each guest finds each other one by ARP, then talks with it over UDP and TCP from several ports. " +
			"A count, the mean of both hosts.",
		Unit:   "flows",
		Better: harness.Lower,
		Rounds: 1,
		Setup:  setUpDatapathFlows,
	}
	for _, peer := range ourDesigns() {
		b.Comparisons = append(b.Comparisons,
			harness.Comparison{Peer: peer, Against: peerOVN, Aim: 1},
			harness.Comparison{Peer: peer, Against: peerOVN, Aim: 1, Detail: datapathMasks, Better: harness.Lower},
			harness.Comparison{Peer: peer, Against: peerVLAN})
	}
	return b
}

// datapathMasks is a detail of datapath-flows.
const datapathMasks = "masks"

const (
	mixGuests    = 4 // on each host, unless told otherwise
	maxMixGuests = 16
	mixPorts     = 4 // source ports of UDP, and of TCP, from each guest to each other
)

func setUpDatapathFlows(ctx context.Context, size harness.Size) (*harness.Bench, error) {
	n := size.Scale
	switch {
	case size.Smallest:
		n = 1
	case n == 0:
		n = mixGuests
	}
	if n < 1 || n > maxMixGuests {
		return nil, fmt.Errorf("%d guests on each host: want 1 … %d", n, maxMixGuests)
	}
	s, err := startDesigns(ctx, append(ourDesigns(), peerVLAN, peerOVN), n)
	if err != nil {
		return nil, err
	}
	b := s.bench(func(ctx context.Context, d *design) (harness.Sample, error) { return d.datapathFlows(ctx) })
	b.Scale, b.Load = n, fmt.Sprintf("%d guests on each host, from each to each other ARP, and %d conversations over UDP and over TCP", n, mixPorts)
	return b, nil
}

// datapathFlows counts what a mix leaves in empty datapaths. The first mix is for what the switches learn.
func (d *design) datapathFlows(ctx context.Context) (harness.Sample, error) {
	if err := d.warm(ctx); err != nil {
		return harness.Sample{}, err
	}
	if err := d.mix(ctx); err != nil {
		return harness.Sample{}, err
	}
	// In this order, since the last packets of the first mix may still be on their way: the flows that
	// they make are those of the second mix too, but who has asked by ARP already would not ask again.
	if err := d.forget(ctx); err != nil {
		return harness.Sample{}, err
	}
	for _, g := range d.guests {
		if err := traffic.ForgetNeighbours(g); err != nil {
			return harness.Sample{}, err
		}
	}
	if err := d.mix(ctx); err != nil {
		return harness.Sample{}, err
	}
	var flows, masks int
	both := []string{overlay.Host1, overlay.Host2}
	for _, host := range both {
		f, m, err := d.datapathSize(ctx, host)
		if err != nil {
			return harness.Sample{}, fmt.Errorf("datapath of %s: %w", host, err)
		}
		flows, masks = flows+f, masks+m
	}
	mean := func(sum int) float64 { return float64(sum) / float64(len(both)) }
	return harness.Sample{Value: mean(flows), Detail: map[string]float64{datapathMasks: mean(masks)}}, nil
}

// mix is the traffic: from each guest to each other.
func (d *design) mix(ctx context.Context) error {
	for i, from := range d.guests {
		for j, to := range d.guests {
			if i == j {
				continue
			}
			if err := traffic.Exchange(ctx, from, to, d.ports[j].Addr(), mixPorts); err != nil {
				return fmt.Errorf("from %s to %s: %w", d.ports[i].Name(), d.ports[j].Name(), err)
			}
		}
	}
	return nil
}

// datapathSize is the number of flows in a host's datapath, and of their masks.
func (d *design) datapathSize(ctx context.Context, host string) (flows, masks int, err error) {
	show, err := d.lab.Run(ctx, host, "ovs-appctl", "dpctl/show")
	if err != nil {
		return 0, 0, err
	}
	if flows, err = sum(shownFlows, show); err != nil {
		return 0, 0, fmt.Errorf("dpctl/show: %w", err)
	}
	if masks, err = sum(shownMasks, show); err == nil {
		return flows, masks, nil
	}
	// The userspace datapath does not show its masks there, but how many use which lookup.
	subtables, err := d.lab.Run(ctx, host, "ovs-appctl", "dpif-netdev/subtable-lookup-prio-get")
	if err != nil {
		return 0, 0, err
	}
	if masks, err = sum(usedLookups, subtables); err != nil {
		return 0, 0, fmt.Errorf("dpif-netdev/subtable-lookup-prio-get: %w", err)
	}
	return flows, masks, nil
}

// What Open vSwitch prints of its datapaths.
var (
	shownFlows  = regexp.MustCompile(`(?m)^ *flows: (\d+)$`)
	shownMasks  = regexp.MustCompile(`(?m)^ *masks: hit:\d+ total:(\d+) `) // of the kernel's datapath
	usedLookups = regexp.MustCompile(`\(Use count: (\d+), `)
)

// sum adds up the numbers that an expression finds in a text. It is an error if it finds none.
func sum(expression *regexp.Regexp, text string) (int, error) {
	found := expression.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		return 0, fmt.Errorf("no %q in %q", expression, text)
	}
	total := 0
	for _, f := range found {
		n, err := strconv.Atoi(f[1])
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
