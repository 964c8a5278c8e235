package probe

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// groupFeatures are the types of groups.
func groupFeatures() []Feature {
	return []Feature{
		{
			Name: "group-all", Title: "groups of type all", Need: Now, For: "broadcast in a network",
			question: question{groupFeature, "all"}, fix: newer("3.19", "2.5"),
			trial: sends(rules{groups: []string{"group_id=1,type=all,bucket=output:2,bucket=set_field:" + addrX + "->ip_dst,output:3"}, flows: []string{"ip,in_port=1,actions=group:1"}},
				arrives(p1, v4, p2, "nw_dst="+addrB), arrives(p1, v4, p3, "nw_dst="+addrX)),
		},
		{
			Name: "group-select", Title: "groups of type select", Need: ForService, For: "load sharing over gateways",
			question: question{groupFeature, "select"}, fix: newer("3.19", "2.5"),
			trial: trial{spread(func(i byte) packet {
				return packet{src: netip.AddrFrom4([4]byte{192, 0, 2, 10 + i}).String(), dst: addrB, payload: 60}
			})},
		},
		{
			Name: "group-select-ports", Title: "select groups tell UDP ports apart", Need: Known, For: "load sharing between two addresses",
			trial: trial{spread(func(i byte) packet { return packet{src: addrA, dst: addrB, sport: 3000 + uint16(i), payload: 60} })},
		},
		{
			Name: "group-failover", Title: "groups of type fast failover", Need: ForService, For: "gateway pairs",
			question: question{groupFeature, "fast failover"}, fix: newer("3.19", "2.5"), trial: trial{tryFailover},
		},
		{
			Name: "hash-algorithm", Title: "algorithms of dp_hash beside the first", Need: Known, For: "how a select group spreads",
			question: question{showFeatures, "Max dp_hash algorithm"},
		},
	}
}

// manyFlows are enough that two buckets of equal weight never go without: the odds are one in 2^63.
const manyFlows = 64

// spread sends different packets into two buckets, and wants all of them to arrive, and some by each.
func spread(different func(i byte) packet) func(context.Context, *scratch) (string, error) {
	return func(ctx context.Context, s *scratch) (string, error) {
		r := rules{groups: []string{"group_id=1,type=select,bucket=weight:1,output:2,bucket=weight:1,output:3"}, flows: []string{"ip,in_port=1,actions=group:1"}}
		if err := s.install(ctx, r); err != nil {
			return "", err
		}
		got := map[string]int{}
		for i := range byte(manyFlows) {
			p := different(i)
			if err := s.wires.send(p1, p.frame()); err != nil {
				return "", err
			}
			port, err := s.either(ctx, fmt.Sprintf("nw_src=%s tp_src=%d", p.src, orDefault(p.sport, usualSource)), p2, p3)
			if err != nil {
				return "", err
			}
			got[port]++
		}
		if got[p2] == 0 || got[p3] == 0 {
			return "", &unlike{fmt.Sprintf("of %d flows %d took one bucket and %d the other", manyFlows, got[p2], got[p3])}
		}
		return "", nil
	}
}

// either waits for a frame at one of two ports.
func (s *scratch) either(ctx context.Context, want, one, other string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case a := <-s.wires.arrivals:
			if (a.port == one || a.port == other) && describe(a.frame).has(want) {
				return a.port, nil
			}
		case <-ctx.Done():
			return "", &unlike{fmt.Sprintf("%s arrived neither at %s nor at %s", want, one, other)}
		}
	}
}

// tryFailover takes the link of the first bucket down, and waits for packets to take the second.
func tryFailover(ctx context.Context, s *scratch) (_ string, err error) {
	r := rules{groups: []string{"group_id=1,type=ff,bucket=watch_port:2,output:2,bucket=watch_port:3,output:3"}, flows: []string{"ip,in_port=1,actions=group:1"}}
	if err := s.install(ctx, r); err != nil {
		return "", err
	}
	if err := s.step(ctx, arrives(p1, v4, p2, "nw_dst="+addrB)); err != nil {
		return "", err
	}
	if _, err := s.ns.Configure(p2, netdev.LinkConfig{State: netdev.Down}); err != nil {
		return "", err
	}
	defer func() {
		if _, upErr := s.ns.Configure(p2, netdev.LinkConfig{State: netdev.Up}); err == nil {
			err = upErr
		}
	}()
	return "", s.untilArrives(ctx, arrives(p1, v4, p3, "nw_dst="+addrB))
}

// untilArrives sends a frame again and again until it arrives: for what takes effect a moment later.
func (s *scratch) untilArrives(ctx context.Context, st step) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	err := until(ctx, func() (bool, error) {
		if err := s.wires.send(st.in, st.send.frame()); err != nil {
			return false, err
		}
		now, cancel := context.WithTimeout(ctx, lookAgain)
		defer cancel()
		_, last = s.wires.await(now, st)
		return last == nil, nil
	})
	if err != nil && last != nil {
		return last
	}
	return err
}
