package flows

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// State is what one switch holds, or should hold, under our cookie: flows,
// groups and meters. It is immutable and safe for concurrent use.
//
// A compiled State is made of Parts, one per (object, aspect), so that a
// recompilation that changes few objects shares all other Parts with its
// predecessor and Diff can skip them by pointer. A dumped State has one Part.
// Parts are an optimisation only: two States are equal when they hold the same
// flows, groups and meters, however these are divided.
type State struct {
	parts map[PartID]*Part
}

// PartID names a Part within a State: the owner's ID and, where one owner has
// several Parts (a trunk's networks, say), which of them.
type PartID struct{ Owner, Aspect uint32 }

// Part is an immutable bundle of entries.
type Part struct {
	Flows  []*Flow
	Groups []*Group
	Meters []*Meter
}

// NewState is a State of the given parts. The map belongs to the State afterwards.
func NewState(parts map[PartID]*Part) *State { return &State{parts: parts} }

// Flat is a State of a single Part, for what was read from a switch or a file.
func Flat(p *Part) *State { return NewState(map[PartID]*Part{{}: p}) }

// Part is the part with that name, nil if there is none.
func (s *State) Part(id PartID) *Part {
	if s == nil {
		return nil
	}
	return s.parts[id]
}

// Parts ranges over the parts in no particular order.
func (s *State) Parts() iter.Seq2[PartID, *Part] {
	return func(yield func(PartID, *Part) bool) {
		if s == nil {
			return
		}
		for id, p := range s.parts {
			if !yield(id, p) {
				return
			}
		}
	}
}

// CloneParts is a copy of the map that the State is made of, with the same Parts in
// it, for a State that has most of them too.
func (s *State) CloneParts() map[PartID]*Part {
	if s == nil || s.parts == nil {
		return map[PartID]*Part{}
	}
	return maps.Clone(s.parts)
}

// sortedParts are the names of the parts in ascending order.
func (s *State) sortedParts() []PartID {
	if s == nil {
		return nil
	}
	return slices.SortedFunc(maps.Keys(s.parts), func(a, b PartID) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Aspect, b.Aspect))
	})
}

// keyed is a flow beside its Key, which is worth computing once.
type keyed struct {
	key  Key
	flow *Flow
}

func sortKeyed(ks []keyed) {
	slices.SortStableFunc(ks, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
}

// Flows ranges over all flows, foreign ones too, by table, descending priority
// and match. The order is computed anew at each call.
func (s *State) Flows() iter.Seq[*Flow] {
	return func(yield func(*Flow) bool) {
		ks := make([]keyed, 0, s.NumFlows())
		for _, p := range s.Parts() {
			for _, f := range p.flows() {
				ks = append(ks, keyed{f.Key(), f})
			}
		}
		sortKeyed(ks)
		for _, k := range ks {
			if !yield(k.flow) {
				return
			}
		}
	}
}

// Groups ranges over all groups in ascending order of ID.
func (s *State) Groups() iter.Seq[*Group] {
	var gs []*Group
	for _, p := range s.Parts() {
		gs = append(gs, p.groups()...)
	}
	slices.SortFunc(gs, compareGroups)
	return slices.Values(gs)
}

// Meters ranges over all meters in ascending order of ID.
func (s *State) Meters() iter.Seq[*Meter] {
	var ms []*Meter
	for _, p := range s.Parts() {
		ms = append(ms, p.meters()...)
	}
	slices.SortFunc(ms, compareMeters)
	return slices.Values(ms)
}

func compareGroups(a, b *Group) int { return cmp.Compare(a.ID, b.ID) }
func compareMeters(a, b *Meter) int { return cmp.Compare(a.ID, b.ID) }

// NumFlows is the number of flows, foreign ones included.
func (s *State) NumFlows() int { return s.count(func(p *Part) int { return len(p.Flows) }) }

// NumGroups is the number of groups.
func (s *State) NumGroups() int { return s.count(func(p *Part) int { return len(p.Groups) }) }

// NumMeters is the number of meters.
func (s *State) NumMeters() int { return s.count(func(p *Part) int { return len(p.Meters) }) }

func (s *State) count(of func(*Part) int) int {
	n := 0
	for _, p := range s.Parts() {
		if p != nil {
			n += of(p)
		}
	}
	return n
}

// Equal reports whether both hold the same flows, groups and meters, however
// divided into Parts.
func (s *State) Equal(t *State) bool {
	if s == t {
		return true
	}
	if s.NumFlows() != t.NumFlows() || s.NumGroups() != t.NumGroups() || s.NumMeters() != t.NumMeters() {
		return false
	}
	ours, theirs := differing(s, t)
	a, b := indexNumbered(ours), indexNumbered(theirs)
	return maps.EqualFunc(indexFlows(ours), indexFlows(theirs), (*Flow).Equal) &&
		maps.EqualFunc(a.groups, b.groups, (*Group).Equal) &&
		maps.EqualFunc(a.meters, b.meters, (*Meter).Equal)
}

func (p *Part) flows() []*Flow {
	if p == nil {
		return nil
	}
	return p.Flows
}

func (p *Part) groups() []*Group {
	if p == nil {
		return nil
	}
	return p.Groups
}

func (p *Part) meters() []*Meter {
	if p == nil {
		return nil
	}
	return p.Meters
}

// differing are the parts of both that are not, by pointer, the same part of the
// other: what both share cannot differ. It looks at each part once, unless want
// lacks some.
func differing(have, want *State) (old, fresh []*Part) {
	met := 0 // parts of have
	for id, w := range want.Parts() {
		h, held := have.get(id)
		if held {
			met++
		}
		if h == w {
			continue
		}
		if w != nil {
			fresh = append(fresh, w)
		}
		if h != nil {
			old = append(old, h)
		}
	}
	if have == nil || met == len(have.parts) {
		return old, fresh
	}
	for id, h := range have.Parts() {
		if _, wanted := want.get(id); !wanted && h != nil {
			old = append(old, h)
		}
	}
	return old, fresh
}

// get is Part, and whether there is an entry of that name at all.
func (s *State) get(id PartID) (p *Part, ok bool) {
	if s == nil {
		return nil, false
	}
	p, ok = s.parts[id]
	return p, ok
}

func indexFlows(parts []*Part) map[Key]*Flow {
	n := 0
	for _, p := range parts {
		n += len(p.Flows)
	}
	m := make(map[Key]*Flow, n)
	for _, p := range parts {
		for _, f := range p.Flows {
			m[f.Key()] = f
		}
	}
	return m
}

// numbered are the groups and meters of some parts.
type numbered struct {
	groups map[uint32]*Group
	meters map[uint32]*Meter
}

func indexNumbered(parts []*Part) numbered {
	n := numbered{map[uint32]*Group{}, map[uint32]*Meter{}}
	for _, p := range parts {
		for _, g := range p.Groups {
			n.groups[g.ID] = g
		}
		for _, m := range p.Meters {
			n.meters[m.ID] = m
		}
	}
	return n
}
