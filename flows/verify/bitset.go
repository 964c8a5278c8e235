package verify

import (
	"math/bits"
	"slices"
)

// bitset is a set of ingresses. Those that meet have the same length, or are nil.
type bitset []uint64

func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }

// or adds c, and reports whether that added anything.
func (b bitset) or(c bitset) (more bool) {
	for i := range c {
		if c[i]&^b[i] != 0 {
			b[i] |= c[i]
			more = true
		}
	}
	return more
}

func (b bitset) empty() bool {
	for _, w := range b {
		if w != 0 {
			return false
		}
	}
	return true
}

func (b bitset) equal(c bitset) bool { return slices.Equal(b, c) }

// meets reports whether both have something in common.
func (b bitset) meets(c bitset) bool {
	for i := range c {
		if b[i]&c[i] != 0 {
			return true
		}
	}
	return false
}

func (b bitset) without(c bitset) {
	for i := range c {
		b[i] &^= c[i]
	}
}

func (b bitset) and(c bitset) {
	for i := range c {
		b[i] &= c[i]
	}
}

// each calls yield for what is in b, in ascending order.
func (b bitset) each(yield func(int) bool) {
	for i, w := range b {
		for ; w != 0; w &= w - 1 {
			if !yield(64*i + bits.TrailingZeros64(w)) {
				return
			}
		}
	}
}
