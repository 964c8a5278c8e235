package ofp13

import (
	"encoding/binary"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// FlowCommand is what a flow-mod does (OpenFlow 1.3.5 section 7.3.4.1).
type FlowCommand uint8

// The flow-mod commands.
const (
	FlowAdd FlowCommand = iota
	FlowModify
	FlowModifyStrict
	FlowDelete
	FlowDeleteStrict
)

// String is the name of the command in the specification.
func (c FlowCommand) String() string {
	switch c {
	case FlowAdd:
		return "OFPFC_ADD"
	case FlowModify:
		return "OFPFC_MODIFY"
	case FlowModifyStrict:
		return "OFPFC_MODIFY_STRICT"
	case FlowDelete:
		return "OFPFC_DELETE"
	case FlowDeleteStrict:
		return "OFPFC_DELETE_STRICT"
	}
	return fmt.Sprintf("flow-mod command %d", uint8(c))
}

// AllTables as a table number stands for every table in deletes and dumps.
const AllTables uint8 = 0xff

// Instruction types (section 7.2.4).
const (
	instGoto     uint16 = 1
	instMetadata uint16 = 2
	instWrite    uint16 = 3
	instApply    uint16 = 4
	instClear    uint16 = 5
	instMeter    uint16 = 6
)

// FlowMod is an OFPT_FLOW_MOD.
type FlowMod struct {
	Command FlowCommand
	Flow    *flows.Flow
	// CookieMask restricts modifies and deletes to flows whose cookie agrees
	// with Flow.Cookie in these bits; 0 restricts nothing.
	CookieMask uint64
}

// AppendFlowMod appends the flow-mod to dst. It needs no allocation when dst has
// room. A delete carries no instructions. Out port and out group are "any",
// buffer is none, and flags are zero.
func AppendFlowMod(dst []byte, xid uint32, m FlowMod) ([]byte, error) {
	f := m.Flow
	if f == nil || m.Command > FlowDeleteStrict {
		return dst, fmt.Errorf("%v: no flow, or no such command", m.Command)
	}
	start := len(dst)
	dst = begin(dst, TypeFlowMod, xid)
	dst = u64(u64(dst, uint64(f.Cookie)), m.CookieMask)
	dst = append(dst, f.Table, byte(m.Command))
	dst = u16(u16(u16(dst, f.IdleTimeout), f.HardTimeout), f.Priority)
	dst = u32(u32(u32(dst, NoBuffer), flows.PortAny), flows.GroupAny)
	dst = zeros(dst, 4) // flags, padding
	dst, err := appendMatch(dst, f.Match)
	if err == nil && m.Command < FlowDelete {
		dst, err = appendInstructions(dst, f)
	}
	if err != nil {
		return dst[:start], fmt.Errorf("%v: %w", m.Command, err)
	}
	return end(dst, start)
}

// appendInstructions appends the instructions in the order in which they are
// executed (section 5.9), which is also the order of Open vSwitch's replies.
func appendInstructions(dst []byte, f *flows.Flow) ([]byte, error) {
	var err error
	if f.Meter != 0 {
		dst = u32(append(dst, 0, byte(instMeter), 0, 8), f.Meter)
	}
	if len(f.Apply) > 0 {
		if dst, err = appendActionInstruction(dst, instApply, f.Apply); err != nil {
			return dst, err
		}
	}
	if f.ClearActions {
		dst = append(dst, 0, byte(instClear), 0, 8, 0, 0, 0, 0)
	}
	if len(f.Write) > 0 {
		if dst, err = appendActionInstruction(dst, instWrite, f.Write); err != nil {
			return dst, err
		}
	}
	if f.MetadataMask != 0 {
		dst = append(dst, 0, byte(instMetadata), 0, 24, 0, 0, 0, 0)
		dst = u64(u64(dst, f.Metadata), f.MetadataMask)
	}
	if f.Goto != 0 {
		dst = append(dst, 0, byte(instGoto), 0, 8, f.Goto, 0, 0, 0)
	}
	return dst, nil
}

func appendActionInstruction(dst []byte, t uint16, as []flows.Action) ([]byte, error) {
	start := len(dst)
	dst, err := appendActions(append(dst, 0, byte(t), 0, 0, 0, 0, 0, 0), as)
	if err != nil {
		return dst, err
	}
	n := len(dst) - start
	if n > MaxMessage {
		return dst, &TooLongError{What: fmt.Sprintf("instruction with %d actions", len(as)), Bytes: n}
	}
	binary.BigEndian.PutUint16(dst[start+2:], uint16(n))
	return dst, nil
}

// parseInstructions reads the instructions that fill b into f.
func parseInstructions(f *flows.Flow, b []byte) error {
	seen := 0
	for len(b) > 0 {
		if len(b) < 8 {
			return fmt.Errorf("instructions: %d bytes left, want at least 8", len(b))
		}
		t, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if n < 8 || n%8 != 0 || n > len(b) {
			return fmt.Errorf("instruction type %d: length %d, %d bytes left", t, n, len(b))
		}
		if t <= instMeter {
			if seen&(1<<t) != 0 {
				return fmt.Errorf("instruction type %d: twice", t)
			}
			seen |= 1 << t
		}
		if err := parseInstruction(f, t, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func parseInstruction(f *flows.Flow, t uint16, b []byte) (err error) {
	want := 8
	switch t {
	case instGoto:
		f.Goto = b[4]
	case instMetadata:
		if want = 24; len(b) == want {
			f.Metadata, f.MetadataMask = binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
		}
	case instApply:
		f.Apply, err = parseActions(b[8:])
		want = len(b)
	case instWrite:
		f.Write, err = parseActions(b[8:])
		want = len(b)
	case instClear:
		f.ClearActions = true
	case instMeter:
		f.Meter = binary.BigEndian.Uint32(b[4:])
	default:
		return fmt.Errorf("unknown instruction type %d", t)
	}
	if err == nil && len(b) != want {
		err = fmt.Errorf("instruction type %d: %d bytes, want %d", t, len(b), want)
	}
	return err
}

// DecodeFlowMod reads an OFPT_FLOW_MOD; out port, out group, buffer and flags are
// not looked at.
func DecodeFlowMod(b []byte) (FlowMod, error) {
	_, p, err := message(b, TypeFlowMod, 56)
	if err != nil {
		return FlowMod{}, err
	}
	f := &flows.Flow{
		Cookie:      flows.Cookie(binary.BigEndian.Uint64(p)),
		Table:       p[16],
		IdleTimeout: binary.BigEndian.Uint16(p[18:]),
		HardTimeout: binary.BigEndian.Uint16(p[20:]),
		Priority:    binary.BigEndian.Uint16(p[22:]),
	}
	m := FlowMod{Command: FlowCommand(p[17]), Flow: f, CookieMask: binary.BigEndian.Uint64(p[8:])}
	if m.Command > FlowDeleteStrict {
		return m, fmt.Errorf("flow-mod: unknown command %d", p[17])
	}
	n := 0
	if f.Match, n, err = parseMatch(p[40:]); err != nil {
		return m, fmt.Errorf("%v: %w", m.Command, err)
	}
	if m.Command >= FlowDelete {
		return m, nil
	}
	if err := parseInstructions(f, p[40+n:]); err != nil {
		return m, fmt.Errorf("%v: %w", m.Command, err)
	}
	return m, nil
}
