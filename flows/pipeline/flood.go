package pipeline

import (
	"fmt"
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// maxBuckets bounds one group: a group-mod is at most 65,535 bytes long and our
// longest bucket (a tunnel over IPv6) takes 96.
const maxBuckets = 600

// floodHost are the rows that every host has.
func floodHost(r *rows) {
	r.drop(Flood, 0, DropNoRow, match())
}

// floodNetwork is a network's row and its group: one bucket for every local
// member and one for every other host that has a member. That the sender gets
// no copy, and that nothing goes back into the tunnel it came from, is the
// switch's own rule for groups: a bucket that outputs to in_port is not
// executed (OpenFlow 1.3.5 section 5.6.1). A network has one encapsulation and
// a host one port for it, so that rule is the split horizon.
func floodNetwork(r *rows, h *topo.Host, s *topo.Segment, tunnel uint32) error {
	var buckets []flows.Bucket
	bucket := func(actions ...flows.Action) {
		buckets = append(buckets, flows.Bucket{
			WatchPort: flows.PortAny, WatchGroup: flows.GroupAny, Actions: actions})
	}
	for _, m := range s.Members {
		if isLocal(m, h) {
			bucket(deliver(m)...)
		}
	}
	if tunnel != 0 {
		seen := map[netip.Addr]bool{}
		for _, m := range s.Members {
			if isRemote(m, h) && !seen[m.Host.TEP] {
				seen[m.Host.TEP] = true
				bucket(setKey(s.Network), toTEP(m.Host), flows.Output{Port: tunnel})
			}
		}
	}
	// Too many for one group: the first ones hold the rest in groups of their own.
	first := GroupBase | uint32(s.Network.ID)
	for part := uint32(1); len(buckets) > maxBuckets; part++ {
		if part > groupPartMax {
			return fmt.Errorf("network %s has more than %d members and peers on host %s, which is more than its flood groups hold; split the network",
				s.Network.FullName(), maxBuckets*groupPartMax, h.Name)
		}
		id := first | part<<24
		rest := buckets[maxBuckets-1:]
		n := min(len(rest), maxBuckets)
		r.part.Groups = append(r.part.Groups, &flows.Group{ID: id, Type: flows.GroupAll, Buckets: rest[len(rest)-n:]})
		buckets = buckets[:len(buckets)-n]
		buckets = append([]flows.Bucket{{WatchPort: flows.PortAny, WatchGroup: flows.GroupAny,
			Actions: []flows.Action{flows.ToGroup{ID: id}}}}, buckets...)
	}
	r.part.Groups = append(r.part.Groups, &flows.Group{ID: first, Type: flows.GroupAll, Buckets: buckets})
	r.add(row{Table: Flood, Priority: 100, Feature: FeatFlood, Match: inNetwork(s.Network),
		Do: []flows.Action{flows.ToGroup{ID: first}}})
	return nil
}
