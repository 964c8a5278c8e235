package flows

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Value is the value or the mask of a field, right-aligned in 128 bits.
type Value struct{ Hi, Lo uint64 }

// U is an integer value.
func U(v uint64) Value { return Value{Lo: v} }

// MAC is a 48-bit Ethernet address as a value.
func MAC(m [6]byte) Value {
	return Value{Lo: uint64(m[0])<<40 | uint64(m[1])<<32 | uint64(m[2])<<24 |
		uint64(m[3])<<16 | uint64(m[4])<<8 | uint64(m[5])}
}

// IP is an IPv4 (32 bit) or IPv6 (128 bit) address as a value.
func IP(a netip.Addr) Value {
	if a.Is4() || a.Is4In6() {
		b := a.As4()
		return Value{Lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return Value{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// IsZero reports whether every bit is zero.
func (v Value) IsZero() bool { return v == Value{} }

// And is the bits that are set in both.
func (v Value) And(w Value) Value { return Value{v.Hi & w.Hi, v.Lo & w.Lo} }

// Or is the bits that are set in either.
func (v Value) Or(w Value) Value { return Value{v.Hi | w.Hi, v.Lo | w.Lo} }

// AndNot is the bits of v that are not set in w.
func (v Value) AndNot(w Value) Value { return Value{v.Hi &^ w.Hi, v.Lo &^ w.Lo} }

// Shl is v shifted n bits towards the most significant.
func (v Value) Shl(n uint) Value {
	switch {
	case n == 0:
		return v
	case n >= 128:
		return Value{}
	case n >= 64:
		return Value{Hi: v.Lo << (n - 64)}
	}
	return Value{Hi: v.Hi<<n | v.Lo>>(64-n), Lo: v.Lo << n}
}

// Shr is v shifted n bits towards the least significant.
func (v Value) Shr(n uint) Value {
	switch {
	case n == 0:
		return v
	case n >= 128:
		return Value{}
	case n >= 64:
		return Value{Lo: v.Hi >> (n - 64)}
	}
	return Value{Hi: v.Hi >> n, Lo: v.Lo>>n | v.Hi<<(64-n)}
}

func (v Value) trailingZeros() int {
	if v.Lo != 0 {
		return bits.TrailingZeros64(v.Lo)
	}
	if v.Hi != 0 {
		return 64 + bits.TrailingZeros64(v.Hi)
	}
	return 128
}

func (v Value) onesCount() int { return bits.OnesCount64(v.Hi) + bits.OnesCount64(v.Lo) }

// lowBits is a value with the n lowest bits set.
func lowBits(n uint16) Value {
	switch {
	case n >= 128:
		return Value{^uint64(0), ^uint64(0)}
	case n >= 64:
		return Value{uint64(1)<<(n-64) - 1, ^uint64(0)}
	}
	return Value{Lo: uint64(1)<<n - 1}
}
