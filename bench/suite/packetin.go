package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/build"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/peers"
	"github.com/ofctl-lab/ofctl-lab/bench/peers/osken"
	"github.com/ofctl-lab/ofctl-lab/bench/peers/testcontroller"
	fleet "github.com/ofctl-lab/ofctl-lab/bench/switch"
)

// The peers of the packet-in benchmarks; the session and os-ken are those of flow-programming.
const (
	peerNull           = "null responder"
	peerTestController = "ovs-testcontroller"
)

// The details of the packet-in benchmarks.
const (
	cpuPerPacketIn     = "cpu_us_per_packet_in"      // of the controller
	loadCPUPerPacketIn = "load_cpu_us_per_packet_in" // of the fleet: what the load itself takes
	controllerPSS      = "pss_mb"
	lostPacketIns      = "lost_packet_ins"
)

// packetInMeans says what the packet-in benchmarks have in common.
const packetInMeans = "Emulated OpenFlow 1.3 switches send frames of 64 hosts each that they have no flow for, and keep a fixed number " +
	"of them unanswered. Every controller learns where addresses are and answers each packet-in by a packet-out with the frame, to the one port " +
	"of its destination once that is known; only such an answer counts (package bench/switch). The null responder floods without " +
	"looking: no program that answers can do less. Each controller runs in a network namespace of its own and is started anew for every sample; the clock " +
	"runs once all hosts have been heard. CPU and memory are the controller's; the load's own CPU is beside it, since all share the processors."

// lossTimeout is long enough for the slowest controller with the most packet-ins in flight.
const lossTimeout = 10 * time.Second

// packetInHosts is how many addresses each switch has.
const packetInHosts = 64

// packetIns is a packet-in benchmark that is set up.
type packetIns struct {
	dir    string // programs
	load   fleet.Options
	window time.Duration
	value  func(*fleet.Report) float64
}

// controllerPeer is a controller before it is measured.
type controllerPeer struct {
	name, version string
	role          harness.Role
	spec          peers.Spec
	missing       string
}

// setUpPacketIns makes the benchmark of a load.
func setUpPacketIns(ctx context.Context, size harness.Size, load fleet.Options, value func(*fleet.Report) float64) (*harness.Bench, error) {
	ms := size.Scale
	switch {
	case size.Smallest:
		ms = 50
	case ms == 0:
		ms = 1000
	case ms < 10 || ms > 60_000:
		return nil, fmt.Errorf("%d ms: want 10 … 60000", ms)
	}
	load.Hosts, load.LossTimeout = packetInHosts, lossTimeout
	p := &packetIns{load: load, window: time.Duration(ms) * time.Millisecond, value: value}
	var err error
	if p.dir, err = bridge.TempDir(); err != nil {
		return nil, err
	}
	b := &harness.Bench{
		Scale: ms,
		Load: fmt.Sprintf("%d × %d packet-ins of 60 bytes in flight (switches × each), for %d ms",
			load.Switches, load.InFlight, ms),
		Close: func() error { return os.RemoveAll(p.dir) },
	}
	all, err := p.controllers(ctx)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	for _, c := range all {
		peer := harness.Peer{Name: c.name, Role: c.role, Missing: c.missing, Version: c.version}
		if c.missing == "" {
			peer.Run = func(ctx context.Context) (harness.Sample, error) { return p.sample(ctx, c.spec) }
		}
		b.Peers = append(b.Peers, peer)
	}
	return b, nil
}

// controllers are all peers, those that cannot run here among them.
func (p *packetIns) controllers(ctx context.Context) ([]controllerPeer, error) {
	all := []controllerPeer{
		{name: peerSession, role: harness.Ours, spec: peers.Spec{Name: "session"}},
		{name: peerNull, role: harness.Limit, spec: peers.Spec{Name: "null"}},
	}
	_, noSource := build.Top(ctx)
	for i := range all {
		c := &all[i]
		if noSource != nil {
			c.missing = noSource.Error()
			continue
		}
		c.spec.Program, c.spec.Port = filepath.Join(p.dir, c.spec.Name), 6653
		if err := build.Program(ctx, "bench/peers/"+c.spec.Name, c.spec.Program); ctx.Err() != nil {
			return nil, err
		} else if err != nil {
			c.missing = err.Error()
		}
	}
	python, err := osken.Install(p.dir)
	if err != nil {
		return nil, err
	}
	for _, r := range []struct {
		name    string
		spec    peers.Spec
		version func(context.Context) (string, error)
	}{
		{peerTestController, testcontroller.Spec(), testcontroller.Version},
		{peerOSKen, python, osken.Version},
	} {
		c := controllerPeer{name: r.name, role: harness.Rival, spec: r.spec, missing: r.spec.Missing()}
		if c.missing == "" {
			if c.version, err = r.version(ctx); err != nil {
				return nil, err
			}
		}
		all = append(all, c)
	}
	return all, nil
}

// sample starts a controller, loads it and measures it.
func (p *packetIns) sample(ctx context.Context, spec peers.Spec) (_ harness.Sample, err error) {
	c, err := peers.Start(ctx, spec)
	if err != nil {
		return harness.Sample{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	f, err := p.connect(ctx, c)
	if err != nil {
		return harness.Sample{}, err
	}
	defer f.Close()
	s, err := p.measure(ctx, f, c)
	if err != nil {
		return harness.Sample{}, c.Explain(err)
	}
	return s, nil
}

// connect connects the fleet and loads the controller until it has heard all hosts.
func (p *packetIns) connect(ctx context.Context, c *peers.Process) (*fleet.Fleet, error) {
	dial, cancel := context.WithTimeoutCause(ctx, lossTimeout, fmt.Errorf("not served within %v", lossTimeout))
	defer cancel()
	f, err := fleet.Dial(dial, "tcp", c.Addr(), p.load)
	if err != nil {
		return nil, c.Explain(err)
	}
	f.Load()
	// Each switch goes round its hosts; twice round on the average is once for all of them, or nearly.
	for heard := uint64(0); heard < 2*uint64(p.load.Switches*p.load.Hosts); {
		r, err := f.Window(dial, p.window/10)
		if err != nil {
			f.Close()
			return nil, c.Explain(fmt.Errorf("warm-up: %w", err))
		}
		heard += r.Answers
	}
	return f, nil
}

func (p *packetIns) measure(ctx context.Context, f *fleet.Fleet, c *peers.Process) (harness.Sample, error) {
	controller, err1 := c.CPU()
	load, err2 := ownCPU()
	r, err3 := f.Window(ctx, p.window)
	loadAfter, err4 := ownCPU()
	controllerAfter, err5 := c.CPU()
	pss, err6 := c.PSS()
	switch err := errors.Join(err1, err2, err3, err4, err5, err6); {
	case err != nil:
		return harness.Sample{}, err
	case r.Answers == 0:
		return harness.Sample{}, fmt.Errorf("no answer to %d packet-ins in %v", r.PacketIns, r.Elapsed)
	case r.Wrong+r.Unsolicited > 0:
		return harness.Sample{}, fmt.Errorf("%d right answers, %d wrong ones and %d to what nobody asked", r.Answers, r.Wrong, r.Unsolicited)
	}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(r.Answers) }
	return harness.Sample{
		Value:   p.value(r),
		Latency: r.Latency,
		Detail: map[string]float64{
			cpuPerPacketIn:     each(controllerAfter - controller),
			loadCPUPerPacketIn: each(loadAfter - load),
			controllerPSS:      float64(pss) / 1e6,
			lostPacketIns:      float64(r.Lost),
		},
	}, nil
}
