package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
)

// ThroughputTCP is what one TCP connection carries between guests on two hosts, what that costs, and
// how long an echo takes on the path when it is idle: over tunnel keys, over the VLAN trunk that
// they replace, and over OVN.
func ThroughputTCP() harness.Benchmark {
	return harness.Benchmark{
		Name:  "throughput-tcp",
		Title: "one TCP connection between guests on two hosts",
		Means: "How much one connection moves while sender, receiver and both switches share the machine. Its window is what a socket " +
			"of ovs-vswitchd holds: with a larger one TCP loses a sixth of its segments there, over every path, and spends the time on that. " +
			"Every guest has the largest MTU that its path takes on an underlay of 1500 bytes: GRE and the VLAN trunk leave 1458, VXLAN and " +
			"Geneve 1450, OVN, which adds an option to Geneve, 1442; on one host all have 1458. " + cpuPerGB + " is user and system time of both hosts' ovs-vswitchd for each 10⁹ bytes received. " +
			"The latency is that of echoes, one at a time, on the idle path after the stream; " + pingMedian + " is their median in each sample. The limits are a bridge, and " +
			"a GRE tunnel between two, with one static flow each way. On the kernel datapath each design is measured twice, with the offloads of all veths off and on. No process is pinned to a core.",
		Unit:        "Mbit/s",
		Better:      harness.Higher,
		Comparisons: throughputComparisons(costsOfTCP()...),
		Setup:       setUpThroughputTCP,
	}
}

// The details of throughput-tcp.
const (
	cpuPerGB   = "vswitchd_cpu_s_per_GB" // of both hosts
	pingMedian = "ping_p50_us"
	pingsLost  = "pings_lost"            // of all echoes
	sentAgain  = "retransmitted_percent" // of all segments
)

// costsOfTCP are the details of which less is better.
func costsOfTCP() []string { return []string{cpuPerGB, pingMedian, pingsLost} }

const (
	echoes        = 100
	fewestEchoes  = 5
	echoPause     = time.Millisecond
	bytesPerMbit  = 1e6 / 8
	bytesPerGB    = 1e9
	percentMedian = 50
)

func setUpThroughputTCP(ctx context.Context, size harness.Size) (*harness.Bench, error) {
	span, err := throughputSpanOf(size)
	if err != nil {
		return nil, err
	}
	n := echoes
	if size.Smallest {
		n = fewestEchoes
	}
	s, err := startThroughput(ctx, size)
	if err != nil {
		return nil, err
	}
	b := s.benchOffloads(costsOfTCP(), func(ctx context.Context, d *design) (harness.Sample, error) { return d.carryTCP(ctx, span, n) })
	b.Scale = int(span.window.Milliseconds())
	b.Load = fmt.Sprintf("%s after %s of warming up, then %d echoes on the idle path", span.window, span.warmUp, n)
	return b, nil
}

// carryTCP measures a stream, and the path when it has ended.
func (d *design) carryTCP(ctx context.Context, span throughputSpan, echoes int) (harness.Sample, error) {
	if err := d.warm(ctx); err != nil {
		return harness.Sample{}, err
	}
	stream, err := traffic.OpenStream(ctx, d.guests[0], d.guests[1], d.ports[1].Addr())
	if err != nil {
		return harness.Sample{}, err
	}
	s, err := d.stream(ctx, stream, span)
	if err := errors.Join(err, stream.Close()); err != nil {
		return harness.Sample{}, err
	}
	s.Latency = harness.NewLatency()
	err = d.onPath(ctx, func(echo *traffic.Echo) error {
		trips, err := echo.RoundTrips(ctx, echoes, echoPause)
		for _, t := range trips {
			err = errors.Join(err, s.Latency.RecordValue(t.Nanoseconds()))
		}
		s.Detail[pingsLost] = float64(echoes - len(trips))
		return err
	})
	s.Detail[pingMedian] = float64(s.Latency.ValueAtPercentile(percentMedian)) / float64(time.Microsecond)
	return s, err
}

// stream measures a stream that has just begun.
func (d *design) stream(ctx context.Context, s *traffic.Stream, span throughputSpan) (harness.Sample, error) {
	if err := pass(ctx, span.warmUp); err != nil {
		return harness.Sample{}, err
	}
	cpu, err := d.lab.CPU()
	if err != nil {
		return harness.Sample{}, err
	}
	begun, before := time.Now(), s.Received()
	if err := pass(ctx, span.window); err != nil {
		return harness.Sample{}, err
	}
	bytes, elapsed := float64(s.Received()-before), time.Since(begun)
	after, err := d.lab.CPU()
	if err != nil {
		return harness.Sample{}, err
	}
	again, err := s.Retransmitted()
	if err != nil {
		return harness.Sample{}, err
	}
	if bytes == 0 {
		return harness.Sample{}, fmt.Errorf("nothing arrived in %s", elapsed)
	}
	return harness.Sample{
		Value: bytes / bytesPerMbit / elapsed.Seconds(),
		Detail: map[string]float64{
			cpuPerGB:  (after - cpu).Seconds() / bytes * bytesPerGB,
			sentAgain: 100 * again,
		},
	}, nil
}
