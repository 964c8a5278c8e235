package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/peers/ovn"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// plugLab is a lab under somebody's control, as plugging needs it.
type plugLab interface {
	Hosts() []string
	PlugInternal(ctx context.Context, host string, ports []overlay.Port) error
	Run(ctx context.Context, host string, argv ...string) (string, error)
	Guest(p overlay.Port) (*netdev.Namespace, error)
	FixNeighbour(ctx context.Context, of, other overlay.Port) error
	Up(ctx context.Context, t overlay.Topology) error
	Down(ctx context.Context, p overlay.Port) error
	Close() error
}

// plugging is a lab whose port near is plugged in on host 1 again and again, and whose port
// far answers on host 2.
type plugging struct {
	lab       plugLab
	near, far overlay.Port
	guest     *netdev.Namespace // of near
}

// pluggingLoad is the network that near is plugged into.
type pluggingLoad struct {
	near, far overlay.Port
	// third, if it has a host, is one more guest: it brings that host into the lab.
	third overlay.Port
	// others are internal interfaces of the integration bridges.
	others []overlay.Port
}

// remotePorts is a load of n other ports, a handful of them on host 1 and all others on a third
// host. Not on that of far: Open vSwitch's userspace datapath asks each of its interfaces
// for packets in turn, so that with a thousand on host 2 every round trip there took more
// than a millisecond longer, whoever had programmed the switch.
func remotePorts(n int) pluggingLoad {
	l := newPluggingLoad(n-1, func(i int) string {
		if i < handful {
			return overlay.Host1
		}
		return overlay.Host3
	})
	l.third = overlay.Port{ID: overlay.MaxPort - 2, Network: plugNetwork.Name, Host: overlay.Host3}
	return l
}

// handful is how many of the other ports are on the host of near where the others are remote.
const handful = 2

// localPorts is a load of n other ports on host 1.
func localPorts(n int) pluggingLoad {
	return newPluggingLoad(n, func(int) string { return overlay.Host1 })
}

func newPluggingLoad(others int, host func(i int) string) pluggingLoad {
	l := pluggingLoad{
		near: overlay.Port{ID: overlay.MaxPort - 1, Network: plugNetwork.Name, Host: overlay.Host1},
		far:  overlay.Port{ID: overlay.MaxPort, Network: plugNetwork.Name, Host: overlay.Host2},
	}
	for i := range others {
		l.others = append(l.others, overlay.Port{ID: i + 1, Network: plugNetwork.Name, Host: host(i)})
	}
	return l
}

// plugNetwork has the encapsulation that OVN has too.
var plugNetwork = overlay.Network{Name: "net0", Encap: "geneve", Key: 1_000_001}

// guests are the ports with a namespace.
func (l pluggingLoad) guests() []overlay.Port {
	if l.third.Host == "" {
		return []overlay.Port{l.near, l.far}
	}
	return []overlay.Port{l.near, l.far, l.third}
}

func (l pluggingLoad) attachments() []lab.Attachment {
	var all []lab.Attachment
	for _, p := range l.guests() {
		all = append(all, p.Guest(0))
	}
	return all
}

func (l pluggingLoad) topology() overlay.Topology {
	return overlay.Topology{Networks: []overlay.Network{plugNetwork}, Ports: append(l.guests(), l.others...)}
}

// newPlugging plugs everything in, has it declared, and takes near away again. It owns the
// lab from here on, whatever it returns.
func newPlugging(ctx context.Context, in plugLab, load pluggingLoad, declare func(context.Context, overlay.Topology) error) (_ *plugging, err error) {
	p := &plugging{lab: in, near: load.near, far: load.far}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	for _, host := range in.Hosts() {
		if err := p.lab.PlugInternal(ctx, host, load.others); err != nil {
			return nil, err
		}
	}
	if err := declare(ctx, load.topology()); err != nil {
		return nil, err
	}
	if err := p.lab.Up(ctx, load.topology()); err != nil {
		return nil, err
	}
	if load.third.Host != "" {
		if err := giveWay(ctx, p.lab, load.third.Host); err != nil {
			return nil, err
		}
	}
	if err := p.lab.FixNeighbour(ctx, p.far, p.near); err != nil {
		return nil, err
	}
	if p.guest, err = p.lab.Guest(p.near); err != nil {
		return nil, err
	}
	return p, p.unplug(ctx)
}

// ourPlugging is a plugging under our controller.
func ourPlugging(ctx context.Context, load pluggingLoad) (*plugging, error) {
	o, err := overlay.Start(ctx, load.attachments()...)
	if err != nil {
		return nil, err
	}
	return newPlugging(ctx, o, load, func(ctx context.Context, t overlay.Topology) error {
		_, err := o.Apply(ctx, t)
		return err
	})
}

// ovnPlugging is a plugging under OVN.
func ovnPlugging(ctx context.Context, load pluggingLoad) (*plugging, error) {
	o, err := ovn.Start(ctx, load.attachments()...)
	if err != nil {
		return nil, err
	}
	return newPlugging(ctx, o, load, o.Apply)
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

// unplug takes near away and waits until no switch has flows for it.
func (p *plugging) unplug(ctx context.Context) error {
	_, err := p.lab.Run(ctx, p.near.Host, "ovs-vsctl", "--timeout=10", "--if-exists", "del-port", lab.IntegrationBridge, p.device())
	if err != nil {
		return err
	}
	return p.lab.Down(ctx, p.near)
}

const (
	// plugTimeout bounds the wait for the first ping.
	plugTimeout = 20 * time.Second
	// plugInterval is between two echo requests: no first ping is dated later by more.
	plugInterval = time.Millisecond / 2
)

// firstPing is the time from the start of ovs-vsctl to the first echo reply.
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
		at, err := echo.FirstReply(ctx, plugInterval)
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

// undeclared is the iface-id of plugs without a controller.
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
