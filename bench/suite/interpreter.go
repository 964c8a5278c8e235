package suite

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// Interpreter is how many packets per second are followed through the flows of two hosts: by flows/trace, and
// by a real switch that is asked.
func Interpreter() harness.Benchmark {
	b := harness.Benchmark{
		Name:  "interpreter",
		Title: "packets per second followed through the flows of an overlay",
		Means: "How many questions of what becomes of a packet can be answered: for trace, for probing, and by the emulated switch of tests. " +
			"The flows are those of two hosts with about 1,000 each, compiled beforehand. Of each kind the same packet is taken again and again: to a guest on the same host (local); " +
			"to one on the other host, and on through the flows there (tunnel); with somebody else's address, which is dropped (drop). flows/trace is called in the process; it " +
			"parses the frame and keeps each step, and for a drop the flow that would have taken the packet had the fewest fields been others. Without steps, it keeps only what leaves and why it was dropped. " +
			"ofproto/trace is asked over the control socket of an ovs-vswitchd that has the same flows in two bridges, as ovs-appctl asks it, but on one connection: it parses the frame " +
			"and answers with each step as a text, which is looked at for what it comes to and not parsed; a packet through the tunnel takes two questions. So the two do the same work, but for the text and the socket. " +
			"CPU is of ovs-vswitchd alone, and of this process for flows/trace. It is no measure of how fast Open vSwitch forwards packets, which it does from a cache.",
		Unit:   "packets/s",
		Better: harness.Higher,
		Setup:  setUpInterpreter,
	}
	for _, k := range packetKinds {
		b.Comparisons = append(b.Comparisons,
			harness.Comparison{Peer: tracing(k), Against: asking(k)},
			harness.Comparison{Peer: tracing(k), Against: asking(k), Detail: cpuPerTrace, Better: harness.Lower},
			harness.Comparison{Peer: forwarding(k), Against: tracing(k)})
	}
	return b
}

// packetKind is what becomes of a packet.
type packetKind string

const (
	kindLocal  packetKind = "local"
	kindTunnel packetKind = "tunnel"
	kindDrop   packetKind = "drop"
)

var packetKinds = []packetKind{kindLocal, kindTunnel, kindDrop}

// The names of the peers of interpreter.
func tracing(k packetKind) string    { return "flows/trace, " + string(k) }
func forwarding(k packetKind) string { return "flows/trace without steps, " + string(k) }
func asking(k packetKind) string     { return "ofproto/trace, " + string(k) }

// cpuPerTrace is the detail that says what a packet costs.
const cpuPerTrace = "cpu_us_per_trace"

// maxTraces bounds the packets of a sample.
const maxTraces = 1_000_000

// oracleShare is how many packets are traced for each that the real switch is asked about, so that samples
// take about as long.
const oracleShare = 20

func setUpInterpreter(ctx context.Context, size harness.Size) (*harness.Bench, error) {
	packets := size.Scale
	switch {
	case size.Smallest:
		packets = 200
	case packets == 0:
		packets = 20_000
	case packets < 1 || packets > maxTraces:
		return nil, fmt.Errorf("%d packets: want 1 … %d", packets, maxTraces)
	}
	c, err := compileOverlay(verifyExtents[0])
	if err != nil {
		return nil, err
	}
	in, err := newInterpreting(c)
	if err != nil {
		return nil, err
	}
	b := &harness.Bench{
		Scale: packets,
		Load:  fmt.Sprintf("%d packets (ofproto/trace: %d), %d flows on two hosts", packets, max(packets/oracleShare, 1), c.flows),
		Close: func() error { return nil },
	}
	o := &oracle{in: in}
	missing, version := switchMissing(ctx)
	if missing == "" {
		if err := o.start(ctx); err != nil {
			return nil, errors.Join(err, o.close())
		}
		b.Close = o.close
	}
	for _, k := range packetKinds {
		theirs := harness.Peer{Name: asking(k), Role: harness.Rival, Missing: missing, Version: version}
		if missing == "" {
			theirs.Run = o.sample(k, max(packets/oracleShare, 1))
		}
		b.Peers = append(b.Peers,
			harness.Peer{Name: tracing(k), Role: harness.Ours, Run: in.sample(k, trace.Options{Steps: true}, packets)},
			harness.Peer{Name: forwarding(k), Role: harness.Ours, Run: in.sample(k, trace.Options{}, packets)},
			theirs)
	}
	return b, nil
}

// switchMissing says what a real switch lacks, or which one it is.
func switchMissing(ctx context.Context) (missing, version string) {
	for _, tool := range []string{"ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Sprintf("no %s; install the Debian package openvswitch-switch (make deps)", tool), ""
		}
	}
	out, err := exec.CommandContext(ctx, "ovs-vswitchd", "--version").Output()
	if err != nil {
		return err.Error(), ""
	}
	return "", firstLine(out)
}

// interpreting is the overlay, and three guests of one network of it.
type interpreting struct {
	*compiled
	net         *trace.Network
	here, there *compiledHost
	// from and near are on here, far is on there.
	from, near, far *guest
}

// newInterpreting chooses guests that are neither on one port nor on trunks.
func newInterpreting(c *compiled) (*interpreting, error) {
	net, err := c.network()
	if err != nil {
		return nil, err
	}
	in := &interpreting{compiled: c, net: net, here: c.hosts[0], there: c.hosts[1]}
	for n := range c.networks {
		in.from, in.near, in.far = nil, nil, nil
		for _, g := range c.guests {
			switch {
			case g.network != n || g.vlan != 0:
			case g.host == in.there:
				in.far = g
			case in.from == nil:
				in.from = g
			default:
				in.near = g
			}
		}
		if in.near != nil && in.far != nil {
			return in, nil
		}
	}
	return nil, errors.New("no network has two guests on one host and one on the other")
}

// target is whom a packet is for, and frame the packet.
func (in *interpreting) target(k packetKind) *guest {
	if k == kindTunnel {
		return in.far
	}
	return in.near
}

func (in *interpreting) frame(k packetKind) []byte {
	from := *in.from
	if k == kindDrop {
		from.addr = in.near.addr
	}
	return frame(&from, in.target(k))
}

// sample traces the packet of a kind many times.
func (in *interpreting) sample(k packetKind, o trace.Options, packets int) func(context.Context) (harness.Sample, error) {
	return func(context.Context) (harness.Sample, error) {
		bytes := in.frame(k)
		return perSecond(packets, ownCPU, func() error {
			for range packets {
				p, err := trace.NewPacket(in.from.port, bytes)
				if err != nil {
					return err
				}
				hop, err := in.net.Trace(in.here.name, p, o)
				if err != nil {
					return err
				}
				if err := in.check(k, hop); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// check holds what became of a packet against what should have.
func (in *interpreting) check(k packetKind, hop *trace.Hop) error {
	want := 1
	if k == kindDrop {
		want = 0
	}
	arrived, elsewhere := ends(hop, in.target(k))
	if arrived != want || elsewhere != 0 {
		return fmt.Errorf("a packet (%s) arrives %d times, want %d, and elsewhere %d times", k, arrived, want, elsewhere)
	}
	return nil
}

// perSecond times work on a number of packets, and what processor time it cost somebody.
func perSecond(packets int, cpu func() (time.Duration, error), work func() error) (harness.Sample, error) {
	elapsed, spent, err := timed(cpu, work)
	if err != nil {
		return harness.Sample{}, err
	}
	return harness.Sample{
		Value:  float64(packets) / elapsed.Seconds(),
		Detail: map[string]float64{cpuPerTrace: spent.Seconds() * 1e6 / float64(packets)},
	}, nil
}
