package flows

import "fmt"

// ClashError says that two entries of a State have one identity, so that one
// would overwrite the other. Exactly one of the pairs Flows, Groups and Meters is
// set; Parts are the Parts the two are in, which may be the same.
type ClashError struct {
	Parts  [2]PartID
	Flows  [2]*Flow
	Groups [2]*Group
	Meters [2]*Meter
}

// Error names the two entries and their Parts. Whoever knows what the Parts
// belong to should name the owners instead.
func (e *ClashError) Error() string {
	where := fmt.Sprintf("parts %d/%d and %d/%d",
		e.Parts[0].Owner, e.Parts[0].Aspect, e.Parts[1].Owner, e.Parts[1].Aspect)
	switch {
	case e.Flows[0] != nil:
		return fmt.Sprintf("%s have a flow of the same table, priority and match: %q and %q", where, e.Flows[0], e.Flows[1])
	case e.Groups[0] != nil:
		return fmt.Sprintf("%s both have group %d", where, e.Groups[0].ID)
	}
	return fmt.Sprintf("%s both have meter %d", where, e.Meters[0].ID)
}

// Clash is nil if no two entries of s have one identity, else a *ClashError for
// the first two that do, in the order of their Parts.
func Clash(s *State) error {
	type flowAt struct {
		part PartID
		flow *Flow
	}
	flows := make(map[Key]flowAt, s.NumFlows())
	groups, meters := map[uint32]PartID{}, map[uint32]PartID{}
	groupOf, meterOf := map[uint32]*Group{}, map[uint32]*Meter{}
	for _, id := range s.sortedParts() {
		p := s.Part(id)
		for _, f := range p.flows() {
			key := f.Key()
			if o, taken := flows[key]; taken {
				return &ClashError{Parts: [2]PartID{o.part, id}, Flows: [2]*Flow{o.flow, f}}
			}
			flows[key] = flowAt{id, f}
		}
		for _, g := range p.groups() {
			if o, taken := groupOf[g.ID]; taken {
				return &ClashError{Parts: [2]PartID{groups[g.ID], id}, Groups: [2]*Group{o, g}}
			}
			groupOf[g.ID], groups[g.ID] = g, id
		}
		for _, m := range p.meters() {
			if o, taken := meterOf[m.ID]; taken {
				return &ClashError{Parts: [2]PartID{meters[m.ID], id}, Meters: [2]*Meter{o, m}}
			}
			meterOf[m.ID], meters[m.ID] = m, id
		}
	}
	return nil
}
