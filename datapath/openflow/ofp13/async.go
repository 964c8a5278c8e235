package ofp13

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Port state and configuration bits (OpenFlow 1.3.5 section 7.2.1).
const (
	PortConfigDown    uint32 = 1 << 0
	PortStateLinkDown uint32 = 1 << 0
	PortStateBlocked  uint32 = 1 << 1
	PortStateLive     uint32 = 1 << 2
)

// PortDesc describes a port of the switch.
type PortDesc struct {
	Number uint32
	MAC    [6]byte
	Name   string // at most 15 bytes; made printable
	Config uint32
	State  uint32
}

// cString is the text before the first NUL, made printable UTF-8.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(string(b), "?"))
}

// AppendPortDesc appends an ofp_port; features and speeds are zero, and the name
// is cut to 15 bytes.
func AppendPortDesc(dst []byte, p PortDesc) []byte {
	start := len(dst)
	dst = zeros(u32(dst, p.Number), 4)
	dst = zeros(append(dst, p.MAC[:]...), 2)
	var name [16]byte
	copy(name[:15], p.Name)
	dst = u32(u32(append(dst, name[:]...), p.Config), p.State)
	return append(dst, make([]byte, start+PortDescLen-len(dst))...)
}

// DecodePortDesc reads the ofp_port at the start of b.
func DecodePortDesc(b []byte) (PortDesc, error) {
	if len(b) < PortDescLen {
		return PortDesc{}, fmt.Errorf("port: %d bytes, want %d", len(b), PortDescLen)
	}
	return PortDesc{
		Number: binary.BigEndian.Uint32(b),
		MAC:    [6]byte(b[8:14]),
		Name:   cString(b[16:32]),
		Config: binary.BigEndian.Uint32(b[32:]),
		State:  binary.BigEndian.Uint32(b[36:]),
	}, nil
}

// DecodePortDescs reads the body of an OFPMP_PORT_DESC reply.
func DecodePortDescs(body []byte) ([]PortDesc, error) {
	if len(body)%PortDescLen != 0 {
		return nil, fmt.Errorf("port desc: %d bytes, want a multiple of %d", len(body), PortDescLen)
	}
	ps := make([]PortDesc, 0, len(body)/PortDescLen)
	for ; len(body) > 0; body = body[PortDescLen:] {
		p, err := DecodePortDesc(body)
		if err != nil {
			return ps, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// PortReason says what happened to a port (section 7.4.3).
type PortReason uint8

// The reasons of a port status.
const (
	PortAdd PortReason = iota
	PortDelete
	PortModify
)

// String is the reason in a word.
func (r PortReason) String() string {
	names := [...]string{"add", "delete", "modify"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// PortStatus is an OFPT_PORT_STATUS.
type PortStatus struct {
	Reason PortReason
	Port   PortDesc
}

// AppendPortStatus appends an OFPT_PORT_STATUS.
func AppendPortStatus(dst []byte, xid uint32, s PortStatus) ([]byte, error) {
	start := len(dst)
	dst = zeros(append(begin(dst, TypePortStatus, xid), byte(s.Reason)), 7)
	return end(AppendPortDesc(dst, s.Port), start)
}

// DecodePortStatus reads an OFPT_PORT_STATUS.
func DecodePortStatus(b []byte) (PortStatus, error) {
	_, p, err := message(b, TypePortStatus, 80)
	if err != nil {
		return PortStatus{}, err
	}
	d, err := DecodePortDesc(p[8:])
	return PortStatus{PortReason(p[0]), d}, err
}

// FlowRemoved is an OFPT_FLOW_REMOVED.
type FlowRemoved struct {
	Reason uint8 // 0 idle timeout, 1 hard timeout, 2 deleted, 3 with its group
	flows.FlowStats
}

// AppendFlowRemoved appends an OFPT_FLOW_REMOVED.
func AppendFlowRemoved(dst []byte, xid uint32, r FlowRemoved) ([]byte, error) {
	f, start := r.Flow, len(dst)
	dst = u64(begin(dst, TypeFlowRemoved, xid), uint64(f.Cookie))
	dst = append(u16(dst, f.Priority), r.Reason, f.Table)
	dst = u16(u16(u32(u32(dst, r.Duration), 0), f.IdleTimeout), f.HardTimeout)
	dst, err := appendMatch(u64(u64(dst, r.Packets), r.Bytes), f.Match)
	if err != nil {
		return dst[:start], err
	}
	return end(dst, start)
}

// DecodeFlowRemoved reads an OFPT_FLOW_REMOVED.
func DecodeFlowRemoved(b []byte) (FlowRemoved, error) {
	_, p, err := message(b, TypeFlowRemoved, 56)
	if err != nil {
		return FlowRemoved{}, err
	}
	m, _, err := parseMatch(p[40:])
	if err != nil {
		return FlowRemoved{}, fmt.Errorf("flow-removed: %w", err)
	}
	return FlowRemoved{Reason: p[10], FlowStats: flows.FlowStats{
		Flow: &flows.Flow{
			Cookie:      flows.Cookie(binary.BigEndian.Uint64(p)),
			Priority:    binary.BigEndian.Uint16(p[8:]),
			Table:       p[11],
			IdleTimeout: binary.BigEndian.Uint16(p[20:]),
			HardTimeout: binary.BigEndian.Uint16(p[22:]),
			Match:       m,
		},
		Duration: binary.BigEndian.Uint32(p[12:]),
		Packets:  binary.BigEndian.Uint64(p[24:]),
		Bytes:    binary.BigEndian.Uint64(p[32:]),
	}}, nil
}

// PacketIn is an OFPT_PACKET_IN.
type PacketIn struct {
	Reason   uint8 // 0 table miss, 1 action, 2 invalid TTL
	Table    uint8
	TotalLen uint16 // of the frame; Data may hold less
	Cookie   flows.Cookie
	Match    flows.Match // in_port and whatever metadata the packet carried
	Data     []byte      // the Ethernet frame
}

// InPort is the port the packet came in by, 0 if the switch did not say.
func (p PacketIn) InPort() uint32 {
	m, _ := p.Match.Get(flows.InPort)
	return uint32(m.Value.Lo)
}

// AppendPacketIn appends an OFPT_PACKET_IN.
func AppendPacketIn(dst []byte, xid uint32, m PacketIn) ([]byte, error) {
	start := len(dst)
	dst = u16(u32(begin(dst, TypePacketIn, xid), NoBuffer), m.TotalLen)
	dst = u64(append(dst, m.Reason, m.Table), uint64(m.Cookie))
	dst, err := appendMatch(dst, m.Match)
	if err != nil {
		return dst[:start], fmt.Errorf("packet-in: %w", err)
	}
	return end(append(zeros(dst, 2), m.Data...), start)
}
