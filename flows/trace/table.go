package trace

import (
	"math/bits"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// table is one flow table, for lookups by tuple space search: the flows that match
// the same bits of the same fields are one subtable, a hash table of what those bits
// are (Srinivasan, Suri, Varghese: Packet classification using tuple space search).
type table struct {
	subtables []*subtable // by descending priority
	flows     []*flows.Flow
	// unread are flows of the table that could not be read.
	unread []Unread
}

// subtable holds the flows of one mask.
type subtable struct {
	mask []flows.FieldMatch // values unused
	max  int32              // highest priority
	rows map[uint64][]*flows.Flow
}

// found is what a lookup found.
type found struct {
	flow *flows.Flow
	// also are further flows of the same priority that take the packet. OpenFlow
	// leaves open which of them counts.
	also []*flows.Flow
}

func newTable(fs []*flows.Flow) *table {
	t := &table{flows: slices.Clone(fs)}
	slices.SortStableFunc(t.flows, func(a, b *flows.Flow) int { return int(b.Priority) - int(a.Priority) })
	byMask := map[string]*subtable{}
	for _, f := range t.flows {
		key := maskKey(f.Match)
		s := byMask[key]
		if s == nil {
			s = &subtable{mask: f.Match, max: int32(f.Priority), rows: map[uint64][]*flows.Flow{}}
			byMask[key] = s
			t.subtables = append(t.subtables, s)
		}
		h := hashOf(f.Match)
		s.rows[h] = append(s.rows[h], f)
	}
	return t
}

// maskKey is the same for matches with the same masks.
func maskKey(m flows.Match) string {
	b := make([]byte, 0, 17*len(m))
	for i := range m {
		b = append(b, byte(m[i].Field))
		for _, w := range [...]uint64{m[i].Mask.Hi, m[i].Mask.Lo} {
			for s := 0; s < 64; s += 8 {
				b = append(b, byte(w>>s))
			}
		}
	}
	return string(b)
}

const hashSeed = 0x9e3779b97f4a7c15

func mix(h, v uint64) uint64 {
	hi, lo := bits.Mul64(h^v, 0xff51afd7ed558ccd)
	return hi ^ lo ^ hashSeed
}

func hashOf(m flows.Match) uint64 {
	h := uint64(hashSeed)
	for i := range m {
		h = mix(h, m[i].Value.Lo)
		if m[i].Mask.Hi != 0 {
			h = mix(h, m[i].Value.Hi)
		}
	}
	return h
}

// hash is that of the packet's bits under the mask.
func (s *subtable) hash(p *Packet) uint64 {
	h := uint64(hashSeed)
	for i := range s.mask {
		m := &s.mask[i]
		v := &p.fields[m.Field]
		h = mix(h, v.Lo&m.Mask.Lo)
		if m.Mask.Hi != 0 {
			h = mix(h, v.Hi&m.Mask.Hi)
		}
	}
	return h
}

// lookup finds the flow of the highest priority that takes the packet.
func (t *table) lookup(p *Packet) found {
	var best found
	priority := int32(-1)
	for _, s := range t.subtables {
		if s.max < priority {
			break
		}
		for _, f := range s.rows[s.hash(p)] {
			if int32(f.Priority) < priority {
				break
			}
			if !p.Matches(f.Match) {
				continue
			}
			if int32(f.Priority) > priority {
				best, priority = found{flow: f}, int32(f.Priority)
			} else if f != best.flow {
				best.also = append(best.also, f)
			}
		}
	}
	return best
}

// transportFields are those that a lookup does not see in a fragment: Open vSwitch
// takes the ports of a fragment for zero, those of the first one too, unless it is told
// otherwise (OFPC_FRAG_NORMAL).
var transportFields = [...]flows.Field{
	flows.TCPSrc, flows.TCPDst, flows.UDPSrc, flows.UDPDst, flows.SCTPSrc, flows.SCTPDst,
	flows.ICMPType, flows.ICMPCode, flows.ICMPv6Type, flows.ICMPv6Code,
}
