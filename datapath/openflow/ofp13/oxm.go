package ofp13

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// OXM classes (OpenFlow 1.3.5 section 7.2.3.3, and nicira-ext.h of Open vSwitch).
const (
	classNXM0         uint16 = 0x0000 // NXM_OF_*
	classNXM1         uint16 = 0x0001 // NXM_NX_*
	classOpenFlow     uint16 = 0x8000 // OXM_OF_*
	classExperimenter uint16 = 0xffff // the experimenter ID follows the header
)

// UnknownFieldError names a match field that nobody knows.
type UnknownFieldError struct {
	Class        uint16
	Field        uint8
	Experimenter uint32 // set for class 0xffff only
}

func (e *UnknownFieldError) Error() string {
	if e.Class == classExperimenter {
		return fmt.Sprintf("unknown OXM field %d of experimenter 0x%08x", e.Field, e.Experimenter)
	}
	return fmt.Sprintf("unknown OXM field %d of class 0x%04x", e.Field, e.Class)
}

// appendValue appends the low n bytes of v, n ≤ 16. A short value is appended as
// eight bytes of which those after it are taken back: for every n the same few
// instructions, on the path of every flow that is sent.
func appendValue(dst []byte, v flows.Value, n int) []byte {
	if n > 8 {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], v.Hi)
		binary.BigEndian.PutUint64(b[8:], v.Lo)
		return append(dst, b[16-n:]...)
	}
	dst = u64(dst, v.Lo<<(64-8*n))
	return dst[:len(dst)-8+n]
}

// parseValue is the big-endian number in b, which has at most 16 bytes.
func parseValue(b []byte) flows.Value {
	var w [16]byte
	copy(w[16-len(b):], b)
	return flows.Value{Hi: binary.BigEndian.Uint64(w[:]), Lo: binary.BigEndian.Uint64(w[8:])}
}

func and(v, w flows.Value) flows.Value { return flows.Value{Hi: v.Hi & w.Hi, Lo: v.Lo & w.Lo} }

// wireField is the header of f and the number of bytes of its value.
func wireField(f flows.Field) (class uint16, field uint8, n int, err error) {
	class, field, n = f.OXMHeader()
	if n <= 0 || n > 16 {
		return 0, 0, 0, notInCodec(f)
	}
	return class, field, n, nil
}

func notInCodec(f flows.Field) error { return fmt.Errorf("field %d: not a field of this codec", f) }

// appendOXM appends one OXM TLV. A mask that covers the whole field is left out.
func appendOXM(dst []byte, f flows.Field, v, mask flows.Value) ([]byte, error) {
	class, field, n := f.OXMHeader()
	if n <= 0 || n > 16 {
		return dst, notInCodec(f)
	}
	header := uint32(class)<<16 | uint32(field)<<9 | uint32(n)
	masked := mask != f.FullMask()
	if masked {
		header += 1<<8 + uint32(n)
	}
	if class == classExperimenter {
		dst = u32(u32(dst, header+4), f.OXMExperimenter())
	} else {
		dst = u32(dst, header)
	}
	dst = appendValue(dst, v, n)
	if masked {
		dst = appendValue(dst, mask, n)
	}
	return dst, nil
}

// parseOXM reads the TLV at the start of b and says how long it is.
func parseOXM(b []byte) (m flows.FieldMatch, n int, err error) {
	if len(b) < 4 {
		return m, 0, fmt.Errorf("OXM: %d bytes left, a header has 4", len(b))
	}
	class, field, masked := binary.BigEndian.Uint16(b), b[2]>>1, b[2]&1 == 1
	n = 4 + int(b[3])
	if len(b) < n {
		return m, 0, fmt.Errorf("OXM class 0x%04x field %d: says %d bytes, %d left", class, field, n, len(b))
	}
	body := b[4:n]
	var exp uint32
	if class == classExperimenter {
		if len(body) < 4 {
			return m, 0, fmt.Errorf("OXM class 0x%04x field %d: no room for the experimenter ID", class, field)
		}
		exp, body = binary.BigEndian.Uint32(body), body[4:]
	}
	f, ok := fieldOf(class, field, exp)
	if !ok {
		return m, 0, unknownField(class, field, exp)
	}
	_, _, width, err := wireField(f)
	if err != nil {
		return m, 0, err
	}
	mask := f.FullMask()
	switch {
	case !masked && len(body) == width:
	case masked && len(body) == 2*width:
		mask = and(mask, parseValue(body[width:]))
	default:
		return m, 0, fmt.Errorf("OXM class 0x%04x field %d: %d bytes of value and mask, want %d each",
			class, field, len(body), width)
	}
	return flows.FieldMatch{Field: f, Value: and(parseValue(body[:width]), mask), Mask: mask}, n, nil
}

// appendFieldHeader appends the 32-bit header by which Nicira actions name a
// field as source or destination.
func appendFieldHeader(dst []byte, f flows.Field) ([]byte, error) {
	class, field, n, err := wireField(f)
	if err != nil {
		return dst, err
	}
	if class == classExperimenter {
		return dst, fmt.Errorf("field %d: an experimenter field cannot be named in a Nicira action", f)
	}
	return append(dst, byte(class>>8), byte(class), field<<1, byte(n)), nil
}

// parseSubfield reads such a header and checks that the bits are within the field.
func parseSubfield(b []byte, offset, bits uint16) (flows.Subfield, error) {
	class, field := binary.BigEndian.Uint16(b), b[2]>>1
	var exp uint32
	if class == classExperimenter && len(b) >= 8 {
		exp = binary.BigEndian.Uint32(b[4:])
	}
	f, ok := fieldOf(class, field, exp)
	if !ok {
		return flows.Subfield{}, unknownField(class, field, exp)
	}
	_, _, n, err := wireField(f)
	if err != nil {
		return flows.Subfield{}, err
	}
	if b[2]&1 == 1 || int(b[3]) != n {
		return flows.Subfield{}, fmt.Errorf("field header %x: want no mask and %d bytes", b[:4], n)
	}
	if width := int(f.Bits()); bits == 0 || int(offset)+int(bits) > width {
		return flows.Subfield{}, fmt.Errorf("bits %d…%d of a field of %d bits", offset, int(offset)+int(bits)-1, width)
	}
	return flows.Subfield{Field: f, Offset: offset, Bits: bits}, nil
}

// isInPort16 reports whether a header is that of NXM_OF_IN_PORT.
func isInPort16(b []byte) bool { return binary.BigEndian.Uint32(b) == 2 }

// parseSource is parseSubfield of bits that are read. Those of the 16-bit in_port are the
// low bits of in_port.
func parseSource(b []byte, offset, bits uint16) (flows.Subfield, error) {
	if isInPort16(b) && bits != 0 && int(offset)+int(bits) <= 16 {
		return flows.Subfield{Field: flows.InPort, Offset: offset, Bits: bits}, nil
	}
	return parseSubfield(b, offset, bits)
}

// unknownField names a field that flows does not have.
func unknownField(class uint16, field uint8, experimenter uint32) error {
	if err := flows.RefusedOXM(class, field, experimenter); err != nil {
		return err
	}
	return &UnknownFieldError{class, field, experimenter}
}

// fieldOf finds a field by any header that Open vSwitch uses for it with the
// same width: besides the one the flows package prefers, NXM in place of OXM.
func fieldOf(class uint16, field uint8, exp uint32) (flows.Field, bool) {
	switch class {
	case classExperimenter:
		if exp == ONFExperimenter && field == 42 { // ONFOXM_ET_TCP_FLAGS
			return flows.TCPFlags, true
		}
		return 0, false
	case classOpenFlow:
		if field == 42 { // OXM_OF_TCP_FLAGS of OpenFlow 1.5
			return flows.TCPFlags, true
		}
	case classNXM0:
		if f, ok := nxm0(field); ok {
			return f, true
		}
	case classNXM1:
		if f, ok := nxm1(field); ok {
			return f, true
		}
	}
	return flows.FieldByOXM(class, field)
}

// nxm0 are the NXM_OF_* fields; NXM_OF_IN_PORT (16 bits) and NXM_OF_IP_TOS (DSCP
// shifted by two) have other layouts than their OXM relatives and are left out.
func nxm0(field uint8) (flows.Field, bool) {
	fields := [...]flows.Field{
		1: flows.EthDst, 2: flows.EthSrc, 3: flows.EthType, 4: flows.VLANTCI, 6: flows.IPProto,
		7: flows.IPv4Src, 8: flows.IPv4Dst, 9: flows.TCPSrc, 10: flows.TCPDst, 11: flows.UDPSrc,
		12: flows.UDPDst, 13: flows.ICMPType, 14: flows.ICMPCode, 15: flows.ARPOp, 16: flows.ARPSPA,
		17: flows.ARPTPA,
	}
	if int(field) < len(fields) && fields[field] != 0 {
		return fields[field], true
	}
	return 0, false
}

// nxm1 are the NXM_NX_* fields.
func nxm1(field uint8) (flows.Field, bool) {
	fields := [...]flows.Field{
		16: flows.TunID, 17: flows.ARPSHA, 18: flows.ARPTHA, 19: flows.IPv6Src, 20: flows.IPv6Dst,
		21: flows.ICMPv6Type, 22: flows.ICMPv6Code, 23: flows.NDTarget, 24: flows.NDSLL, 25: flows.NDTLL,
		26: flows.IPFrag, 27: flows.IPv6Label, 28: flows.IPECN, 29: flows.IPTTL, 30: flows.MPLSTTL, 31: flows.TunIPv4Src,
		32: flows.TunIPv4Dst, 33: flows.PktMark, 34: flows.TCPFlags, 105: flows.CTState, 106: flows.CTZone,
		107: flows.CTMark, 108: flows.CTLabel, 109: flows.TunIPv6Src, 110: flows.TunIPv6Dst,
	}
	if field < 16 {
		return flows.Reg(int(field)), true
	}
	if int(field) < len(fields) && fields[field] != 0 {
		return fields[field], true
	}
	return 0, false
}

// appendMatch appends an ofp_match of type OFPMT_OXM (section 7.2.3), padded.
func appendMatch(dst []byte, m flows.Match) ([]byte, error) {
	start := len(dst)
	dst = append(dst, 0, 1, 0, 0)
	var err error
	for i := range m {
		if dst, err = appendOXM(dst, m[i].Field, m[i].Value, m[i].Mask); err != nil {
			return dst, err
		}
	}
	n := len(dst) - start
	if n > MaxMessage {
		return dst, &TooLongError{What: "match", Bytes: n}
	}
	binary.BigEndian.PutUint16(dst[start+2:], uint16(n))
	return pad8(dst, start), nil
}

// matchLen is how many bytes the ofp_match at the start of b takes, padding
// included, and how many of them its TLVs end at.
func matchLen(b []byte) (padded, oxm int, err error) {
	if len(b) < 8 {
		return 0, 0, fmt.Errorf("match: %d bytes left, want at least 8", len(b))
	}
	if t := binary.BigEndian.Uint16(b); t != 1 {
		return 0, 0, fmt.Errorf("match: type %d, want 1 (OFPMT_OXM)", t)
	}
	oxm = int(binary.BigEndian.Uint16(b[2:]))
	padded = roundUp8(oxm)
	if oxm < 4 || padded > len(b) {
		return 0, 0, fmt.Errorf("match: length %d, %d bytes left", oxm, len(b))
	}
	return padded, oxm, nil
}

// parseMatch reads the ofp_match at the start of b into canonical form and says
// how many bytes it takes.
func parseMatch(b []byte) (flows.Match, int, error) {
	padded, end, err := matchLen(b)
	if err != nil {
		return nil, 0, err
	}
	if end == 4 {
		return nil, padded, nil
	}
	m := make(flows.Match, 0, min((end-4)/6+1, 16))
	for at := 4; at < end; {
		e, n, err := parseOXM(b[at:end])
		if err != nil {
			return nil, 0, err
		}
		at += n
		if e.Mask.IsZero() {
			continue
		}
		i, found := slices.BinarySearchFunc(m, e.Field, func(x flows.FieldMatch, f flows.Field) int { return int(x.Field) - int(f) })
		if found {
			return nil, 0, fmt.Errorf("match: field %d twice", e.Field)
		}
		m = slices.Insert(m, i, e)
	}
	return m, padded, nil
}
