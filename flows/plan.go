package flows

import "slices"

// PlanOption changes how Plan orders and groups changes.
type PlanOption func(*planOptions)

type planOptions struct{ plainAdditions bool }

// PlainAdditions lets Plan send a Delta that only adds as plain messages rather
// than as a bundle, which is about a third faster on Open vSwitch for a switch
// that holds nothing of ours yet. Flows then land from the last table to the
// first, so that a packet either misses in the first table or finds all that is
// behind it. A Delta that changes or deletes anything is bundled regardless.
func PlainAdditions() PlanOption { return func(o *planOptions) { o.plainAdditions = true } }

// Plan orders the changes of d into Steps:
//
//  1. meters added and changed;
//  2. one atomic step: groups added and changed, flows changed and added, flows
//     deleted, groups deleted;
//  3. meters deleted.
//
// A group is added before, and deleted after, the groups that refer to it. Groups are
// deleted at the very end also because Open vSwitch aborts when it has to take back the
// deletion of a group that took flows with it. Deletes are strict. An empty Delta has no Steps.
func Plan(d *Delta, opts ...PlanOption) []Step {
	var o planOptions
	for _, opt := range opts {
		opt(&o)
	}
	var before, step, after []Op
	for _, m := range d.AddMeters {
		before = append(before, Op{Kind: AddMeter, Meter: m})
	}
	for _, m := range d.ModMeters {
		before = append(before, Op{Kind: ModifyMeter, Meter: m})
	}

	for _, g := range referredFirst(d.AddGroups) {
		step = append(step, Op{Kind: AddGroup, Group: g})
	}
	for _, g := range d.ModGroups {
		step = append(step, Op{Kind: ModifyGroup, Group: g})
	}
	for _, c := range d.ModFlows {
		kind := ModifyFlow
		if !c.Old.sameAttributes(c.New) {
			kind = AddFlow
		}
		step = append(step, Op{Kind: kind, Flow: c.New})
	}
	// The flows of a Delta ascend by table.
	for _, f := range slices.Backward(d.AddFlows) {
		step = append(step, Op{Kind: AddFlow, Flow: f})
	}
	for _, f := range d.DelFlows {
		step = append(step, Op{Kind: DeleteFlow, Flow: f})
	}
	for _, g := range slices.Backward(referredFirst(d.DelGroups)) {
		step = append(step, Op{Kind: DeleteGroup, Group: g})
	}

	for _, m := range d.DelMeters {
		after = append(after, Op{Kind: DeleteMeter, Meter: m})
	}
	additions := len(d.AddGroups) + len(d.AddFlows)
	atomic := !o.plainAdditions || len(step) != additions
	var steps []Step
	for _, s := range []Step{{Ops: before}, {Atomic: atomic, Ops: step}, {Ops: after}} {
		if len(s.Ops) > 0 {
			steps = append(steps, s)
		}
	}
	return steps
}

// referredFirst orders groups so that each comes after those it refers to, and
// otherwise by ID. Groups in a cycle, which a switch refuses, keep their order.
func referredFirst(gs []*Group) []*Group {
	byID := make(map[uint32]*Group, len(gs))
	for _, g := range gs {
		byID[g.ID] = g
	}
	out := make([]*Group, 0, len(gs))
	placed := make(map[uint32]struct{}, len(gs))
	// Depth first, with a stack of its own: chains may be as long as a hostile file.
	for _, root := range gs {
		stack := []*Group{root}
		entered := map[uint32]struct{}{}
		for len(stack) > 0 {
			g := stack[len(stack)-1]
			if _, done := placed[g.ID]; done {
				stack = stack[:len(stack)-1]
				continue
			}
			if _, again := entered[g.ID]; again {
				placed[g.ID] = struct{}{}
				out = append(out, g)
				stack = stack[:len(stack)-1]
				continue
			}
			entered[g.ID] = struct{}{}
			for _, id := range g.Groups() {
				to, here := byID[id]
				_, in := entered[id]
				if here && !in {
					stack = append(stack, to)
				}
			}
		}
	}
	return out
}
