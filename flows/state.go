package flows

import "iter"

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
