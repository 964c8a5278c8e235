package ofp13

import (
	"encoding/binary"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// The properties of NXAST_CONTROLLER2 (enum nx_action_controller2_prop_type in
// ofp-actions.c of Open vSwitch).
const (
	controllerMaxLen   uint16 = 0 // 16 bits
	controllerID       uint16 = 1 // 16 bits
	controllerReason   uint16 = 2 // 8 bits
	controllerUserData uint16 = 3
	controllerPause    uint16 = 4 // nothing
	controllerMeter    uint16 = 5 // 32 bits
)

// propertyLen is the length of a property with a number of 16 or 32 bits; padding in it
// counts, but not behind a shorter one.
const propertyLen = 8

// reasons are the numbers of the wire for those of flows.
var reasons = [...]byte{flows.ReasonNoMatch: 0, flows.ReasonAction: 1, flows.ReasonInvalidTTL: 2,
	flows.ReasonActionSet: 3, flows.ReasonGroup: 4, flows.ReasonPacketOut: 5}

func parseReason(b byte) (flows.PacketInReason, error) {
	for r, n := range reasons {
		if n == b {
			return flows.PacketInReason(r), nil
		}
	}
	return 0, fmt.Errorf("controller action: reason %d is not known", b)
}

// appendController appends an action to the controller as Open vSwitch writes it: an
// NXAST_CONTROLLER where that says all, or the properties that are not as they are by
// default.
func appendController(dst []byte, a flows.ToController) []byte {
	reason := byte(0xff)
	if int(a.Reason) < len(reasons) {
		reason = reasons[a.Reason]
	}
	if a.UserData == "" && !a.Pause && a.Meter == 0 {
		dst = u16(u16(appendNicira(dst, nxController, 16), a.MaxLen), a.ID)
		return append(dst, reason, 0)
	}
	start := len(dst)
	dst = zeros(appendNicira(dst, nxController2, 0), 6)
	if a.MaxLen != flows.MaxLenAll {
		dst = u16(u16(u16(u16(dst, controllerMaxLen), propertyLen), a.MaxLen), 0)
	}
	if a.ID != 0 {
		dst = u16(u16(u16(u16(dst, controllerID), propertyLen), a.ID), 0)
	}
	if a.Reason != flows.ReasonAction {
		dst = append(u16(u16(dst, controllerReason), 5), reason, 0, 0, 0)
	}
	if a.UserData != "" {
		dst = u16(u16(dst, controllerUserData), uint16(4+len(a.UserData)))
		dst = pad8(append(dst, a.UserData...), start)
	}
	if a.Pause {
		dst = u32(u16(u16(dst, controllerPause), 4), 0)
	}
	if a.Meter != 0 {
		dst = u32(u16(u16(dst, controllerMeter), propertyLen), a.Meter)
	}
	binary.BigEndian.PutUint16(dst[start+2:], uint16(len(dst)-start))
	return dst
}

// parseController reads an NXAST_CONTROLLER.
func parseController(b []byte) (flows.Action, error) {
	r, err := parseReason(b[14])
	return flows.ToController{MaxLen: binary.BigEndian.Uint16(b[10:]), ID: binary.BigEndian.Uint16(b[12:]), Reason: r}, err
}

// parseController2 reads an NXAST_CONTROLLER2.
func parseController2(b []byte) (flows.Action, error) {
	a := flows.ToController{MaxLen: flows.MaxLenAll}
	for p := b[16:]; len(p) > 0; {
		if len(p) < propertyLen {
			return nil, fmt.Errorf("controller action: %d bytes of a property left", len(p))
		}
		t, n := binary.BigEndian.Uint16(p), int(binary.BigEndian.Uint16(p[2:]))
		padded := roundUp8(n)
		if n < 4 || padded > len(p) {
			return nil, fmt.Errorf("controller action: property %d of %d bytes, %d left", t, n, len(p))
		}
		switch {
		case t == controllerMaxLen && n == propertyLen:
			a.MaxLen = binary.BigEndian.Uint16(p[4:])
		case t == controllerID && n == propertyLen:
			a.ID = binary.BigEndian.Uint16(p[4:])
		case t == controllerReason && n == 5:
			r, err := parseReason(p[4])
			if err != nil {
				return nil, err
			}
			a.Reason = r
		case t == controllerUserData:
			a.UserData = string(p[4:n])
		case t == controllerPause && n == 4:
			a.Pause = true
		case t == controllerMeter && n == propertyLen:
			a.Meter = binary.BigEndian.Uint32(p[4:])
		default:
			return nil, fmt.Errorf("property %d of %d bytes: %w", t, n, flows.RefusedAction("controller(…)"))
		}
		p = p[padded:]
	}
	return a, nil
}
