package flows

import "fmt"

// Cookie is the 64-bit cookie of a flow, in our layout:
// magic 16 bit | feature 8 | generation 8 | owner 32.
// A flow whose cookie does not carry the magic belongs to somebody else and is
// never touched or counted.
type Cookie uint64

const (
	// CookieMagic marks a flow as ours.
	CookieMagic uint16 = 0x0fc7
	// CookieMask selects the magic in a dump request: Cookie(m, ...)&CookieMask.
	CookieMask Cookie = 0xffff << 48
)

// NewCookie puts a cookie together. Feature says which part of the pipeline a
// flow belongs to (its meaning is the pipeline's), generation is the pipeline's
// format generation, owner the ID of the object it was compiled for.
func NewCookie(feature, generation uint8, owner uint32) Cookie {
	return Cookie(CookieMagic)<<48 | Cookie(feature)<<40 | Cookie(generation)<<32 | Cookie(owner)
}

// Ours reports whether the cookie carries our magic.
func (c Cookie) Ours() bool { return uint16(c>>48) == CookieMagic }

// Feature is the pipeline feature (or drop reason) of the flow.
func (c Cookie) Feature() uint8 { return uint8(c >> 40) }

// Generation is the pipeline generation that wrote the flow.
func (c Cookie) Generation() uint8 { return uint8(c >> 32) }

// Owner is the ID of the object the flow was compiled for.
func (c Cookie) Owner() uint32 { return uint32(c) }

// String is the cookie as ovs-ofctl prints it.
func (c Cookie) String() string { return fmt.Sprintf("0x%x", uint64(c)) }
