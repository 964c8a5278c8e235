package trace

import "github.com/ofctl-lab/ofctl-lab/flows"

// fieldSet is a set of fields.
type fieldSet [2]uint64

func (s *fieldSet) add(f flows.Field)     { s[f/64] |= 1 << (f % 64) }
func (s *fieldSet) remove(f flows.Field)  { s[f/64] &^= 1 << (f % 64) }
func (s fieldSet) has(f flows.Field) bool { return s[f/64]>>(f%64)&1 != 0 }
func (s fieldSet) empty() bool            { return s == fieldSet{} }
func (s fieldSet) or(o fieldSet) fieldSet { return fieldSet{s[0] | o[0], s[1] | o[1]} }

// list are the fields of the set that are on the wire.
func (s fieldSet) list() []flows.Field {
	var fs []flows.Field
	for f := flows.EthDst; f.Valid(); f++ {
		if s.has(f) {
			fs = append(fs, f)
		}
	}
	return fs
}

// natBits are the bits of ct_state that say whether a connection is translated: all of it
// that may be unsure.
const natBits = uint64(ConnSourceNAT | ConnDestinationNAT)

// looks reports whether a flow of at least that priority matches on a field of which
// nobody said what it is.
func (t *table) looks(priority int32, unsure fieldSet) (flows.Field, bool) {
	for _, s := range t.subtables {
		if s.max < priority {
			break
		}
		for i := range s.mask {
			f := s.mask[i].Field
			if unsure.has(f) && (f != flows.CTState || s.mask[i].Mask.Lo&natBits != 0) {
				return f, true
			}
		}
	}
	return 0, false
}

// sure reports whether a field is known that decides where the packet goes; one that is
// not is named.
func (r *run) sure(what string, f flows.Field) bool {
	if r.p.unsure.has(f) {
		r.unknown("%s depends on %s, which the connection has and nobody said", what, f)
		return false
	}
	return true
}
