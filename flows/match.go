package flows

// FieldMatch is one field of a Match: the packet's field under Mask equals Value.
type FieldMatch struct {
	Field       Field
	Value, Mask Value
}

// Match is a set of FieldMatches, in canonical form: ascending by Field, each
// field at most once, no zero mask, no value bit outside its mask. Prerequisites
// (eth_type for ip fields, and so on) are explicit entries. The zero Match
// matches everything. A Match is never changed in place.
type Match []FieldMatch

// With is m with the whole of field f equal to v.
func (m Match) With(f Field, v Value) Match { return m.WithMask(f, v, f.FullMask()) }

// WithMask is m with field f equal to v under mask; a field that m already
// constrains is replaced, a zero mask removes it.
func (m Match) WithMask(f Field, v, mask Value) Match {
	v, mask = v.And(f.FullMask()).And(mask), mask.And(f.FullMask())
	out := make(Match, 0, len(m)+1)
	placed := mask.IsZero()
	for _, e := range m {
		if !placed && f <= e.Field {
			out = append(out, FieldMatch{f, v, mask})
			placed = true
		}
		if e.Field != f {
			out = append(out, e)
		}
	}
	if !placed {
		out = append(out, FieldMatch{f, v, mask})
	}
	return out
}

// Get is the constraint on f, if there is one.
func (m Match) Get(f Field) (FieldMatch, bool) {
	for _, e := range m {
		if e.Field == f {
			return e, true
		}
	}
	return FieldMatch{}, false
}
