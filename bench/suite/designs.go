package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/baseline"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/peers/ovn"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// design is a way to connect guests on two hosts, with guests of its own. The benchmarks that
// ask what single packets cost, rather than how many pass, set the same designs beside each
// other.
type design struct {
	name  string
	role  harness.Role
	encap string // of the tenant network, which has the same name; "" for a design without one
	// ports are on Host1 and Host2 in turn; but those of the limit are all on Host1.
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

// The peers that only some benchmarks have.
const (
	peerGeneve = "Geneve VNI"
	peerOVN    = "OVN"
)

// ourDesigns are the names of the designs that are ours.
func ourDesigns() []string { return []string{peerGRE, peerVXLAN, peerGeneve} }

const (
	// guestsApart is the distance of the numbers of two designs' guests.
	guestsApart = 1000
	// firstKey is the tunnel key of the first tenant network.
	firstKey = 1_000_001
)

// encapOf is the encapsulation of a design's tenant network; "" for those without one.
func encapOf(name string) string {
	switch name {
	case peerGRE:
		return topo.GRE.String()
	case peerVXLAN:
		return topo.VXLAN.String()
	case peerGeneve, peerOVN:
		return topo.Geneve.String()
	}
	return ""
}

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
		d := newDesign(name, i*guestsApart, perHost)
		s.all = append(s.all, d)
		switch d.missing = missing(name); {
		case d.missing != "":
		case name == peerOVN:
			ofOVN = append(ofOVN, d)
		default:
			shared = append(shared, d)
		}
	}
	if err := s.start(ctx, shared); err != nil {
		return nil, err
	}
	for _, d := range ofOVN {
		if err := s.startOVN(ctx, d); err != nil {
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
	if name == peerOVN {
		return ovn.Missing()
	}
	return ""
}

// start brings up the two hosts of those designs that share them.
func (s *designs) start(ctx context.Context, shared []*design) error {
	guests, t, err := plan(shared)
	if err != nil {
		return err
	}
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
func (s *designs) startOVN(ctx context.Context, d *design) error {
	guests, t, err := plan([]*design{d})
	if err != nil {
		return err
	}
	o, err := ovn.Start(ctx, guests...)
	if err != nil {
		return err
	}
	s.open, d.lab, d.version = append(s.open, o), o.Lab, ovn.Version(ctx)
	if err := o.Apply(ctx, t); err != nil {
		return err
	}
	return o.Up(ctx, t)
}

// plan is the guests of the designs, and the topology of those that have a tenant network.
func plan(all []*design) ([]lab.Attachment, overlay.Topology, error) {
	var guests []lab.Attachment
	var t overlay.Topology
	// Every encapsulation here leaves this much, so that MTUs make no difference.
	mtu, err := topo.MTU(overlay.UnderlayMTU, topo.Geneve, false)
	if err != nil {
		return nil, t, err
	}
	for _, d := range all {
		if d.encap != "" {
			t.Networks = append(t.Networks, overlay.Network{Name: d.encap, Encap: d.encap, Key: uint32(firstKey + len(t.Networks))})
			t.Ports = append(t.Ports, d.ports...)
		}
		for _, p := range d.ports {
			guests = append(guests, p.Guest(mtu))
		}
	}
	return guests, t, nil
}

// newDesign is a design whose guests have the numbers after first.
func newDesign(name string, first, perHost int) *design {
	d := &design{name: name, role: harness.Rival, encap: encapOf(name)}
	far := overlay.Host2
	switch {
	case slices.Contains(ourDesigns(), name):
		d.role = harness.Ours
	case name == peerLimit:
		d.role, far, perHost = harness.Limit, overlay.Host1, 1
	}
	for i := range perHost {
		d.ports = append(d.ports,
			overlay.Port{ID: first + 2*i + 1, Network: d.encap, Host: overlay.Host1},
			overlay.Port{ID: first + 2*i + 2, Network: d.encap, Host: far})
	}
	return d
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
	switch d.name {
	case peerVLAN:
		return d.trunk(ctx)
	case peerLimit:
		return d.wire(ctx)
	}
	return nil
}

// trunk moves the guests to the design that ofctl-lab replaces.
func (d *design) trunk(ctx context.Context) error {
	ends := map[string]*baseline.Host{}
	for _, host := range []string{overlay.Host1, overlay.Host2} {
		datapath, err := d.datapath(ctx, host)
		if err != nil {
			return err
		}
		ends[host] = &baseline.Host{
			Run: func(ctx context.Context, argv ...string) (string, error) { return d.lab.Run(ctx, host, argv...) },
			TEP: overlay.TEP(host), Datapath: datapath,
		}
	}
	for _, p := range d.ports {
		end := ends[p.Host]
		end.Ports = append(end.Ports, baseline.Port{Device: p.Guest(0).Device(), VLAN: oldVLAN})
	}
	return baseline.Up(ctx, *ends[overlay.Host1], *ends[overlay.Host2])
}

// wire moves the two guests to a bridge that has a flow each way and nothing else.
func (d *design) wire(ctx context.Context) error {
	datapath, err := d.datapath(ctx, overlay.Host1)
	if err != nil {
		return err
	}
	from, to := d.ports[0].Guest(0).Device(), d.ports[1].Guest(0).Device()
	_, err = d.lab.Run(ctx, overlay.Host1, "ovs-vsctl", "--timeout=10",
		"add-br", limitName, "--", "set", "bridge", limitName, "datapath_type="+datapath, "fail_mode=secure", "protocols=OpenFlow13",
		"--", "del-port", from, "--", "add-port", limitName, from,
		"--", "del-port", to, "--", "add-port", limitName, to)
	for _, way := range [][2]string{{from, to}, {to, from}} {
		if err == nil {
			_, err = d.lab.Run(ctx, overlay.Host1, "ovs-ofctl", "-O", "OpenFlow13", "add-flow", limitName, "in_port="+way[0]+",actions=output:"+way[1])
		}
	}
	return err
}

// datapath is the datapath type of a host's bridges.
func (d *design) datapath(ctx context.Context, host string) (string, error) {
	out, err := d.lab.Run(ctx, host, "ovs-vsctl", "get", "bridge", lab.IntegrationBridge, "datapath_type")
	return strings.Trim(strings.TrimSpace(out), `"`), err
}

// fixNeighbours makes the first two guests know each other's Ethernet address for good, so that
// ARP has no part in what is measured.
func (d *design) fixNeighbours(ctx context.Context) error {
	return errors.Join(d.lab.FixNeighbour(ctx, d.ports[0], d.ports[1]), d.lab.FixNeighbour(ctx, d.ports[1], d.ports[0]))
}

// warm makes the switches learn what they learn: the neighbour behind the tunnel, and with NORMAL the
// addresses of the first two guests.
func (d *design) warm(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, idleTimeout)
	defer cancel()
	wire, err := overlay.Wire(d.guests[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, wire.Close()) }()
	_, err = traffic.NewEcho(wire, station(d.ports[0]), station(d.ports[1])).FirstReply(ctx, 10*time.Millisecond)
	return err
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
