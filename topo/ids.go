package topo

import (
	"encoding/hex"
	"fmt"
)

// ID is the number of an object: 1 … MaxID, given once, never reused, kept with
// the object across restarts. Flow cookies and registers carry it.
type ID uint32

// MaxID is the largest ID: 24 bits, so that a group number has room beside it.
const MaxID ID = 1<<24 - 1

// MAC is an Ethernet address.
type MAC [6]byte

// ParseMAC reads an address in colon or dash notation, in either case.
func ParseMAC(s string) (MAC, error) {
	bad := fmt.Errorf("%.40q is no Ethernet address; write it like 02:00:00:00:00:01", s)
	if len(s) != 17 {
		return MAC{}, bad
	}
	var m MAC
	for i := range m {
		if i > 0 && s[3*i-1] != s[2] || s[2] != ':' && s[2] != '-' {
			return MAC{}, bad
		}
		if _, err := hex.Decode(m[i:i+1], []byte(s[3*i:3*i+2])); err != nil {
			return MAC{}, bad
		}
	}
	return m, nil
}

// String is the address in lower-case colon notation.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// IsZero reports whether the address is all zeros.
func (m MAC) IsZero() bool { return m == MAC{} }

// IsMulticast reports whether it is a group address, broadcast included.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// MarshalText is String.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText takes what ParseMAC takes.
func (m *MAC) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMAC(string(text))
	return err
}
