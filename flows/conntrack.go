package flows

import (
	"errors"
	"fmt"
)

// CTNoTable as the Table of a CT says that the packet is not sent on.
const CTNoTable uint8 = 255

// CT sends the packet through the connection tracker (NXAST_CT). The packet itself
// goes on with the next action, untracked; a copy with its ct_state, ct_zone, ct_mark and
// ct_label is looked up in Table.
type CT struct {
	// Commit remembers the connection; Force does so even if it is known in the
	// other direction.
	Commit, Force bool
	// Zone is the zone unless ZoneSrc names a field that has its 16 bits.
	Zone    uint16
	ZoneSrc Subfield
	Table   uint8
	// NAT translates the packet, and the copy that is looked up.
	NAT NAT
	// Mark and Label are written to a connection that is committed, under their
	// masks.
	Mark, MarkMask   uint32
	Label, LabelMask Value
}

// CTClear makes the packet untracked (NXAST_CT_CLEAR).
type CTClear struct{}

func (CT) isAction()      {}
func (CTClear) isAction() {}

// Exec is what a commit writes, as set-fields in normal form.
func (a CT) Exec() []Action {
	var as []Action
	if a.MarkMask != 0 {
		as = SetField{CTMark, U(uint64(a.Mark)), U(uint64(a.MarkMask))}.appendSplit(as)
	}
	if !a.LabelMask.IsZero() {
		as = SetField{CTLabel, a.Label, a.LabelMask}.appendSplit(as)
	}
	return as
}

// WithExec is a with one more write, of ct_mark or ct_label. It reports false for any
// other action.
func (a CT) WithExec(as ...Action) (CT, bool) {
	for _, x := range as {
		s, ok := x.(SetField)
		switch {
		case ok && s.Field == CTMark:
			a.Mark = a.Mark&^uint32(s.Mask.Lo) | uint32(s.Value.Lo&s.Mask.Lo)
			a.MarkMask |= uint32(s.Mask.Lo)
		case ok && s.Field == CTLabel:
			a.Label = a.Label.AndNot(s.Mask).Or(s.Value.And(s.Mask))
			a.LabelMask = a.LabelMask.Or(s.Mask)
		default:
			return a, false
		}
	}
	return a, true
}

func (a CT) validate(m Match) error {
	et, _ := m.Get(EthType)
	if et.Value.Lo != ethIPv4 && et.Value.Lo != ethIPv6 {
		return fmt.Errorf("the flow must match %s or %s", ethernet(ethIPv4), ethernet(ethIPv6))
	}
	switch {
	case a.Force && !a.Commit:
		return errors.New("force needs commit")
	case (a.MarkMask != 0 || !a.LabelMask.IsZero()) && !a.Commit:
		return errors.New("a mark or label is written with commit only")
	case a.Mark&^a.MarkMask != 0 || !a.Label.AndNot(a.LabelMask).IsZero():
		return errors.New("the mark or label has bits outside its mask")
	case a.NAT.validate(et.Value.Lo, a.Commit) != nil:
		return a.NAT.validate(et.Value.Lo, a.Commit)
	case a.Table > maxTable && a.Table != CTNoTable:
		return fmt.Errorf("the last table is %d", maxTable)
	case a.ZoneSrc == Subfield{}:
		return nil
	case a.Zone != 0 || a.ZoneSrc.Bits != 16:
		return errors.New("the zone is a number or 16 bits of a field")
	}
	return a.ZoneSrc.validate(m)
}

func (p *printer) ct(a CT) {
	p.str("ct(")
	n := len(p.b)
	if a.Commit {
		p.str("commit,")
	}
	if a.Force {
		p.str("force,")
	}
	if a.Table != CTNoTable {
		p.str("table=")
		p.table(a.Table)
		p.str(",")
	}
	if a.ZoneSrc != (Subfield{}) {
		p.str("zone=")
		p.subfield(a.ZoneSrc)
		p.str(",")
	} else if a.Zone != 0 {
		p.printf("zone=%d,", a.Zone)
	}
	if a.NAT.Kind != NATNone {
		p.nat(a.NAT)
		p.str(",")
	}
	if exec := a.Exec(); len(exec) > 0 {
		p.str("exec(")
		p.actions(exec)
		p.b[len(p.b)-1] = ')'
		p.str(",")
	}
	if len(p.b) > n {
		p.b = p.b[:len(p.b)-1]
	}
	p.str(")")
}

// parseCT reads ct(commit,force,table=N,zone=N,nat(…),exec(…)), in any order.
func parseCT(arg word) (Action, error) {
	a := CT{Table: CTNoTable}
	words, err := arg.split()
	if err != nil {
		return nil, err
	}
	for _, w := range words {
		key, val, _ := w.cut("=")
		if name, inner, ok := w.call(); ok && (name == "exec" || name == "nat") {
			key, val = word{text: name, col: w.col}, inner
		}
		var n uint64
		switch key.text {
		case "commit":
			a.Commit = true
		case "force":
			a.Force = true
		case "table":
			n, err = val.uint(8)
			a.Table = uint8(n)
		case "zone":
			if n, err = val.uint(16); err == nil {
				a.Zone = uint16(n)
			} else {
				a.ZoneSrc, err = parseSubfield(val)
			}
		case "nat":
			a.NAT, err = parseNAT(val)
		case "exec":
			a, err = a.parseExec(val)
		case "alg":
			err = key.refused("ct(alg)")
		default:
			err = key.errorf("ct: %q is not supported", key.text)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a CT) parseExec(w word) (CT, error) {
	words, err := w.split()
	if err != nil {
		return a, err
	}
	for _, w := range words {
		name, arg, _ := w.call()
		val, dst, _ := arg.cut("->")
		s := Subfield{}
		if f, known := ByName(dst.text); known && name == "set_field" {
			s = wholeField(f)
		} else if s, err = parseSubfield(dst); err != nil {
			return a, err
		}
		v, mask, err := parseMasked(s.Field, val)
		if err != nil {
			return a, err
		}
		if name == "load" {
			mask = lowBits(s.Bits).Shl(uint(s.Offset))
			v = v.Shl(uint(s.Offset)).And(mask)
		}
		with, ok := a.WithExec(SetField{s.Field, v, mask})
		if !ok || name != "set_field" && name != "load" {
			return a, w.errorf("exec: %q: want a set_field or load of ct_mark or ct_label", w.text)
		}
		a = with
	}
	return a, nil
}
