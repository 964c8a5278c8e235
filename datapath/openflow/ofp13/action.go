package ofp13

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Action types (OpenFlow 1.3.5 section 7.2.5).
const (
	actOutput       uint16 = 0
	actCopyTTLOut   uint16 = 11
	actCopyTTLIn    uint16 = 12
	actSetMPLSTTL   uint16 = 15
	actDecMPLSTTL   uint16 = 16
	actPushVLAN     uint16 = 17
	actPopVLAN      uint16 = 18
	actPushMPLS     uint16 = 19
	actPopMPLS      uint16 = 20
	actSetQueue     uint16 = 21
	actGroup        uint16 = 22
	actSetNwTTL     uint16 = 23
	actDecTTL       uint16 = 24
	actSetField     uint16 = 25
	actPushPBB      uint16 = 26
	actPopPBB       uint16 = 27
	actExperimenter uint16 = 0xffff
)

// Nicira action subtypes (nicira-ext.h and ofp-actions.c of Open vSwitch).
const (
	nxResubmit      uint16 = 1
	nxPopQueue      uint16 = 5
	nxRegMove       uint16 = 6
	nxRegLoad       uint16 = 7
	nxNote          uint16 = 8
	nxResubmitTable uint16 = 14
	nxOutputReg     uint16 = 15
	nxExit          uint16 = 17
	nxDecTTL        uint16 = 18
	nxFinTimeout    uint16 = 19
	nxController    uint16 = 20
	nxDecTTLIDs     uint16 = 21
	nxPush          uint16 = 27
	nxPop           uint16 = 28
	nxOutputReg2    uint16 = 32
	nxRegLoad2      uint16 = 33
	nxCT            uint16 = 35
	nxNAT           uint16 = 36
	nxController2   uint16 = 37
	nxOutputTrunc   uint16 = 39
	nxClone         uint16 = 42
	nxCTClear       uint16 = 43
	nxCheckLarger   uint16 = 49
)

// refusedNicira are the names of the Nicira actions that flows refuses.
var refusedNicira = map[uint16]string{
	10: "multipath", 12: "bundle", 13: "bundle_load", 16: "learn", 29: "sample", 34: "conjunction", 38: "sample", 41: "sample",
	44: "resubmit(ct)", 45: "learn", 46: "encap", 47: "decap", 48: "dec_nsh_ttl", 50: "delete_field",
	254: "debug_slow", 255: "debug_recirc",
}

// refusedStandard are the names of the actions of OpenFlow 1.3 that flows refuses.
var refusedStandard = map[uint16]string{
	actCopyTTLOut: "copy_ttl_out", actCopyTTLIn: "copy_ttl_in", actPushPBB: "push_pbb", actPopPBB: "pop_pbb",
}

// UnknownActionError names an action that the flows package cannot express.
type UnknownActionError struct {
	Type         uint16
	Experimenter uint32 // set for type 0xffff only
	Subtype      uint16 // set for Nicira actions only
}

func (e *UnknownActionError) Error() string {
	switch {
	case e.Type != actExperimenter:
		return fmt.Sprintf("unknown action type %d", e.Type)
	case e.Experimenter == NiciraExperimenter:
		return fmt.Sprintf("unknown Nicira action subtype %d", e.Subtype)
	}
	return fmt.Sprintf("unknown action of experimenter 0x%08x", e.Experimenter)
}

func appendActions(dst []byte, as []flows.Action) ([]byte, error) {
	var err error
	for _, a := range as {
		if dst, err = appendAction(dst, a); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func appendAction(dst []byte, a flows.Action) ([]byte, error) {
	switch a := a.(type) {
	case flows.Output:
		return appendOutput(dst, a.Port, 0), nil
	case flows.ToController:
		if a.Plain() {
			return appendOutput(dst, flows.PortController, a.MaxLen), nil
		}
		return appendController(dst, a), nil
	case flows.OutputReg:
		// NXAST_OUTPUT_REG says the same as NXAST_OUTPUT_REG2 for every field
		// with a 32-bit header, in a fixed size.
		dst = appendNicira(dst, nxOutputReg, 24)
		dst = u16(dst, a.Src.Offset<<6|(a.Src.Bits-1)&0x3f)
		dst, err := appendFieldHeader(dst, a.Src.Field)
		return zeros(u16(dst, a.MaxLen), 6), err
	case flows.ToGroup:
		return u32(append(dst, 0, byte(actGroup), 0, 8), a.ID), nil
	case flows.SetField:
		return appendSetField(dst, a)
	case flows.Move:
		if a.Src.Bits != a.Dst.Bits {
			return dst, fmt.Errorf("move: %d bits to %d bits", a.Src.Bits, a.Dst.Bits)
		}
		dst = appendNicira(dst, nxRegMove, 24)
		dst = u16(u16(u16(dst, a.Src.Bits), a.Src.Offset), a.Dst.Offset)
		dst, err := appendFieldHeader(dst, a.Src.Field)
		if err != nil {
			return dst, err
		}
		return appendFieldHeader(dst, a.Dst.Field)
	case flows.PushVLAN:
		return append(dst, 0, byte(actPushVLAN), 0, 8, byte(a.EtherType>>8), byte(a.EtherType), 0, 0), nil
	case flows.PopVLAN:
		return append(dst, 0, byte(actPopVLAN), 0, 8, 0, 0, 0, 0), nil
	case flows.DecTTL:
		return appendDecTTL(dst, a), nil
	case flows.Resubmit:
		port, err := port16(a.Port)
		if err != nil {
			return dst, err
		}
		dst = u16(appendNicira(dst, nxResubmitTable, 16), port)
		return append(dst, a.Table, 0, 0, 0), nil
	case flows.CT:
		return appendCT(dst, a)
	case flows.CTClear:
		return zeros(appendNicira(dst, nxCTClear, 16), 6), nil
	}
	return appendExtension(dst, a)
}

func appendOutput(dst []byte, port uint32, maxLen uint16) []byte {
	dst = u32(append(dst, 0, byte(actOutput), 0, 16), port)
	return zeros(u16(dst, maxLen), 6)
}

// appendNicira appends the ten bytes that every Nicira action starts with.
func appendNicira(dst []byte, subtype uint16, length uint16) []byte {
	return u16(u32(u16(u16(dst, actExperimenter), length), NiciraExperimenter), subtype)
}

// port16 maps a port to the 16-bit numbers of OpenFlow 1.0 that resubmit uses.
func port16(p uint32) (uint16, error) {
	if p < 0xff00 || p >= flows.PortMax {
		return uint16(p), nil
	}
	return 0, fmt.Errorf("resubmit: port %d does not fit the 16 bits of the action", p)
}

// appendSetField appends OFPAT_SET_FIELD when the whole field is written and
// otherwise one NXAST_REG_LOAD per run of mask bits, which is also what Open
// vSwitch 3.1 makes of it at OpenFlow 1.3.
func appendSetField(dst []byte, a flows.SetField) ([]byte, error) {
	start := len(dst)
	if a.Mask == a.Field.FullMask() {
		dst = append(dst, 0, byte(actSetField), 0, 0)
		dst, err := appendOXM(dst, a.Field, a.Value, a.Mask)
		if err != nil {
			return dst, err
		}
		dst = pad8(dst, start)
		dst[start+3] = byte(len(dst) - start)
		return dst, nil
	}
	var err error
	for at := nextOne(a.Mask, 0); at < 128; {
		n := runLen(a.Mask, at)
		dst = appendNicira(dst, nxRegLoad, 24)
		dst = u16(dst, uint16(at)<<6|uint16(n-1))
		if dst, err = appendFieldHeader(dst, a.Field); err != nil {
			return dst, err
		}
		dst = u64(dst, shr(a.Value, at).Lo&(^uint64(0)>>(64-n)))
		at = nextOne(a.Mask, at+n)
	}
	return dst, nil
}

// nextOne is the lowest set bit of v at or above at, 128 if there is none.
func nextOne(v flows.Value, at uint) uint {
	w := shr(v, at)
	switch {
	case w.Lo != 0:
		return at + uint(bits.TrailingZeros64(w.Lo))
	case w.Hi != 0:
		return at + 64 + uint(bits.TrailingZeros64(w.Hi))
	}
	return 128
}

// runLen is how many consecutive bits from at on are set, at most 64.
func runLen(v flows.Value, at uint) uint { return uint(bits.TrailingZeros64(^shr(v, at).Lo)) }

func shr(v flows.Value, n uint) flows.Value {
	switch {
	case n == 0:
		return v
	case n >= 128:
		return flows.Value{}
	case n >= 64:
		return flows.Value{Lo: v.Hi >> (n - 64)}
	}
	return flows.Value{Hi: v.Hi >> n, Lo: v.Lo>>n | v.Hi<<(64-n)}
}

func shl(v flows.Value, n uint) flows.Value {
	switch {
	case n == 0:
		return v
	case n >= 128:
		return flows.Value{}
	case n >= 64:
		return flows.Value{Hi: v.Lo << (n - 64)}
	}
	return flows.Value{Hi: v.Hi<<n | v.Lo>>(64-n), Lo: v.Lo << n}
}

// parseActions reads a list of actions that fills b.
func parseActions(b []byte) ([]flows.Action, error) {
	var as []flows.Action
	for len(b) > 0 {
		if len(b) < 8 {
			return nil, fmt.Errorf("actions: %d bytes left, an action has at least 8", len(b))
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 8 || n%8 != 0 || n > len(b) {
			return nil, fmt.Errorf("action type %d: length %d, %d bytes left", binary.BigEndian.Uint16(b), n, len(b))
		}
		a, err := parseAction(b[:n])
		if err != nil {
			return nil, err
		}
		as = append(as, a)
		b = b[n:]
	}
	return as, nil
}

// parseAction reads the action that is b; b is a multiple of eight bytes.
func parseAction(b []byte) (flows.Action, error) {
	t := binary.BigEndian.Uint16(b)
	if want, ok := actionLen(t); ok && len(b) != want {
		return nil, fmt.Errorf("action type %d: %d bytes, want %d", t, len(b), want)
	}
	switch t {
	case actOutput:
		if p := binary.BigEndian.Uint32(b[4:]); p != flows.PortController {
			return flows.Output{Port: p}, nil
		}
		return flows.ToController{MaxLen: binary.BigEndian.Uint16(b[8:])}, nil
	case actPushVLAN:
		return flows.PushVLAN{EtherType: binary.BigEndian.Uint16(b[4:])}, nil
	case actPopVLAN:
		return flows.PopVLAN{}, nil
	case actGroup:
		return flows.ToGroup{ID: binary.BigEndian.Uint32(b[4:])}, nil
	case actDecTTL:
		return flows.DecTTL{}, nil
	case actSetField:
		return parseSetField(b[4:])
	case actSetNwTTL: // as a set-field, which does the same
		return flows.Set(flows.IPTTL, flows.U(uint64(b[4]))), nil
	case actSetMPLSTTL:
		return flows.Set(flows.MPLSTTL, flows.U(uint64(b[4]))), nil
	case actDecMPLSTTL:
		return flows.DecMPLSTTL{}, nil
	case actPushMPLS:
		return flows.PushMPLS{EtherType: binary.BigEndian.Uint16(b[4:])}, nil
	case actPopMPLS:
		return flows.PopMPLS{EtherType: binary.BigEndian.Uint16(b[4:])}, nil
	case actSetQueue:
		return flows.SetQueue{ID: binary.BigEndian.Uint32(b[4:])}, nil
	case actExperimenter:
		return parseExperimenterAction(b)
	}
	if err := flows.RefusedAction(refusedStandard[t]); err != nil {
		return nil, err
	}
	return nil, &UnknownActionError{Type: t}
}

// actionLen is the length of the actions whose length is fixed.
func actionLen(t uint16) (int, bool) {
	switch t {
	case actOutput:
		return 16, true
	case actPushVLAN, actPopVLAN, actGroup, actDecTTL, actSetNwTTL, actSetMPLSTTL, actDecMPLSTTL, actPushMPLS, actPopMPLS, actSetQueue:
		return 8, true
	}
	return 0, false
}

// parseSetField reads the OXM of a set-field or a NXAST_REG_LOAD2; what follows
// it is less than eight bytes of padding.
func parseSetField(b []byte) (flows.Action, error) {
	e, n, err := parseOXM(b)
	if err != nil {
		return nil, fmt.Errorf("set-field: %w", err)
	}
	if len(b)-n >= 8 {
		return nil, fmt.Errorf("set-field: %d bytes after the field", len(b)-n)
	}
	if e.Mask.IsZero() {
		return nil, fmt.Errorf("set-field: the mask is zero")
	}
	return flows.SetField(e), nil
}

func parseExperimenterAction(b []byte) (flows.Action, error) {
	exp := binary.BigEndian.Uint32(b[4:])
	if exp != NiciraExperimenter {
		return nil, &UnknownActionError{Type: actExperimenter, Experimenter: exp}
	}
	if len(b) < 16 {
		return nil, fmt.Errorf("nicira action: %d bytes, want at least 16", len(b))
	}
	sub := binary.BigEndian.Uint16(b[8:])
	if err := flows.RefusedAction(refusedNicira[sub]); err != nil {
		return nil, err
	}
	if want, ok := niciraLen(sub); ok && len(b) != want {
		if err := longField(b); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("nicira action subtype %d: %d bytes, want %d", sub, len(b), want)
	}
	switch sub {
	case nxResubmit:
		return flows.Resubmit{Port: flows.Port32(binary.BigEndian.Uint16(b[10:])), Table: 255}, nil
	case nxResubmitTable:
		return flows.Resubmit{Port: flows.Port32(binary.BigEndian.Uint16(b[10:])), Table: b[12]}, nil
	case nxDecTTL:
		return flows.DecTTL{}, nil
	case nxRegLoad2:
		return parseSetField(b[10:])
	case nxRegMove:
		n := binary.BigEndian.Uint16(b[10:])
		src, err := parseSource(b[16:], binary.BigEndian.Uint16(b[12:]), n)
		if err != nil {
			return nil, fmt.Errorf("move: source: %w", err)
		}
		dst, err := parseSubfield(b[20:], binary.BigEndian.Uint16(b[14:]), n)
		if err != nil {
			return nil, fmt.Errorf("move: destination: %w", err)
		}
		return flows.Move{Src: src, Dst: dst}, nil
	case nxRegLoad:
		return parseRegLoad(b)
	case nxOutputReg, nxOutputReg2:
		return parseOutputReg(b, sub)
	case nxController:
		return parseController(b)
	case nxController2:
		return parseController2(b)
	case nxCT:
		return parseCT(b)
	case nxCTClear:
		return flows.CTClear{}, nil
	}
	return parseExtension(b, sub)
}

// longField names the field with an experimenter's header of 64 bits, of which flows has
// none that these actions may name, that makes an action longer; nil if there is none.
func longField(b []byte) error {
	for _, at := range [...]int{12, 14, 16, 20} {
		if at+8 > len(b) || binary.BigEndian.Uint16(b[at:]) != classExperimenter {
			continue
		}
		if err := flows.RefusedOXM(classExperimenter, b[at+2]>>1, binary.BigEndian.Uint32(b[at+4:])); err != nil {
			return err
		}
	}
	return nil
}

// niciraLen is the length of the Nicira actions whose length is fixed.
func niciraLen(sub uint16) (int, bool) {
	switch sub {
	case nxResubmit, nxResubmitTable, nxDecTTL, nxCTClear, nxPopQueue, nxExit, nxFinTimeout, nxController, nxOutputTrunc:
		return 16, true
	case nxRegMove, nxRegLoad, nxOutputReg, nxOutputReg2, nxPush, nxPop, nxCheckLarger:
		return 24, true
	}
	return 0, false
}

func parseRegLoad(b []byte) (flows.Action, error) {
	on := binary.BigEndian.Uint16(b[10:])
	if isInPort16(b[12:]) && on == 15 {
		// All of the 16-bit in_port is all of in_port.
		v := binary.BigEndian.Uint64(b[16:])
		if v > 0xffff {
			return nil, fmt.Errorf("load: value 0x%x does not fit 16 bits", v)
		}
		return flows.Set(flows.InPort, flows.U(uint64(flows.Port32(uint16(v))))), nil
	}
	s, err := parseSubfield(b[12:], on>>6, on&0x3f+1)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	v := binary.BigEndian.Uint64(b[16:])
	ones := ^uint64(0) >> (64 - s.Bits)
	if v&^ones != 0 {
		return nil, fmt.Errorf("load: value 0x%x does not fit %d bits", v, s.Bits)
	}
	return flows.SetField{
		Field: s.Field,
		Value: shl(flows.U(v), uint(s.Offset)),
		Mask:  shl(flows.U(ones), uint(s.Offset)),
	}, nil
}

func parseOutputReg(b []byte, sub uint16) (flows.Action, error) {
	on := binary.BigEndian.Uint16(b[10:])
	header, maxLen := b[12:16], binary.BigEndian.Uint16(b[16:])
	if sub == nxOutputReg2 {
		header, maxLen = b[14:18], binary.BigEndian.Uint16(b[12:])
	}
	s, err := parseSource(header, on>>6, on&0x3f+1)
	if err != nil {
		return nil, fmt.Errorf("output to field: %w", err)
	}
	return flows.OutputReg{Src: s, MaxLen: maxLen}, nil
}
