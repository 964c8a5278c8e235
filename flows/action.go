package flows

// Action is one of the action types of this file. Every action is an immutable
// comparable value.
type Action interface{ isAction() }

// MaxLenAll as the MaxLen of an action asks for all of the packet.
const MaxLenAll uint16 = 0xffff

// Subfield names bits Offset … Offset+Bits-1 of a field.
type Subfield struct {
	Field  Field
	Offset uint16
	Bits   uint16
}

type (
	// Output sends the packet to a port. PortInPort is needed to send it back
	// where it came from: an Output to the ingress port's own number is not
	// executed (OpenFlow 1.3.5 section A.2.1).
	Output struct{ Port uint32 }

	// OutputTrunc sends the first MaxLen bytes of the packet to a port, and not to any of
	// the reserved ones but PortLocal (NXAST_OUTPUT_TRUNC).
	OutputTrunc struct {
		Port   uint32
		MaxLen uint32
	}

	// ToController sends a copy of up to MaxLen bytes of the packet to the controller.
	// (Open vSwitch has kept no packets since 2.7, so it sends all of them.)
	// A Meter other than 0 limits the copies: one that exceeds its rate is not sent, and
	// the packet itself goes on (NXAST_CONTROLLER2). The meter instruction of a flow,
	// in contrast, drops the packet.
	ToController struct {
		MaxLen uint16
		Meter  uint32
		Reason PacketInReason
		// ID is of the connections that are meant, those of a controller that did not
		// choose one have 0.
		ID uint16
		// UserData are bytes that the controller is sent beside the packet.
		UserData string
		// Pause sends the rest of what is to be done with the packet along, and does
		// none of it before the controller sends that back (NXT_RESUME).
		Pause bool
	}

	// OutputReg sends the packet to the port whose number is in Src (NXAST_OUTPUT_REG2).
	OutputReg struct {
		Src    Subfield
		MaxLen uint16
	}

	// ToGroup hands the packet to a group.
	ToGroup struct{ ID uint32 }

	// SetField writes Value under Mask into Field. The Mask is contiguous in
	// everything the pipeline produces; a full mask is a plain set-field, any
	// other one comes back from Open vSwitch as NXAST_REG_LOAD. InPort is written
	// by NXAST_REG_LOAD even when whole: the switch refuses a set-field of it.
	SetField struct {
		Field       Field
		Value, Mask Value
	}

	// Move copies Src to Dst; both have the same number of bits (NXAST_REG_MOVE).
	Move struct{ Src, Dst Subfield }

	// PushVLAN pushes a tag with the given EtherType (0x8100 or 0x88a8).
	PushVLAN struct{ EtherType uint16 }

	// PopVLAN removes the outermost tag; the flow must match one.
	PopVLAN struct{}

	// DecTTL decrements the IP TTL; an expired packet goes no further, and to the
	// controllers of these IDs, two bytes each: "" is the plain action, which is of
	// those with ID 0 (NXAST_DEC_TTL_CNT_IDS).
	DecTTL struct{ IDs string }

	// PushMPLS pushes a label stack entry; EtherType is 0x8847 or 0x8848.
	PushMPLS struct{ EtherType uint16 }

	// PopMPLS removes the outermost label stack entry; EtherType is what is behind it.
	PopMPLS struct{ EtherType uint16 }

	// DecMPLSTTL decrements the TTL of the outermost label stack entry; an expired
	// packet goes no further.
	DecMPLSTTL struct{}

	// Push puts bits of a field on a stack (NXAST_STACK_PUSH), from which Pop takes
	// them (NXAST_STACK_POP).
	Push struct{ Src Subfield }
	Pop  struct{ Dst Subfield }

	// SetQueue chooses the queue of the outputs that follow, PopQueue the default one
	// again (NXAST_POP_QUEUE).
	SetQueue struct{ ID uint32 }
	PopQueue struct{}

	// CheckLarger writes 1 to the bit Dst if the packet is longer than Len bytes, else 0
	// (NXAST_CHECK_PKT_LARGER).
	CheckLarger struct {
		Len uint16
		Dst Subfield
	}

	// Note does nothing (NXAST_NOTE). Its Data is 6 bytes longer than a multiple of 8.
	Note struct{ Data string }

	// FinTimeout shortens the timeouts of the flow, in seconds, when a TCP packet with FIN
	// or RST meets it (NXAST_FIN_TIMEOUT).
	FinTimeout struct{ Idle, Hard uint16 }

	// Exit ends all that is done with the packet, in every table; the action set is
	// not executed either (NXAST_EXIT).
	Exit struct{}

	// Resubmit searches Table again with in_port Port; PortInPort keeps it.
	Resubmit struct {
		Port  uint32
		Table uint8
	}
)

// PacketInReason is the reason that a ToController gives (OpenFlow 1.3.5 section
// 7.4.1, and 1.5). The zero value is that of an action that names none.
type PacketInReason uint8

// The reasons.
const (
	ReasonAction PacketInReason = iota
	ReasonNoMatch
	ReasonInvalidTTL
	ReasonActionSet
	ReasonGroup
	ReasonPacketOut
)

// Plain reports whether a is an output to the controller, as OpenFlow has it, and
// not one of the longer actions of Open vSwitch.
func (a ToController) Plain() bool { return a == ToController{MaxLen: a.MaxLen} }

// Clone does actions on a copy of the packet, and the action set as it is then
// (NXAST_CLONE). A list of them is kept as pairs, so that a Clone is comparable.
type Clone struct{ list any }

type pair struct {
	first Action
	rest  any // a pair, or nil
}

// NewClone is a Clone of those actions.
func NewClone(as ...Action) Clone {
	var list any
	for i := len(as) - 1; i >= 0; i-- {
		list = pair{as[i], list}
	}
	return Clone{list}
}

// Actions are the actions on the copy.
func (a Clone) Actions() []Action {
	var as []Action
	for l, ok := a.list.(pair); ok; l, ok = l.rest.(pair) {
		as = append(as, l.first)
	}
	return as
}

func (Output) isAction()       {}
func (ToController) isAction() {}
func (OutputReg) isAction()    {}
func (ToGroup) isAction()      {}
func (SetField) isAction()     {}
func (Move) isAction()         {}
func (PushVLAN) isAction()     {}
func (PopVLAN) isAction()      {}
func (DecTTL) isAction()       {}
func (Resubmit) isAction()     {}
func (OutputTrunc) isAction()  {}
func (PushMPLS) isAction()     {}
func (PopMPLS) isAction()      {}
func (DecMPLSTTL) isAction()   {}
func (Push) isAction()         {}
func (Pop) isAction()          {}
func (SetQueue) isAction()     {}
func (PopQueue) isAction()     {}
func (CheckLarger) isAction()  {}
func (Note) isAction()         {}
func (FinTimeout) isAction()   {}
func (Exit) isAction()         {}
func (Clone) isAction()        {}

// Set is a SetField of the whole field.
func Set(f Field, v Value) SetField { return SetField{Field: f, Value: v, Mask: f.FullMask()} }

// SetBits is a SetField of the bits Offset … Offset+bits-1 of f.
func SetBits(f Field, offset, bits uint16, v uint64) SetField {
	m := lowBits(bits).Shl(uint(offset))
	return SetField{Field: f, Value: U(v).Shl(uint(offset)).And(m), Mask: m}
}
