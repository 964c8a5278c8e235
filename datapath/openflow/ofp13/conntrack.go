package ofp13

import (
	"encoding/binary"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Flags of NXAST_CT (struct nx_action_conntrack in ofp-actions.c of Open vSwitch).
const (
	ctCommit uint16 = 1
	ctForce  uint16 = 2
)

// ctLen is the length of an NXAST_CT without the actions nested in it.
const ctLen = 24

func appendCT(dst []byte, a flows.CT) ([]byte, error) {
	start := len(dst)
	flags := uint16(0)
	if a.Commit {
		flags |= ctCommit
	}
	if a.Force {
		flags |= ctForce
	}
	dst = u16(appendNicira(dst, nxCT, 0), flags)
	var err error
	if a.ZoneSrc == (flows.Subfield{}) {
		dst = u16(u32(dst, 0), a.Zone)
	} else {
		if dst, err = appendFieldHeader(dst, a.ZoneSrc.Field); err != nil {
			return dst, err
		}
		dst = u16(dst, a.ZoneSrc.Offset<<6|(a.ZoneSrc.Bits-1)&0x3f)
	}
	dst = append(dst, a.Table, 0, 0, 0, 0, 0) // padding, and no helper
	dst = appendNAT(dst, a.NAT)
	if dst, err = appendActions(dst, a.Exec()); err != nil {
		return dst, err
	}
	binary.BigEndian.PutUint16(dst[start+2:], uint16(len(dst)-start))
	return dst, nil
}

// parseCT reads an NXAST_CT. What flows.CT does not express (a helper) is an error.
func parseCT(b []byte) (flows.Action, error) {
	if len(b) < ctLen {
		return nil, fmt.Errorf("ct: %d bytes, want at least %d", len(b), ctLen)
	}
	flags, zone := binary.BigEndian.Uint16(b[10:]), binary.BigEndian.Uint16(b[16:])
	if flags&^(ctCommit|ctForce) != 0 {
		return nil, fmt.Errorf("ct: flags 0x%x are not known", flags)
	}
	if binary.BigEndian.Uint16(b[22:]) != 0 {
		return nil, flows.RefusedAction("ct(alg)")
	}
	a := flows.CT{Commit: flags&ctCommit != 0, Force: flags&ctForce != 0, Table: b[18]}
	if binary.BigEndian.Uint32(b[12:]) == 0 {
		a.Zone = zone
	} else {
		s, err := parseSubfield(b[12:], zone>>6, zone&0x3f+1)
		if err != nil {
			return nil, fmt.Errorf("ct: zone: %w", err)
		}
		a.ZoneSrc = s
	}
	var ok bool
	for at := b[ctLen:]; len(at) > 0; {
		// Of the nested actions only writes are parsed here: they nest no further.
		n := 0
		if len(at) >= 8 {
			n = int(binary.BigEndian.Uint16(at[2:]))
		}
		if n < 8 || n%8 != 0 || n > len(at) {
			return nil, fmt.Errorf("ct: nested action of length %d, %d bytes left", n, len(at))
		}
		if binary.BigEndian.Uint16(at) == actExperimenter && n >= 16 {
			switch binary.BigEndian.Uint16(at[8:]) {
			case nxCT, nxClone:
				return nil, fmt.Errorf("ct: nested in another")
			case nxNAT:
				nat, err := parseNAT(at[:n])
				if err != nil {
					return nil, err
				}
				if a.NAT != (flows.NAT{}) {
					return nil, fmt.Errorf("ct: nat twice")
				}
				a.NAT, at = nat, at[n:]
				continue
			}
		}
		exec, err := parseAction(at[:n])
		if err != nil {
			return nil, fmt.Errorf("ct: %w", err)
		}
		if a, ok = a.WithExec(exec); !ok {
			return nil, fmt.Errorf("ct: nested %s is not supported", flows.FormatActions([]flows.Action{exec}, flows.FormatOptions{}))
		}
		at = at[n:]
	}
	return a, nil
}
