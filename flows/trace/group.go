package trace

import (
	"fmt"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// group does a group. It reports false when there is no such group, which breaks off
// the list of actions.
func (r *run) group(id uint32) bool {
	if !r.mayDescend() {
		return true
	}
	g := r.sw.groups[id]
	if why, unread := r.sw.unread[id]; unread {
		r.unknown("group %d cannot be read: %s", id, why)
		return true
	}
	if g == nil {
		r.note("group %d does not exist: nothing further is done", id)
		return false
	}
	s := r.step(Step{Kind: StepGroup, Number: id})
	r.within(s, func() {
		switch g.Type {
		case flows.GroupAll:
			for i := range g.Buckets {
				r.bucket(g, i)
			}
		case flows.GroupIndirect:
			for i := range g.Buckets[:min(1, len(g.Buckets))] {
				r.bucket(g, i)
			}
		case flows.GroupFastFailover:
			r.firstLive(g)
		case flows.GroupSelect:
			r.selected(g)
		default:
			r.unknown("group %d is of type %d, which is not interpreted", id, g.Type)
		}
	})
	return true
}

func (r *run) firstLive(g *flows.Group) {
	for i := range g.Buckets {
		if why, unread := r.sw.unread[g.Buckets[i].WatchGroup]; unread {
			r.unknown("group %d: bucket %d depends on group %d, which cannot be read: %s", g.ID, i, g.Buckets[i].WatchGroup, why)
		}
		if r.sw.bucketLives(&g.Buckets[i], 0) {
			r.bucket(g, i)
			return
		}
	}
	r.note("no bucket of group %d is live", g.ID)
}

// selected follows each bucket that a switch may select: which one it does depends
// on a hash of its own.
func (r *run) selected(g *flows.Group) {
	if !r.p.hashed && usesHash(g) {
		r.again = true
		return
	}
	var may []int
	for i := range g.Buckets {
		if b := &g.Buckets[i]; b.Weight > 0 && r.sw.bucketLives(b, 0) {
			may = append(may, i)
		}
	}
	if len(may) == 0 {
		r.note("group %d has no bucket to select", g.ID)
		return
	}
	i := r.choose(fmt.Sprintf("group %d: the selected bucket", g.ID), len(may), func(i int) string { return fmt.Sprint(may[i]) })
	r.bucket(g, may[i])
}

// maxHashes is how many values of the datapath's hash Open vSwitch uses for a select group
// of which nobody says how it selects; minHashes the fewest.
const (
	minHashes = 16
	maxHashes = 256
)

// usesHash reports whether a select group chooses by a hash of the datapath's, for which
// the packet is recirculated, and not by one of its own (group_setup_dp_hash_table in
// ofproto-dpif.c): that is so when the weights can be had with few values.
func usesHash(g *flows.Group) bool {
	total, least := 0, 0
	for _, b := range g.Buckets {
		if w := int(b.Weight); w > 0 {
			total += w
			if least == 0 || w < least {
				least = w
			}
		}
	}
	if total == 0 {
		return false
	}
	values := minHashes
	for values < (total+least-1)/least {
		values *= 2
	}
	return values <= maxHashes
}

// bucket does a bucket on a packet of its own. Open vSwitch executes its actions as
// an action set, not as they are listed.
func (r *run) bucket(g *flows.Group, i int) {
	if r.failed != "" {
		return
	}
	s := r.step(Step{Kind: StepBucket, Number: uint32(i)})
	r.within(s, func() {
		p, wasMPLS, last := r.p, r.wasMPLS, r.last
		r.last = last && (g.Type != flows.GroupAll || i == len(g.Buckets)-1)
		r.depth++
		r.do(setOrder(g.Buckets[i].Actions))
		r.depth--
		r.thaw()
		r.p, r.wasMPLS, r.last = p, wasMPLS, last
		r.exit = false // it ended the bucket alone
		if r.failed != "" && r.inBucket {
			r.note("%s: nothing more is done in this bucket", r.failed)
			r.failed, r.inBucket = "", false
		}
	})
}

// maxGroupDepth is how deep Open vSwitch follows watch_group (MAX_LIVENESS_RECURSION).
const maxGroupDepth = 128

func (s *Switch) bucketLives(b *flows.Bucket, depth int) bool {
	if b.WatchPort == flows.PortAny && b.WatchGroup == flows.GroupAny {
		return true
	}
	if b.WatchPort != flows.PortAny {
		if p, ok := s.Port(b.WatchPort); ok && !p.Down {
			return true
		}
	}
	if b.WatchGroup == flows.GroupAny || depth == maxGroupDepth {
		return false
	}
	g := s.groups[b.WatchGroup]
	return g != nil && slices.ContainsFunc(g.Buckets, func(b flows.Bucket) bool { return s.bucketLives(&b, depth+1) })
}

// actionSet does the action set at the end of the pipeline.
func (r *run) actionSet() {
	as := setOrder(r.set)
	r.set = nil
	if len(as) == 0 || r.failed != "" {
		return
	}
	s := r.step(Step{Kind: StepActionSet})
	last := r.last
	r.last = true
	r.within(s, func() { r.do(as) })
	r.last = last
}

// slots are the kinds of actions that a set holds one of, the last, in the order in which
// they are done.
var slots = [...]func(flows.Action) bool{is[flows.PopVLAN], is[flows.PopMPLS], is[flows.PushMPLS], is[flows.PushVLAN], is[flows.DecTTL], is[flows.DecMPLSTTL]}

func is[A flows.Action](a flows.Action) bool {
	_, ok := a.(A)
	return ok
}

// setOrder is the list as which Open vSwitch executes an action set (OpenFlow 1.3.5
// section 5.10, and ofpacts_execute_action_set): of each kind the last, but every
// set-field and move; of group, output, resubmit and ct the first there is of them; and
// nothing at all when there is none of those. An action that has no place in a set,
// which a bucket may hold all the same, is not done.
func setOrder(as []flows.Action) []flows.Action {
	if len(as) == 0 {
		return nil
	}
	var last, queue flows.Action
	var slot [len(slots)]flows.Action
	lastRank := 0
	for _, a := range as {
		if rank := finalRank(a); rank > 0 && rank >= lastRank {
			last, lastRank = a, rank
		}
		if is[flows.SetQueue](a) {
			queue = a
		}
		for i, of := range slots {
			if of(a) {
				slot[i] = a
			}
		}
	}
	if last == nil {
		return nil
	}
	out := make([]flows.Action, 0, len(as))
	for _, a := range slot {
		if a != nil {
			out = append(out, a)
		}
	}
	for _, a := range as {
		switch a.(type) {
		case flows.SetField, flows.Move:
			out = append(out, a)
		}
	}
	if queue != nil {
		out = append(out, queue)
	}
	return append(out, last)
}

// finalRank orders the actions that end a set; 0 is none of them.
func finalRank(a flows.Action) int {
	switch a := a.(type) {
	case flows.CT:
		return 1
	case flows.CTClear:
		return 2
	case flows.Resubmit:
		return 3
	case flows.Output:
		return 4
	case flows.ToController:
		// Any other than an output is a Nicira action, which has no place in a set.
		if a.Plain() {
			return 4
		}
	case flows.ToGroup:
		return 5
	}
	return 0
}
