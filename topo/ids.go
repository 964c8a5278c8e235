package topo

import "fmt"

// ID is the number of an object: 1 … MaxID, given once, never reused, kept with
// the object across restarts. Flow cookies and registers carry it.
type ID uint32

// MaxID is the largest ID: 24 bits, so that a group number has room beside it.
const MaxID ID = 1<<24 - 1

// MAC is an Ethernet address.
type MAC [6]byte

// String is the address in lower-case colon notation.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// IsZero reports whether the address is all zeros.
func (m MAC) IsZero() bool { return m == MAC{} }
