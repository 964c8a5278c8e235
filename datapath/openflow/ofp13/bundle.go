package ofp13

import (
	"encoding/binary"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Bundle flags (ONF extension 230, OpenFlow 1.4 section 7.3.9.4).
const (
	BundleAtomic  uint16 = 1 // all or nothing
	BundleOrdered uint16 = 2 // in the order of the messages
)

// Experimenter message types of the ONF.
const (
	onfRoleStatus    uint32 = 1911
	onfBundleControl uint32 = 2300
	onfBundleAdd     uint32 = 2301
)

const bundleAddLen = 24 // header, experimenter, type, bundle ID, padding, flags

// AppendBundleAdd appends op's message as a part of bundle id. The message within
// has the same xid, as Open vSwitch demands, and an error about it carries that
// xid. Meters are refused, because Open vSwitch takes none in a bundle.
func AppendBundleAdd(dst []byte, xid, id uint32, op flows.Op) ([]byte, error) {
	if op.Meter != nil {
		return dst, errMeterInBundle
	}
	start := len(dst)
	dst = begin(dst, TypeExperimenter, xid)
	dst = u32(u32(u32(dst, ONFExperimenter), onfBundleAdd), id)
	dst = u16(u16(dst, 0), BundleAtomic|BundleOrdered)
	dst, err := AppendOp(dst, xid, op)
	if err != nil {
		return dst[:start], err
	}
	return end(dst, start)
}

// BundleAdd is the ONF's OFPT_BUNDLE_ADD_MESSAGE.
type BundleAdd struct {
	BundleID uint32
	Flags    uint16
	Message  []byte // a whole message; a part of the decoded slice, not a copy
}

// DecodeBundleAdd reads a bundle-add. The message within is checked to be whole
// and to have the outer xid, not decoded.
func DecodeBundleAdd(b []byte) (BundleAdd, error) {
	h, p, err := message(b, TypeExperimenter, bundleAddLen+HeaderLen)
	if err != nil {
		return BundleAdd{}, err
	}
	if e, t := binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:]); e != ONFExperimenter || t != onfBundleAdd {
		return BundleAdd{}, fmt.Errorf("experimenter message 0x%08x/%d is no bundle-add", e, t)
	}
	m := BundleAdd{BundleID: binary.BigEndian.Uint32(p[8:]), Flags: binary.BigEndian.Uint16(p[14:]), Message: p[16:]}
	in, err := ParseHeader(m.Message)
	switch {
	case err != nil:
		return m, fmt.Errorf("bundle-add: %w", err)
	case int(in.Length) > len(m.Message):
		return m, fmt.Errorf("bundle-add: message within says %d bytes, %d left", in.Length, len(m.Message))
	case in.XID != h.XID:
		return m, fmt.Errorf("bundle-add: xid 0x%x within 0x%x", in.XID, h.XID)
	}
	m.Message = m.Message[:in.Length]
	return m, nil
}

// Experimenter is the head of an OFPT_EXPERIMENTER message.
type Experimenter struct {
	ID, Type uint32
	Body     []byte // a part of the decoded slice, not a copy
}

// DecodeExperimenter reads the head of an OFPT_EXPERIMENTER message.
func DecodeExperimenter(b []byte) (Experimenter, error) {
	_, p, err := message(b, TypeExperimenter, 16)
	if err != nil {
		return Experimenter{}, err
	}
	return Experimenter{binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:]), p[8:]}, nil
}

// IsBundleControl reports whether the message is the ONF's bundle control.
func (e Experimenter) IsBundleControl() bool {
	return e.ID == ONFExperimenter && e.Type == onfBundleControl
}

// IsBundleAdd reports whether the message is the ONF's bundle-add.
func (e Experimenter) IsBundleAdd() bool { return e.ID == ONFExperimenter && e.Type == onfBundleAdd }

// RoleStatus is the message that tells a controller of its new role, in the form
// of the ONF extension 191; ok is false when the message is another one.
func (e Experimenter) RoleStatus() (r RoleStatus, ok bool) {
	if e.ID != ONFExperimenter || e.Type != onfRoleStatus || len(e.Body) < 16 {
		return r, false
	}
	return RoleStatus{
		Role:       Role(binary.BigEndian.Uint32(e.Body)),
		Reason:     e.Body[4],
		Generation: binary.BigEndian.Uint64(e.Body[8:]),
	}, true
}

// RoleStatus tells a controller that the switch changed its role.
type RoleStatus struct {
	Role       Role
	Reason     uint8 // 0 another controller asked to be master, 1 configuration, 2 experimenter
	Generation uint64
}

// AppendRoleStatus appends the ONF role status message.
func AppendRoleStatus(dst []byte, xid uint32, r RoleStatus) ([]byte, error) {
	start := len(dst)
	dst = begin(dst, TypeExperimenter, xid)
	dst = u32(u32(u32(dst, ONFExperimenter), onfRoleStatus), uint32(r.Role))
	return end(u64(append(dst, r.Reason, 0, 0, 0), r.Generation), start)
}
