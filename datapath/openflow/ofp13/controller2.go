package ofp13

import (
	"encoding/binary"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// The properties of NXAST_CONTROLLER2 (enum nx_action_controller2_prop_type in
// ofp-actions.c of Open vSwitch) that a flows.ToController expresses.
const (
	controllerMaxLen uint16 = 0 // 16 bits
	controllerMeter  uint16 = 5 // 32 bits
)

// propertyLen is the length of either property; padding in it counts.
const propertyLen = 8

// appendController2 appends an NXAST_CONTROLLER2, as Open vSwitch writes it: the
// maximum length only where it is one.
func appendController2(dst []byte, a flows.ToController) []byte {
	length := uint16(16 + propertyLen)
	if a.MaxLen != flows.MaxLenAll {
		length += propertyLen
	}
	dst = zeros(appendNicira(dst, nxController2, length), 6)
	if a.MaxLen != flows.MaxLenAll {
		dst = u16(u16(u16(u16(dst, controllerMaxLen), propertyLen), a.MaxLen), 0)
	}
	return u32(u16(u16(dst, controllerMeter), propertyLen), a.Meter)
}

// parseController2 reads an NXAST_CONTROLLER2. What flows.ToController does not
// express (another reason or controller, user data, a pause) is an error: the
// flow is not one of ours.
func parseController2(b []byte) (flows.Action, error) {
	a := flows.ToController{MaxLen: flows.MaxLenAll}
	for p := b[16:]; len(p) > 0; p = p[propertyLen:] {
		if len(p) < propertyLen {
			return nil, fmt.Errorf("controller action: %d bytes of a property left", len(p))
		}
		t, n := binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])
		switch {
		case t == controllerMaxLen && n == propertyLen:
			a.MaxLen = binary.BigEndian.Uint16(p[4:])
		case t == controllerMeter && n == propertyLen:
			a.Meter = binary.BigEndian.Uint32(p[4:])
		default:
			return nil, fmt.Errorf("controller action: unknown property %d of %d bytes", t, n)
		}
	}
	return a, nil
}
