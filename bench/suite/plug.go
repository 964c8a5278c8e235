package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/peers/ovn"
)

// PlugFirstPing is how long a guest waits for its network where the network's other ports are
// on another host, here and with OVN.
func PlugFirstPing() harness.Benchmark {
	b := harness.Benchmark{
		Name:  "plug-first-ping",
		Title: "a port plugged in until its first ping across hosts, by number of remote ports",
		Means: "How long a guest that starts waits for its network. The clock runs from the start of the ovs-vsctl that plugs the guest in " +
			"(add-port and external_ids:iface-id in one transaction, as libvirt does) until the first echo reply from a guest on another host, " +
			"asked for every half millisecond and dated by the kernel. The network's other ports, as many as the peer's name says, are on a third host, but for two beside the guest; it stands for other machines, so its processes give way to all others. " +
			"Guests know each other's Ethernet address, so that ARP has no part in it. " +
			"The limit is for a port that nobody declared, on the same switch: that ovs-vsctl alone, from start to end. By hand there is an ovs-ofctl after it that adds one flow.",
		Unit:   "ms",
		Better: harness.Lower,
		Setup: func(ctx context.Context, size harness.Size) (*harness.Bench, error) {
			return setUpPlugging(ctx, plugSizes(size, remotePlugSizes), pluggers{
				ours: func(ctx context.Context, n int) (*plugging, error) { return ourPlugging(ctx, remotePorts(n)) },
				ovn:  func(ctx context.Context, n int) (*plugging, error) { return ovnPlugging(ctx, remotePorts(n)) },
			})
		},
	}
	smallest, largest := remotePlugSizes[0], remotePlugSizes[len(remotePlugSizes)-1]
	b.Comparisons = append(b.Comparisons,
		harness.Comparison{Peer: peerPing(largest), Against: peerPingOVN(largest), Aim: 0.2},
		harness.Comparison{Peer: peerPing(largest), Against: peerPing(smallest), Aim: 1.2})
	for _, n := range remotePlugSizes {
		b.Comparisons = append(b.Comparisons, plugWithoutController(n)...)
	}
	for _, n := range remotePlugSizes[:len(remotePlugSizes)-1] {
		b.Comparisons = append(b.Comparisons, harness.Comparison{Peer: peerPing(n), Against: peerPingOVN(n)})
	}
	b.Comparisons = append(b.Comparisons, harness.Comparison{Peer: peerPingOVN(largest), Against: peerPingOVN(smallest)})
	return b
}

// remotePlugSizes are the numbers of other ports where those are on the other host.
var remotePlugSizes = []int{10, 100, 1000}

// The peers, by number of other ports.
func peerPing(ports int) string    { return fmt.Sprintf("ofctl-lab, %d ports", ports) }
func peerPingOVN(ports int) string { return fmt.Sprintf("OVN, %d ports", ports) }
func peerVsctl(ports int) string   { return fmt.Sprintf("ovs-vsctl, %d ports", ports) }
func peerByHand(ports int) string  { return fmt.Sprintf("ovs-vsctl and ovs-ofctl, %d ports", ports) }

// plugWithoutController compares a first ping with what the same switch takes without a controller.
func plugWithoutController(ports int) []harness.Comparison {
	return []harness.Comparison{
		{Peer: peerPing(ports), Against: peerVsctl(ports), Aim: 1, Plus: 5},
		{Peer: peerPing(ports), Against: peerByHand(ports), Aim: 1},
	}
}

// plugSizes are the numbers of other ports to set up labs for.
func plugSizes(size harness.Size, usual []int) []int {
	switch {
	case size.Smallest:
		return []int{handful + 1}
	case size.Scale > 0:
		return []int{size.Scale}
	}
	return usual
}

// pluggers start a lab with a number of other ports; ovn is nil where OVN is no peer.
type pluggers struct {
	ours, ovn func(ctx context.Context, others int) (*plugging, error)
}

// setUpPlugging starts the labs of each size. They take turns later, and only wait meanwhile.
func setUpPlugging(ctx context.Context, sizes []int, start pluggers) (_ *harness.Bench, err error) {
	b := &harness.Bench{Scale: slices.Max(sizes), Load: fmt.Sprintf("a Geneve network with %v other ports, a lab each", sizes)}
	if b.Scale > maxLabPorts {
		return nil, fmt.Errorf("%d ports: want 1 … %d", b.Scale, maxLabPorts)
	}
	var open []io.Closer
	b.Close = func() error {
		var err error
		for _, c := range slices.Backward(open) {
			err = errors.Join(err, c.Close())
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	for _, n := range sizes {
		ours, err := start.ours(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", peerPing(n), err)
		}
		open = append(open, ours)
		b.Peers = append(b.Peers, harness.Peer{Name: peerPing(n), Role: harness.Ours, Run: ours.firstPing})
		if start.ovn != nil {
			rival := harness.Peer{Name: peerPingOVN(n), Role: harness.Rival, Missing: ovn.Missing()}
			if rival.Missing == "" {
				theirs, err := start.ovn(ctx, n)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", peerPingOVN(n), err)
				}
				open = append(open, theirs)
				rival.Run, rival.Version = theirs.firstPing, ovn.Version(ctx)
			}
			b.Peers = append(b.Peers, rival)
		}
		b.Peers = append(b.Peers,
			harness.Peer{Name: peerVsctl(n), Role: harness.Limit, Run: ours.plain},
			harness.Peer{Name: peerByHand(n), Role: harness.Rival, Run: ours.byHand})
	}
	return b, nil
}
