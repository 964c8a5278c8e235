package ofp13

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Error types (OpenFlow 1.3.5 section 7.4.4).
const (
	ErrHelloFailed         uint16 = 0
	ErrBadRequest          uint16 = 1
	ErrBadAction           uint16 = 2
	ErrBadInstruction      uint16 = 3
	ErrBadMatch            uint16 = 4
	ErrFlowModFailed       uint16 = 5
	ErrGroupModFailed      uint16 = 6
	ErrPortModFailed       uint16 = 7
	ErrTableModFailed      uint16 = 8
	ErrQueueOpFailed       uint16 = 9
	ErrSwitchConfigFailed  uint16 = 10
	ErrRoleRequestFailed   uint16 = 11
	ErrMeterModFailed      uint16 = 12
	ErrTableFeaturesFailed uint16 = 13
	ErrExperimenter        uint16 = 0xffff
)

// Error is an OFPT_ERROR.
type Error struct {
	Type uint16
	Code uint16 // of an experimenter's error: its type
	// Experimenter is set when Type is ErrExperimenter.
	Experimenter uint32
	// XID is that of the message the error is about.
	XID uint32
	// Data is the start of that message, at least 64 bytes of it if it had as
	// many; or a text if the hello failed.
	Data []byte
}

// Name is the error's name as Open vSwitch prints it, OFPFMFC_BAD_TABLE_ID for
// one, or its numbers when it has none.
func (e *Error) Name() string {
	if e.Type == ErrExperimenter {
		return experimenterErrorName(e.Experimenter, e.Code)
	}
	if names := errorNames(e.Type); int(e.Code) < len(names) {
		return names[e.Code]
	}
	return fmt.Sprintf("error type %d code %d", e.Type, e.Code)
}

// Error is the error's name, and the text that came with it.
func (e *Error) Error() string {
	if e.Type == ErrHelloFailed && len(e.Data) > 0 {
		return fmt.Sprintf("%s: %s", e.Name(), cString(e.Data))
	}
	return e.Name()
}

// Is reports whether target is an *Error of the same type, code and
// experimenter, so that errors.Is can look for one.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Type == e.Type && t.Code == e.Code && t.Experimenter == e.Experimenter
}

// AppendError appends an OFPT_ERROR under e.XID. The version in the header is
// our own.
func AppendError(dst []byte, e *Error) ([]byte, error) {
	start := len(dst)
	dst = u16(u16(begin(dst, TypeError, e.XID), e.Type), e.Code)
	if e.Type == ErrExperimenter {
		dst = u32(dst, e.Experimenter)
	}
	return end(append(dst, e.Data...), start)
}

// DecodeError reads an OFPT_ERROR of any version: a peer that does not speak 1.3
// says so in its own. The data is copied.
func DecodeError(b []byte) (*Error, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return nil, err
	}
	if h.Type != TypeError || int(h.Length) != len(b) || len(b) < 12 {
		return nil, fmt.Errorf("%v: got %v of %d bytes in %d, want at least 12", TypeError, h.Type, h.Length, len(b))
	}
	e := &Error{Type: binary.BigEndian.Uint16(b[8:]), Code: binary.BigEndian.Uint16(b[10:]), XID: h.XID}
	data := b[12:]
	if e.Type == ErrExperimenter {
		if len(data) < 4 {
			return nil, fmt.Errorf("%v: no experimenter ID", TypeError)
		}
		e.Experimenter, data = binary.BigEndian.Uint32(data), data[4:]
	}
	e.Data = slices.Clone(data)
	return e, nil
}

// errorNames are the names of a type's codes, by code.
func errorNames(t uint16) []string {
	var prefix, names string
	switch t {
	case ErrHelloFailed:
		prefix, names = "OFPHFC_", "INCOMPATIBLE EPERM"
	case ErrBadRequest:
		prefix, names = "OFPBRC_", "BAD_VERSION BAD_TYPE BAD_STAT BAD_VENDOR BAD_SUBTYPE EPERM BAD_LEN BUFFER_EMPTY "+
			"BUFFER_UNKNOWN BAD_TABLE_ID IS_SECONDARY BAD_PORT BAD_PACKET MULTIPART_BUFFER_OVERFLOW"
	case ErrBadAction:
		prefix, names = "OFPBAC_", "BAD_TYPE BAD_LEN BAD_VENDOR BAD_VENDOR_TYPE BAD_OUT_PORT BAD_ARGUMENT EPERM "+
			"TOO_MANY BAD_QUEUE BAD_OUT_GROUP MATCH_INCONSISTENT UNSUPPORTED_ORDER BAD_TAG BAD_SET_TYPE "+
			"BAD_SET_LEN BAD_SET_ARGUMENT"
	case ErrBadInstruction:
		prefix, names = "OFPBIC_", "UNKNOWN_INST UNSUP_INST BAD_TABLE_ID UNSUP_METADATA UNSUP_METADATA_MASK "+
			"BAD_EXPERIMENTER BAD_EXP_TYPE BAD_LEN EPERM"
	case ErrBadMatch:
		prefix, names = "OFPBMC_", "BAD_TYPE BAD_LEN BAD_TAG BAD_DL_ADDR_MASK BAD_NW_ADDR_MASK BAD_WILDCARDS "+
			"BAD_FIELD BAD_VALUE BAD_MASK BAD_PREREQ DUP_FIELD EPERM"
	case ErrFlowModFailed:
		prefix, names = "OFPFMFC_", "UNKNOWN TABLE_FULL BAD_TABLE_ID OVERLAP EPERM BAD_TIMEOUT BAD_COMMAND BAD_FLAGS"
	case ErrGroupModFailed:
		prefix, names = "OFPGMFC_", "GROUP_EXISTS INVALID_GROUP WEIGHT_UNSUPPORTED OUT_OF_GROUPS OUT_OF_BUCKETS "+
			"CHAINING_UNSUPPORTED WATCH_UNSUPPORTED LOOP UNKNOWN_GROUP CHAINED_GROUP BAD_TYPE BAD_COMMAND "+
			"BAD_BUCKET BAD_WATCH EPERM"
	case ErrPortModFailed:
		prefix, names = "OFPPMFC_", "BAD_PORT BAD_HW_ADDR BAD_CONFIG BAD_ADVERTISE EPERM"
	case ErrTableModFailed:
		prefix, names = "OFPTMFC_", "BAD_TABLE BAD_CONFIG EPERM"
	case ErrQueueOpFailed:
		prefix, names = "OFPQOFC_", "BAD_PORT BAD_QUEUE EPERM"
	case ErrSwitchConfigFailed:
		prefix, names = "OFPSCFC_", "BAD_FLAGS BAD_LEN EPERM"
	case ErrRoleRequestFailed:
		prefix, names = "OFPRRFC_", "STALE UNSUP BAD_ROLE"
	case ErrMeterModFailed:
		prefix, names = "OFPMMFC_", "UNKNOWN METER_EXISTS INVALID_METER UNKNOWN_METER BAD_COMMAND BAD_FLAGS BAD_RATE "+
			"BAD_BURST BAD_BAND BAD_BAND_VALUE OUT_OF_METERS OUT_OF_BANDS"
	case ErrTableFeaturesFailed:
		return []string{"OFPTFFC_BAD_TABLE", "OFPTFFC_BAD_METADATA", "OFPBPC_BAD_TYPE", "OFPBPC_BAD_LEN",
			"OFPBPC_BAD_VALUE", "OFPTFFC_EPERM"}
	}
	list := strings.Fields(names)
	for i := range list {
		list[i] = prefix + list[i]
	}
	return list
}

// bundleErrorBase is the first of the ONF's bundle errors (extension 230).
const bundleErrorBase = 2300

// Bundle errors of the ONF, as codes of its experimenter errors.
const (
	BundleBadID       uint16 = bundleErrorBase + 2  // no such bundle
	BundleExists      uint16 = bundleErrorBase + 3  // open twice
	BundleClosed      uint16 = bundleErrorBase + 4  // add after close
	BundleBadType     uint16 = bundleErrorBase + 6  // unknown command
	BundleBadFlags    uint16 = bundleErrorBase + 7  // other flags than at open
	BundleMsgBadLen   uint16 = bundleErrorBase + 8  // message within is not whole
	BundleMsgBadXID   uint16 = bundleErrorBase + 9  // xid within differs
	BundleMsgUnsup    uint16 = bundleErrorBase + 10 // a message that bundles do not take
	BundleMsgFailed   uint16 = bundleErrorBase + 13 // commit failed by one message
	BundleTimeout     uint16 = bundleErrorBase + 14 // idle for too long
	bundleErrorsCount        = 16
)

func experimenterErrorName(exp uint32, t uint16) string {
	if exp == ONFExperimenter && t >= bundleErrorBase && t < bundleErrorBase+bundleErrorsCount {
		return "OFPBFC_" + [bundleErrorsCount]string{
			"UNKNOWN", "EPERM", "BAD_ID", "BUNDLE_EXIST", "BUNDLE_CLOSED", "OUT_OF_BUNDLES", "BAD_TYPE",
			"BAD_FLAGS", "MSG_BAD_LEN", "MSG_BAD_XID", "MSG_UNSUP", "MSG_CONFLICT", "MSG_TOO_MANY", "MSG_FAILED",
			"TIMEOUT", "BUNDLE_IN_PROGRESS",
		}[t-bundleErrorBase]
	}
	if exp == NiciraExperimenter {
		switch t {
		case 2:
			return "NXBRC_NXM_INVALID"
		case 3:
			return "NXBRC_NXM_BAD_TYPE"
		case 4:
			return "NXBRC_MUST_BE_ZERO"
		case 5:
			return "NXBRC_BAD_REASON"
		case 10:
			return "NXBRC_UNENCODABLE_ERROR"
		case 11:
			return "NXBAC_MUST_BE_ZERO"
		case 12:
			return "NXFMFC_HARDWARE"
		case 13:
			return "NXFMFC_BAD_TABLE_ID"
		case 15:
			return "NXBAC_BAD_CONJUNCTION"
		case 37:
			return "NXFMFC_INVALID_TLV_FIELD"
		case 42:
			return "NXBAC_CT_DATAPATH_SUPPORT"
		case 43:
			return "NXBMC_CT_DATAPATH_SUPPORT"
		}
	}
	return fmt.Sprintf("experimenter 0x%08x error %d", exp, t)
}
