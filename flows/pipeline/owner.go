package pipeline

import (
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// NetworkOf is the ID of the network that a flow of this pipeline is about, by
// what it matches in the network register or writes there; false if it is about
// none.
func NetworkOf(f *flows.Flow) (topo.ID, bool) {
	if m, ok := f.Match.Get(regNetwork); ok {
		return topo.ID(m.Value.Lo), true
	}
	for _, a := range f.Apply {
		if s, ok := a.(flows.SetField); ok && s.Field == regNetwork {
			return topo.ID(s.Value.Lo), true
		}
	}
	return 0, false
}

// NetworkOfGroup is the ID of the network whose flood a group of ours belongs to.
func NetworkOfGroup(id uint32) (topo.ID, bool) {
	return topo.ID(id) & topo.MaxID, flows.OurGroup(id)
}
