package flows

import (
	"maps"
	"slices"
)

// Diff is what must change for a switch that holds have to hold want. Foreign
// entries of have (flows without our cookie, groups and meters outside our
// ranges) are left alone unless want names them; a foreign flow with the Key of
// a wanted one is a conflict. Both States must be free of clashes (see Clash).
//
// Parts that both States share by pointer are skipped, so after a recompilation
// the cost is that of what changed.
func Diff(have, want *State) *Delta {
	old, fresh := have.differing(want), want.differing(have)
	d := new(Delta)
	diffFlows(d, old.flows, fresh.flows)

	d.AddGroups, d.ModGroups, d.DelGroups = diffNumbered(old.groups, fresh.groups, (*Group).Equal, OurGroup)
	d.AddMeters, d.ModMeters, d.DelMeters = diffNumbered(old.meters, fresh.meters, (*Meter).Equal, OurMeter)
	return d
}

func diffFlows(d *Delta, old, fresh map[Key]*Flow) {
	var add, mod, del, conflict []keyed
	for key, w := range fresh {
		h, exists := old[key]
		switch {
		case !w.Cookie.Ours():
			// Nobody may program a flow that the next dump would not show as ours.
		case !exists:
			add = append(add, keyed{key, w})
		case !h.Cookie.Ours():
			conflict = append(conflict, keyed{key, w})
		case !h.Equal(w):
			mod = append(mod, keyed{key, w})
		}
	}
	for key, h := range old {
		if !h.Cookie.Ours() {
			continue
		}
		if w, wanted := fresh[key]; !wanted || !w.Cookie.Ours() {
			del = append(del, keyed{key, h})
		}
	}
	sortKeyed(add)
	sortKeyed(mod)
	sortKeyed(del)
	sortKeyed(conflict)
	for _, k := range add {
		d.AddFlows = append(d.AddFlows, k.flow)
	}
	for _, k := range mod {
		d.ModFlows = append(d.ModFlows, FlowChange{Old: old[k.key], New: k.flow})
	}
	for _, k := range del {
		d.DelFlows = append(d.DelFlows, k.flow)
	}
	for _, k := range conflict {
		d.Conflicts = append(d.Conflicts, FlowConflict{Foreign: old[k.key], Want: k.flow})
	}
}

// diffNumbered compares entries that a number identifies, each list ascending.
func diffNumbered[E any](old, fresh map[uint32]E, equal func(E, E) bool, ours func(uint32) bool) (add, mod, del []E) {
	for _, id := range slices.Sorted(maps.Keys(fresh)) {
		h, exists := old[id]
		switch {
		case !exists:
			add = append(add, fresh[id])
		case !equal(h, fresh[id]):
			mod = append(mod, fresh[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if _, wanted := fresh[id]; !wanted && ours(id) {
			del = append(del, old[id])
		}
	}
	return add, mod, del
}

// Apply is the State of a switch that held have after the changes of d: a single
// Part, with the foreign entries of have where they were. A deletion of what is
// not there changes nothing, as on a switch.
func Apply(have *State, d *Delta) *State {
	e := have.differing(nil)
	for _, f := range d.DelFlows {
		delete(e.flows, f.Key())
	}
	for _, f := range d.AddFlows {
		e.flows[f.Key()] = f
	}
	for _, c := range d.ModFlows {
		e.flows[c.New.Key()] = c.New
	}
	applyNumbered(e.groups, d.DelGroups, func(g *Group) uint32 { return g.ID }, d.AddGroups, d.ModGroups)
	applyNumbered(e.meters, d.DelMeters, func(m *Meter) uint32 { return m.ID }, d.AddMeters, d.ModMeters)

	p := new(Part)
	ks := make([]keyed, 0, len(e.flows))
	for key, f := range e.flows {
		ks = append(ks, keyed{key, f})
	}
	sortKeyed(ks)
	for _, k := range ks {
		p.Flows = append(p.Flows, k.flow)
	}
	p.Groups = slices.SortedFunc(maps.Values(e.groups), compareGroups)
	p.Meters = slices.SortedFunc(maps.Values(e.meters), compareMeters)
	return Flat(p)
}

func applyNumbered[E any](m map[uint32]E, del []E, id func(E) uint32, put ...[]E) {
	for _, x := range del {
		delete(m, id(x))
	}
	for _, xs := range put {
		for _, x := range xs {
			m[id(x)] = x
		}
	}
}
