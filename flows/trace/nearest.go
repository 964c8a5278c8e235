package trace

import (
	"math"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// nearest finds the flow of a table that would have taken the packet in place of
// by and done something with it, had the fewest fields been others; of several the
// one of highest priority. nil when there is none.
func (s *Switch) nearest(n uint8, p *Packet, by *flows.Flow) *Nearest {
	t := s.tables[n]
	if t == nil {
		return nil
	}
	var best *flows.Flow
	fewest := math.MaxInt
	for _, f := range t.flows {
		if by != nil && f.Priority < by.Priority {
			break
		}
		if f == by || len(f.Apply) == 0 && len(f.Write) == 0 && f.Goto == 0 {
			continue
		}
		others := 0
		for i := 0; i < len(f.Match) && others < fewest; i++ {
			if p.differs(&f.Match[i]) {
				others++
			}
		}
		if others < fewest {
			best, fewest = f, others
		}
	}
	if best == nil {
		return nil
	}
	near := &Nearest{Flow: best}
	for i := range best.Match {
		if p.differs(&best.Match[i]) {
			near.Differs = append(near.Differs, best.Match[i])
		}
	}
	return near
}

// differs reports whether p does not meet a constraint.
func (p *Packet) differs(e *flows.FieldMatch) bool { return p.fields[e.Field].And(e.Mask) != e.Value }
