package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
)

// ConnectionRate is how many short TCP connections a second guests on two hosts make. A pipeline
// that looks at ports, or tracks connections, pays for each of them; one that looks at
// addresses pays for the first.
func ConnectionRate() harness.Benchmark {
	b := harness.Benchmark{
		Name:  "connection-rate",
		Title: "short TCP connections between guests on two hosts",
		Means: fmt.Sprintf("What a server of short requests can take: %d clients of one guest connect to another, exchange one byte each way and close, "+
			"again and again. cpu_us is what the ovs-vswitchd of both hosts spend on each connection, about eight packets.", connectionClients),
		Unit:   "connections/s",
		Better: harness.Higher,
		Setup:  setUpConnections,
	}
	b.Comparisons = tunnelComparisons(cpuPerConnection)
	return b
}

// cpuPerConnection is a detail of connection-rate: user and system time of both ovs-vswitchd.
const cpuPerConnection = "cpu_us"

const (
	connectionClients = 8
	// connectionWindow is how long each sample counts, in ms, unless told otherwise.
	connectionWindow    = 1000
	maxConnectionWindow = 600_000
	// connectionWarmUp lets the clients get going, and the datapaths have their flows.
	connectionWarmUp = 200 * time.Millisecond
)

func setUpConnections(ctx context.Context, size harness.Size) (*harness.Bench, error) {
	scale := size.Scale
	switch {
	case size.Smallest:
		scale = 50
	case scale == 0:
		scale = connectionWindow
	}
	if scale < 1 || scale > maxConnectionWindow {
		return nil, fmt.Errorf("%d ms for each sample: want 1 … %d", scale, maxConnectionWindow)
	}
	window := time.Duration(scale) * time.Millisecond
	s, err := startDesigns(ctx, append(ourDesigns(), peerVLAN, peerOVN, peerTunnel, peerLimit), 1)
	if err != nil {
		return nil, err
	}
	for _, d := range s.present() {
		if err := d.fixNeighbours(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	b := s.bench(func(ctx context.Context, d *design) (harness.Sample, error) { return d.connections(ctx, window) })
	b.Scale, b.Load = scale, fmt.Sprintf("%d clients for %s after %s of warming up", connectionClients, window, connectionWarmUp)
	return b, nil
}

// connections measures what the clients of the first guest get done at the second.
func (d *design) connections(ctx context.Context, window time.Duration) (_ harness.Sample, err error) {
	if err := d.warm(ctx); err != nil {
		return harness.Sample{}, err
	}
	c, err := traffic.OpenConnections(d.guests[0], d.guests[1], d.ports[1].Addr(), connectionClients)
	if err != nil {
		return harness.Sample{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if _, err := c.Measure(ctx, connectionWarmUp); err != nil {
		return harness.Sample{}, err
	}
	before, err := d.lab.CPU()
	if err != nil {
		return harness.Sample{}, err
	}
	got, err := c.Measure(ctx, window)
	if err != nil {
		return harness.Sample{}, err
	}
	after, err := d.lab.CPU()
	if err != nil {
		return harness.Sample{}, err
	}
	return harness.Sample{
		Value:   float64(got.Done) / got.Elapsed.Seconds(),
		Detail:  map[string]float64{cpuPerConnection: us(after-before) / float64(got.Done)},
		Latency: got.Latency,
	}, nil
}
