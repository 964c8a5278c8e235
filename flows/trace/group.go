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

// bucket does a bucket on a packet of its own. Open vSwitch executes its actions as
// an action set, not as they are listed.
func (r *run) bucket(g *flows.Group, i int) {
	if r.failed != "" {
		return
	}
	s := r.step(Step{Kind: StepBucket, Number: uint32(i)})
	r.within(s, func() {
		fields, tags := r.p.fields, r.p.tags
		r.depth++
		r.do(setOrder(g.Buckets[i].Actions))
		r.depth--
		r.p.fields, r.p.tags = fields, tags
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
	r.within(s, func() { r.do(as) })
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
	var pop, push, dec, last flows.Action
	lastRank := 0
	sets := 0
	for _, a := range as {
		rank := 0
		switch a.(type) {
		case flows.PopVLAN:
			pop = a
		case flows.PushVLAN:
			push = a
		case flows.DecTTL:
			dec = a
		case flows.SetField, flows.Move:
			sets++
		default:
			rank = finalRank(a)
		}
		if rank > 0 && rank >= lastRank {
			last, lastRank = a, rank
		}
	}
	if last == nil {
		return nil
	}
	out := make([]flows.Action, 0, sets+4)
	for _, a := range [...]flows.Action{pop, push, dec} {
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
	return append(out, last)
}

// finalRank orders the actions that end a set; 0 is none of them.
func finalRank(a flows.Action) int {
	switch a := a.(type) {
	case flows.CT:
		return 1
	case flows.Resubmit:
		return 2
	case flows.Output:
		return 3
	case flows.ToController:
		// With a meter it is a Nicira action, which has no place in a set.
		if a.Meter == 0 {
			return 3
		}
	case flows.ToGroup:
		return 4
	}
	return 0
}
