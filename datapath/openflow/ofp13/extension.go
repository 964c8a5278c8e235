package ofp13

import (
	"encoding/binary"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

func appendDecTTL(dst []byte, a flows.DecTTL) []byte {
	if a.IDs == "" {
		return append(dst, 0, byte(actDecTTL), 0, 8, 0, 0, 0, 0)
	}
	start := len(dst)
	dst = zeros(u16(appendNicira(dst, nxDecTTLIDs, uint16(roundUp8(16+len(a.IDs)))), uint16(len(a.IDs)/2)), 4)
	return pad8(append(dst, a.IDs...), start)
}

// appendExtension appends the actions that the pipeline does not use.
func appendExtension(dst []byte, a flows.Action) ([]byte, error) {
	switch a := a.(type) {
	case flows.OutputTrunc:
		port, err := port16(a.Port)
		return u32(u16(appendNicira(dst, nxOutputTrunc, 16), port), a.MaxLen), err
	case flows.PushMPLS:
		return append(dst, 0, byte(actPushMPLS), 0, 8, byte(a.EtherType>>8), byte(a.EtherType), 0, 0), nil
	case flows.PopMPLS:
		return append(dst, 0, byte(actPopMPLS), 0, 8, byte(a.EtherType>>8), byte(a.EtherType), 0, 0), nil
	case flows.DecMPLSTTL:
		return append(dst, 0, byte(actDecMPLSTTL), 0, 8, 0, 0, 0, 0), nil
	case flows.Push:
		return appendStack(dst, nxPush, a.Src)
	case flows.Pop:
		return appendStack(dst, nxPop, a.Dst)
	case flows.SetQueue:
		return u32(append(dst, 0, byte(actSetQueue), 0, 8), a.ID), nil
	case flows.PopQueue:
		return zeros(appendNicira(dst, nxPopQueue, 16), 6), nil
	case flows.CheckLarger:
		dst = u16(u16(appendNicira(dst, nxCheckLarger, 24), a.Len), a.Dst.Offset)
		dst, err := appendFieldHeader(dst, a.Dst.Field)
		return zeros(dst, 6), err
	case flows.Note:
		start := len(dst)
		dst = append(appendNicira(dst, nxNote, uint16(roundUp8(10+len(a.Data)))), a.Data...)
		return pad8(dst, start), nil
	case flows.FinTimeout:
		return zeros(u16(u16(appendNicira(dst, nxFinTimeout, 16), a.Idle), a.Hard), 2), nil
	case flows.Exit:
		return zeros(appendNicira(dst, nxExit, 16), 6), nil
	case flows.Clone:
		start := len(dst)
		dst, err := appendActions(zeros(appendNicira(dst, nxClone, 0), 6), a.Actions())
		if err != nil {
			return dst, err
		}
		n := len(dst) - start
		if n > MaxMessage {
			return dst, &TooLongError{What: "clone", Bytes: n}
		}
		binary.BigEndian.PutUint16(dst[start+2:], uint16(n))
		return dst, nil
	}
	return dst, fmt.Errorf("action %T has no OpenFlow 1.3 encoding here", a)
}

func appendStack(dst []byte, subtype uint16, s flows.Subfield) ([]byte, error) {
	dst, err := appendFieldHeader(u16(appendNicira(dst, subtype, 24), s.Offset), s.Field)
	return zeros(u16(dst, s.Bits), 6), err
}

// parseExtension reads the Nicira actions that the pipeline does not use. b has the
// length that its subtype says.
func parseExtension(b []byte, sub uint16) (flows.Action, error) {
	u16 := binary.BigEndian.Uint16
	switch sub {
	case nxOutputTrunc:
		return flows.OutputTrunc{Port: flows.Port32(u16(b[10:])), MaxLen: binary.BigEndian.Uint32(b[12:])}, nil
	case nxDecTTLIDs:
		n := 2 * int(u16(b[10:]))
		if n == 0 || roundUp8(16+n) != len(b) {
			return nil, fmt.Errorf("dec_ttl: %d bytes for %d controllers", len(b), n/2)
		}
		return flows.DecTTL{IDs: string(b[16 : 16+n])}, nil
	case nxPush:
		s, err := parseSource(b[12:], u16(b[10:]), u16(b[16:]))
		if err != nil {
			return nil, fmt.Errorf("push: %w", err)
		}
		return flows.Push{Src: s}, nil
	case nxPop:
		s, err := parseSubfield(b[12:], u16(b[10:]), u16(b[16:]))
		if err != nil {
			return nil, fmt.Errorf("pop: %w", err)
		}
		return flows.Pop{Dst: s}, nil
	case nxPopQueue:
		return flows.PopQueue{}, nil
	case nxCheckLarger:
		s, err := parseSubfield(b[14:], u16(b[12:]), 1)
		if err != nil {
			return nil, fmt.Errorf("check_pkt_larger: %w", err)
		}
		return flows.CheckLarger{Len: u16(b[10:]), Dst: s}, nil
	case nxNote:
		return flows.Note{Data: string(b[10:])}, nil
	case nxFinTimeout:
		return flows.FinTimeout{Idle: u16(b[10:]), Hard: u16(b[12:])}, nil
	case nxExit:
		return flows.Exit{}, nil
	case nxClone:
		as, err := parseActions(b[16:])
		if err != nil {
			return nil, fmt.Errorf("clone: %w", err)
		}
		return flows.NewClone(as...), nil
	}
	return nil, &UnknownActionError{Type: actExperimenter, Experimenter: NiciraExperimenter, Subtype: sub}
}
