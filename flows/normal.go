package flows

import "slices"

// Normalize is f in normal form: what Open vSwitch 3.1 reports over OpenFlow 1.3
// once it holds f. It returns f itself when that is normal already. In normal
// form
//
//   - the match is canonical (see Match), and a match on vlan_tci is one on
//     vlan_vid and vlan_pcp, one on ct_state of the bits that have a meaning;
//   - each set-field has a mask that is one run of bits, within 64 bits unless it
//     covers the field; another mask is split into several, lowest bits first,
//     inside a clone as well;
//   - no value has a bit outside its mask, and a write of no bits is left out;
//   - write-metadata with no mask is left out.
//
// Compiled flows are in this form as they are made by Set and SetBits.
func Normalize(f *Flow) *Flow {
	m, apply, write := f.Match, normalizeActions(f.Apply), normalizeActions(f.Write)
	if !m.canonical() {
		m = m.normalize()
	}
	md := f.Metadata & f.MetadataMask
	if md == f.Metadata && sameSlice(m, f.Match) && sameSlice(apply, f.Apply) && sameSlice(write, f.Write) {
		return f
	}
	g := *f
	g.Match, g.Apply, g.Write, g.Metadata = m, apply, write, md
	return &g
}

func sameSlice[S ~[]E, E any](a, b S) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// canonical reports whether m is in canonical form.
func (m Match) canonical() bool {
	last := Field(0)
	for _, e := range m {
		if e.Field <= last || e.Field == VLANTCI || e.Mask.IsZero() ||
			!e.Value.AndNot(e.Mask).IsZero() || !e.Mask.AndNot(e.Field.flagBits()).IsZero() {
			return false
		}
		last = e.Field
	}
	return true
}

func (m Match) normalize() Match {
	out := make(Match, 0, len(m)+1)
	for _, e := range m {
		if e.Field == VLANTCI {
			out = out.withTCI(e)
		} else {
			out = out.WithMask(e.Field, e.Value, e.Mask.And(e.Field.flagBits()))
		}
	}
	return out
}

// withTCI adds a constraint on the 16-bit TCI as OpenFlow 1.3 has it: present bit
// and VID in one field, the priority in another, which cannot be matched in part.
func (m Match) withTCI(e FieldMatch) Match {
	m = m.WithMask(VLANVID, e.Value, e.Mask)
	if e.Value.IsZero() && e.Mask == VLANTCI.FullMask() {
		return m // untagged, in which a priority means nothing
	}
	return m.WithMask(VLANPCP, e.Value.Shr(13), e.Mask.Shr(13))
}

// normalizeActions is as with every set-field in normal form; as itself when
// there is nothing to do.
func normalizeActions(as []Action) []Action {
	if !slices.ContainsFunc(as, func(a Action) bool { return !normalAction(a) }) {
		return as
	}
	out := make([]Action, 0, len(as)+2)
	for _, a := range as {
		switch s := a.(type) {
		case SetField:
			if !s.normal() {
				out = s.appendSplit(out)
				continue
			}
		case Clone:
			a = NewClone(normalizeActions(s.Actions())...)
		}
		out = append(out, a)
	}
	return out
}

// normalAction reports whether every set-field in a is normal.
func normalAction(a Action) bool {
	switch a := a.(type) {
	case SetField:
		return a.normal()
	case Clone:
		return !slices.ContainsFunc(a.Actions(), func(a Action) bool { return !normalAction(a) })
	}
	return true
}

// normal reports whether s is one set-field or one register load.
func (s SetField) normal() bool {
	full := s.Field.FullMask()
	if !s.Value.AndNot(s.Mask).IsZero() || s.Mask.IsZero() || !s.Mask.AndNot(full).IsZero() {
		return false
	}
	if s.Mask == full {
		return true
	}
	n := s.Mask.onesCount()
	return n <= 64 && s.Mask.Shr(uint(s.Mask.trailingZeros())) == lowBits(uint16(n))
}

// appendSplit appends the register loads into which Open vSwitch splits s.
func (s SetField) appendSplit(out []Action) []Action {
	mask := s.Mask.And(s.Field.FullMask())
	if mask == s.Field.FullMask() {
		return append(out, SetField{s.Field, s.Value.And(mask), mask})
	}
	for !mask.IsZero() {
		from := uint(mask.trailingZeros())
		run := uint16(0)
		for run < 64 && !mask.Shr(from+uint(run)).And(U(1)).IsZero() {
			run++
		}
		bits := lowBits(run).Shl(from)
		out = append(out, SetField{s.Field, s.Value.And(bits), bits})
		mask = mask.AndNot(bits)
	}
	return out
}
