package flows

import (
	"cmp"
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
	oldParts, freshParts := differing(have, want)
	d := new(Delta)
	diffFlows(d, indexFlows(oldParts), freshParts)

	old, fresh := indexNumbered(oldParts), indexNumbered(freshParts)
	d.AddGroups, d.ModGroups, d.DelGroups = diffNumbered(old.groups, fresh.groups, (*Group).Equal, OurGroup)
	d.AddMeters, d.ModMeters, d.DelMeters = diffNumbered(old.meters, fresh.meters, (*Meter).Equal, OurMeter)
	return d
}

// diffFlows takes from old what is wanted; what of ours remains is to be deleted.
func diffFlows(d *Delta, old map[Key]*Flow, fresh []*Part) {
	var add, del, conflict []keyed
	type change struct{ from, to keyed }
	var mod []change
	for _, p := range fresh {
		for _, w := range p.Flows {
			if !w.Cookie.Ours() {
				continue // the next dump would not show it as ours
			}
			key := w.Key()
			h, exists := old[key]
			switch {
			case !exists:
				add = append(add, keyed{key, w})
				continue
			case !h.Cookie.Ours():
				conflict = append(conflict, keyed{key, w})
				continue
			case !h.Equal(w):
				mod = append(mod, change{keyed{key, h}, keyed{key, w}})
			}
			delete(old, key)
		}
	}
	for key, h := range old {
		if h.Cookie.Ours() {
			del = append(del, keyed{key, h})
		}
	}
	sortKeyed(add)
	slices.SortStableFunc(mod, func(a, b change) int { return cmp.Compare(a.to.key, b.to.key) })
	sortKeyed(del)
	sortKeyed(conflict)
	for _, k := range add {
		d.AddFlows = append(d.AddFlows, k.flow)
	}
	for _, c := range mod {
		d.ModFlows = append(d.ModFlows, FlowChange{Old: c.from.flow, New: c.to.flow})
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
	parts, _ := differing(have, nil)
	held, e := indexFlows(parts), indexNumbered(parts)
	for _, f := range d.DelFlows {
		delete(held, f.Key())
	}
	for _, f := range d.AddFlows {
		held[f.Key()] = f
	}
	for _, c := range d.ModFlows {
		held[c.New.Key()] = c.New
	}
	applyNumbered(e.groups, d.DelGroups, func(g *Group) uint32 { return g.ID }, d.AddGroups, d.ModGroups)
	applyNumbered(e.meters, d.DelMeters, func(m *Meter) uint32 { return m.ID }, d.AddMeters, d.ModMeters)

	p := new(Part)
	ks := make([]keyed, 0, len(held))
	for key, f := range held {
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
