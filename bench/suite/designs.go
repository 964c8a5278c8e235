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

// design is a way to connect guests, on two hosts of its own. A switch looks at all its ports again
// and again, so that those of other designs would slow down the packets of this one; each
// has its guests, its underlay and the local ports of its bridges, and nothing else. The
// benchmarks of the data plane set the same designs beside each other.
type design struct {
	layout
	name string
	// ports are on Host1 and the layout's far host in turn.
	ports  []overlay.Port
	guests []*netdev.Namespace // of the ports, in their order
	lab    *overlay.Lab
	// missing says why the design cannot be had on this machine, version what it is where it is
	// a program of its own.
	missing, version string
}

// designs are those of one benchmark, up and ready.
type designs struct {
	all  []*design
	open []io.Closer // in the order of opening
	// datapath is the datapath type of all bridges: what this machine has.
	datapath string
}

const (
	// tenantNetwork and tenantKey are those of the designs that have a tenant network.
	tenantNetwork = "guests"
	tenantKey     = 1_000_001
	// idleTimeout bounds the wait for a path to be idle, which is asked for every idlePause.
	idleTimeout = 10 * time.Second
	idlePause   = 10 * time.Millisecond
)

// startDesigns brings up the named designs, each with so many guests on each host. What
// fails to start is removed again.
func startDesigns(ctx context.Context, names []string, perHost int) (*designs, error) {
	return startWanted(ctx, names, perHost, func(string) bool { return true })
}

// startWanted is startDesigns, without those that are not wanted.
func startWanted(ctx context.Context, names []string, perHost int, wants func(name string) bool) (_ *designs, err error) {
	s := &designs{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, name := range names {
		d, err := newDesign(name, perHost)
		if err != nil {
			return nil, err
		}
		s.all = append(s.all, d)
		if d.missing = missing(name); d.missing == "" && !wants(name) {
			d.missing = harness.LeftOut
		}
		if d.missing != "" {
			continue
		}
		if err := s.start(ctx, d); err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
		if s.datapath, err = d.datapath(ctx, overlay.Host1); err != nil {
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

// start brings up the two hosts of a design, and opens its guests.
func (s *designs) start(ctx context.Context, d *design) error {
	var err error
	switch {
	case isOVN(d.name):
		err = s.startOVN(ctx, d)
	case d.encap != "":
		err = s.startOurs(ctx, d)
	default:
		err = s.startBare(ctx, d)
	}
	if err != nil {
		return err
	}
	for _, p := range d.ports {
		g, err := d.lab.Guest(p)
		if err != nil {
			return err
		}
		s.open, d.guests = append(s.open, g), append(d.guests, g)
	}
	return nil
}

func (s *designs) startOurs(ctx context.Context, d *design) error {
	o, err := overlay.Start(ctx, d.attachments()...)
	if err != nil {
		return err
	}
	s.open, d.lab = append(s.open, o), o.Lab
	if _, err := o.Apply(ctx, d.topology()); err != nil {
		return err
	}
	return o.Up(ctx, d.topology())
}

func (s *designs) startOVN(ctx context.Context, d *design) error {
	o, err := ovn.Start(ctx, d.attachments()...)
	if err != nil {
		return err
	}
	s.open, d.lab, d.version = append(s.open, o), o.Lab, ovn.Version(ctx)
	if err := o.Apply(ctx, d.topology()); err != nil {
		return err
	}
	return o.Up(ctx, d.topology())
}

// startBare brings up hosts without a controller, on which the design builds bridges of its own. Those
// that it leaves empty go: Open vSwitch would look at their local ports all the time.
func (s *designs) startBare(ctx context.Context, d *design) error {
	l, err := overlay.StartLab(ctx, d.attachments()...)
	if err != nil {
		return err
	}
	s.open, d.lab = append(s.open, l), l
	if err := d.build(d, ctx); err != nil {
		return err
	}
	for _, host := range []string{overlay.Host1, overlay.Host2} {
		if _, err := l.Run(ctx, host, "ovs-vsctl", "--timeout=10", "del-br", lab.IntegrationBridge); err != nil {
			return err
		}
	}
	return nil
}

// attachments are the guests of a design.
func (d *design) attachments() []lab.Attachment {
	var guests []lab.Attachment
	for _, p := range d.ports {
		guests = append(guests, p.Guest(d.mtu))
	}
	return guests
}

// topology is the tenant network of a design that has one, with all its guests.
func (d *design) topology() overlay.Topology {
	return overlay.Topology{
		Networks: []overlay.Network{{Name: tenantNetwork, Encap: d.encap, Key: tenantKey}},
		Ports:    d.ports,
	}
}

// newDesign is a design with so many guests on each host. A limit has one pair.
func newDesign(name string, perHost int) (*design, error) {
	l, err := layoutOf(name)
	if err != nil {
		return nil, err
	}
	d := &design{layout: l, name: name}
	if d.role == harness.Limit {
		perHost = 1
	}
	network := ""
	if d.encap != "" {
		network = tenantNetwork
	}
	for i := range perHost {
		d.ports = append(d.ports,
			overlay.Port{ID: 2*i + 1, Network: network, Host: overlay.Host1},
			overlay.Port{ID: 2*i + 2, Network: network, Host: d.far})
	}
	return d, nil
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
	b := &harness.Bench{Datapath: s.datapath, Close: s.Close}
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

// tunnelComparisons set each of our designs against the others that cross hosts, with the aim to
// be no worse than OVN, also in a detail of which less is better.
func tunnelComparisons(detail string) []harness.Comparison {
	var all []harness.Comparison
	for _, peer := range ourDesigns() {
		all = append(all,
			harness.Comparison{Peer: peer, Against: peerOVN, Aim: 1},
			harness.Comparison{Peer: peer, Against: peerOVN, Aim: 1, Detail: detail, Better: harness.Lower},
			harness.Comparison{Peer: peer, Against: peerVLAN},
			harness.Comparison{Peer: peer, Against: peerTunnel})
	}
	return all
}
