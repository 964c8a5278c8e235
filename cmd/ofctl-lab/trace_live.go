package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/explain"
)

// How long the switches may take to count a packet, and how often they are asked.
// Open vSwitch adds what its datapath counted to the flows about every half second.
const (
	liveTimeout  = 5 * time.Second
	liveInterval = 250 * time.Millisecond
)

// live sends the frame and waits until every flow and port of the report has counted it,
// or for liveTimeout.
func (s *onlineSource) live(ctx context.Context, r *explain.Report, frame []byte) (*explain.Live, error) {
	if _, err := s.Send(ctx, r.Port, frame); err != nil {
		return nil, s.explain(err)
	}
	expected := explain.Expect(r)
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	tick := time.NewTicker(liveInterval)
	defer tick.Stop()
	for {
		now := map[string]*api.FlowDump{}
		for _, h := range expected.Hosts() {
			d, err := s.Flows(ctx, h)
			if err != nil {
				return expected, fmt.Errorf("what was counted: %w", s.explain(err))
			}
			now[h] = d
		}
		if expected.Count(s.counters(s.dumps), s.counters(now)); expected.Agrees {
			return expected, nil
		}
		select {
		case <-ctx.Done():
			return expected, nil // the report says what did not count
		case <-tick.C:
		}
	}
}

// counters are what dumps have counted.
func (s *onlineSource) counters(dumps map[string]*api.FlowDump) explain.Counters {
	out := explain.Counters{}
	for host, d := range dumps {
		for _, f := range d.Flows {
			out[explain.Counted{Host: host, Flow: f.Raw}] = f.Packets
		}
		for _, p := range d.Ports {
			if p.Sent != nil {
				out[explain.Counted{Host: host, Port: p.Number}] = *p.Sent
			}
		}
	}
	return out
}
