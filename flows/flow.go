package flows

import (
	"encoding/binary"
	"slices"
)

// Flow is one OpenFlow 1.3 flow entry without its statistics (section 5.2).
// A Flow is immutable once it is part of a State.
type Flow struct {
	Table    uint8
	Priority uint16
	Match    Match
	Cookie   Cookie

	// IdleTimeout and HardTimeout are in seconds; 0 means never.
	IdleTimeout uint16
	HardTimeout uint16

	// Meter is the meter instruction's id; 0 means none (meter ids start at 1).
	Meter uint32
	// Apply are the actions of the apply-actions instruction.
	Apply []Action
	// ClearActions is the clear-actions instruction.
	ClearActions bool
	// Write are the actions of the write-actions instruction.
	Write []Action
	// Metadata and MetadataMask are the write-metadata instruction; a zero mask
	// means none.
	Metadata, MetadataMask uint64
	// Goto is the goto-table instruction; 0 means none, since a goto must go
	// to a higher table. A flow with no instruction at all drops.
	Goto uint8
}

// FlowStats is a flow as a switch reports it.
type FlowStats struct {
	Flow     *Flow
	Packets  uint64
	Bytes    uint64
	Duration uint32 // seconds
}

// Key identifies a flow within a switch: table, priority and canonical match
// (OpenFlow 1.3.5 section 6.4, "strict" identity). Two flows with equal Keys
// overwrite each other. It is comparable and opaque.
type Key string

// Key is the flow's identity. Keys sort as flows are listed: by table, then by
// descending priority, then by match.
func (f *Flow) Key() Key {
	m := f.Match
	if !m.canonical() {
		m = m.normalize()
	}
	var buf [192]byte
	b := append(buf[:0], f.Table)
	b = binary.BigEndian.AppendUint16(b, ^f.Priority)
	for _, e := range m {
		i := e.Field.info()
		id := byte(e.Field) << 1
		masked := e.Mask != lowBits(i.bits)
		if masked {
			id |= 1
		}
		b = append(b, id)
		b = e.Value.appendBytes(b, int(i.bytes))
		if masked {
			b = e.Mask.appendBytes(b, int(i.bytes))
		}
	}
	return Key(b)
}

// appendBytes appends the n low bytes of v, most significant first.
func (v Value) appendBytes(b []byte, n int) []byte {
	for n > 8 {
		n--
		b = append(b, byte(v.Hi>>(8*(n-8))))
	}
	for n > 0 {
		n--
		b = append(b, byte(v.Lo>>(8*n)))
	}
	return b
}

// Equal reports whether a switch that holds f holds g: every attribute, cookie
// and timeouts included, is the same in normal form (see Normalize).
func (f *Flow) Equal(g *Flow) bool {
	if f == g {
		return true
	}
	if f == nil || g == nil {
		return false
	}
	if f.identical(g) {
		return true
	}
	nf, ng := Normalize(f), Normalize(g)
	return (nf != f || ng != g) && nf.identical(ng)
}

func (f *Flow) identical(g *Flow) bool {
	return f.Table == g.Table && f.Priority == g.Priority && f.sameAttributes(g) &&
		f.Meter == g.Meter && f.ClearActions == g.ClearActions &&
		f.Metadata == g.Metadata && f.MetadataMask == g.MetadataMask && f.Goto == g.Goto &&
		slices.Equal(f.Match, g.Match) && slices.Equal(f.Apply, g.Apply) && slices.Equal(f.Write, g.Write)
}

// sameAttributes reports whether the two differ at most in identity and
// instructions, which OFPFC_MODIFY_STRICT is enough to change.
func (f *Flow) sameAttributes(g *Flow) bool {
	return f.Cookie == g.Cookie && f.IdleTimeout == g.IdleTimeout && f.HardTimeout == g.HardTimeout
}
