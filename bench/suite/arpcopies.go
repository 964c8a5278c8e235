package suite

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// ARPCopies is how many ARP frames cross the underlay for each neighbour that a guest finds, and for what
// no controller can answer in the owner's stead: a request for an address that nobody has, and the announcement of an address.
func ARPCopies() harness.Benchmark {
	b := harness.Benchmark{
		Name:  "arp-copies",
		Title: "ARP frames on the underlay for each neighbour that is found",
		Means: "What ARP costs the underlay and every other host, which is what makes large flat networks slow: frames in tunnels, requests and replies, for each guest of " +
			"another host that is asked for once and found. unknown_frames is the same for a request that nobody can answer, announced_frames for the announcement of an " +
			"address. A count, for one other host: what is flooded goes to each.",
		Unit:   "frames",
		Better: harness.Lower,
		Rounds: 1,
		Setup:  setUpARPCopies,
	}
	for _, peer := range ourDesigns() {
		b.Comparisons = append(b.Comparisons,
			harness.Comparison{Peer: peer, Plus: 0.5}, // none at all
			harness.Comparison{Peer: peer, Against: peerOVN, Aim: 1},
			harness.Comparison{Peer: peer, Against: peerOVN, Aim: 1, Detail: unknownFrames, Better: harness.Lower},
			harness.Comparison{Peer: peer, Against: peerOVN, Aim: 1, Detail: announcedFrames, Better: harness.Lower},
			harness.Comparison{Peer: peer, Against: peerVLAN})
	}
	return b
}

// The details of arp-copies, for each request and for each announcement.
const (
	unknownFrames   = "unknown_frames"
	announcedFrames = "announced_frames"
)

const (
	arpGuests    = 4 // on each host, unless told otherwise
	maxARPGuests = 64
	// fencePort is the source port of the datagram after the last of what is counted.
	fencePort = 1023
)

func setUpARPCopies(ctx context.Context, size harness.Size) (*harness.Bench, error) {
	n := size.Scale
	switch {
	case size.Smallest:
		n = 1
	case n == 0:
		n = arpGuests
	}
	if n < 1 || n > maxARPGuests {
		return nil, fmt.Errorf("%d guests on each host: want 1 … %d", n, maxARPGuests)
	}
	s, err := startDesigns(ctx, append(ourDesigns(), peerVLAN, peerOVN), n)
	if err != nil {
		return nil, err
	}
	for _, d := range s.present() {
		// The datagrams and echoes between the two shall not make their kernels ask.
		if err := d.fixNeighbours(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	b := s.bench(func(ctx context.Context, d *design) (harness.Sample, error) { return d.arpCopies(ctx) })
	b.Scale, b.Load = n, fmt.Sprintf("a guest asks for each of %d on the other host, for as many addresses that nobody has, and announces its own as often", n)
	return b, nil
}

// arpCopies counts for each of the three things that a guest does with ARP.
func (d *design) arpCopies(ctx context.Context) (_ harness.Sample, err error) {
	if err := d.warm(ctx); err != nil {
		return harness.Sample{}, err
	}
	wire, err := overlay.Wire(d.guests[0])
	if err != nil {
		return harness.Sample{}, err
	}
	defer func() { err = errors.Join(err, wire.Close()) }()
	from := station(d.ports[0])
	var found []overlay.Port
	for _, p := range d.ports {
		if p.Host != d.ports[0].Host {
			found = append(found, p)
		}
	}
	count := func(once func(i int) error) (float64, error) {
		frames, err := d.countARP(ctx, wire, func() error {
			for i := range found {
				if err := once(i); err != nil {
					return err
				}
			}
			return nil
		})
		return float64(frames) / float64(len(found)), err
	}
	s := harness.Sample{Detail: map[string]float64{}}
	s.Value, err = count(func(i int) error { return find(ctx, wire, from, found[i]) })
	if err == nil {
		s.Detail[unknownFrames], err = count(func(i int) error { return wire.Send(traffic.ARPRequest(from, nobodys(i))) })
	}
	if err == nil {
		s.Detail[announcedFrames], err = count(func(int) error { return wire.Send(traffic.ARPRequest(from, from.Addr)) })
	}
	return s, err
}

// nobodys is an address that no guest has.
func nobodys(i int) netip.Addr { return overlay.Port{ID: overlay.MaxPort - i}.Addr() }

// find asks for a guest and checks the answer.
func find(ctx context.Context, wire *netdev.PacketConn, from traffic.Station, guest overlay.Port) error {
	mac, err := traffic.Resolve(ctx, wire, from, guest.Addr())
	if err == nil && !slices.Equal(mac, guest.MAC()) {
		err = fmt.Errorf("the answer for %s is %s instead of %s", guest.Addr(), mac, guest.MAC())
	}
	return err
}

// countARP is how many ARP frames cross the underlay for what the first guest does on its wire. A datagram that it
// sends afterwards shows when they have: the switches keep the order.
func (d *design) countARP(ctx context.Context, wire *netdev.PacketConn, do func() error) (frames int, err error) {
	ctx, cancel := context.WithTimeout(ctx, idleTimeout)
	defer cancel()
	far, err := overlay.Wire(d.guests[1])
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, far.Close()) }()
	fence, err := traffic.NewProbe(wire, far, d.guests[1], station(d.ports[0]), station(d.ports[1]))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, fence.Close()) }()
	underlay, err := d.lab.CaptureUnderlay(d.ports[0].Host)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, underlay.Close()) }()
	if err := do(); err != nil {
		return 0, err
	}
	if _, err := fence.OneWay(ctx, fencePort); err != nil {
		return 0, err
	}
	for f, err := range underlay.Frames(ctx) {
		if err != nil {
			return 0, err
		}
		switch arp, end := tunnelled(f); {
		case arp:
			frames++
		case end:
			return frames, complete(underlay)
		}
	}
	return 0, fmt.Errorf("the datagram after %d ARP frames was not seen on the underlay: %w", frames, ctx.Err())
}

// complete is an error if a capture has lost frames.
func complete(capture *netdev.PacketConn) error {
	stats, err := capture.Stats()
	if err == nil && stats.Dropped > 0 {
		err = fmt.Errorf("the capture of the underlay has lost %d frames", stats.Dropped)
	}
	return err
}

// tunnelled reports whether a frame carries an ARP packet, or the datagram after the last, in a tunnel. The hosts'
// own ARP is in none.
func tunnelled(f netdev.Frame) (arp, end bool) {
	inTunnel := false
	for _, l := range f.Packet().Layers() {
		switch l := l.(type) {
		case *layers.GRE, *layers.VXLAN, *layers.Geneve:
			inTunnel = true
		case *layers.ARP:
			arp = inTunnel
		case *layers.UDP:
			end = inTunnel && l.SrcPort == fencePort
		}
	}
	return arp, end
}
