package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/peers/ovn"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// design is a way to connect guests on two hosts, with guests of its own. The benchmarks that
// ask what single packets cost, rather than how many pass, set the same designs beside each
// other.
type design struct {
	layout
	name    string
	network string // the tenant network; "" for a design without one
	// ports are on Host1 and the layout's far host in turn.
	ports  []overlay.Port
	guests []*netdev.Namespace // of the ports, in their order
	lab    *overlay.Lab
	// missing says why the design cannot be had on this machine, version what it is where it is
	// a program of its own.
	missing, version string
}

// designs are those of one benchmark, up and ready. All but OVN share their two hosts.
type designs struct {
	all  []*design
	open []io.Closer // in the order of opening
}

const (
	// guestsApart is the distance of the numbers of two designs' guests.
	guestsApart = 1000
	// firstKey is the tunnel key of the first tenant network.
	firstKey = 1_000_001
	// idleTimeout bounds the wait for a path to be idle, which is asked for every idlePause.
	idleTimeout = 10 * time.Second
	idlePause   = 10 * time.Millisecond
)

// startDesigns brings up the named designs, each with so many guests on each host. What
// fails to start is removed again.
func startDesigns(ctx context.Context, names []string, perHost int) (_ *designs, err error) {
	s := &designs{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	var shared, ofOVN []*design
	for i, name := range names {
		d, err := newDesign(name, i, perHost)
		if err != nil {
			return nil, err
		}
		s.all = append(s.all, d)
		switch d.missing = missing(name); {
		case d.missing != "":
		case isOVN(name):
			ofOVN = append(ofOVN, d)
		default:
			shared = append(shared, d)
		}
	}
	if err := s.start(ctx, shared); err != nil {
		return nil, err
	}
	if len(ofOVN) > 0 {
		if err := s.startOVN(ctx, ofOVN); err != nil {
			return nil, err
		}
	}
	for _, d := range s.present() {
		if err := s.finish(ctx, d); err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return s, nil
}

// present are the designs that this machine can have.
func (s *designs) present() []*design {
	return slices.DeleteFunc(slices.Clone(s.all), func(d *design) bool { return d.missing != "" })
}

// missing says why a design cannot be had on this machine; "" if it can.
func missing(name string) string {
	if isOVN(name) {
		return ovn.Missing()
	}
	return ""
}

// start brings up the two hosts of those designs that share them.
func (s *designs) start(ctx context.Context, shared []*design) error {
	guests, t := plan(shared)
	o, err := overlay.Start(ctx, guests...)
	if err != nil {
		return err
	}
	s.open = append(s.open, o)
	for _, d := range shared {
		d.lab = o.Lab
	}
	if _, err := o.Apply(ctx, t); err != nil {
		return err
	}
	return o.Up(ctx, t)
}

// startOVN brings up the two hosts of OVN.
func (s *designs) startOVN(ctx context.Context, all []*design) error {
	guests, t := plan(all)
	o, err := ovn.Start(ctx, guests...)
	if err != nil {
		return err
	}
	s.open = append(s.open, o)
	for _, d := range all {
		d.lab, d.version = o.Lab, ovn.Version(ctx)
	}
	if err := o.Apply(ctx, t); err != nil {
		return err
	}
	return o.Up(ctx, t)
}

// plan is the guests of the designs, and the topology of those that have a tenant network.
func plan(all []*design) ([]lab.Attachment, overlay.Topology) {
	var guests []lab.Attachment
	var t overlay.Topology
	for _, d := range all {
		if d.encap != "" {
			t.Networks = append(t.Networks, overlay.Network{Name: d.network, Encap: d.encap, Key: uint32(firstKey + len(t.Networks))})
			t.Ports = append(t.Ports, d.ports...)
		}
		for _, p := range d.ports {
			guests = append(guests, p.Guest(d.mtu))
		}
	}
	return guests, t
}

// newDesign is design number i of a benchmark, with so many guests on each host. A limit has
// one pair.
func newDesign(name string, i, perHost int) (*design, error) {
	l, err := layoutOf(name)
	if err != nil {
		return nil, err
	}
	d := &design{layout: l, name: name}
	if d.encap != "" {
		d.network = fmt.Sprintf("network%d", i)
	}
	if d.role == harness.Limit {
		perHost = 1
	}
	first := i * guestsApart
	for i := range perHost {
		d.ports = append(d.ports,
			overlay.Port{ID: first + 2*i + 1, Network: d.network, Host: overlay.Host1},
			overlay.Port{ID: first + 2*i + 2, Network: d.network, Host: d.far})
	}
	return d, nil
}

// finish opens the guests of a design and moves them to its bridge, if that is not the
// integration bridge.
func (s *designs) finish(ctx context.Context, d *design) error {
	for _, p := range d.ports {
		g, err := d.lab.Guest(p)
		if err != nil {
			return err
		}
		s.open, d.guests = append(s.open, g), append(d.guests, g)
	}
	if d.build != nil {
		return d.build(d, ctx)
	}
	return nil
}

// fixNeighbours makes the first two guests know each other's Ethernet address for good, so that
// ARP has no part in what is measured.
func (d *design) fixNeighbours(ctx context.Context) error {
	return errors.Join(d.lab.FixNeighbour(ctx, d.ports[0], d.ports[1]), d.lab.FixNeighbour(ctx, d.ports[1], d.ports[0]))
}

// warm returns when the path answers within a moment.
func (d *design) warm(ctx context.Context) error {
	return d.onPath(ctx, func(*traffic.Echo) error { return nil })
}

// onPath runs f with echoes from the first guest to the second, once the path answers within
// a moment. So nothing of what was sent before is left in a queue, the switches know the neighbours behind
// their tunnels, and those that learn have learned where both guests are: NORMAL floods for ever
// where only one of two ever sends.
func (d *design) onPath(ctx context.Context, f func(*traffic.Echo) error) (err error) {
	wire, err := overlay.Wire(d.guests[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, wire.Close()) }()
	echo := traffic.NewEcho(wire, station(d.ports[0]), station(d.ports[1]))
	idle, cancel := context.WithTimeout(ctx, idleTimeout)
	defer cancel()
	if _, err := echo.FirstReply(idle, idlePause); err != nil {
		return err
	}
	return f(echo)
}

// forget makes the switches of both hosts forget every flow of their datapaths, so that the next
// packet takes the way of a first one. What the switches have learned of addresses stays.
func (d *design) forget(ctx context.Context) error {
	for _, host := range []string{overlay.Host1, overlay.Host2} {
		if _, err := d.lab.Run(ctx, host, "ovs-appctl", "revalidator/purge"); err != nil {
			return err
		}
	}
	return nil
}

// bench is a benchmark on the designs; run measures a design once.
func (s *designs) bench(run func(context.Context, *design) (harness.Sample, error)) *harness.Bench {
	b := &harness.Bench{Close: s.Close}
	for _, d := range s.all {
		p := harness.Peer{Name: d.name, Role: d.role, Missing: d.missing, Version: d.version}
		if d.missing == "" {
			p.Run = func(ctx context.Context) (harness.Sample, error) { return run(ctx, d) }
		}
		b.Peers = append(b.Peers, p)
	}
	return b
}

// Close closes the guests and removes the labs.
func (s *designs) Close() error {
	var err error
	for _, o := range slices.Backward(s.open) {
		err = errors.Join(err, o.Close())
	}
	return err
}
