package trace

import "github.com/ofctl-lab/ofctl-lab/flows"

// nearest finds the flow of a table that would have taken the packet in place of
// by and done something with it, had the fewest fields been others; of several the
// one of highest priority. nil when there is none.
func (s *Switch) nearest(n uint8, p *Packet, by *flows.Flow) *Nearest {
	t := s.tables[n]
	if t == nil {
		return nil
	}
	var best *Nearest
	for _, f := range t.flows {
		if by != nil && f.Priority < by.Priority {
			break
		}
		if f == by || len(f.Apply) == 0 && len(f.Write) == 0 && f.Goto == 0 {
			continue
		}
		var differs []flows.FieldMatch
		for _, e := range f.Match {
			if p.fields[e.Field].And(e.Mask) != e.Value {
				if differs = append(differs, e); best != nil && len(differs) >= len(best.Differs) {
					break
				}
			}
		}
		if best == nil || len(differs) < len(best.Differs) {
			best = &Nearest{f, differs}
		}
	}
	return best
}
