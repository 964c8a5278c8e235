package probe

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
)

// meterFeatures are what limits rates.
func meterFeatures() []Feature {
	copies := "copies to the controller, MAC learning"
	fix := newer("4.15", "2.10")
	return []Feature{
		{
			Name: "meter-drop", Title: "meters that drop", Need: Now, For: copies,
			question: question{meterFeature, "drop"}, fix: fix,
		},
		{
			Name: "meter-pktps", Title: "meters in packets a second", Need: Now, For: copies,
			question: question{meterFeature, "pktps"}, fix: fix, trial: trial{meters("pktps,burst,stats,bands=type=drop,rate=1,burst_size=1")},
		},
		{
			Name: "meter-kbps", Title: "meters in kilobits a second", Need: ForService, For: "bandwidth of a port",
			question: question{meterFeature, "kbps"}, fix: fix, trial: trial{meters("kbps,burst,stats,bands=type=drop,rate=1,burst_size=1")},
		},
		{
			Name: "meter-count", Title: "meters, at most", Need: Known, For: "a meter for each port that learns",
			question: question{meterFeature, "max_meter"},
		},
		{
			Name: "meter-bands", Title: "bands of a meter, at most", Need: Known, For: "several rates in one meter",
			question: question{meterFeature, "max_bands"},
		},
	}
}

// burst is how many packets are sent through a meter that lets about one a second through.
const burst = 50

var meteredPackets = regexp.MustCompile(`packet_in_count:(\d+)`)

var droppedPackets = regexp.MustCompile(`(?s)bands:.*packet_count:(\d+)`)

// meters tries a meter: all packets meet it, and it drops some.
func meters(meter string) func(context.Context, *scratch) (string, error) {
	return func(ctx context.Context, s *scratch) (string, error) {
		if err := s.install(ctx, rules{meters: []string{"meter=1," + meter}, flows: []string{"in_port=1,actions=meter:1,output:2"}}); err != nil {
			return "", err
		}
		// The first packet finds a meter that is full, and leaves a flow in the datapath: those behind it stay in order.
		if err := s.step(ctx, arrives(p1, packet{src: addrA, dst: addrB}, p2, "nw_dst="+addrB)); err != nil {
			return "", err
		}
		for range burst - 1 {
			if err := s.wires.send(p1, packet{src: addrA, dst: addrB}.frame()); err != nil {
				return "", err
			}
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var in, dropped int
		err := until(ctx, func() (bool, error) {
			out, err := s.c.Ofctl(ctx, bridge, "meter-stats")
			in, dropped = number(meteredPackets, out), number(droppedPackets, out)
			return in >= burst && dropped > 0, err
		})
		if err != nil && ctx.Err() != nil {
			return "", &unlike{fmt.Sprintf("the meter saw %d of %d packets and dropped %d", in, burst, dropped)}
		}
		return "", err
	}
}

// number is what a pattern finds first; -1 if it finds nothing.
func number(pattern *regexp.Regexp, text string) int {
	m := pattern.FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return n
}
