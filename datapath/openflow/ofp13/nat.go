package ofp13

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Flags of NXAST_NAT, and what of a range is there (struct nx_action_nat in
// ofp-actions.c of Open vSwitch).
const (
	natSource      uint16 = 1
	natDestination uint16 = 2
	natPersistent  uint16 = 4
	natHash        uint16 = 8
	natRandom      uint16 = 16

	natIPv4Min uint16 = 1
	natIPv4Max uint16 = 2
	natIPv6Min uint16 = 4
	natIPv6Max uint16 = 8
	natPortMin uint16 = 16
	natPortMax uint16 = 32
)

func appendNAT(dst []byte, n flows.NAT) []byte {
	if n.Kind == flows.NATNone {
		return dst
	}
	start := len(dst)
	flags, present := uint16(0), uint16(0)
	for _, c := range [...]struct {
		is  bool
		bit uint16
	}{
		{n.Kind == flows.NATSource, natSource}, {n.Kind == flows.NATDestination, natDestination},
		{n.Persistent, natPersistent}, {n.Hash, natHash}, {n.Random, natRandom},
	} {
		if c.is {
			flags |= c.bit
		}
	}
	dst = u16(u16(u16(appendNicira(dst, nxNAT, 0), 0), flags), 0)
	addr := func(a netip.Addr, v4, v6 uint16) {
		switch {
		case !a.IsValid():
		case a.Is4():
			present |= v4
			dst = append(dst, a.AsSlice()...)
		default:
			present |= v6
			dst = append(dst, a.AsSlice()...)
		}
	}
	addr(n.Min, natIPv4Min, natIPv6Min)
	addr(n.Max, natIPv4Max, natIPv6Max)
	port := func(p uint16, bit uint16) {
		if p != 0 {
			present |= bit
			dst = u16(dst, p)
		}
	}
	port(n.PortMin, natPortMin)
	port(n.PortMax, natPortMax)
	binary.BigEndian.PutUint16(dst[start+14:], present)
	dst = pad8(dst, start)
	binary.BigEndian.PutUint16(dst[start+2:], uint16(len(dst)-start))
	return dst
}

func parseNAT(b []byte) (flows.NAT, error) {
	flags, present := binary.BigEndian.Uint16(b[12:]), binary.BigEndian.Uint16(b[14:])
	n := flows.NAT{Kind: flows.NATExisting, Persistent: flags&natPersistent != 0, Hash: flags&natHash != 0, Random: flags&natRandom != 0}
	switch flags & (natSource | natDestination) {
	case 0:
	case natSource:
		n.Kind = flows.NATSource
	case natDestination:
		n.Kind = flows.NATDestination
	default:
		return n, fmt.Errorf("nat: of source and destination at once")
	}
	if flags>>5 != 0 || present>>6 != 0 {
		return n, fmt.Errorf("nat: flags 0x%x and range 0x%x are not known", flags, present)
	}
	rest := b[16:]
	short := false
	take := func(bit uint16, size int) []byte {
		if present&bit == 0 {
			return nil
		}
		if len(rest) < size {
			short = true
			return nil
		}
		v := rest[:size]
		rest = rest[size:]
		return v
	}
	addr := func(v []byte, to *netip.Addr) {
		if a, ok := netip.AddrFromSlice(v); ok {
			*to = a
		}
	}
	addr(take(natIPv4Min, 4), &n.Min)
	addr(take(natIPv4Max, 4), &n.Max)
	addr(take(natIPv6Min, 16), &n.Min)
	addr(take(natIPv6Max, 16), &n.Max)
	if v := take(natPortMin, 2); v != nil {
		n.PortMin = binary.BigEndian.Uint16(v)
	}
	if v := take(natPortMax, 2); v != nil {
		n.PortMax = binary.BigEndian.Uint16(v)
	}
	switch {
	case short || len(rest) >= 8:
		return n, fmt.Errorf("nat: %d bytes for range 0x%x", len(b), present)
	case present&(natIPv4Min|natIPv4Max) != 0 && present&(natIPv6Min|natIPv6Max) != 0:
		return n, fmt.Errorf("nat: of IPv4 and IPv6 at once")
	}
	return n, nil
}
