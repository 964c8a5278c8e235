package suite

import (
	"context"
	"errors"
	"fmt"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/baseline"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Throughput is what one TCP connection carries between guests on two hosts, and what it
// costs, over tunnel keys and over the design that they replace, on the same two switches. The limit is
// two guests of one bridge with a flow each way: no tunnel and no lookup worth the name.
//
// Every guest has the largest MTU that its path takes on an underlay of 1500 bytes.
func Throughput() harness.Benchmark {
	fig := harness.Benchmark{
		Name:   "throughput",
		Title:  "one TCP connection between guests on two hosts",
		Unit:   "Mbit/s",
		Better: harness.Higher,
		Rounds: 9,
		Setup:  setUpThroughput,
	}
	for _, peer := range []string{peerGRE, peerVXLAN} {
		fig.Comparisons = append(fig.Comparisons,
			harness.Comparison{Peer: peer, Against: peerVLAN, Aim: 1},
			harness.Comparison{Peer: peer, Against: peerVLAN, Aim: 1, Detail: cpuPerGB, Better: harness.Lower},
			harness.Comparison{Peer: peer, Against: peerVLAN, Aim: 1, Detail: steadyPing, Better: harness.Lower})
	}
	return fig
}

// The peers of throughput.
const (
	peerVLAN  = "VLAN trunk, NORMAL"
	peerGRE   = "GRE key"
	peerVXLAN = "VXLAN VNI"
	peerLimit = "one bridge (the limit)"
)

// The details of throughput.
const (
	cpuPerGB   = "vswitchd_cpu_s_per_GB" // of both hosts
	steadyPing = "ping_ms"               // median
	lostPings  = "pings_lost"            // of all echoes
)

const (
	warmUp    = 500 * time.Millisecond
	echoes    = 200
	echoPause = 2 * time.Millisecond
	limitName = "br-limit"
	// idleTimeout bounds the wait for a path to be idle after a stream.
	idleTimeout = 10 * time.Second
	oldVLAN     = 100
	bitsPerMB   = 1e6 / 8
	bytesPerGB  = 1e9
)

// path is a pair of guests and what is between them.
type path struct {
	name     string
	from, to overlay.Port
	mtu      int // of both guests, bytes
}

// carrying is the lab with all four paths.
type carrying struct {
	lab    *overlay.Overlay
	window time.Duration // how long each stream is measured
	guests map[int]*netdev.Namespace
	open   []io.Closer
}

// paths are the pairs of guests, in the order of the peers.
func paths() ([]path, error) {
	gre, err := topo.MTU(overlay.UnderlayMTU, topo.GRE, false)
	if err != nil {
		return nil, err
	}
	vxlan, err := topo.MTU(overlay.UnderlayMTU, topo.VXLAN, false)
	if err != nil {
		return nil, err
	}
	port := func(id int, network, host string) overlay.Port {
		return overlay.Port{ID: id, Network: network, Host: host}
	}
	old := baseline.GuestMTU(overlay.UnderlayMTU)
	return []path{
		{peerVLAN, port(1, "", overlay.Host1), port(2, "", overlay.Host2), old},
		{peerGRE, port(3, "gre", overlay.Host1), port(4, "gre", overlay.Host2), gre},
		{peerVXLAN, port(5, "vxlan", overlay.Host1), port(6, "vxlan", overlay.Host2), vxlan},
		{peerLimit, port(7, "", overlay.Host1), port(8, "", overlay.Host1), old},
	}, nil
}

func setUpThroughput(ctx context.Context, size harness.Size) (*harness.Bench, error) {
	scale := size.Scale
	if scale == 0 {
		scale = 3000
	}
	if scale < 1 || scale > 600_000 {
		return nil, fmt.Errorf("%d ms for each sample: want 1 … 600000", scale)
	}
	c := &carrying{window: time.Duration(scale) * time.Millisecond, guests: map[int]*netdev.Namespace{}}
	all, err := paths()
	if err != nil {
		return nil, err
	}
	if err := c.start(ctx, all); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	b := &harness.Bench{Scale: scale, Load: fmt.Sprintf("%s after %s of warming up; then %d pings on the idle path", c.window, warmUp, echoes), Close: c.Close}
	for _, p := range all {
		b.Peers = append(b.Peers, harness.Peer{Name: p.name, Role: harness.Ours, Run: c.sample(p)})
	}
	return b, nil
}

// start brings up the lab: the overlay on the integration bridges, the other designs
// on bridges of their own.
func (c *carrying) start(ctx context.Context, all []path) error {
	t := overlay.Topology{Networks: []overlay.Network{{Name: "gre", Encap: "gre", Key: 1_000_001}, {Name: "vxlan", Encap: "vxlan", Key: 1_000_002}}}
	var guests []lab.Attachment
	for _, p := range all {
		for _, port := range []overlay.Port{p.from, p.to} {
			guests = append(guests, port.Guest(p.mtu))
			if port.Network != "" {
				t.Ports = append(t.Ports, port)
			}
		}
	}
	var err error
	if c.lab, err = overlay.Start(ctx, guests...); err != nil {
		return err
	}
	c.open = append(c.open, c.lab)
	if _, err := c.lab.Apply(ctx, t); err != nil {
		return err
	}
	if err := c.lab.Up(ctx, t); err != nil {
		return err
	}
	for _, p := range all {
		if err := c.openGuests(ctx, p); err != nil {
			return err
		}
		switch p.name {
		case peerVLAN:
			err = c.trunk(ctx, p)
		case peerLimit:
			err = c.wire(ctx, p)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// openGuests opens both guests of a path and makes them know each other.
func (c *carrying) openGuests(ctx context.Context, p path) error {
	for _, end := range [][2]overlay.Port{{p.from, p.to}, {p.to, p.from}} {
		g, err := c.lab.Guest(end[0])
		if err != nil {
			return err
		}
		c.open, c.guests[end[0].ID] = append(c.open, g), g
		if err := c.lab.FixNeighbour(ctx, end[0], end[1]); err != nil {
			return err
		}
	}
	return nil
}

// trunk moves a path to the old design.
func (c *carrying) trunk(ctx context.Context, p path) error {
	var ends []baseline.Host
	for _, port := range []overlay.Port{p.from, p.to} {
		datapath, err := c.datapath(ctx, port.Host)
		if err != nil {
			return err
		}
		ends = append(ends, baseline.Host{
			Run: func(ctx context.Context, argv ...string) (string, error) {
				return c.lab.Run(ctx, port.Host, argv...)
			},
			TEP: overlay.TEP(port.Host), Datapath: datapath,
			Ports: []baseline.Port{{Device: port.Guest(0).Device(), VLAN: oldVLAN}},
		})
	}
	return baseline.Up(ctx, ends[0], ends[1])
}

// wire moves a path to a bridge that has a flow each way and nothing else.
func (c *carrying) wire(ctx context.Context, p path) error {
	datapath, err := c.datapath(ctx, p.from.Host)
	if err != nil {
		return err
	}
	from, to := p.from.Guest(0).Device(), p.to.Guest(0).Device()
	_, err = c.lab.Run(ctx, p.from.Host, "ovs-vsctl", "--timeout=10",
		"add-br", limitName, "--", "set", "bridge", limitName, "datapath_type="+datapath, "fail_mode=secure", "protocols=OpenFlow13",
		"--", "del-port", from, "--", "add-port", limitName, from,
		"--", "del-port", to, "--", "add-port", limitName, to)
	for _, way := range [][2]string{{from, to}, {to, from}} {
		if err == nil {
			_, err = c.lab.Run(ctx, p.from.Host, "ovs-ofctl", "-O", "OpenFlow13", "add-flow", limitName, "in_port="+way[0]+",actions=output:"+way[1])
		}
	}
	return err
}

// datapath is the datapath type of a host's bridges.
func (c *carrying) datapath(ctx context.Context, host string) (string, error) {
	out, err := c.lab.Run(ctx, host, "ovs-vsctl", "get", "bridge", lab.IntegrationBridge, "datapath_type")
	return strings.Trim(strings.TrimSpace(out), `"`), err
}

// Close closes the guests and removes the lab.
func (c *carrying) Close() error {
	var err error
	for _, o := range slices.Backward(c.open) {
		err = errors.Join(err, o.Close())
	}
	return err
}

// sample measures a stream, and the path when it has ended.
func (c *carrying) sample(p path) func(context.Context) (harness.Sample, error) {
	return func(ctx context.Context) (harness.Sample, error) {
		from, to := c.guests[p.from.ID], c.guests[p.to.ID]
		stream, err := traffic.OpenStream(ctx, from, to, p.to.Addr())
		if err != nil {
			return harness.Sample{}, err
		}
		s, err := c.stream(ctx, stream)
		if err := errors.Join(err, stream.Close()); err != nil {
			return harness.Sample{}, err
		}
		trips, err := c.ping(ctx, p)
		if err != nil {
			return harness.Sample{}, err
		}
		s.Detail[steadyPing], s.Detail[lostPings] = harness.Median(trips), float64(echoes-len(trips))
		return s, nil
	}
}

// ping is the round trips on an idle path, in ms.
func (c *carrying) ping(ctx context.Context, p path) (times []float64, err error) {
	wire, err := overlay.Wire(c.guests[p.from.ID])
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, wire.Close()) }()
	echo := traffic.NewEcho(wire, station(p.from), station(p.to))
	// What the stream has left in the queues may still push a packet out.
	idle, cancel := context.WithTimeout(ctx, idleTimeout)
	defer cancel()
	if _, err := echo.FirstReply(idle, 10*time.Millisecond); err != nil {
		return nil, err
	}
	trips, err := echo.RoundTrips(ctx, echoes, echoPause)
	for _, d := range trips {
		times = append(times, ms(d))
	}
	return times, err
}

// stream measures a stream that has just begun.
func (c *carrying) stream(ctx context.Context, s *traffic.Stream) (harness.Sample, error) {
	if err := pass(ctx, warmUp); err != nil {
		return harness.Sample{}, err
	}
	cpu, err := c.lab.CPU()
	if err != nil {
		return harness.Sample{}, err
	}
	begun, before := time.Now(), s.Received()
	if err := pass(ctx, c.window); err != nil {
		return harness.Sample{}, err
	}
	bytes, elapsed := float64(s.Received()-before), time.Since(begun)
	after, err := c.lab.CPU()
	if err != nil {
		return harness.Sample{}, err
	}
	if bytes == 0 {
		return harness.Sample{}, fmt.Errorf("nothing arrived in %s", elapsed)
	}
	return harness.Sample{
		Value:  bytes / bitsPerMB / elapsed.Seconds(),
		Detail: map[string]float64{cpuPerGB: (after - cpu).Seconds() / bytes * bytesPerGB},
	}, nil
}

// pass returns after d, or when ctx is done.
func pass(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
