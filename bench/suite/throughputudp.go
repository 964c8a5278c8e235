package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/proc"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
)

// ThroughputUDP is how many of the smallest frames go between guests on two hosts, and what each
// of them costs. The designs are those of throughput-tcp.
func ThroughputUDP() harness.Benchmark {
	return harness.Benchmark{
		Name:  "throughput-udp",
		Title: "64-byte UDP frames between guests on two hosts",
		Means: "How many packets the path forwards, where no packet is large enough to hide what each costs. At most 256 frames are on the way, " +
			"as many as a socket of ovs-vswitchd holds, and each that arrives makes room for another: the path is always busy and never flooded, so that what " +
			"is lost is lost by the path. " + cpuPerPacket + " is user and system time of both hosts' ovs-vswitchd for each frame received, " + loadPerPacket +
			" that of the generator, which sends and receives in one thread: as long as it is less than 10⁶ divided by the rate, the generator is not the limit. " +
			"The limits are a bridge, and a GRE tunnel between two, with one static flow each way. No process is pinned to a core.",
		Unit:        "packets/s",
		Better:      harness.Higher,
		Comparisons: throughputComparisons(cpuPerPacket),
		Setup:       setUpThroughputUDP,
	}
}

// The details of throughput-udp.
const (
	sentPackets   = "sent_packets/s"
	lostPackets   = "lost_percent"
	cpuPerPacket  = "vswitchd_cpu_us_per_packet" // of both hosts
	loadPerPacket = "load_cpu_us_per_packet"
)

func setUpThroughputUDP(ctx context.Context, size harness.Size) (*harness.Bench, error) {
	span, err := throughputSpanOf(size)
	if err != nil {
		return nil, err
	}
	s, err := startThroughput(ctx, size)
	if err != nil {
		return nil, err
	}
	b := s.bench(func(ctx context.Context, d *design) (harness.Sample, error) { return d.carryUDP(ctx, span) })
	b.Scale = int(span.window.Milliseconds())
	b.Load = fmt.Sprintf("%s after %s of warming up, one flow of datagrams with %d bytes", span.window, span.warmUp, traffic.SmallestPayload)
	return b, nil
}

// carryUDP measures a load of the smallest frames.
func (d *design) carryUDP(ctx context.Context, span throughputSpan) (_ harness.Sample, err error) {
	if err := d.warm(ctx); err != nil {
		return harness.Sample{}, err
	}
	load, err := traffic.OpenUDPLoad(d.guests[0], d.guests[1], d.ports[1].Addr(), traffic.SmallestPayload)
	if err != nil {
		return harness.Sample{}, err
	}
	defer func() { err = errors.Join(err, load.Close()) }()
	if _, err := load.Run(ctx, span.warmUp); err != nil {
		return harness.Sample{}, fmt.Errorf("warming up: %w", err)
	}
	before, err := d.udpCPU()
	if err != nil {
		return harness.Sample{}, err
	}
	c, err := load.Run(ctx, span.window)
	if err != nil {
		return harness.Sample{}, err
	}
	after, err := d.udpCPU()
	if err != nil {
		return harness.Sample{}, err
	}
	each := func(used time.Duration) float64 { return used.Seconds() * 1e6 / float64(c.Received) }
	return harness.Sample{
		Value: float64(c.Received) / c.Elapsed.Seconds(),
		Detail: map[string]float64{
			sentPackets:   float64(c.Sent) / c.Elapsed.Seconds(),
			lostPackets:   100 * c.Lost(),
			cpuPerPacket:  each(after.switches - before.switches),
			loadPerPacket: each(after.load - before.load),
		},
	}, nil
}

// udpCPU is the processor time that both switches, and the generator of the load, have used.
type udpCPU struct{ switches, load time.Duration }

func (d *design) udpCPU() (udpCPU, error) {
	switches, err := d.lab.CPU()
	if err != nil {
		return udpCPU{}, err
	}
	load, err := proc.CPUTime(os.Getpid())
	return udpCPU{switches, load}, err
}
