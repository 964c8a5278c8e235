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

	// ToController sends a copy of up to MaxLen bytes of the packet to the controller.
	// (Open vSwitch has kept no packets since 2.7, so it sends all of them.)
	// A Meter other than 0 limits the copies: one that exceeds its rate is not sent, and
	// the packet itself goes on (NXAST_CONTROLLER2). The meter instruction of a flow,
	// in contrast, drops the packet.
	ToController struct {
		MaxLen uint16
		Meter  uint32
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

	// DecTTL decrements the IP TTL; an expired packet goes no further.
	DecTTL struct{}

	// Resubmit searches Table again with in_port Port; PortInPort keeps it.
	Resubmit struct {
		Port  uint32
		Table uint8
	}
)

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

// Set is a SetField of the whole field.
func Set(f Field, v Value) SetField { return SetField{Field: f, Value: v, Mask: f.FullMask()} }

// SetBits is a SetField of the bits Offset … Offset+bits-1 of f.
func SetBits(f Field, offset, bits uint16, v uint64) SetField {
	m := lowBits(bits).Shl(uint(offset))
	return SetField{Field: f, Value: U(v).Shl(uint(offset)).And(m), Mask: m}
}
