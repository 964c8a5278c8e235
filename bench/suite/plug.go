package suite

import (
	"context"
	"errors"
	"fmt"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"io"
	"slices"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// PlugFirstPing is how long a guest waits for its network: from the start of the ovs-vsctl
// that plugs it in until the first echo reply from a guest on the other host, asked for
// every half millisecond. Guests know each other's Ethernet address, so that ARP has no part in it.
//
// There are two yardsticks, both for a port that nobody declared. One is the same ovs-vsctl
// run from its start to its end: that much the plug takes with no controller. The other has an
// ovs-ofctl after it that adds one flow, until its barrier: when the port's first flow can be in. In
// between the switch may look at all its interfaces once more, since the kernel reports the new one, and
// serves no OpenFlow meanwhile; with hundreds of ports that is what takes longest.
func PlugFirstPing() harness.Benchmark {
	fig := harness.Benchmark{
		Name:   "plug-first-ping",
		Title:  "a port plugged in until its first ping across hosts",
		Unit:   "ms",
		Better: harness.Lower,
		Rounds: 15,
		Setup:  setUpPlugging,
	}
	for _, n := range plugSizes {
		fig.Comparisons = append(fig.Comparisons, harness.Comparison{Peer: peerPing(n), Against: peerVsctl(n), Aim: 1, Plus: 5})
	}
	for _, n := range plugSizes {
		fig.Comparisons = append(fig.Comparisons, harness.Comparison{Peer: peerPing(n), Against: peerByHand(n), Aim: 1})
	}
	smallest, largest := plugSizes[0], plugSizes[len(plugSizes)-1]
	fig.Comparisons = append(fig.Comparisons, harness.Comparison{Peer: peerPing(largest), Against: peerPing(smallest), Aim: 1.25})
	return fig
}

// plugSizes are the numbers of other ports.
var plugSizes = []int{10, 100, 500}

// The peers of plug-first-ping, by number of ports.
func peerPing(ports int) string   { return fmt.Sprintf("first ping, %d ports", ports) }
func peerVsctl(ports int) string  { return fmt.Sprintf("ovs-vsctl, %d ports", ports) }
func peerByHand(ports int) string { return fmt.Sprintf("ovs-vsctl and ovs-ofctl, %d ports", ports) }

func setUpPlugging(ctx context.Context, size harness.Size) (*harness.Bench, error) {
	scale := size.Scale
	if scale < 0 || scale > maxLabPorts {
		return nil, fmt.Errorf("%d ports: want 1 … %d", scale, maxLabPorts)
	}
	sizes := plugSizes
	if scale > 0 {
		sizes = []int{scale}
	}
	b := &harness.Bench{Scale: slices.Max(sizes), Load: fmt.Sprintf("a GRE network with %v other ports on two hosts, a lab each", sizes)}
	var open []io.Closer
	b.Close = func() error {
		var err error
		for _, c := range slices.Backward(open) {
			err = errors.Join(err, c.Close())
		}
		return err
	}
	for _, n := range sizes {
		p, err := newPlugging(ctx, n)
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		open = append(open, p)
		b.Peers = append(b.Peers, harness.Peer{Name: peerPing(n), Role: harness.Ours, Run: p.firstPing}, harness.Peer{Name: peerVsctl(n), Role: harness.Ours, Run: p.plain}, harness.Peer{Name: peerByHand(n), Role: harness.Ours, Run: p.byHand})
	}
	return b, nil
}

// plugging is a lab whose port near is plugged in again and again, and far answers.
type plugging struct {
	lab       *overlay.Overlay
	near, far overlay.Port
	guest     *netdev.Namespace // of near
}

func newPlugging(ctx context.Context, others int) (_ *plugging, err error) {
	t := spread(others, 1)
	p := &plugging{
		near: overlay.Port{ID: overlay.MaxPort - 1, Network: t.Networks[0].Name, Host: overlay.Host1},
		far:  overlay.Port{ID: overlay.MaxPort, Network: t.Networks[0].Name, Host: overlay.Host2},
	}
	t.Ports = append(t.Ports, p.near, p.far)
	if p.lab, err = overlay.Start(ctx, p.near.Guest(0), p.far.Guest(0)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if err := plugInternal(ctx, p.lab, t.Ports[:others]); err != nil {
		return nil, err
	}
	if _, err := p.lab.Apply(ctx, t); err != nil {
		return nil, err
	}
	if err := p.lab.Up(ctx, t); err != nil {
		return nil, err
	}
	if err := p.lab.FixNeighbour(ctx, p.far, p.near); err != nil {
		return nil, err
	}
	if p.guest, err = p.lab.Guest(p.near); err != nil {
		return nil, err
	}
	return p, p.unplug(ctx)
}

func station(p overlay.Port) traffic.Station { return traffic.Station{MAC: p.MAC(), Addr: p.Addr()} }

// Close closes the guest and removes the lab.
func (p *plugging) Close() error {
	if p.guest == nil {
		return p.lab.Close()
	}
	return errors.Join(p.guest.Close(), p.lab.Close())
}

// device is the switch's end of near.
func (p *plugging) device() string { return p.near.Guest(0).Device() }

// plug runs ovs-vsctl and returns when it was started and how long it took.
func (p *plugging) plug(ctx context.Context, ifaceID string) (start time.Time, took time.Duration, err error) {
	start = time.Now()
	_, err = p.lab.Run(ctx, p.near.Host, "ovs-vsctl", "--timeout=10", "add-port", lab.IntegrationBridge, p.device(),
		"--", "set", "Interface", p.device(), "external_ids:iface-id="+ifaceID)
	return start, time.Since(start), err
}

// unplug takes near away and waits until the switch has no flows for it.
func (p *plugging) unplug(ctx context.Context) error {
	_, err := p.lab.Run(ctx, p.near.Host, "ovs-vsctl", "--timeout=10", "--if-exists", "del-port", lab.IntegrationBridge, p.device())
	if err != nil {
		return err
	}
	return p.lab.Down(ctx, p.near)
}

// plugTimeout bounds the wait for the first ping.
const plugTimeout = 20 * time.Second

func (p *plugging) firstPing(ctx context.Context) (_ harness.Sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, plugTimeout)
	defer cancel()
	wire, err := overlay.Wire(p.guest)
	if err != nil {
		return harness.Sample{}, err
	}
	defer func() { err = errors.Join(err, wire.Close()) }()
	echo := traffic.NewEcho(wire, station(p.near), station(p.far))
	type answer struct {
		at  time.Time
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		at, err := echo.FirstReply(ctx, time.Millisecond/2)
		answered <- answer{at, err}
	}()
	start, vsctl, err := p.plug(ctx, p.near.Name())
	if err != nil {
		cancel()
	}
	first := <-answered
	if err := errors.Join(err, first.err); err != nil {
		return harness.Sample{}, err
	}
	// The kernel dates the reply by the wall clock.
	took := first.at.Sub(start.Round(0))
	if took <= 0 {
		return harness.Sample{}, fmt.Errorf("the first reply came %s before the port was plugged in", -took)
	}
	return harness.Sample{Value: ms(took), Detail: map[string]float64{"vsctl_ms": ms(vsctl)}}, p.unplug(ctx)
}

// undeclared is the iface-id of the yardsticks.
const undeclared = "nobody"

// plain is the plug alone.
func (p *plugging) plain(ctx context.Context) (harness.Sample, error) {
	_, vsctl, err := p.plug(ctx, undeclared)
	if err != nil {
		return harness.Sample{}, err
	}
	return harness.Sample{Value: ms(vsctl)}, p.unplug(ctx)
}

// byHand is the plug and one flow, in a table that the pipeline does not use.
func (p *plugging) byHand(ctx context.Context) (harness.Sample, error) {
	start, vsctl, err := p.plug(ctx, undeclared)
	if err != nil {
		return harness.Sample{}, err
	}
	ofctl := func(command, flow string) error {
		_, err := p.lab.Run(ctx, p.near.Host, "ovs-ofctl", "-O", "OpenFlow13", command, lab.IntegrationBridge, flow)
		return err
	}
	if err := ofctl("add-flow", "table=250,in_port="+p.device()+",actions=drop"); err != nil {
		return harness.Sample{}, err
	}
	took := time.Since(start)
	if err := ofctl("del-flows", "table=250"); err != nil {
		return harness.Sample{}, err
	}
	return harness.Sample{Value: ms(took), Detail: map[string]float64{"vsctl_ms": ms(vsctl)}}, p.unplug(ctx)
}
